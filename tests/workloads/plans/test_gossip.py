"""Gossip: what an exchange with neighbours costs, and how it mixes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulator.check_plan import check_plan
from simulator.errors import DoesNotFitError, InputError, UnknownNameError
from simulator.simulate import simulate
from tests.workloads.plans.machines import (
    ALPHA,
    BANDWIDTH,
    INSTANT,
    SIZE,
    STEP,
    contended,
    ideal,
    job,
    message_s,
    seconds,
    step_s,
)
from workloads.plans import Gossip

EVERY = [
    Gossip(),
    Gossip("exponential"),
    Gossip("one-peer-exponential"),
    Gossip("random", degree=3, graph_seed=5),
]
DEGREES = {"ring": 2, "exponential": 3, "one-peer-exponential": 1, "random": 3}
"""Of 8 ranks."""


@pytest.mark.parametrize("plan", EVERY, ids=str)
@pytest.mark.parametrize("devices", [2, 3, 8])
def test_gossip_keeps_the_contract_of_plans(plan, devices):
    few = plan.topology == "random" and devices <= plan.degree
    assert check_plan(plan, devices).verdict == ("not for so many" if few else "fine")


@pytest.mark.parametrize("plan", EVERY, ids=str)
def test_a_step_exchanges_parameters_as_often_as_the_degree_says(plan):
    """Degree x S / B: with contention, and beside works that take no time."""
    time_s = step_s(plan, contended(8, INSTANT))
    assert time_s == pytest.approx(DEGREES[plan.topology] * (ALPHA + SIZE / BANDWIDTH), rel=1e-6)


def test_a_step_computes_before_and_after_its_exchanges():
    rest_s = step_s(Gossip(), ideal(8)) - 2 * message_s(SIZE)
    assert rest_s > seconds(job().local_step)


def test_a_step_costs_the_same_however_many_there_are():
    assert step_s(Gossip(), ideal(4)) == pytest.approx(step_s(Gossip(), ideal(64)))


def test_a_straggler_slows_its_neighbours_first():
    """In two steps a delay has gone two ranks far on a ring."""
    plan, n = Gossip(), 9
    outcome = simulate(STEP, ideal(n, slow=[4]), plan, steps=2)
    assert outcome.timeline is not None
    ends = [0.0] * n
    for span in outcome.timeline:
        ends[span.rank] = max(ends[span.rank], span.end_s)
    assert ends[0] == ends[8] < ends[4]


@pytest.mark.parametrize("plan", EVERY, ids=str)
@pytest.mark.parametrize("ranks", [4, 7, 16])
def test_mixing_keeps_the_mean(plan, ranks):
    for step in range(5):
        matrix = plan.mixing_matrix(ranks, step)
        assert matrix.sum(axis=0) == pytest.approx(np.ones(ranks))
        assert matrix.sum(axis=1) == pytest.approx(np.ones(ranks))


def test_a_ring_mixes_at_its_second_eigenvalue():
    """(1 + 2 cos(2 pi / n)) / 3."""
    for n in (4, 8, 32):
        values = np.sort(np.linalg.eigvalsh(Gossip().mixing_matrix(n)))
        assert values[-2] == pytest.approx((1 + 2 * math.cos(2 * math.pi / n)) / 3, abs=1e-12)


def test_one_peer_in_turn_gives_the_exact_mean_of_a_power_of_2():
    """Of 2^k ranks after k steps (Ying et al., NeurIPS 2021)."""
    plan, product = Gossip("one-peer-exponential"), np.eye(8)
    for step in range(3):
        product = plan.mixing_matrix(8, step) @ product
    assert product == pytest.approx(np.full((8, 8), 1 / 8))


def test_random_graphs_depend_on_their_seed_only():
    graphs = [Gossip("random", 2, seed).mixing_matrix(32) for seed in (0, 0, 1)]
    assert (graphs[0] == graphs[1]).all()
    assert (graphs[0] != graphs[2]).any()


def test_two_ranks_on_a_ring_exchange_once():
    assert len(Gossip().exchanges(2)[0]) == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"degree": 0}, "degree: expected a whole number of at least 1, got 0"),
        ({"topology": "ring", "degree": 3}, "means something only with topology random"),
    ],
)
def test_what_makes_no_sense_is_refused(parameters, message):
    with pytest.raises(InputError, match=message):
        Gossip(**parameters)


def test_gossip_needs_neighbours():
    with pytest.raises(DoesNotFitError, match="at least 2 devices"):
        simulate(STEP, ideal(1), Gossip())
    with pytest.raises(UnknownNameError, match="did you mean 'ring'"):
        Gossip("rings")
