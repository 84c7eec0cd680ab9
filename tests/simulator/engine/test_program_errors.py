"""The engine finds what real runs hide: deadlocks, mismatches, races, lost messages."""

from __future__ import annotations

import pytest

from simulator.actions import Collective, Group, Recv, Send
from simulator.engine.execute import execute
from simulator.errors import (
    BufferRaceError,
    CollectiveMismatchError,
    DeadlockError,
    ProgramError,
    UnreceivedMessageError,
)
from simulator.ideal import ideal_machine
from simulator.workload import Buffer
from tests.simulator.plans import By, job, work

X, Y, SMALL = Buffer("x", 1e6), Buffer("y", 1e6), Buffer("small", 1e3)


def run(program, devices=2, works=()):
    return execute(job(works), ideal_machine(devices), By(program))


def message_of(error, program, devices=2, works=()):
    with pytest.raises(error) as caught:
        run(program, devices, works)
    return str(caught.value)


# Deadlocks.


def test_a_deadlock_names_ranks_and_what_they_wait_for():
    def program(rank, _):
        yield rank.sleep(1.0)
        yield rank.recv(X, source=1 - rank.id)
        yield rank.send(X, to=1 - rank.id)

    assert message_of(DeadlockError, program) == (
        "deadlock at 1.0 s: rank 0: recv 'x' from rank 1; rank 1: recv 'x' from rank 0"
    )


def test_a_deadlock_of_many_ranks_names_them_together():
    def program(rank, _):
        if rank.id != 3:
            yield rank.all_reduce(X)

    message = message_of(DeadlockError, program, 1000)
    assert "ranks 0-2, 4-999: all_reduce 'x' over Group(0, 1, 2, 3, ...; size 1000)" in message
    assert "rank 3: ended" in message


def test_a_deadlock_of_many_kinds_names_the_first():
    def program(rank, _):
        yield rank.recv(X, source=(rank.id + 1) % rank.size)

    message = message_of(DeadlockError, program, 20)
    assert "rank 7: recv 'x' from rank 8; and 12 more" in message
    assert "rank 8:" not in message


@pytest.mark.parametrize(("first", "words"), [(False, ", "), (True, " or ")])
def test_a_deadlock_names_the_started_actions_that_are_waited_for(first, words):
    def program(rank, _):
        done = yield rank.start(rank.sleep(1.0))
        yield rank.wait(done)
        a = yield rank.start(rank.recv(X, source=1 - rank.id))
        b = yield rank.start(rank.barrier(Group.of([rank.id, 1 - rank.id])))
        handles = [a, b] if first else [done, a, b]
        yield rank.wait(*handles, first=first)

    barrier = "barrier 'barrier' over Group(0, 1; size 2)"
    assert f"rank 0: waiting for started recv 'x' from rank 1{words}{barrier}" in message_of(
        DeadlockError, program
    )


def test_a_collective_that_is_started_and_never_joined_is_a_deadlock():
    def program(rank, _):
        if rank.id == 0:
            yield rank.start(rank.all_reduce(X))

    message = message_of(DeadlockError, program)
    assert message == (
        "deadlock at 0.0 s: rank 0: ended, with started all_reduce 'x' over Group(0, 1; size 2) "
        "unfinished; rank 1: ended"
    )


def test_a_receive_from_any_rank_that_nobody_answers_is_a_deadlock():
    def program(rank, _):
        yield rank.recv(X)

    assert "ranks 0-1: recv 'x' from any rank" in message_of(DeadlockError, program)


# Collectives.


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (lambda rank: rank.all_gather(X), "all_gather 'x' (1e+06 B, op sum)"),
        (lambda rank: rank.all_reduce(SMALL), "all_reduce 'small' (1000 B, op sum)"),
        (lambda rank: rank.all_reduce(Y), "all_reduce 'y' (1e+06 B, op sum)"),
        (lambda rank: rank.all_reduce(X, op="max"), "all_reduce 'x' (1e+06 B, op max)"),
        (lambda rank: rank.broadcast(X, root=1), "broadcast 'x' (1e+06 B, op sum, root 1)"),
        (lambda rank: rank.barrier(), "barrier 'barrier' (0 B, op sum)"),
    ],
)
def test_members_of_a_group_must_call_the_same_collective(theirs, words):
    def program(rank, _):
        yield rank.barrier()
        yield rank.all_reduce(X) if rank.id < 2 else theirs(rank)

    message = message_of(CollectiveMismatchError, program, 3)
    assert message == (
        "collective 1 of Group(0, 1, 2; size 3) differs: rank 0 calls all_reduce 'x' "
        f"(1e+06 B, op sum), rank 2 calls {words}"
    )


def test_two_equal_collectives_in_another_order_are_a_mismatch():
    def program(rank, _):
        first, second = (X, Y) if rank.id == 0 else (Y, X)
        a = yield rank.start(rank.all_reduce(first))
        b = yield rank.start(rank.all_reduce(second))
        yield rank.wait(a, b)

    assert "rank 0 calls all_reduce 'x'" in message_of(CollectiveMismatchError, program)


def test_roots_must_agree_and_be_members():
    def program(rank, _):
        yield rank.broadcast(X, root=rank.id)

    assert "root 0" in message_of(CollectiveMismatchError, program)

    def outside(rank, _):
        if rank.id:
            yield rank.broadcast(X, Group.of([1, 2]), root=0)

    assert "root 0, which is not in Group(1, 2" in message_of(ProgramError, outside, 3)


@pytest.mark.parametrize("members", [[0], [0, 1]])
def test_only_members_call_a_collective(members):
    def program(rank, _):
        yield Collective("all_reduce", X, Group.of(members))

    assert "rank 2 calls a collective over a group without it" in message_of(
        ProgramError, lambda rank, j: program(rank, j) if rank.id == 2 else iter_of(rank), 3
    )


def iter_of(rank):
    yield rank.sleep(0.0)


# Races.


STEP = work("step", 1.0, 1.0, reads=("x",), writes=("y", "bucket"), marks=(("bucket", 0),))
BUCKET = Buffer("bucket", 1e6)


def racing(*actions):
    """Return a program that starts the first action and then does the others."""

    def program(rank, _):
        first, *others = actions
        yield rank.start(first(rank))
        for other in others:
            yield other(rank)

    return program


@pytest.mark.parametrize(
    ("first", "then", "words"),
    [
        (lambda r: r.all_reduce(X), lambda r: r.all_reduce(X), "'x' is written by all_reduce 'x'"),
        (lambda r: r.all_reduce(X), lambda r: r.send(X, 0), "'x' is read by send 'x' to rank 0"),
        (lambda r: r.all_reduce(X), lambda r: r.compute(STEP), "'x' is read by compute 'step'"),
        (lambda r: r.compute(STEP), lambda r: r.all_reduce(X), "'x' is written by all_reduce 'x'"),
        (lambda r: r.compute(STEP), lambda r: r.recv(Y), "'y' is written by recv 'y'"),
        (lambda r: r.compute(STEP), lambda r: r.compute(STEP), "'y' is written by compute 'step'"),
        (lambda r: r.recv(X), lambda r: r.recv(X), "'x' is written by recv 'x'"),
        (lambda r: r.recv(X), lambda r: r.start(r.recv(X)), "'x' is written by recv 'x'"),
        (lambda r: r.recv(X), lambda r: r.start(r.send(X, 0)), "'x' is read by send 'x'"),
        (lambda r: r.compute(STEP), lambda r: r.all_reduce(BUCKET), "'bucket' is written"),
    ],
)
def test_a_buffer_that_a_started_action_uses_is_left_alone(first, then, words):
    message = message_of(BufferRaceError, racing(first, then))
    assert f"rank 0: buffer {words}" in message
    assert "started at 0.0 s and not waited for, uses it" in message


@pytest.mark.parametrize(
    "then",
    [
        lambda r: r.compute(work("reader", 1.0, reads=("x",))),
        lambda r: r.send(X, 0),
        lambda r: r.barrier(),
    ],
)
def test_reading_what_is_only_read_is_no_race(then):
    def program(rank, _):
        handle = yield rank.start(rank.compute(STEP))
        yield then(rank)
        yield rank.wait(handle)
        if rank.id == 0:
            for _ in range(rank.size):
                yield rank.recv(Y, timeout_s=1.0)

    run(program)


def test_a_buffer_is_free_once_its_user_has_been_waited_for():
    def program(rank, _):
        handle = yield rank.start(rank.all_reduce(X))
        yield rank.wait(handle)
        first = yield rank.start(rank.all_reduce(X))
        assert (yield rank.wait(first, first=True)) is first
        yield rank.all_reduce(X)

    run(program)


def test_an_end_that_the_program_has_not_waited_for_does_not_count():
    def program(rank, _):
        yield rank.start(rank.all_reduce(X))
        yield rank.sleep(100.0)
        yield rank.all_reduce(X)

    assert "'x' is written" in message_of(BufferRaceError, program)


def test_a_buffer_named_like_a_mark_is_free_at_the_mark():
    def program(rank, _):
        handle = yield rank.start(rank.compute(STEP))
        yield rank.wait(handle, mark="bucket")
        yield rank.all_reduce(BUCKET)
        yield rank.wait(handle)

    run(program)


@pytest.mark.parametrize(("waited", "race"), [("early", True), ("late", False)])
def test_a_mark_frees_the_buffers_of_the_marks_before_it(waited, race):
    step = work("step", 1.0, 1.0, writes=("early", "late"), marks=(("early", 0), ("late", 1)))
    early, late = Buffer("early", 1e6), Buffer("late", 1e6)

    def program(rank, _):
        handle = yield rank.start(rank.compute(step))
        yield rank.wait(handle, mark=waited)
        yield rank.all_reduce(early)
        yield rank.all_reduce(late)
        yield rank.wait(handle)

    if race:
        assert "'late' is written" in message_of(BufferRaceError, program)
    else:
        run(program)


def test_a_timeout_frees_nothing():
    def program(rank, _):
        handle = yield rank.start(rank.compute(STEP))
        yield rank.wait(handle, timeout_s=0.5)
        yield rank.all_reduce(X)

    assert "'x' is written" in message_of(BufferRaceError, program)


def test_several_readers_of_a_buffer_must_all_be_waited_for():
    reader = work("reader", 1.0, reads=("x",))

    def program(rank, _):
        first = yield rank.start(rank.compute(reader))
        yield rank.start(rank.compute(reader))
        yield rank.wait(first)
        yield rank.all_reduce(X)

    assert "while compute 'reader'" in message_of(BufferRaceError, program)


# Messages.


def test_a_message_that_nobody_receives_is_found():
    def program(rank, _):
        yield rank.sleep(2.0)
        if rank.id == 0:
            yield rank.send(X, to=1)
            yield rank.send(SMALL, to=1)

    assert message_of(UnreceivedMessageError, program) == (
        "rank 0 sent 'x' to rank 1 at 2.0 s, and it was never received (2 such)"
    )


def test_a_message_that_came_and_was_not_taken_is_found():
    def program(rank, _):
        if rank.id == 0:
            yield rank.send(X, to=1)
        yield rank.sleep(2.0)

    assert "it was never received (1 such)" in message_of(UnreceivedMessageError, program)


def test_a_message_must_fit_into_the_buffer_that_receives_it():
    def program(rank, _):
        if rank.id == 0:
            yield rank.send(X, to=1)
        else:
            yield rank.recv(SMALL, source=0)

    assert message_of(ProgramError, program) == (
        "rank 1 receives 'x' of 1000000.0 B from rank 0 into 'small' of 1000.0 B"
    )


@pytest.mark.parametrize("action", [Send(X, 5), Recv(X, 5)])
def test_actions_made_without_a_rank_are_checked_too(action):
    def program(rank, _):
        yield action

    assert "rank 0 exchanges messages with rank 5, which is not one of its 2 peers" in message_of(
        ProgramError, program
    )


def test_messages_go_to_ranks_that_exist():
    def program(rank, _):
        yield rank.send(X, to=5)

    with pytest.raises(ValueError, match="rank 0 sends 'x' to rank 5; ranks are 0 to 1"):
        run(program)


# Programs that never end.


def sleeps_for_ever(rank, _):
    while True:
        yield rank.sleep(0.0)


def starts_for_ever(rank, _):
    while True:
        yield rank.start(rank.sleep(0.0))


def reduces_for_ever(rank, _):
    while True:
        yield rank.all_reduce(X)


def sends_to_itself_for_ever(rank, _):
    while True:
        yield rank.send(X, to=rank.id)
        yield rank.recv(X, source=rank.id)


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize(
    "program", [sleeps_for_ever, starts_for_ever, reduces_for_ever, sends_to_itself_for_ever]
)
def test_a_program_that_never_ends_is_found(program, devices, monkeypatch):
    monkeypatch.setattr("simulator.engine.execute.MOST_ACTIONS", 100)
    with pytest.raises(ProgramError, match=r"more than 300 actions, up to .*program end\?"):
        execute(job(steps=3), ideal_machine(devices), By(program))


@pytest.mark.parametrize("devices", [1, 2])
def test_a_program_may_do_as_much_as_its_steps_allow(devices, monkeypatch):
    monkeypatch.setattr("simulator.engine.execute.MOST_ACTIONS", 100)

    def program(rank, job):
        for _ in range(99 * job.steps):
            yield rank.sleep(1.0)

    assert execute(job(steps=3), ideal_machine(devices), By(program)).time_s == 297.0
