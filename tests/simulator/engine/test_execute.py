"""Programs run on the simulated clock as their closed forms say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.actions import Group, Message, Rank
from simulator.energy import Energy
from simulator.engine.execute import execute
from simulator.errors import InputError, ProgramError
from simulator.ideal import IdealDevice, ideal_machine
from simulator.protocols import Machine, Placement, Running
from simulator.workload import Buffer
from tests.simulator.plans import (
    By,
    DataParallel,
    LocalSGD,
    ParameterServer,
    RingAllReduce,
    Spread,
    job,
    work,
)

ALPHA, BANDWIDTH = 1e-6, 1e9
X, Y, BIG = Buffer("x", 1e6), Buffer("y", 1e6), Buffer("big", 1e9)
EXACT = 1e-9
ALPHA_BETA = ALPHA + 1e6 / BANDWIDTH
"""Seconds that a message of `X` takes."""


def run(program, devices=2, **kwargs):
    """Run one function as the program of every rank."""
    return execute(kwargs.pop("job", job()), ideal_machine(devices), By(program), **kwargs)


def ring_s(nbytes, ranks):
    return 2 * (ranks - 1) * (ALPHA + nbytes / ranks / BANDWIDTH)


# Three plans against closed forms.


def buckets_and_job(steps, forward, backward, update, sizes):
    buckets = tuple(Buffer(f"bucket{i}", size) for i, size in enumerate(sizes))
    names = tuple(bucket.name for bucket in buckets)
    works = [
        work("forward", forward),
        work("backward", *backward, marks=tuple(zip(names, range(9), strict=False)), writes=names),
        work("update", update, reads=names),
    ]
    return job(works, buckets, steps=steps, buckets=buckets)


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_data_parallel_hides_all_but_the_last_bucket(ranks):
    backward, sizes = (3e-3, 3e-3, 3e-3), (1e6, 1e6, 1e6)
    outcome = execute(
        buckets_and_job(4, 1e-3, backward, 5e-4, sizes), ideal_machine(ranks), DataParallel()
    )
    # Each bucket's reduction (at most 1.6 ms) ends while the next part of 3 ms is computed.
    step_s = 1e-3 + 9e-3 + ring_s(1e6, ranks) + 5e-4
    assert outcome.time_s == pytest.approx(4 * step_s, rel=EXACT)
    assert outcome.step_ends_s == pytest.approx([step_s * (i + 1) for i in range(4)], rel=EXACT)
    assert outcome.mean("communication_s") == pytest.approx(4 * ring_s(1e6, ranks), rel=EXACT)
    assert outcome.collectives["all_reduce"].calls == 12


def test_data_parallel_waits_for_communication_that_computing_cannot_hide():
    outcome = execute(
        buckets_and_job(1, 1e-3, (1e-3, 1e-3), 0.0, (1e8, 1e8)), ideal_machine(4), DataParallel()
    )
    # An ideal star carries both reductions at once; the second begins at 3 ms.
    assert outcome.time_s == pytest.approx(3e-3 + ring_s(1e8, 4), rel=EXACT)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_parameter_server_serves_one_gradient_after_the_other(workers):
    gradient_s, apply_s, steps = 1e-3, 4e-3, 5
    outcome = execute(
        job([work("gradient", gradient_s), work("apply", apply_s)],
            [Buffer("grad", 1e6), Buffer("params", 1e6)], steps),
        ideal_machine(workers + 1), ParameterServer(),
    )  # fmt: skip
    around = gradient_s + 2 * ALPHA_BETA  # what a worker does while the server does without it
    if workers == 1:
        expected = steps * (around + apply_s)
    else:  # the server is the bottleneck: it never pauses between the first and the last gradient
        expected = around + workers * steps * apply_s
    assert outcome.time_s == pytest.approx(expected, rel=EXACT)
    assert outcome.total("sent_messages") == outcome.total("received_messages")
    assert outcome.total("sent_bytes") == outcome.total("received_bytes") == 2e6 * workers * steps


@pytest.mark.parametrize(("period", "rounds"), [(1, 6), (2, 3), (3, 2), (6, 1)])
def test_local_sgd_communicates_once_a_period(period, rounds):
    outcome = execute(
        job([work("local_step", 1e-3)], [Buffer("params", 1e6)], steps=6),
        ideal_machine(4),
        LocalSGD(period),
    )
    assert outcome.time_s == pytest.approx(6e-3 + rounds * ring_s(1e6, 4), rel=EXACT)
    assert outcome.collectives["all_reduce"].calls == rounds


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_a_ring_written_by_sends_and_receives_equals_the_ring_all_reduce(ranks):
    part = Buffer("part", 1e6 / ranks)
    by_hand = execute(
        job([], [part, Buffer("incoming", part.nbytes)]), ideal_machine(ranks), RingAllReduce()
    )
    assert by_hand.time_s == pytest.approx(ring_s(1e6, ranks), rel=EXACT)

    def program(rank, _):
        yield rank.all_reduce(X)

    assert run(program, ranks).time_s == pytest.approx(by_hand.time_s, rel=EXACT)


@given(
    st.lists(st.floats(0.0, 1e3), min_size=1, max_size=8),
    st.integers(1, 5),
)
def test_a_barrier_lasts_until_the_slowest_has_come(seconds, repeats):
    def program(rank, _):
        for _ in range(repeats):
            yield rank.sleep(seconds[rank.id])
            yield rank.all_reduce(X)

    ranks = len(seconds)
    once = max(seconds) + ring_s(1e6, ranks)
    assert run(program, ranks).time_s == pytest.approx(repeats * once, rel=EXACT)


# Actions.


def test_computing_takes_the_time_of_the_works_ops():
    def program(rank, job):
        yield rank.compute(job.step)

    assert run(program, 1, job=job([work("step", 1.0, 2.0)])).time_s == pytest.approx(3.0)


def test_threads_are_those_of_the_placement():
    class OnThreads(By):
        def place(self, machine):
            return Placement([0], [4])

    def program(rank, job):
        yield rank.compute(job.step)

    machine = Machine("one", [IdealDevice(max_threads=4)])
    outcome = execute(job([work("step", 1.0)]), machine, OnThreads(program))
    assert outcome.time_s == pytest.approx(0.25)


def test_a_started_work_goes_on_beside_the_program():
    def program(rank, job):
        handle = yield rank.start(rank.compute(job.step))
        yield rank.sleep(2.0)
        assert (yield rank.wait(handle)) is None

    outcome = run(program, 1, job=job([work("step", 3.0)]))
    assert outcome.time_s == pytest.approx(3.0)
    [totals] = outcome.ranks
    assert (totals.compute_s, totals.sleep_s) == pytest.approx((3.0, 0.0))


def test_a_run_lasts_until_works_have_ended_that_nobody_waits_for():
    def program(rank, job):
        yield rank.start(rank.compute(job.step))

    outcome = run(program, 1, job=job([work("step", 3.0)]))
    assert outcome.time_s == pytest.approx(3.0)
    assert outcome.ranks[0].end_s == 0.0


def test_the_time_of_each_rank_adds_up_to_the_time_of_the_run():
    def program(rank, job):
        yield rank.sleep(1.0 * rank.id)
        yield rank.compute(job.step)
        yield rank.all_reduce(BIG)
        if rank.id == 0:
            yield rank.send(BIG, to=1)
        if rank.id == 1:
            yield rank.recv(BIG, source=0)

    outcome = run(program, 3, job=job([work("step", 0.5)]))
    reduce_s, message_s = ring_s(1e9, 3), ALPHA + 1.0
    expected = {
        "compute_s": [0.5, 0.5, 0.5],
        "sleep_s": [0.0, 1.0, 2.0],
        "waiting_s": [2.0, 1.0, 0.0],
        "communication_s": [reduce_s, reduce_s + message_s, reduce_s],
        "idle_s": [message_s, 0.0, message_s],
    }
    for name, times in expected.items():
        assert [getattr(rank, name) for rank in outcome.ranks] == pytest.approx(times), name
    assert outcome.time_s == pytest.approx(2.5 + reduce_s + message_s)
    assert outcome.mean("compute_s") == pytest.approx(0.5)


def test_communication_that_computing_hides_is_not_exposed():
    def program(rank, job):
        reduced = yield rank.start(rank.all_reduce(BIG))
        yield rank.compute(job.step)
        yield rank.wait(reduced)

    outcome = run(program, 2, job=job([work("step", 0.7)]))
    assert outcome.mean("communication_s") == pytest.approx(ring_s(1e9, 2) - 0.7)
    assert outcome.mean("waiting_s") == 0.0


def test_a_collective_of_one_rank_takes_no_time():
    def program(rank, _):
        yield rank.all_reduce(BIG, Group.of([rank.id]))
        handle = yield rank.start(rank.all_gather(BIG, Group.of([rank.id])))
        yield rank.wait(handle)

    outcome = run(program, 3)
    assert outcome.time_s == 0.0
    assert outcome.collectives["all_reduce"].calls == 3


def test_ranks_on_one_device_need_no_network():
    class Together(By):
        def place(self, machine):
            return Placement([0, 0], [1, 1])

    def program(rank, _):
        yield rank.all_reduce(X)
        if rank.id == 0:
            yield rank.send(X, to=1)
        else:
            yield rank.recv(Y, source=0)

    outcome = execute(job(), ideal_machine(1), Together(program))
    assert outcome.time_s == 0.0
    assert outcome.total("sent_bytes") == outcome.total("received_bytes") == 1e6


def test_collectives_of_different_groups_go_on_at_once():
    def program(rank, _):
        pair = Group.of([0, 1] if rank.id < 2 else [2, 3])
        yield rank.all_reduce(BIG, pair)
        yield rank.barrier()

    outcome = run(program, 4)
    assert outcome.time_s == pytest.approx(ring_s(1e9, 2) + 2 * ALPHA)
    assert outcome.collectives["all_reduce"].calls == 2


def test_many_collectives_may_be_started_before_the_first_is_waited_for():
    buffers = [Buffer(f"b{i}", 1e6 * (i + 1)) for i in range(5)]

    def program(rank, _):
        yield rank.sleep(float(rank.id))
        handles = {}
        for buffer in buffers:
            handles[buffer] = yield rank.start(rank.all_reduce(buffer))
        yield rank.wait(*handles.values())

    assert run(program, 3).time_s == pytest.approx(2.0 + ring_s(5e6, 3))


# Waiting.


def test_waiting_for_several_gives_their_results_in_order():
    def program(rank, _):
        if rank.id == 0:
            yield rank.sleep(1.0)
            yield rank.send(X, to=1)
        else:
            message = yield rank.start(rank.recv(Y, source=0))
            nap = yield rank.start(rank.sleep(3.0))
            results = yield rank.wait(nap, message)
            assert results == (None, Message(0, X))
            assert (yield rank.wait()) == ()

    assert run(program).time_s == pytest.approx(3.0)


def test_waiting_for_the_first_gives_its_handle():
    def program(rank, _):
        short = yield rank.start(rank.sleep(1.0))
        long = yield rank.start(rank.sleep(2.0))
        assert (yield rank.wait(long, short, first=True)) is short
        assert (yield rank.wait(long, short, first=True)) is short  # still done
        assert (yield rank.wait(long, first=True)) is long
        assert (yield rank.wait(long, short, first=True)) is long

    assert run(program, 1).time_s == pytest.approx(2.0)


def test_waiting_stops_after_its_timeout_and_may_go_on_later():
    def program(rank, _):
        nap = yield rank.start(rank.sleep(5.0))
        assert (yield rank.wait(nap, timeout_s=2.0)) is None
        assert (yield rank.wait(nap, first=True, timeout_s=1.0)) is None
        assert (yield rank.wait(nap, first=True, timeout_s=4.0)) is nap

    outcome = run(program, 1)
    assert outcome.time_s == pytest.approx(5.0)
    assert outcome.ranks[0].waiting_s == pytest.approx(3.0)


def test_an_old_timeout_does_not_end_a_later_wait():
    def program(rank, _):
        short = yield rank.start(rank.sleep(1.0))
        long = yield rank.start(rank.sleep(9.0))
        assert (yield rank.wait(short, first=True, timeout_s=5.0)) is short
        assert (yield rank.wait(long, first=True)) is long

    assert run(program, 1).time_s == pytest.approx(9.0)


def test_a_handle_that_is_named_twice_counts_once():
    def program(rank, _):
        nap = yield rank.start(rank.sleep(1.0))
        assert (yield rank.wait(nap, nap)) == (None, None)

    assert run(program, 1).time_s == pytest.approx(1.0)


@pytest.mark.parametrize("timeout_s", [None, 10.0])
def test_a_mark_is_reached_when_its_op_has_ended(timeout_s):
    step = work("step", 1.0, 2.0, 4.0, marks=(("early", 0), ("late", 1)))

    def program(rank, _):
        handle = yield rank.start(rank.compute(step))
        yield rank.wait(handle, mark="late", timeout_s=timeout_s)
        yield rank.wait(handle, mark="early")
        yield rank.send(X, to=1 - rank.id)
        yield rank.recv(Y, source=1 - rank.id)
        yield rank.wait(handle)
        yield rank.wait(handle, mark="late")

    outcome = run(program, 2)
    assert outcome.time_s == pytest.approx(7.0)
    [first, _] = outcome.timeline.spans(kind="recv")
    assert first.end_s == pytest.approx(3.0 + ALPHA_BETA)


def test_waiting_for_a_mark_may_time_out():
    step = work("step", 5.0, marks=(("end", 0),))

    def program(rank, _):
        handle = yield rank.start(rank.compute(step))
        assert (yield rank.wait(handle, mark="end", timeout_s=2.0)) is None
        yield rank.sleep(1.0)
        yield rank.wait(handle, mark="end")

    outcome = run(program, 1)
    assert outcome.time_s == pytest.approx(5.0)


class EventDevice:
    """Be an ideal device that speaks in SimPy events instead of seconds."""

    name, max_threads, memory_bytes = "events", 1, None

    def __init__(self, opened=None):
        self.ideal, self.opened = IdealDevice(), opened or OpenEventDevice

    def times_s(self, graph, threads):
        return self.ideal.times_s(graph, threads)

    def open(self, clock):
        return self.opened(self.ideal.open(clock), clock)


class OpenEventDevice:
    def __init__(self, ideal, clock):
        self.ideal, self.clock = ideal, clock

    def run(self, work, threads):
        known = self.ideal.run(work, threads)
        marks = {name: self.clock.timeout(at) for name, at in known.marks.items()}
        return Running(self.clock.timeout(known.done), marks)

    def energy(self, time_s):
        return self.ideal.energy(time_s)


class EventNetwork:
    """Be an ideal star that speaks in SimPy events instead of seconds."""

    def __init__(self, star):
        self.star = star

    def collective_s(self, kind, nbytes, group):
        return self.star.collective_s(kind, nbytes, group)

    def open(self, clock, placement):
        return OpenEventNetwork(self.star.open(clock, placement), clock)


class OpenEventNetwork:
    def __init__(self, star, clock):
        self.star, self.clock = star, clock

    def transfer(self, *args):
        return self.clock.timeout(self.star.transfer(*args))

    def collective(self, *args):
        return self.clock.timeout(self.star.collective(*args))

    def energy(self, time_s):
        return self.star.energy(time_s)


@pytest.mark.parametrize("plan", [DataParallel(), ParameterServer(), LocalSGD(2)])
def test_events_and_known_seconds_give_the_same_run(plan):
    steps = buckets_and_job(3, 1e-3, (1e-3, 2e-3), 5e-4, (1e6, 2e7))
    works = [*steps.works.values(), work("gradient", 1e-3), work("apply", 1e-4),
             work("local_step", 2e-3)]  # fmt: skip
    buffers = [*steps.buckets, Buffer("grad", 1e6), Buffer("params", 1e6)]
    all_of_it = job(works, buffers, steps=3, buckets=steps.buckets)
    ideal = ideal_machine(4)
    events = Machine("events", [EventDevice()] * 4, EventNetwork(ideal.network))
    known, evented = execute(all_of_it, ideal, plan), execute(all_of_it, events, plan)
    assert evented.time_s == pytest.approx(known.time_s, rel=EXACT)
    assert evented.step_ends_s == pytest.approx(known.step_ends_s, rel=EXACT)
    assert [r.compute_s for r in evented.ranks] == pytest.approx([r.compute_s for r in known.ranks])
    assert len(evented.timeline or ()) == len(known.timeline or ())


def test_a_device_must_say_when_marks_are_reached():
    class Markless(OpenEventDevice):
        def run(self, work, threads):
            return Running(1.0)

    def program(rank, job):
        handle = yield rank.start(rank.compute(job.step))
        yield rank.wait(handle, mark="m")

    machine = Machine("markless", [EventDevice(Markless)])
    with pytest.raises(InputError, match="device 'events' does not say when mark 'm' of compute"):
        execute(job([work("step", 1.0, marks=(("m", 0),))]), machine, By(program))


def test_a_device_may_end_a_work_before_it_says_so():
    class Instant(OpenEventDevice):
        def run(self, work, threads):
            done = self.clock.event()
            done.succeed()
            self.clock.step()
            return Running(done)

    def program(rank, job):
        yield rank.compute(job.step)
        handle = yield rank.start(rank.compute(job.step))
        yield rank.wait(handle)

    machine = Machine("instant", [EventDevice(Instant)])
    assert execute(job([work("step", 1.0)]), machine, By(program)).time_s == 0.0


# Steps.


def test_steps_end_when_their_last_work_does():
    def program(rank, job):
        for _ in range(job.steps):
            yield rank.compute(job.a)
            yield rank.compute(job.b)
            yield rank.compute(job.b)

    outcome = run(program, 1, job=job([work("a", 1.0), work("b", 2.0)], steps=3))
    assert outcome.step_ends_s == pytest.approx([5.0, 10.0, 15.0])


def test_steps_of_communication_alone_end_too():
    def program(rank, job):
        for _ in range(job.steps):
            yield rank.all_reduce(X)

    outcome = run(program, 2, job=job(steps=2))
    assert outcome.step_ends_s == pytest.approx([ring_s(1e6, 2), 2 * ring_s(1e6, 2)])


def test_steps_are_unknown_where_nothing_recurs():
    def program(rank, job):
        yield rank.compute(job.a)

    assert run(program, 1, job=job([work("a", 1.0)], steps=3)).step_ends_s == ()


def test_one_step_ends_with_the_run():
    def program(rank, job):
        yield rank.compute(job.a)
        yield rank.sleep(1.0)

    assert run(program, 1, job=job([work("a", 1.0)])).step_ends_s == pytest.approx([2.0])


# Energy.


def test_energy_is_that_of_all_devices_used_and_of_the_network():
    device = IdealDevice(power_w=10.0, idle_w=2.0)
    machine = ideal_machine(4, device=device)

    class OnTwo(By):
        def place(self, machine):
            return Placement([1, 3], [1, 1])

    def program(rank, job):
        yield rank.compute(job.a)

    energy = execute(job([work("a", 3.0)]), machine, OnTwo(program)).energy
    assert energy.components == pytest.approx({"compute": 60.0, "idle": 12.0, "network": 0.0})


def test_energy_is_unknown_where_one_device_does_not_know_it():
    class Unmetered(OpenEventDevice):
        def energy(self, time_s):
            return Energy({"idle": None})

    def program(rank, job):
        yield rank.compute(job.a)

    machine = Machine("two", [IdealDevice(), EventDevice(Unmetered)], ideal_machine(2).network)
    energy = execute(job([work("a", 1.0)]), machine, By(program)).energy
    assert energy.components["idle"] is None
    assert energy.total_j is None


# Whatever is not as it should be.


def test_a_program_must_be_a_generator():
    with pytest.raises(ProgramError, match=r"program of rank 0 must be a generator.*list"):
        run(lambda rank, job: [rank.sleep(1.0)], 1)


@pytest.mark.parametrize("wrong", [None, 3.0, "compute", Rank(0, 1)])
def test_a_program_must_yield_actions(wrong):
    def program(rank, _):
        yield rank.sleep(1.5)
        yield wrong

    with pytest.raises(ProgramError, match=r"rank 0 yielded .* at 1\.5 s"):
        run(program, 1)


def test_only_an_action_that_takes_time_can_be_started():
    def program(rank, _):
        yield rank.start(rank.wait())

    with pytest.raises(ProgramError, match="rank 0 starts Wait"):
        run(program, 1)


def test_an_error_inside_a_program_tells_where_and_when():
    def program(rank, _):
        yield rank.sleep(2.0)
        if rank.id == 1:
            raise ValueError("oops")

    with pytest.raises(ValueError, match="oops") as caught:
        run(program, 2)
    assert caught.value.__notes__ == ["in the program of rank 1, at 2.0 s"]


def test_a_program_waits_only_for_what_it_started():
    handles = []

    def program(rank, _):
        handles.append((yield rank.start(rank.sleep(1.0))))
        yield rank.wait(handles[0])

    with pytest.raises(ProgramError, match=r"rank 1 waits for .* not a handle"):
        run(program, 2)


def test_only_marks_of_started_works_can_be_waited_for():
    def program(rank, job):
        handle = yield rank.start(rank.compute(job.a))
        yield rank.wait(handle, mark="nonsense")

    with pytest.raises(ProgramError, match="mark 'nonsense' of compute 'a'"):
        run(program, 1, job=job([work("a", 1.0, marks=(("m", 0),))]))

    def sleeper(rank, _):
        handle = yield rank.start(rank.sleep(1.0))
        yield rank.wait(handle, mark="m")

    with pytest.raises(ProgramError, match="mark 'm' of sleep"):
        run(sleeper, 1)


@pytest.mark.parametrize("missing", ["place", "program", "copies"])
def test_a_plan_needs_all_its_methods(missing):
    class Lacking(Spread):
        def program(self, rank, job):
            yield rank.sleep(1.0)

    setattr(Lacking, missing, None)
    with pytest.raises(InputError, match=f"Lacking has no {missing}"):
        execute(job(), ideal_machine(1), Lacking())


DEVICES: Any = [0.5]
THREADS: Any = [1.5]


def test_a_class_is_no_plan():
    plan: Any = DataParallel
    with pytest.raises(InputError, match=r"got the class DataParallel; DataParallel\(\) makes one"):
        execute(job(), ideal_machine(1), plan)


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        (Placement([0, 2], [1, 1]), "rank 1 is placed on device 2; .* devices 0 to 1"),
        (Placement([-1], [1]), "rank 0 is placed on device -1"),
        (Placement([0], [2]), "rank 0 wants 2 threads on a device with 1: 'ideal'"),
        (Placement([0], [0]), "rank 0 wants 0 threads"),
        (Placement([0], THREADS), "rank 0 wants 1.5 threads"),
        (Placement(DEVICES, [1]), "rank 0 is placed on device 0.5"),
        ([0, 1], "must give a Placement"),
    ],
)
def test_ranks_are_placed_only_where_there_is_a_place(placement, message):
    class Somewhere(By):
        def place(self, machine):
            return placement

    def program(rank, _):
        yield rank.sleep(1.0)

    devices = [IdealDevice(), IdealDevice()]
    with pytest.raises(InputError, match=message):
        execute(job(), Machine("ideal", devices), Somewhere(program))


@pytest.mark.parametrize("action", ["send", "all_reduce"])
def test_devices_that_nothing_connects_do_not_communicate(action):
    def program(rank, _):
        yield rank.send(X, to=1) if action == "send" else rank.all_reduce(X)

    machine = Machine("apart", [IdealDevice()] * 2)
    with pytest.raises(InputError, match="machine 'apart' has no network"):
        execute(job(), machine, By(program))


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_a_device_that_says_nonsense_is_found_out(seconds):
    class Nonsense(OpenEventDevice):
        def run(self, work, threads):
            return Running(seconds)

    def program(rank, job):
        yield rank.compute(job.a)

    for ranks in (1, 2):
        machine = Machine("nonsense", [EventDevice(Nonsense)] * ranks)
        with pytest.raises(InputError, match="a duration must be finite, 0 or more"):
            execute(job([work("a", 1.0)]), machine, By(program))


def test_a_device_whose_event_fails_stops_the_run():
    class Failing(OpenEventDevice):
        def run(self, work, threads):
            return Running(self.clock.event().fail(RuntimeError("broken")))

    def program(rank, job):
        yield rank.compute(job.a)

    with pytest.raises(RuntimeError, match="broken"):
        execute(job([work("a", 1.0)]), Machine("failing", [EventDevice(Failing)]), By(program))


# Determinism.


def test_the_same_run_gives_the_same_timeline():
    def program(rank, _):
        draw = np.random.default_rng(rank.id)
        for _ in range(20):
            yield rank.sleep(float(draw.integers(4)))
            yield rank.send(X, to=int(draw.integers(rank.size)))
        while (yield rank.recv(Y, timeout_s=30.0)) is not None:
            pass

    first, second = run(program, 4), run(program, 4)
    assert list(first.timeline) == list(second.timeline)
    assert first.ranks == second.ranks


def test_without_recording_all_is_the_same_but_for_the_timeline():
    steps = buckets_and_job(3, 1e-3, (1e-3, 2e-3), 5e-4, (1e6, 2e7))
    recorded = execute(steps, ideal_machine(3), DataParallel())
    silent = execute(steps, ideal_machine(3), DataParallel(), record=False)
    assert silent.timeline is None
    assert (silent.time_s, silent.step_ends_s) == (recorded.time_s, recorded.step_ends_s)
    assert silent.ranks == recorded.ranks
