"""A workload's step is done in torch and timed, with energy where there is a meter."""

from __future__ import annotations

import time
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from simulator.errors import InputError, UnknownNameError  # noqa: E402
from simulator.ops import Graph  # noqa: E402
from simulator.workload import Workload  # noqa: E402
from validation.measure import Effort  # noqa: E402
from validation.torch_measure import energy_of_step_j, measure_workload  # noqa: E402
from validation.torch_twins import register_twin, twin  # noqa: E402
from workloads.registry import find_workload  # noqa: E402

QUICK = Effort(warmup=1, repeats=3, budget_s=0.0)


class Counter:
    """Be a meter that counts a joule a step."""

    name = "fake"

    def __init__(self, made):
        self.made = made

    def read_j(self):
        return float(self.made.steps)

    def between_j(self, start_j, end_j):
        return end_j - start_j


class Sleeper:
    """Be a twin that takes 5 ms."""

    def __init__(self):
        self.steps, self.threads = 0, None

    def step(self):
        self.steps += 1
        self.threads = torch.get_num_threads()
        time.sleep(0.005)


@pytest.fixture
def sleeper() -> tuple[Workload, Any]:
    made: Any = Sleeper()
    workload = Workload(name="sleeper", parameters={}, graph=Graph.of([]), samples=1)
    register_twin("sleeper", lambda _: made)
    return workload, made


def test_the_time_is_that_of_one_step(sleeper):
    workload, made = sleeper
    found = measure_workload(workload, 2, effort=QUICK).measurement
    assert 0.005 <= found.time_s < 0.1
    assert made.steps >= 4
    assert found.name == "sleeper"


def test_torch_has_as_many_threads_as_asked_and_as_before_afterwards(sleeper):
    workload, made = sleeper
    before = torch.get_num_threads()
    measure_workload(workload, 2, effort=QUICK)
    assert made.threads == 2
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("training", [False, True])
def test_a_workload_of_the_registry_is_measured(training):
    workload = find_workload("mlp", batch=2, width=8, training=training)
    found = measure_workload(workload, effort=QUICK)
    assert 0 < found.measurement.time_s < 1


def test_energy_is_that_of_one_step_and_none_without_a_meter():
    made: Any = Sleeper()
    assert energy_of_step_j(made, ()) is None
    assert energy_of_step_j(made, (Counter(made),)) == pytest.approx(1.0)


def test_a_workload_without_a_twin_is_an_error_with_the_nearest_name():
    workload = Workload(name="resnet5", parameters={}, graph=Graph.of([]), samples=1)
    with pytest.raises(UnknownNameError, match="did you mean 'resnet50'"):
        measure_workload(workload)


def test_no_threads_are_an_error():
    with pytest.raises(InputError, match="at least 1; got 0"):
        measure_workload(find_workload("mlp"), 0)


def test_the_same_seed_gives_the_same_weights():
    workload = find_workload("mlp", batch=2)
    one, two, three = (twin(workload, seed).step() for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
