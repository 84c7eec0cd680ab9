"""Many scenarios at once give what each gives alone, at a small part of the cost."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.cpu_rates import numbers_of
from hwmodels.device_writer import write_device
from hwmodels.devices import find_device, find_spec, with_fields
from hwmodels.spec import Calibration
from scalemodel.asking import sweep
from simulator.errors import DoesNotFitError, InputError, UnknownNameError
from simulator.run import METRICS
from simulator.scenario import Scenario, Value
from simulator.simulate import simulate
from simulator.sweep_chunks import run_row
from tests.hwmodels.machines import rates
from validation import what_if
from validation.predict import predict
from validation.what_if import WhatIf, stamp_of
from workloads.plans import Single
from workloads.registry import find_workload

BASE = Scenario(workload="mlp", on="amd-epyc-7742")
BANDWIDTH = "on.memory.bandwidth_bytes_per_s"

points = st.fixed_dictionaries(
    {
        "workload": st.sampled_from(["mlp", "lenet5"]),
        "on": st.sampled_from(["amd-epyc-7742", "raspberry-pi-4"]),
        "workload.batch": st.integers(1, 300),
        "workload.training": st.booleans(),
        "plan.threads": st.integers(1, 4),
        "steps": st.integers(1, 3),
    },
    optional={"job.steps": st.integers(1, 9), "on.clock.boost_hz": st.floats(3.4e9, 5e9)},
)
POWER = {
    "on.power.idle_w": 5.0,
    "on.power.core_active_w": 2.0,
    "on.power.memory_j_per_byte": 1e-10,
}


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """Return a file of a device whose ops come from a cache or from memory, with spreads."""
    numbers = numbers_of(rates(), {"fork_s": 0.1})
    spec = find_spec("raspberry-pi-4").replaced(
        calibration=Calibration(numbers=numbers, data="12", date="2026-01-31",
                                error_ratio=(0.8, 1.3))
    )  # fmt: skip
    path = tmp_path_factory.mktemp("devices") / "calibrated.toml"
    write_device(path, spec)
    return str(path)


def alone(scenario):
    return run_row(predict(scenario))


@settings(max_examples=30)
@given(st.lists(points, min_size=1, max_size=6))
def test_many_scenarios_give_what_events_give_for_each(changes):
    scenarios = [BASE.changed(change) for change in changes]
    for scenario, row in zip(scenarios, WhatIf().many(scenarios), strict=True):
        expected = alone(scenario)
        assert isinstance(row, Mapping)
        assert list(row) == list(expected)
        unknown = {name for name, value in expected.items() if value is None}
        assert {name for name, value in row.items() if value is None} == unknown
        known = {name: value for name, value in expected.items() if name not in unknown}
        assert {n: row[n] for n in known} == pytest.approx(known, rel=1e-12, abs=1e-15)


def test_operands_come_from_as_far_as_in_a_step_by_itself(calibrated):
    sizes = [{"workload.batch": batch, "plan.threads": t} for batch in (1, 64, 512) for t in (1, 4)]
    names = [{"workload": name} for name in ("mlp", "lenet5", "lstm", "mlp")]
    scenarios = [BASE.changed({"on": calibrated, **change}) for change in sizes + names]
    for scenario, row in zip(scenarios, WhatIf().many(scenarios), strict=True):
        expected = alone(scenario)
        assert isinstance(row, Mapping)
        for name in ("step_time_s", "overhead_share", "step_time_low_s", "step_time_high_s"):
            assert row[name] == pytest.approx(expected[name], rel=1e-12)


def test_a_what_if_that_cannot_be_leaves_the_others_as_they_are(calibrated):
    asked = BASE.changed({"on": calibrated})
    fine, wrong, again = WhatIf().many(
        [asked, asked.changed({"on.cores": -1}), asked.changed({"on.cores": 4})]
    )
    assert fine == again
    assert isinstance(wrong, InputError)


def test_energy_in_closed_form_is_that_of_events():
    scenario = BASE.changed({**POWER, "plan.threads": 4, "workload.batch": 64})
    row, expected = WhatIf().many([scenario])[0], alone(scenario)
    assert isinstance(row, Mapping)
    assert row["energy_j"] == pytest.approx(expected["energy_j"], rel=1e-12)
    assert float(str(row["energy_j"])) > 5.0 * float(str(row["step_time_s"]))


def test_the_figures_are_those_of_a_run():
    row = WhatIf().many([BASE])[0]
    assert isinstance(row, Mapping)
    assert [*row][: len(METRICS)] == [*METRICS]


@given(st.permutations(range(12)), st.integers(1, 12))
def test_a_point_does_not_depend_on_which_others_are_asked_with_it(order, cut):
    scenarios = [
        BASE.changed({"workload.batch": 1 + index % 4, "plan.threads": 1 + index // 4})
        for index in range(12)
    ]
    whole = WhatIf().many(scenarios)
    shuffled = [scenarios[index] for index in order]
    parts = WhatIf().many(shuffled[:cut]) + WhatIf().many(shuffled[cut:])
    assert parts == [whole[index] for index in order]


def test_large_sets_of_workloads_are_cut_into_parts(monkeypatch):
    scenarios = [BASE.changed({"workload.batch": 1 + index}) for index in range(5)]
    whole = WhatIf().many(scenarios)
    monkeypatch.setattr(what_if, "MOST_OPS", 8)
    assert WhatIf().many(scenarios) == whole


def test_errors_are_those_of_each_point_and_leave_the_others_alone():
    changes: list[dict[str, Value]] = [
        {},
        {"workload.batch": 0},
        {"plan.threads": 10_000},
        {"on": "none"},
        {"on.memory.size_bytes": 1e6},
        {"plan": "treads"},
    ]
    answers = WhatIf().many([BASE.changed(change) for change in changes])
    kinds = [type(answer) for answer in answers]
    assert kinds == [dict, InputError, InputError, UnknownNameError, DoesNotFitError,
                     UnknownNameError]  # fmt: skip


def test_plans_that_run_ops_side_by_side_are_simulated():
    scenario = BASE.changed({"plan.threads": 2, "plan.inter_op": 2})
    assert WhatIf().many([scenario])[0] == alone(scenario)


def test_it_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(WhatIf())) == WhatIf()


def test_a_sweep_gives_the_same_numbers_in_any_executor():
    grid: dict[str, Iterable[Value]] = {
        BANDWIDTH: [110e9, 200e9],
        "plan.threads": [1, 2, 4],
        "workload.batch": [1, 7, 64],
    }
    here = sweep(grid, BASE)
    with ProcessPoolExecutor(2) as pool:
        assert sweep(grid, BASE, executor=pool).equals(here)


def test_what_does_not_fit_stays_in_the_table_with_its_reason():
    frame = sweep({"on.memory.size_bytes": ["1 MB", "1 GB"]}, BASE)
    assert "needs" in frame["reason"][0]
    assert frame["reason"][1] == ""


def test_the_stamp_of_devices_changes_with_what_is_known_of_them(tmp_path):
    catalog = Path(__file__).resolve().parents[2] / "hwmodels" / "catalog"
    text = next(catalog.glob("*/amd-epyc-7742.toml")).read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    before = stamp_of([str(path)])
    assert stamp_of([str(path), str(path)]) == before
    path.write_text(text.replace("204.8 GB/s", "204.9 GB/s", 1), encoding="utf-8")
    assert stamp_of([str(path)]) != before
    assert stamp_of([str(path), "unknown"]) == stamp_of([str(path)])


@pytest.mark.benchmark
@pytest.mark.parametrize("workload", ["mlp", "resnet50"])
def test_ten_thousand_points_of_a_what_if(workload, report_figure):
    grid: dict[str, Iterable[Value]] = {
        BANDWIDTH: [105e9 + 1e9 * i for i in range(100)],
        "plan.threads": [1, 2, 4, 8],
        "workload.batch": range(1, 26),
    }
    begin = sum(os.times()[:4])  # of this process and of those it waited for
    frame = sweep(grid, BASE.changed({"workload": workload}))
    cpu_s = sum(os.times()[:4]) - begin
    assert len(frame) == 10_000
    assert (frame["reason"] == "").all()
    report_figure(f"10,000 what-if points of {workload}: {cpu_s:.2f} s of CPU (target 2 s)")


# --- accelerators

GPU = Scenario(workload="mlp", on="nvidia-a100-sxm-80gb")
gpu_points = st.fixed_dictionaries(
    {
        "workload": st.sampled_from(["mlp", "lenet5"]),
        "on": st.sampled_from(["nvidia-a100-sxm-80gb", "nvidia-l4", "amd-mi250x"]),
        "workload.batch": st.integers(1, 300),
        "workload.training": st.booleans(),
        "workload.dtype": st.sampled_from(["float32", "bfloat16"]),
        "steps": st.integers(1, 3),
    },
    optional={
        "job.steps": st.integers(1, 9),
        "on.model.launch_s": st.floats(0, 1e-4),
        "on.power.idle_w": st.floats(10, 20),
        BANDWIDTH: st.floats(1e11, 9e12),
        "on.sms": st.integers(20, 200),
    },
)


@settings(max_examples=20, deadline=None)
@given(st.lists(gpu_points, min_size=1, max_size=6))
def test_accelerators_give_in_closed_form_what_events_give(changes):
    scenarios = [GPU.changed(change) for change in changes]
    for scenario, row in zip(scenarios, WhatIf().many(scenarios), strict=True):
        expected = alone(scenario)
        assert isinstance(row, Mapping)
        assert list(row) == list(expected)
        unknown = {name for name, value in expected.items() if value is None}
        assert {name for name, value in row.items() if value is None} == unknown
        known = {name: value for name, value in expected.items() if name not in unknown}
        assert {n: row[n] for n in known} == pytest.approx(known, rel=1e-9, abs=1e-15)


def test_points_in_a_dtype_that_an_accelerator_lacks_leave_the_others_as_they_are():
    base = GPU.changed({"on": "nvidia-v100-sxm2-16gb"})
    kinds = ("float16", "bfloat16", "float32")
    asked = [base.changed({"workload.dtype": kind, "workload.batch": batch})
             for kind in kinds for batch in (1, 64)]  # fmt: skip
    rows = WhatIf().many(asked)
    assert [isinstance(row, InputError) for row in rows] == [False, False, True, True, False, False]
    assert all("does not compute on bfloat16" in str(row) for row in rows[2:4])
    assert rows[0] == WhatIf().many(asked[:1])[0]


def test_what_an_accelerator_was_borrowed_from_stays_while_its_fields_change():
    base: Any = find_device("nvidia-h200-sxm-141gb")
    like_another = {"memory.bandwidth_bytes_per_s": 2.039e12, "vector.float32_flop_per_s": 19.5e12}
    changed: Any = with_fields(base, like_another)
    for device in (base, changed):
        predict_with(device)
    assert {fit.device for fit in changed.fits.used.values()} == {
        fit.device for fit in base.fits.used.values()
    }
    assert pickle.loads(pickle.dumps(changed)).fits.origin.name == base.name


def predict_with(device):
    return simulate(find_workload("mlp"), device, Single()).step_time_s
