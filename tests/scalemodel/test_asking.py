"""What Python is asked wrongly is one clear error, before anything of this machine is used up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import scalemodel as sm

POINT = sm.Scenario(workload="mlp", on="raspberry-pi-4")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workload": "mlp"}, "workload: expected a Workload, got 'mlp'"),
        ({"threads": 0}, "threads: expected a whole number of at least 1, got 0"),
        ({"threads": float("nan")}, "threads: expected a whole number of at least 1, got nan"),
        ({"threads": 10**9}, "threads: this machine has .* threads, got 1000000000"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"seed": 2**63}, "seed: torch takes seeds below"),
    ],
)
def test_what_cannot_be_measured_is_refused(given, message):
    pytest.importorskip("torch")
    asked: dict[str, Any] = {"workload": sm.mlp(batch=2), "budget_s": 0.01, **given}
    with pytest.raises(sm.InputError, match=message):
        sm.measure(**asked)


def test_a_step_above_the_memory_of_this_machine_is_not_tried():
    pytest.importorskip("torch")
    with pytest.raises(sm.DoesNotFitError, match=r"mlp needs .* this machine has"):
        sm.measure(sm.mlp(batch=10**12))


@pytest.mark.parametrize("wrong", [None, "mlp", 3])
def test_what_is_no_scenario_is_refused(wrong):
    with pytest.raises(sm.InputError, match=f"expected a Scenario, got {wrong!r}"):
        sm.predict(wrong)
    with pytest.raises(sm.InputError, match=f"expected a Scenario, got {wrong!r}"):
        sm.sweep({"plan.threads": [1]}, wrong)


def test_values_of_numpy_are_values_of_a_grid():
    frame = sm.sweep({"plan.threads": np.arange(1, 3), "workload.batch": [np.int64(2)]}, POINT)
    plain = sm.sweep({"plan.threads": [1, 2], "workload.batch": [2]}, POINT)
    assert frame.equals(plain)
