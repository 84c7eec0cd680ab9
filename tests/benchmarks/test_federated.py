"""How fast federated training is simulated: a large fleet, of which few clients train at a time."""

import functools

import pytest

from hwmodels.network.systems import cluster
from simulator.ideal import ideal_machine
from simulator.simulate import simulate
from workloads.plans import Federated
from workloads.registry import find_workload

pytestmark = pytest.mark.benchmark

CLIENTS, ROUNDS = 10_000, 100
PLAN = Federated(wanted=77, over_selection=1.3, dropout=0.08, deadline_s=60.0, fleet="flash")
"""100 clients are selected for a round."""
STEP = find_workload("femnist-cnn", training=True)
MACHINES = {
    "ideal network": functools.partial(ideal_machine, CLIENTS + 1),
    "star": functools.partial(cluster, "phones", devices=CLIENTS + 1),
}


@pytest.mark.parametrize("name", MACHINES)
def test_a_hundred_rounds_of_ten_thousand_clients(name, cpu_s, report):
    machine = MACHINES[name]()
    run = functools.partial(simulate, STEP, machine, PLAN, steps=ROUNDS, record=False)
    what = f"federated: 100 of {CLIENTS:,} clients a round, {ROUNDS} rounds, {name}, s"
    report(what, cpu_s(run, 1), "<= 10 s")
