"""Workers that get their input from hosts: what that costs, and who shares a link."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.engine.execute import execute
from simulator.errors import DoesNotFitError, InputError
from simulator.simulate import simulate
from simulator.workload import Job
from tests.workloads.plans.machines import (
    ALPHA,
    BANDWIDTH,
    GRADIENT_BYTES,
    STEP,
    contended,
    ideal,
    message_s,
    run,
    step_s,
)
from workloads.plans import DataParallel, Fed, ParameterServer, Single, Stragglers

INPUT_BYTES = 5e6
FED = replace(STEP, input_bytes=INPUT_BYTES)


def fed_step_s(plan, machine, steps=3):
    job = Job.of(FED, steps=steps, bucket_bytes=GRADIENT_BYTES)
    return execute(job, machine, plan).time_s / steps


def test_an_input_comes_before_each_step():
    alone = run(Single(), ideal(1), 3).time_s / 3
    expected = alone + ALPHA + message_s(INPUT_BYTES)
    assert fed_step_s(Fed(Single()), ideal(2)) == pytest.approx(expected)


@pytest.mark.parametrize("workers", [1, 2, 6])
def test_workers_of_a_host_share_its_link(workers):
    plan = DataParallel()
    machine = contended(workers + 1)
    fed = fed_step_s(Fed(Some(plan, workers)), machine)
    plain = fed_step_s(plan, contended(workers))
    assert fed - plain == pytest.approx(workers * INPUT_BYTES / BANDWIDTH + 2 * ALPHA, rel=1e-6)


def test_each_host_feeds_as_many_workers_in_a_row():
    one, two = (
        fed_step_s(Fed(ParameterServer(servers=2), hosts=hosts), contended(6)) for hosts in (1, 2)
    )
    assert one - two == pytest.approx(2 * INPUT_BYTES / BANDWIDTH, rel=0.01)


def test_servers_get_no_input():
    plan, machine = ParameterServer(), contended(3)
    fed = fed_step_s(Fed(plan), machine)
    assert fed - fed_step_s(plan, machine) == pytest.approx(
        2 * INPUT_BYTES / BANDWIDTH + 2 * ALPHA, rel=1e-6
    )


def test_a_plan_that_is_fed_can_be_disturbed():
    plan = Stragglers(Fed(ParameterServer()), slow_ranks=1)
    assert fed_step_s(plan, ideal(3)) > fed_step_s(Fed(ParameterServer()), ideal(3))
    assert step_s(Fed(ParameterServer()), ideal(3)) > 0
    assert simulate(FED, ideal(3), plan).samples_per_step == 2 * FED.samples


@pytest.mark.parametrize(("plan", "error", "message"), [
    (Fed(ParameterServer(), hosts=2), InputError, "2 hosts do not share 3 workers evenly"),
    (Fed(Single(), hosts=9), DoesNotFitError, "needs at least 9 devices"),
])  # fmt: skip
def test_hosts_that_do_not_fit_are_refused(plan, error, message):
    with pytest.raises(error, match=message):
        execute(Job.of(FED), ideal(4), plan)


def test_no_hosts_are_refused():
    with pytest.raises(InputError, match="hosts: expected a whole number"):
        Fed(Single(), hosts=0)


class Some:
    """Be a plan on the first devices only."""

    def __init__(self, plan, devices):
        self.plan, self.devices = plan, devices

    def place(self, machine):
        return self.plan.place(replace(machine, devices=machine.devices[: self.devices]))

    def program(self, rank, job):
        return self.plan.program(rank, job)

    def copies(self, ranks):
        return None
