"""Stragglers and failures: what they cost a plan, whatever it is."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from simulator.check_plan import check_plan
from simulator.errors import InputError, UnknownNameError
from simulator.simulate import simulate
from tests.workloads.plans.machines import STEP, ideal, job, quick_server, run, seconds, step_s
from workloads.plans import (
    DISTURBED,
    PLANS,
    DataParallel,
    Failures,
    LocalSGD,
    ParameterServer,
    Stragglers,
    find_plan,
)

LOCAL_S = seconds(job().local_step)


@pytest.mark.parametrize("name", sorted(set(PLANS) - {"communicate", "hogwild"}))
@pytest.mark.parametrize("disturbed", [{"slow_ranks": 1, "delay": 0.5}, {"mtbf_s": 3.0}], ids=str)
def test_a_disturbed_plan_keeps_the_contract_of_plans(name, disturbed):
    assert check_plan(find_plan(name, **disturbed), 12).verdict == "fine"


@pytest.mark.parametrize("name", PLANS)
def test_parameters_of_disturbances_are_not_those_of_a_plan(name):
    kinds: Any = (PLANS[name], *DISTURBED)
    own = [{field.name for field in fields(kind)} - {"plan"} for kind in kinds]
    assert len(set.union(*own)) == sum(map(len, own))


def test_plans_are_found_with_their_disturbances():
    plan = find_plan("local-sgd", every=2, slow_ranks=1, mtbf_s=9.0)
    assert plan == Failures(Stragglers(LocalSGD(2), slow_ranks=1), mtbf_s=9.0)
    with pytest.raises(UnknownNameError, match="did you mean 'slow_ranks'"):
        find_plan("local-sgd", slowranks=1)


# --- stragglers


def test_a_slow_rank_takes_so_many_times_as_long():
    slow = Stragglers(LocalSGD(5), slow_ranks=1, slowdown=3.0)
    late_s = step_s(slow, ideal(4)) - step_s(LocalSGD(5), ideal(4))
    assert late_s == pytest.approx(2 * 5 * LOCAL_S)


def test_a_slow_rank_is_as_slow_as_a_slow_device():
    slow = step_s(Stragglers(DataParallel(), slow_ranks=1), ideal(4))
    assert slow == pytest.approx(step_s(DataParallel(), ideal(4, slow=[0])))


@pytest.mark.parametrize("ranks", [2, 8, 32])
def test_of_exponential_delays_all_wait_for_the_longest(ranks):
    """E max = 1 + 1/2 + ... + 1/n, an order statistic of the exponential distribution."""
    steps = 400
    time_s = run(Stragglers(LocalSGD(1), delay=0.5), ideal(ranks), steps).time_s
    plain_s = run(LocalSGD(1), ideal(ranks), steps).time_s
    longest = sum(1 / k for k in range(1, ranks + 1))
    assert (time_s - plain_s) / steps / LOCAL_S == pytest.approx(0.5 * longest, rel=0.1)


def test_asynchronous_workers_wait_for_their_own_delays_only():
    def lost_s(plan):
        slow = Stragglers(plan, delay=1.0)
        return step_s(slow, quick_server(16), 200) - step_s(plan, quick_server(16), 200)

    gradient_s = seconds(job().gradient)
    assert lost_s(ParameterServer(mode="asynchronous")) == pytest.approx(gradient_s, rel=0.05)
    longest = sum(1 / k for k in range(1, 17))
    assert lost_s(ParameterServer()) == pytest.approx(longest * gradient_s, rel=0.05)


def test_backup_workers_wait_for_an_earlier_order_statistic():
    """Longer than for the (n - b)-th of n delays, as late workers end what they have begun."""
    n, b = 16, 4
    waits = [
        (step_s(Stragglers(plan, delay=1.0), quick_server(n), 300) - step_s(plan, quick_server(n)))
        / seconds(job().gradient)
        for plan in (ParameterServer(backup=b), ParameterServer())
    ]
    assert sum(1 / k for k in range(b + 1, n + 1)) < waits[0] < 0.7 * waits[1]


def test_lognormal_delays_have_their_logarithms_mean():
    plan = Stragglers(LocalSGD(1), delay=0.5, distribution="lognormal")
    factors = np.diff(run(plan, ideal(1), 2000).step_ends_s) / LOCAL_S
    assert factors.min() >= 1
    assert np.log(factors).mean() == pytest.approx(0.5 * math.sqrt(2 / math.pi), rel=0.05)


def test_delays_depend_on_the_seed_only():
    ends = [run(Stragglers(LocalSGD(1), delay=1.0), ideal(3), 5, seed).step_ends_s
            for seed in (0, 0, 1)]  # fmt: skip
    assert ends[0] == ends[1] != ends[2]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"slow_ranks": -1}, "slow_ranks: expected a whole number of at least 0"),
        ({"slowdown": 0.5}, "slowdown: expected a finite number of at least 1, got 0.5"),
        ({"slowdown": "twice"}, "slowdown: expected a finite number of at least 1, got 'twice'"),
        ({"delay": -0.1}, "delay: expected a finite number of at least 0"),
        ({"slowdown": True}, "slowdown: expected a number, got True"),
        ({"mtbf_s": [5.0]}, r"mtbf_s: expected a number, got \[5.0\]"),
        ({"distribution": "normal"}, "did you mean 'lognormal'"),
        ({"mtbf_s": 0.0}, "mtbf_s: expected a finite number above 0"),
        ({"restart_s": -1.0}, "restart_s: expected a finite number of at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused(parameters, message):
    with pytest.raises(InputError, match=message):
        find_plan("data-parallel", **parameters)


@pytest.mark.parametrize("disturb", [Stragglers, Failures])
@pytest.mark.parametrize("plan", [None, 3, LocalSGD])
def test_only_a_plan_can_be_disturbed(disturb, plan):
    with pytest.raises(InputError, match="expected a plan to disturb"):
        disturb(plan)


def test_there_are_no_more_slow_ranks_than_ranks():
    with pytest.raises(InputError, match=r"slow_ranks: at most the 4 ranks there are; got 5"):
        simulate(STEP, ideal(4), Stragglers(LocalSGD(), slow_ranks=5))


# --- failures

MTBF_S, RESTART_S, EVERY_S, CHECKPOINT_S = 400.0, 5.0, 20.0, 1.0


def test_checkpoints_cost_their_time_at_every_interval():
    plan = Failures(LocalSGD(1), checkpoint_every_s=EVERY_S, checkpoint_s=CHECKPOINT_S)
    steps = 5000
    plain_s = steps * LOCAL_S
    expected = plain_s * (1 + CHECKPOINT_S / EVERY_S)
    assert run(plan, ideal(1), steps).time_s == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("ranks", [1, 4])
def test_failures_cost_restarts_and_half_an_interval(ranks):
    """W (1 + C / T) (1 + n / M (R + T / 2)), to first order (Young 1974; Daly 2006)."""
    plan = Failures(LocalSGD(1), MTBF_S * ranks, RESTART_S, EVERY_S, CHECKPOINT_S)
    steps = 10_000
    plain_s = run(LocalSGD(1), ideal(ranks), 100).time_s / 100 * steps
    lost = (RESTART_S + EVERY_S / 2) / MTBF_S
    expected = plain_s * (1 + CHECKPOINT_S / EVERY_S) * (1 + lost)
    runs = [simulate(STEP, ideal(ranks), plan, steps=steps, seed=seed, record=False)
            for seed in range(8)]  # fmt: skip
    assert np.mean([found.time_s for found in runs]) == pytest.approx(expected, rel=0.02)
    assert any(note.startswith("failures: ") for found in runs for note in found.notes)


@pytest.mark.parametrize("mtbfs", [0.5, 2.0])
def test_without_checkpoints_a_rank_starts_from_the_beginning_until_it_gets_through(mtbfs):
    """(exp(W / M) - 1) (M + R) on average, though failures may come many times (Daly 2006)."""
    steps, runs = 10, 800
    whole_s = steps * LOCAL_S
    mtbf_s, restart_s = whole_s / mtbfs, 0.1 * whole_s
    plan = Failures(LocalSGD(1), mtbf_s, restart_s)
    times_s = [run(plan, ideal(1), steps, seed).time_s for seed in range(runs)]
    expected = math.expm1(mtbfs) * (mtbf_s + restart_s)
    assert np.mean(times_s) == pytest.approx(expected, abs=4 * np.std(times_s) / math.sqrt(runs))
    assert min(times_s) == pytest.approx(whole_s)


def test_a_checkpoint_that_a_failure_interrupts_is_written_again():
    """Each step and its checkpoint take (exp((w + C) / M) - 1) (M + R) on average."""
    checkpoint_s, restart_s = 0.5 * LOCAL_S, 0.2 * LOCAL_S
    plan = Failures(LocalSGD(1), LOCAL_S, restart_s, LOCAL_S, checkpoint_s)
    steps = 4000
    found = simulate(STEP, ideal(1), plan, steps=steps, record=False)
    each_s = math.expm1((LOCAL_S + checkpoint_s) / LOCAL_S) * (LOCAL_S + restart_s)
    assert found.time_s == pytest.approx(steps * each_s, rel=0.08)


def test_a_rank_that_would_hardly_ever_get_through_is_refused():
    plan = Failures(LocalSGD(1), mtbf_s=LOCAL_S)
    with pytest.raises(InputError, match=r"does not get through .* without a checkpoint"):
        run(plan, ideal(1), 20)


def test_a_share_of_the_works_is_delayed():
    plan = Stragglers(LocalSGD(1), delay=0.5, delayed=0.25)
    factors = np.diff(run(plan, ideal(1), 4000).step_ends_s) / LOCAL_S
    late = factors[factors > 1 + 1e-9]
    assert len(late) / len(factors) == pytest.approx(0.25, abs=0.02)
    assert late.mean() == pytest.approx(1.5, rel=0.05)
