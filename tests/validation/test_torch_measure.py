"""A workload's own step is measured, and stays the same step while it is."""

from typing import Any, cast

import pytest

pytest.importorskip("torch")

import torch

from simulator.errors import InputError, UnknownNameError
from simulator.ops import Graph
from simulator.workload import Workload
from validation.measure import Effort
from validation.torch_measure import hold_still, measure_workload
from validation.torch_twins import TWINS, register_twin, twin
from workloads.registry import find_workload

QUICK = Effort(warmup=1, repeats=3, budget_s=0.0)


class Twin:
    """Be a step that notes on how many threads it was done."""

    optimizer = None

    def __init__(self):
        self.threads = []

    def step(self):
        self.threads.append(torch.get_num_threads())


@pytest.fixture
def noting(monkeypatch):
    monkeypatch.setattr("validation.torch_twins.TWINS", dict(TWINS))
    made = Twin()
    register_twin("noting", lambda _: cast(Any, made))
    return Workload(name="noting", parameters={}, graph=Graph.of([]), samples=1), made


def test_the_step_is_done_on_as_many_threads_as_said(noting):
    workload, made = noting
    found = measure_workload(workload, 2, effort=QUICK)
    assert set(made.threads) == {2}
    assert (found.name, found.threads) == ("noting", 2)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_held_still_a_training_step_changes_no_weight(optimizer):
    made = twin(find_workload("mlp", batch=2, width=8, training=True, optimizer=optimizer))
    before = [weight.detach().clone() for weight in made.module.parameters()]
    hold_still(made)
    for _ in range(3):
        made.step()
    assert all(torch.equal(a, b) for a, b in zip(before, made.module.parameters(), strict=True))


def test_a_workload_without_a_twin_is_named():
    unknown = Workload(name="mlpp", parameters={}, graph=Graph.of([]), samples=1)
    with pytest.raises(UnknownNameError, match="mlpp"):
        measure_workload(unknown, effort=QUICK)


def test_fewer_than_one_thread_is_bad_input(noting):
    with pytest.raises(InputError, match="at least 1; got 0"):
        measure_workload(noting[0], 0, effort=QUICK)
