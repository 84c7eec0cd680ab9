"""Local SGD and Hogwild: rounds of steps apart from one another."""

from __future__ import annotations

import pytest

from simulator.check_plan import check_plan
from simulator.errors import DoesNotFitError, InputError, UnknownNameError
from simulator.ideal import IdealDevice, ideal_machine
from simulator.simulate import simulate
from tests.workloads.plans.machines import FAST, SIZE, STEP, ideal, job, message_s, seconds, step_s
from workloads.plans import Hogwild, LocalSGD
from workloads.plans.local_sgd import outer_step

LOCAL_S = seconds(job().local_step)


def all_reduce_s(ranks):
    return 2 * (ranks - 1) * message_s(SIZE / ranks)


@pytest.mark.parametrize("plan", [LocalSGD(), LocalSGD(1), LocalSGD(3, "nesterov")], ids=str)
@pytest.mark.parametrize("devices", [1, 2, 5])
def test_local_sgd_keeps_the_contract_of_plans(plan, devices):
    assert check_plan(plan, devices).verdict == "fine"


@pytest.mark.parametrize("every", [1, 4, 32])
@pytest.mark.parametrize("ranks", [2, 8])
def test_a_round_is_its_local_steps_and_one_all_reduce(every, ranks):
    """H compute + comm."""
    expected = every * LOCAL_S + all_reduce_s(ranks)
    assert step_s(LocalSGD(every), ideal(ranks)) == pytest.approx(expected, rel=1e-9)


def test_an_outer_step_is_added_to_each_round():
    mean, outer = (step_s(LocalSGD(4, how), ideal(4)) for how in ("mean", "nesterov"))
    assert outer - mean == pytest.approx(seconds(outer_step(job())))


def test_a_round_learns_from_all_its_steps():
    run = simulate(STEP, ideal(4), LocalSGD(10))
    assert run.samples_per_step == 4 * 10 * STEP.samples


def test_fewer_rounds_communicate_less():
    shares = [simulate(STEP, ideal(4), LocalSGD(h)).communication_share for h in (1, 4, 16)]
    assert shares == sorted(shares, reverse=True)


def test_a_straggler_binds_once_a_round():
    late_s = step_s(LocalSGD(5), ideal(4, slow=[2])) - step_s(LocalSGD(5), ideal(4))
    assert late_s == pytest.approx(5 * LOCAL_S)


def test_equal_ranks_are_simulated_once():
    run = simulate(STEP, ideal(1000), LocalSGD(4))
    assert "1 of 1,000 ranks simulated" in run.notes
    assert run.samples_per_step == 1000 * 4 * STEP.samples


@pytest.mark.parametrize("every", [0, -1, 2.5, True])
def test_a_round_has_a_whole_number_of_steps(every):
    with pytest.raises(InputError, match="plan local-sgd: every: expected a whole number of at"):
        LocalSGD(every)


def test_an_unknown_outer_step_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'nesterov'"):
        LocalSGD(outer="nestrov")


# --- Hogwild


def cores(count):
    return ideal_machine(1, device=IdealDevice(FAST.flops_per_s, max_threads=count))


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_a_device_without_messages(processes):
    run = simulate(STEP, cores(4), Hogwild(processes), steps=3)
    assert run.step_time_s == pytest.approx(LOCAL_S)
    assert run.samples_per_step == processes * STEP.samples
    assert run.communication_share == 0


def test_hogwild_keeps_the_contract_of_plans():
    assert check_plan(Hogwild(1), 3).verdict == "fine"
    assert check_plan(Hogwild(2), 3).verdict == "not for so many"


def test_processes_need_as_many_threads():
    with pytest.raises(DoesNotFitError, match=r"3 processes of 2 threads need 6; 'ideal' allows 4"):
        simulate(STEP, cores(4), Hogwild(3, 2))
    with pytest.raises(InputError, match="processes: expected a whole number of at least 1"):
        Hogwild(0)


def test_a_round_of_endless_local_steps_is_refused_at_once():
    with pytest.raises(InputError, match="every: expected at most 100,000 local steps of a round"):
        LocalSGD(every=99_999_999)
