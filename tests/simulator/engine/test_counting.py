"""What a program asks of the clock and tells the run; works that take longer than they should."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.actions import NOW, Count, Rank
from simulator.check_plan import training_step
from simulator.energy import Energy
from simulator.engine.execute import execute
from simulator.errors import InputError
from simulator.ideal import ideal_machine
from simulator.jobs import JobSpec, simulate_jobs
from simulator.protocols import Machine, Running
from simulator.simulate import simulate
from simulator.workload import Buffer
from tests.simulator.plans import By, Spread, job, work


class EventDevice:
    """Say by an event when a work ends, as devices do on which works compete."""

    name, max_threads, memory_bytes = "event", 1, None

    def times_s(self, graph, threads):
        return np.ones(len(graph))

    def open(self, clock):
        self.clock = clock
        return self

    def run(self, work, threads):
        marks = {name: self.clock.timeout(1.0) for name, _ in work.marks}
        return Running(self.clock.timeout(2.0), marks)

    def energy(self, time_s):
        return Energy({})


def run(program, ranks=1, copies=None, machine=None, **kwargs):
    return execute(job(**kwargs), machine or ideal_machine(ranks), By(program, copies))


def test_now_is_the_time_since_the_run_began():
    seen = []

    def program(rank, job):
        seen.append((yield NOW))
        yield rank.sleep(1.5)
        seen.append((yield NOW))

    run(program)
    assert seen == [0.0, 1.5]


class Told(Spread):
    """Learn from half a batch in steps of a second; remember when they ended."""

    def __init__(self):
        self.seen = []

    def program(self, rank, job):
        for _ in range(job.steps):
            yield rank.sleep(1.0)
            yield Count("samples", job.workload.samples / 2)
            yield Count("steps")
        self.seen.append((yield NOW))
        yield rank.sleep(10.0)


def test_steps_end_when_a_program_says_so():
    told = simulate(training_step(), ideal_machine(1), Told(), steps=3)
    assert told.step_time_s == 1.0
    assert told.time_s == 13.0


def test_samples_are_those_that_programs_count():
    step = training_step()
    told = simulate(step, ideal_machine(2), Told(), steps=3)
    assert told.samples_per_step == step.samples


def test_a_run_that_learned_from_nothing_has_no_energy_per_sample():
    class Nothing(Told):
        def program(self, rank, job):
            yield rank.compute(job.step)
            yield Count("samples", 0)

    run = simulate(training_step(), ideal_machine(1), Nothing())
    assert run.throughput == 0
    assert run.energy_per_sample_j is None


def test_a_job_that_begins_later_counts_from_its_beginning():
    first, later = Told(), Told()
    spec = JobSpec(training_step(), first, devices=[0], steps=2)
    runs = simulate_jobs(
        [spec, JobSpec(training_step(), later, devices=[1], steps=2, start_s=5.0)],
        ideal_machine(2),
    )
    assert first.seen == later.seen == [2.0]
    assert [job_run.run.step_time_s for job_run in runs] == [1.0, 1.0]


def test_counts_add_up_over_ranks_and_over_ranks_that_are_not_simulated():
    def program(rank, job):
        yield Count("late", 2)

    assert run(program, 4).counts == {"late": 8}
    assert run(program, 4, np.arange(4)[None, :]).counts == {"late": 8}


def test_what_else_is_counted_stands_in_the_notes():
    class Late(Told):
        def program(self, rank, job):
            yield from super().program(rank, job)
            yield Count("late updates", 7)

    assert "late updates: 7" in simulate(training_step(), ideal_machine(1), Late()).notes


# --- slowdown


@pytest.mark.parametrize("slowdown", [1.0, 1.5, 3.0])
def test_a_slowed_work_takes_so_many_times_as_long(slowdown):
    def program(rank, job):
        yield rank.compute(job.a, slowdown)

    assert run(program, works=[work("a", 2.0)]).time_s == 2.0 * slowdown


def test_marks_of_a_slowed_work_are_late_too():
    seen = []

    def program(rank, job):
        started = yield rank.start(rank.compute(job.a, 3.0))
        yield rank.wait(started, mark="half")
        seen.append((yield NOW))
        yield rank.wait(started)
        seen.append((yield NOW))

    slow = work("a", 1.0, 1.0, marks=(("half", 0),))
    run(program, works=[slow])
    run(program, works=[slow], machine=Machine("m", [EventDevice()]))
    assert seen == [3.0, 6.0, 3.0, 6.0]


def test_what_competes_with_others_is_slowed_as_well():
    def program(rank, job):
        yield rank.compute(job.a, 2.0)

    machine = Machine("m", [EventDevice()])
    assert run(program, machine=machine, works=[work("a", 1.0)]).time_s == 4.0


@pytest.mark.parametrize("slowdown", [0.0, 0.9, float("inf"), float("nan")])
def test_a_slowdown_is_finite_and_at_least_1(slowdown):
    with pytest.raises(InputError, match="slowdown of 'a' must be finite and at least 1"):
        Rank(0, 1).compute(work("a", 1.0), slowdown)


# --- empty messages


def test_an_empty_message_carries_no_values_only_its_name():
    class Untouched:
        def compute(self, work, reached=None): ...
        def read(self, buffer):
            raise AssertionError

        def write(self, buffer, payload):
            raise AssertionError

        def reduce(self, payloads, op): ...

    stop = Buffer("stop", 0.0)
    seen = []

    def program(rank, job):
        if rank.id == 0:
            yield rank.send(stop, to=1)
        else:
            seen.append((yield rank.recv(job.x)).buffer)

    values = [Untouched(), Untouched()]
    execute(job(buffers=[Buffer("x", 8.0)]), ideal_machine(2), By(program), values=values)
    assert seen == [stop]
