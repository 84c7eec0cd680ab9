"""The contract that every plan keeps, and what breaks it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from simulator.check_plan import check_plan, training_step
from simulator.errors import DoesNotFitError
from simulator.protocols import Placement
from simulator.workload import Buffer, Job
from workloads.plans import Single, Threads


class Spread:
    def place(self, machine):
        count = len(machine.devices)
        return Placement(range(count), [1] * count)

    def copies(self, ranks):
        return None


class Reduced(Spread):
    """Reduce the gradient after each step; all ranks are alike."""

    def copies(self, ranks):
        return np.arange(ranks)[None, :]

    def program(self, rank, job):
        for _ in range(job.steps):
            yield rank.compute(job.gradient)
            yield rank.all_reduce(job.grad)
            yield rank.compute(job.apply)


class WrongCopies(Reduced):
    """Let rank 0 do more, yet say that it is like the others."""

    def program(self, rank, job):
        if rank.id == rank.size - 1:
            yield rank.sleep(1.0)
        yield from super().program(rank, job)


class Deadlocked(Spread):
    def program(self, rank, job):
        yield rank.recv(job.grad)


class Disagreeing(Spread):
    def program(self, rank, job):
        if rank.id == 0:
            yield rank.all_reduce(job.grad)
        else:
            yield rank.broadcast(job.params)


class Lossy(Spread):
    def program(self, rank, job):
        yield rank.send(job.grad, to=0)


class Endless(Spread):
    def program(self, rank, job):
        while True:
            yield rank.sleep(0.0)


class Raising(Spread):
    def program(self, rank, job):
        yield rank.compute(job.gradient)
        raise KeyError("oops")


class Leaving(Spread):
    def program(self, rank, job):
        yield rank.compute(job.gradient)
        raise SystemExit(0)


class Nowhere(Spread):
    def place(self, machine):
        return machine.devices[10]

    program = Reduced.program


class Placeless(Spread):
    def place(self, machine):
        return None

    program = Reduced.program


class Choosy(Spread):
    def place(self, machine):
        raise DoesNotFitError("needs exactly 7 devices")

    program = Reduced.program


class Fickle(Spread):
    """Do something else each time."""

    turns = itertools.count()

    def program(self, rank, job):
        yield rank.sleep(float(next(self.turns)))


class Impatient(Spread):
    """Count on equal devices: fail when the last rank comes later than the first."""

    def program(self, rank, job):
        yield rank.compute(job.gradient)
        if rank.id == rank.size - 1:
            yield rank.send(Buffer("ready", 8.0), to=0)
        elif rank.id == 0:
            message = yield rank.recv(Buffer("ready", 8.0), timeout_s=1e-4)
            if message is None:
                raise TimeoutError("nothing came")


@pytest.mark.parametrize("plan", [Single(), Threads(), Reduced()])
@pytest.mark.parametrize("devices", [1, 2, 5])
def test_a_plan_that_keeps_the_contract_is_fine(plan, devices):
    assert check_plan(plan, devices).verdict == "fine"


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (Deadlocked(), "recv"),
        (Disagreeing(), "all_reduce"),
        (Lossy(), "grad"),
        (Endless(), "does its program end"),
        (Raising(), "its program raises KeyError: 'oops'"),
        (Leaving(), "its program raises SystemExit: 0"),
        (Nowhere(), "its place raises IndexError"),
        (Placeless(), "Placeless.place must give a Placement; got None"),
        (WrongCopies(), "folded and whole runs differ"),
        (Impatient(), "its program raises TimeoutError: nothing came"),
        (Fickle(), "run twice, it does not do the same"),
    ],
)
def test_a_plan_that_breaks_the_contract_is_told_why(plan, why):
    verdict = check_plan(plan, 3)
    assert verdict.broken
    assert why in verdict.why


def test_a_plan_may_refuse_a_number_of_devices():
    verdict = check_plan(Choosy(), 3)
    assert (verdict.verdict, verdict.why) == ("not for so many", "needs exactly 7 devices")
    assert not verdict.broken


def test_the_step_that_plans_are_checked_with_has_all_works_and_several_buckets():
    job = Job.of(training_step())
    assert {"step", "forward", "backward", "update", "gradient", "apply"} <= set(job.works)
    assert len(job.buckets) == 3
