"""Machines of many devices by the front door: by name, by file, changed, swept, shown, drawn."""

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from typer.testing import CliRunner

import scalemodel as sm
from scalemodel.app import make_app
from simulator.errors import InputError, UnknownNameError
from simulator.scenario import Scenario
from workloads.plans import DataParallel

DGX = ("--on", "dgx-h100-80gb", "--devices", "8")
OWN = """
kind = "system"
device = "raspberry-pi-4"
devices = 4
library = "gloo"

[network]
shape = "star"
link = "ethernet-1g"
"""


APP = make_app()


def run(*words):
    """Run a command."""
    return CliRunner().invoke(APP, [str(word) for word in words])


@pytest.fixture
def document():
    """Run a command and return what it prints as JSON."""

    def invoke(*words):
        result = run(*words, "-o", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return invoke


@pytest.fixture
def refused():
    """Run a command that is refused, and return what it says."""

    def invoke(*words):
        result = run(*words)
        assert result.exit_code == 1, result.output
        return result.stderr

    return invoke


def test_a_pattern_on_a_system_says_time_bandwidth_bytes_energy_and_algorithm(document):
    found = document("predict", "all-reduce", "--set", "workload.nbytes=1GB", *DGX)
    metrics = found["metrics"]
    assert found["scenario"]["plan"] == "communicate"
    assert 3e-3 < metrics["step_time_s"]["value"] < 5e-3
    bandwidth = metrics["bus_bandwidth_bytes_per_s"]
    assert bandwidth["unit"] == "B/s"
    assert bandwidth["low"] < bandwidth["value"] < bandwidth["high"]
    assert metrics["sent_bytes"]["value"] > 1e9
    assert metrics["energy_j"]["value"] > 0
    assert "all_reduce by nccl: in-switch" in found["notes"]
    assert "speedup" not in metrics


def test_training_on_a_system_is_data_parallel_where_no_plan_is_named(document):
    words = ("predict", "resnet50", "--set", "workload.training=true", *DGX)
    found = document(*words)
    assert found["scenario"]["plan"] == "data-parallel"
    assert found["metrics"]["speedup"]["value"] > 6
    assert found == document(*words, "--plan", "data-parallel")


def test_a_run_has_an_interval_that_holds_the_networks_error(document):
    found = document("predict", "all-reduce", *DGX)
    assert found["low"] < found["value"] < found["high"]


def test_devices_are_swept(document):
    grid = ("--grid", "on.devices=2,8,64")
    found = document("predict", "all-reduce", "--on", "dgx-h100-80gb", *grid)
    times = [row["step_time_s"] for row in found["points"]]
    assert len(times) == 3
    assert times == sorted(times)


def test_the_network_and_the_devices_of_a_system_can_be_changed(document):
    def time_s(*settings):
        flags = [word for setting in settings for word in ("--set", setting)]
        return document("predict", "all-reduce", "--on", "gigabit-ethernet", *flags)["value"]

    assert time_s("on.network.bandwidth_bytes_per_s=100 Mbit/s") > 9 * time_s()
    assert time_s("on.network.link=ethernet-10g") < time_s() / 5
    assert time_s('on.network.degraded=[["device 0", "switch 0", 0.5]]') > 1.9 * time_s()
    words = ("predict", "mlp", "--on", "gigabit-ethernet", "--set")
    slow = document(*words, "on.memory.bandwidth_bytes_per_s=1 GB/s")["value"]
    also = document(*words, "on.device.memory.bandwidth_bytes_per_s=1 GB/s")["value"]
    assert slow == also > document(*words[:-1])["value"]


def test_a_system_file_is_taken_by_every_command(document, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(OWN, encoding="utf-8")
    assert document("predict", "all-reduce", "--on", path)["scenario"]["on"] == str(path)
    assert document("show", path)["kind"] == "system"
    scenario = tmp_path / "scenario.toml"
    asked = 'workload = "all-reduce"\non = "mine.toml"\n'
    for count in ("devices = 3", "[set]\non.devices = 3"):
        scenario.write_text(f"{asked}{count}\n", encoding="utf-8")
        assert document("predict", "--scenario", scenario)["scenario"]["set"] == {"on.devices": 3}


@pytest.mark.parametrize("kind", ["systems", "links"])
def test_systems_and_links_are_listed_and_shown(document, kind):
    records = document("list", kind)
    assert len(records) > 30
    shown = document("show", records[0]["name"])
    assert shown["kind"] == f"{kind}"[:-1]
    assert all(field["source"]["text"] for field in shown["fields"])


def test_a_system_is_shown_with_what_its_links_carry(document):
    links = document("show", "dgx-h100-80gb")["links"]
    assert links["infiniband-ndr"]["bandwidth_bytes_per_s"] == 50e9


def test_patterns_are_shown_with_their_parameters(document):
    assert document("show", "all-reduce")["parameters"]["count"] == 1


def test_a_system_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "dgx.svg"
    result = run("plot", "topology", "--on", "dgx-h100", "--devices", "32", "--out", out)
    assert result.exit_code == 0, result.output
    assert out.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--on", "dgx-h10"), "did you mean 'dgx-h100-80gb'"),
        (("--on", "nvidia-t4", "--devices", "2"), "is one device; systems have several"),
        (("--on", "dgx-h100", "--devices", "0"), "whole number"),
        (("--on", "tpu-v4-pod", "--devices", "8192"), "at most 4,096 devices"),
        (("--on", "dgx-h100", "--set", "on.network.bandwith_bytes_per_s=1"), "did you mean"),
        (("--on", "dgx-h100", "--set", "on.memry.size_bytes=1"), "unknown field of a system"),
        (("--on", "dgx-h100", "--set", "on.library=ncl"), "did you mean 'nccl'"),
        (("--on", "nvidia-t4"), "needs 2 devices or more"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(refused, words, message):
    assert message in refused("predict", "all-reduce", *words)


def test_either_spelling_of_a_pattern_has_the_same_plan(document):
    words = ("--set", "workload.nbytes=1GB", *DGX)
    spelled = [document("predict", name, *words) for name in ("all-reduce", "all_reduce")]
    assert spelled[0]["value"] == spelled[1]["value"]


def test_a_collective_of_ones_own_does_what_a_pattern_communicates(document, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def mine(rank, buffer):\n    yield rank.all_reduce(buffer)\n")
    words = ("predict", "all-reduce", "--set", "workload.count=3", *DGX)
    found = document(*words, "--plan", path)
    assert found["value"] == document(*words)["value"]
    assert found["scenario"]["plan"] == str(path)


def test_a_topology_is_drawn_of_a_shape_or_of_a_system(refused):
    assert "give either" in refused("plot", "topology")
    assert "give either" in refused("plot", "topology", "star", "--on", "dgx-1")
    assert "has no network" in refused("plot", "topology", "--on", "dgx-1", "--devices", "1")
    assert "name it by --on dgx-1" in refused("plot", "topology", "dgx-1")


def test_patterns_are_compared_on_two_machines(document):
    found = document("predict", "all-reduce", *DGX, "--against", "dgx-a100-80gb")
    assert found["value"] > 1.5
    assert [side["unit"] for side in found["step_time_s"]] == ["s", "s"]


def test_what_binds_a_run_may_be_the_network():
    machine = sm.cluster("gigabit-ethernet", devices=8)
    found = sm.explain(sm.simulate(sm.mlp(batch=8, training=True), machine, sm.DataParallel()))
    assert found.binds == "network.bandwidth"


def test_python_and_scenarios_give_the_same(document):
    scenario = Scenario(workload="all-reduce", on="dgx-h100-80gb", plan="communicate",
                        parameters={"on.devices": 8, "workload.nbytes": "1GB"})  # fmt: skip
    predicted = sm.predict(scenario)
    simulated = sm.simulate(sm.all_reduce(nbytes="1 GB"), sm.cluster("dgx-h100-80gb", devices=8),
                            sm.Communicate())  # fmt: skip
    assert predicted.step_time_s == simulated.step_time_s
    words = ("predict", "all-reduce", "--set", "workload.nbytes=1GB", *DGX)
    assert document(*words)["value"] == predicted.step_time_s


def test_devices_that_a_plan_leaves_idle_are_counted():
    machine = sm.cluster("gigabit-ethernet", devices=8)
    run = sm.simulate(sm.mlp(batch=1), machine, sm.Threads(2))
    assert run.notes[-1].startswith("1 of 8 devices are used")


def test_points_of_systems_are_evaluated_in_other_processes_too():
    base = Scenario(workload="all-gather", on="dgx-h100-80gb", plan="communicate")
    grid = {"on.devices": [2, 8, 16], "workload.nbytes": [1e6, 1e9]}
    here = sm.sweep(grid, base)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = sm.sweep(grid, base, executor=pool)
    assert here.equals(there)
    assert (here["bus_bandwidth_bytes_per_s"] > 0).all()


def test_two_jobs_share_a_network():
    machine = sm.cluster("gigabit-ethernet", devices=8)
    step = sm.all_reduce(nbytes=1e8)
    jobs = [sm.JobSpec(step, sm.Communicate(), devices=places)
            for places in ([0, 1, 2, 3], [4, 5, 6, 7])]  # fmt: skip
    assert all(one.slowdown == pytest.approx(1) for one in sm.simulate_jobs(jobs, machine))


def test_more_ranks_than_devices_are_refused():
    class Two(DataParallel):
        def place(self, machine):
            return sm.Placement([0, 1], [1, 1])

    with pytest.raises(InputError, match="device 1"):
        sm.simulate(sm.mlp(batch=1), sm.cluster("dgx-1", devices=1), Two())
    with pytest.raises(UnknownNameError, match="unknown system"):
        sm.cluster("nvidia-t4")
