"""Time to accuracy is time per step times steps to the accuracy."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from simulator.errors import InputError, UnknownNameError
from simulator.scenario import Scenario
from validation.cosimulate import AXES
from validation.time_to_accuracy import Training, that_trains, time_to_accuracy
from workloads.datasets import blobs

CLOUDS = blobs(samples=400, features=6, classes=3, spread=0.7)
SIZES = {"workload.batch": 4, "workload.features": 6, "workload.classes": 3, "on.devices": 4}
SCENARIO = Scenario(workload="logistic-regression", on="gigabit-ethernet", plan="local-sgd",
                    parameters=SIZES)  # fmt: skip


def training(**given):
    return Training(**{"data": CLOUDS, "target": 0.85, "learning_rates": (0.03,), **given})


@pytest.fixture(scope="module")
def study():
    return time_to_accuracy(SCENARIO, {"plan.every": (1, 4, 16)}, training(seeds=2))


def test_it_is_the_product_of_time_per_step_and_steps(study):
    for point in study.points:
        assert point.to_target() == pytest.approx(point.step_time_s * point.to_target("steps"))
        mean = np.mean([one.found.to_accuracy(0.85) for one in point.runs])
        assert point.to_target() == pytest.approx(mean)


def test_rare_communication_makes_rounds_longer_and_fewer(study):
    step_s, steps = ([row[name] for _, row in study.table().iterrows()]
                     for name in ("step_time_s", "steps_to_target"))  # fmt: skip
    assert step_s == sorted(step_s)
    assert steps == sorted(steps, reverse=True)


def test_a_row_says_the_point_and_what_it_takes(study):
    table = study.table()
    assert list(table["plan.every"]) == [1, 4, 16]
    assert {"time_to_target_s", "steps_to_target", "samples_to_target", "sent_to_target_bytes",
            "step_time_s", "learning_rate", "reached"} <= {*table.columns}  # fmt: skip
    assert str(study).splitlines()[0].split()[0] == "plan.every"


def test_each_seed_is_a_run_of_its_own(study):
    for point in study.points:
        assert [one.found.run.seed for one in point.runs] == [0, 1]
        first, second = (one.found.parameters for one in point.runs)
        assert (first != second).any()


def test_the_best_point_is_the_first_at_the_target(study):
    assert study.best.to_target() == min(point.to_target() for point in study.points)


def test_a_target_that_one_seed_misses_is_not_reached():
    found = time_to_accuracy(SCENARIO, {"plan.every": (1,)}, training(target=1.0, steps=3))
    [point] = found.points
    assert point.reached == 0
    assert all(point.to_target(axis) is None for axis in AXES)
    assert found.best is None
    assert point.step_time_s == pytest.approx(point.runs[0].found.time_s[-1] / 3)


def test_of_several_learning_rates_a_point_takes_the_quickest():
    rates = (1e-5, 0.03, 0.1)
    lone = {rate: time_to_accuracy(SCENARIO, {"plan.every": (4,)},
                                   training(learning_rates=(rate,), epochs=3)).points[0].to_target()
            for rate in rates}  # fmt: skip
    found = time_to_accuracy(SCENARIO, {"plan.every": (4,)},
                             training(learning_rates=rates, epochs=3)).points[0]  # fmt: skip
    best = min(time_s for time_s in lone.values() if time_s is not None)
    assert lone[1e-5] is None
    assert found.to_target() == best
    assert [rate for rate, time_s in lone.items() if time_s == best] == [
        found.runs[0].learning_rate]  # fmt: skip


def test_larger_batches_need_fewer_steps_up_to_the_critical_one():
    grid = {"workload.batch": (1, 8, 64, 256)}
    found = time_to_accuracy(
        SCENARIO.changed({"plan": "data-parallel"}), grid,
        training(seeds=2, learning_rates=(0.01, 0.1, 1.0)),
    )  # fmt: skip
    steps, samples = (found.table()[f"{name}_to_target"].tolist() for name in ("steps", "samples"))
    assert steps[0] > steps[1] >= steps[2]
    assert samples[-1] > samples[0]
    fit = found.critical_batch()
    assert 1 < fit.samples < 256


def test_a_workload_that_may_train_does_unless_it_is_told_not_to():
    mlp = Scenario(workload="mlp", on="raspberry-pi-4")
    assert that_trains(mlp).parameters["workload.training"] is True
    told = mlp.changed({"workload.training": False})
    assert that_trains(told) is told


def test_what_has_no_time_to_accuracy_is_said():
    with pytest.raises(InputError, match="needs a target"):
        time_to_accuracy(SCENARIO, {"plan.every": (1,)}, training(target=None))
    with pytest.raises(InputError, match="target: expected"):
        training(target=90)
    with pytest.raises(InputError, match="seeds"):
        training(seeds=0)
    with pytest.raises(InputError, match="at least one"):
        training(learning_rates=())
    with pytest.raises(UnknownNameError, match="parameter of plan local-sgd"):
        time_to_accuracy(SCENARIO, {"plan.evry": (1,)}, training())
