"""The energy of a real step, where there is a meter."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytest.importorskip("torch")

from simulator.errors import InputError, UnknownNameError
from simulator.ops import Graph
from simulator.workload import Workload
from validation import torch_energy
from validation.torch_energy import energy_of_step_j, measure_energy_j
from workloads.registry import find_workload


class Sleeper:
    """Be a twin that takes 5 ms."""

    steps = 0

    def step(self):
        self.steps += 1
        time.sleep(0.005)


class Counter:
    """Be a meter that counts so many joules a step."""

    def __init__(self, made, joules, name="fake"):
        self.made, self.joules, self.name = made, joules, name

    def read_j(self):
        return self.joules * self.made.steps

    def between_j(self, start_j, end_j):
        return end_j - start_j


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(torch_energy, "METERED_S", 0.05)


def test_the_energy_is_that_of_one_step_over_all_meters():
    made: Any = Sleeper()
    meters = (Counter(made, 1.0, "package-0"), Counter(made, 2.5, "package-1"))
    assert energy_of_step_j(made, meters) == pytest.approx(3.5)
    assert made.steps > 5


def test_without_a_meter_the_energy_is_unknown_and_not_zero(monkeypatch):
    made: Any = Sleeper()
    assert energy_of_step_j(made, ()) is None
    monkeypatch.setattr(torch_energy, "find_meters", lambda: ())
    assert measure_energy_j(find_workload("mlp")) is None


def test_a_real_step_is_metered(monkeypatch):
    class Clock:
        name = "1 W"

        def read_j(self):
            return time.perf_counter()

        def between_j(self, start_j, end_j):
            return end_j - start_j

    monkeypatch.setattr(torch_energy, "find_meters", lambda: (Clock(),))
    joules = measure_energy_j(find_workload("mlp", batch=2, width=8))
    assert joules is not None
    assert 0 < joules < 1
    with pytest.raises(InputError, match="at least 1; got 0"):
        measure_energy_j(find_workload("mlp", batch=2), 0)
    stranger = Workload(name="resnet5", parameters={}, graph=Graph.of([]), samples=1)
    with pytest.raises(UnknownNameError, match="did you mean 'resnet50'"):
        measure_energy_j(stranger)
