"""Learning of federated clients: what their data, deadlines and fleets do to it."""

from __future__ import annotations

import math

import numpy as np
import pytest

import scalemodel as sm
from simulator.ideal import ideal_machine
from workloads.plans import Federated

MODEL = sm.mlp(batch=10, inputs=64, width=32, depth=1, classes=10, training=True, optimizer="sgd")
DATA = sm.digits()


def learned(plan, data=DATA, clients=20, steps=30, seed=0):
    machine = ideal_machine(clients + plan.edges + 1, latency_s=1e-3)
    return sm.cosimulate(MODEL, data, plan, machine, steps=steps, seed=seed, learning_rate=0.1,
                         judgements=steps)  # fmt: skip


def test_clients_that_see_few_digits_need_more_rounds():
    plan = Federated(wanted=5, local_steps=10)
    shuffled, apart = (
        learned(plan, DATA.distributed(how), steps=20) for how in ("shuffled", "by-label")
    )
    rounds = [found.to_accuracy(0.6, "steps") or math.inf for found in (shuffled, apart)]
    assert 2 * rounds[0] < rounds[1]


@pytest.mark.parametrize("edges", [0, 2])
@pytest.mark.parametrize("plan", [{"deadline_s": 1e-3}, {"dropout": 1.0}], ids=str)
def test_rounds_without_updates_leave_the_model_as_it_was(plan, edges):
    found = learned(Federated(wanted=4, edges=edges, **plan), clients=8, steps=4)
    assert "rounds without updates: 4" in found.run.notes
    assert found.run.throughput == 0
    assert np.ptp(found.loss) == 0
    assert found.to_accuracy(0.5) is None


def test_a_fleet_changes_when_updates_come_not_what_they_are():
    """All clients are waited for, so that each round is of the same updates."""
    same, mixed = (learned(Federated(wanted=5, fleet=fleet), steps=4) for fleet in ("", "flash"))
    assert mixed.loss == pytest.approx(same.loss, rel=1e-5)
    assert mixed.time_s[-1] > same.time_s[-1]


def test_the_first_updates_are_those_of_quick_phones():
    """Over-selection and deadlines bend what is learned towards quick clients."""
    plans = (Federated(wanted=5, fleet="flash"), Federated(wanted=5, over_selection=3.0,
                                                           fleet="flash"))  # fmt: skip
    every, first = (learned(plan, steps=6) for plan in plans)
    assert first.time_s[-1] < every.time_s[-1]
    assert not np.allclose(first.parameters, every.parameters)
