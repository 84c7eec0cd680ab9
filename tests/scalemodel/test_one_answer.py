"""One question has one answer: table, JSON, CSV, sweep, trace, pictures and Python say the same."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from typer.testing import CliRunner

import scalemodel as sm
from hwmodels.devices import device_from
from scalemodel.app import make_app
from scalemodel.op_timeline import op_timeline
from simulator.run import show_metric

QUESTIONS = [
    ("resnet50", "nvidia-a100-sxm-80gb", {"workload.batch": 8, "workload.training": True}),
    ("gpt2-small", "nvidia-h100-sxm-80gb", {"workload.dtype": "bfloat16"}),
    ("mlp", "amd-mi250x", {"on.model.launch_s": 0.0}),
    ("mlp", "amd-epyc-7742", {"plan.threads": 4}),
]


@pytest.fixture(params=QUESTIONS, ids=lambda question: "-".join(question[:2]))
def question(request):
    return request.param


@pytest.fixture(scope="module")
def app():
    return make_app()


@pytest.fixture
def said(app, question):
    """Return what a command prints about the question."""
    workload, on, changes = question
    settings = [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]
    words = [workload, "--on", on, *(word.replace("True", "true") for word in settings)]

    def ask(*command, options=()):
        result = CliRunner().invoke(app, [*command, *words, *options])
        assert result.exit_code == 0, result.output
        return result.stdout

    return ask


@pytest.fixture
def run(question):
    workload, on, changes = question
    return sm.predict(sm.Scenario(workload=workload, on=on, parameters=changes), record=True)


def test_every_way_to_ask_gives_the_same_step_time(said, run):
    step_s = run.step_time_s
    document = json.loads(said("predict", options=["-o", "json"]))
    assert document["value"] == document["metrics"]["step_time_s"]["value"] == step_s
    rows = {
        row["metric"]: row
        for row in csv.DictReader(io.StringIO(said("predict", options=["-o", "csv"])))
    }
    assert float(rows["step_time_s"]["value"]) == step_s
    table = said("predict")
    [line] = [line for line in table.splitlines() if line.startswith("step_time_s")]
    assert show_metric("step_time_s", step_s) in line
    again = sm.simulate(run.workload, run.machine.devices[0], run.plan)
    assert again.step_time_s == step_s


def test_a_point_of_a_sweep_has_the_figures_of_a_prediction(said, run):
    found = json.loads(said("sweep", options=["--grid", "steps=1,2", "-o", "json"]))
    for point in found["points"]:
        assert point["step_time_s"] == pytest.approx(run.step_time_s, rel=1e-9)
        assert point["step_time_low_s"] == pytest.approx(run.interval and run.interval[0])
        assert point["peak_memory_bytes"] == run.peak_memory_bytes
        assert point["energy_j"] is None or run.energy_j is not None


def test_energy_has_the_same_interval_in_a_sweep_as_in_a_prediction(said):
    predicted = json.loads(said("predict", options=["-o", "json"]))["metrics"]["energy_j"]
    [point] = json.loads(said("sweep", options=["--grid", "steps=1", "-o", "json"]))["points"]
    for name, end in (("energy_low_j", "low"), ("energy_high_j", "high")):
        assert point[name] == pytest.approx(predicted[end])


def test_traces_and_timelines_end_when_the_step_does(said, run):
    events = json.loads(said("trace"))["traceEvents"]
    assert max(e["ts"] + e["dur"] for e in events if e["ph"] == "X") / 1e6 == pytest.approx(
        run.step_time_s, rel=1e-6
    )
    timeline = op_timeline(run)
    assert len(timeline) == len(run.workload.graph)
    assert float(np.max(timeline.end_s)) == pytest.approx(run.step_time_s, rel=1e-9)


def test_what_binds_is_the_same_for_people_programs_and_python(said, run):
    explanation = sm.explain(run)
    assert explanation.step_time_s == run.step_time_s
    document = json.loads(said("predict", options=["--explain", "-o", "json"]))
    assert document["explanation"]["binds"] == explanation.binds
    assert f"{explanation.binds} binds" in said("predict", options=["--explain"])


def test_the_parts_that_a_step_is_spent_on_are_its_time(run):
    device = run.machine.devices[0]
    parts = device.breakdown_s(run.workload.graph, run.placement.threads[0])
    assert sum(part.sum() for part in parts.values()) == pytest.approx(run.step_time_s, rel=1e-9)
    overhead = parts["overhead"].sum() / run.step_time_s
    assert run.overhead_share == pytest.approx(overhead, rel=1e-9)


# --- what if

GPU = sm.Scenario(workload="resnet50", on="nvidia-a100-sxm-80gb", parameters={"workload.batch": 16})


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("memory.bandwidth_bytes_per_s", 4e12),
        ("vector.float32_flop_per_s", 40e12),
        ("model.launch_s", 0.0),
        ("model.start_s", 0.0),
    ],
)
def test_the_whole_model_answers_to_a_better_accelerator(field, more):
    better = sm.predict(GPU.changed({f"on.{field}": more}))
    assert better.step_time_s <= sm.predict(GPU).step_time_s
    assert better.machine.devices[0].name == "nvidia-a100-sxm-80gb"


def test_twice_of_everything_is_twice_as_fast_but_for_what_takes_its_time():
    a100 = sm.device("nvidia-a100-sxm-80gb").spec.values
    twice = {f"on.{key}": 2 * a100[key] for key in
             ("vector.float32_flop_per_s", "memory.bandwidth_bytes_per_s", "sms")}  # fmt: skip
    large = GPU.changed({"workload.batch": 256})
    faster = sm.predict(large).step_time_s / sm.predict(large.changed(twice)).step_time_s
    assert 1.7 < faster <= 2.0 + 1e-9


@pytest.mark.parametrize("idle_w", [None, 50.0])
def test_energy_of_a_device_whose_power_nobody_says_is_unknown(idle_w):
    device = sm.device("nvidia-a100-sxm-80gb")
    values = {key: v for key, v in device.spec.values.items() if not key.startswith("power.")}
    values |= {} if idle_w is None else {"power.idle_w": idle_w}
    unknown = device_from(device.spec.replaced(name="another", values=values))
    run = sm.simulate(sm.mlp(), on=unknown, plan=sm.Single())
    assert run.energy_j is run.mean_power_w is run.energy_per_sample_j is run.peak_power_w is None
    assert run.metric("energy.idle_j") is None
