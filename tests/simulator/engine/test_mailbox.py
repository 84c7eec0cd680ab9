"""Messages are buffered, arrive in order, and are received by source or from any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.actions import Message
from simulator.engine.execute import execute
from simulator.engine.mailbox import tick
from simulator.ideal import ideal_machine
from simulator.protocols import Machine, Placement
from simulator.workload import Buffer
from tests.simulator.plans import By, job

ALPHA, BANDWIDTH = 1e-6, 1e9
X, BIG, INBOX = Buffer("x", 1e6), Buffer("big", 1e9), Buffer("inbox", 1e9)
X_S, BIG_S = ALPHA + 1e-3, ALPHA + 1.0


def run(program, devices=2, **kwargs):
    return execute(job(), ideal_machine(devices), By(program), **kwargs)


def times(outcome, kind, rank):
    return [(span.start_s, span.end_s) for span in outcome.timeline.spans(rank, kind)]


def test_a_send_returns_at_once():
    def program(rank, _):
        if rank.id == 0:
            assert (yield rank.send(BIG, to=1)) is None
        else:
            assert (yield rank.recv(INBOX, source=0)) == Message(0, BIG)

    outcome = run(program)
    assert [rank.end_s for rank in outcome.ranks] == pytest.approx([0.0, BIG_S])


def test_two_ranks_may_send_to_each_other_first():
    def program(rank, _):
        yield rank.send(BIG, to=1 - rank.id)
        yield rank.recv(INBOX, source=1 - rank.id)

    assert run(program).time_s == pytest.approx(BIG_S)


def test_waiting_for_a_started_send_lasts_until_it_is_delivered():
    def program(rank, _):
        if rank.id == 0:
            handle = yield rank.start(rank.send(BIG, to=1))
            assert (yield rank.wait(handle)) is None
        else:
            yield rank.sleep(5.0)
            yield rank.recv(INBOX, source=0)

    outcome = run(program)
    assert [rank.end_s for rank in outcome.ranks] == pytest.approx([BIG_S, 5.0])
    assert outcome.ranks[0].communication_s == pytest.approx(BIG_S)


def test_a_message_to_oneself_takes_no_time_and_no_network():
    def program(rank, _):
        yield rank.send(BIG, to=rank.id)
        assert (yield rank.recv(INBOX, source=rank.id)) == Message(rank.id, BIG)
        handle = yield rank.start(rank.recv(INBOX))
        yield rank.send(X, to=rank.id)
        assert (yield rank.wait(handle)) == Message(rank.id, X)

    assert execute(job(), ideal_machine(1), By(program)).time_s == 0.0


def test_ranks_on_one_device_pass_messages_in_no_time():
    class Together(By):
        def place(self, machine):
            return Placement([0] * 50, [1] * 50)

    def relay(rank, _):
        if rank.id:
            yield rank.recv(INBOX, source=rank.id - 1)
        if rank.id < rank.size - 1:
            yield rank.send(BIG, to=rank.id + 1)

    outcome = execute(job(), Machine("one", ideal_machine(1).devices), Together(relay))
    assert (outcome.time_s, outcome.total("received_messages")) == (0.0, 49)


def test_messages_of_one_source_arrive_in_the_order_of_sending():
    def program(rank, _):
        if rank.id == 0:
            yield rank.send(BIG, to=1)
            yield rank.send(X, to=1)  # smaller, yet not faster than what was sent before it
        else:
            assert (yield rank.recv(INBOX, source=0)).buffer == BIG
            assert (yield rank.recv(INBOX)).buffer == X

    assert run(program).time_s == pytest.approx(BIG_S)


def test_a_receive_takes_only_from_its_source():
    def program(rank, _):
        if rank.id == 0:
            assert (yield rank.recv(INBOX, source=2)) == Message(2, BIG)
            assert (yield rank.recv(INBOX, source=1)) == Message(1, X)
        else:
            yield rank.send(X if rank.id == 1 else BIG, to=0)

    assert run(program, 3).time_s == pytest.approx(BIG_S)


def test_a_receive_from_any_takes_what_comes_first():
    order = []

    def program(rank, _):
        if rank.id == 0:
            for _ in range(3):
                message = yield rank.recv(INBOX)
                order.append(message.source)
        else:
            yield rank.sleep({1: 3.0, 2: 1.0, 3: 2.0}[rank.id])
            yield rank.send(X, to=0)

    outcome = run(program, 4)
    assert order == [2, 3, 1]
    assert outcome.time_s == pytest.approx(3.0 + X_S)


@given(st.permutations(range(1, 6)), st.floats(-4e-10, 4e-10))
def test_messages_of_one_nanosecond_are_received_by_source(order, noise):
    """Neither the order in which events were made nor the noise of floats decides."""
    received = []

    def program(rank, _):
        if rank.id == 0:
            for _ in range(1, rank.size):
                message = yield rank.recv(INBOX)
                received.append(message.source)
        else:
            place = order.index(rank.id)
            yield rank.sleep(0.1 * place)
            yield rank.sleep(1.0 - 0.1 * place + noise * place / rank.size)
            yield rank.wait((yield rank.start(rank.send(X, to=0))))

    sent = run(program, 6).timeline.spans(kind="send")
    assert received == [rank for _, rank in sorted((tick(span.end_s), span.rank) for span in sent)]


def test_what_has_arrived_is_received_from_any_by_time_then_source():
    received = []

    def program(rank, _):
        if rank.id == 0:
            yield rank.sleep(9.0)
            for _ in range(5):
                message = yield rank.recv(INBOX)
                received.append((message.source, message.buffer.name))
        else:
            yield rank.sleep({1: 2.0, 2: 1.0, 3: 1.0}[rank.id])
            yield rank.send(X, to=0)
            if rank.id < 3:
                yield rank.send(BIG, to=0)

    run(program, 4)
    # The second message of rank 2 comes at 2.000001 s, the first of rank 1 at 2.001001 s.
    assert received == [(2, "x"), (3, "x"), (2, "big"), (1, "x"), (1, "big")]


def test_receives_by_source_and_from_any_take_turns():
    def program(rank, _):
        if rank.id == 0:
            yield rank.sleep(9.0)
            assert (yield rank.recv(INBOX)).source == 1
            assert (yield rank.recv(INBOX, source=2)).source == 2
            assert (yield rank.recv(INBOX)).source == 1
            assert (yield rank.recv(INBOX)).source == 2
        else:
            yield rank.send(X, to=0)
            yield rank.send(X, to=0)

    assert run(program, 3).total("received_messages") == 4


def test_a_receive_from_the_source_goes_before_one_from_any():
    def program(rank, _):
        if rank.id == 0:
            anyone = yield rank.start(rank.recv(INBOX))
            one = yield rank.start(rank.recv(X, source=1))
            results = yield rank.wait(anyone, one)
            assert [message.source for message in results] == [2, 1]
        elif rank.id == 1:
            yield rank.send(X, to=0)
        else:
            yield rank.sleep(1.0)
            yield rank.send(X, to=0)

    assert run(program, 3).time_s == pytest.approx(1.0 + X_S)


# Deadlines.


def test_a_receive_gives_none_after_its_timeout():
    def program(rank, _):
        if rank.id == 0:
            assert (yield rank.recv(INBOX, source=1, timeout_s=2.0)) is None
            assert (yield rank.recv(INBOX, timeout_s=1.0)) is None

    outcome = run(program)
    assert outcome.time_s == pytest.approx(3.0)
    assert outcome.ranks[0].waiting_s == pytest.approx(3.0)


@pytest.mark.parametrize("source", [1, -1])
def test_a_message_that_comes_at_the_deadline_is_in_time(source):
    def program(rank, _):
        if rank.id == 0:
            message = yield rank.recv(INBOX, source=source, timeout_s=BIG_S)
            assert message == Message(1, BIG)
        else:
            yield rank.send(BIG, to=0)

    assert run(program).dropped_messages == 0


@pytest.mark.parametrize("source", [1, -1])
def test_a_late_message_is_counted_and_dropped(source):
    def program(rank, _):
        if rank.id == 0:
            assert (yield rank.recv(INBOX, source=source, timeout_s=0.5)) is None
        else:
            yield rank.send(BIG, to=0)
            yield rank.send(X, to=0)

    outcome = run(program)
    assert outcome.dropped_messages == 2
    assert outcome.total("received_bytes") == 0.0


def test_a_late_message_may_be_received_by_a_later_receive():
    def program(rank, _):
        if rank.id == 0:
            assert (yield rank.recv(INBOX, source=1, timeout_s=0.5)) is None
            assert (yield rank.recv(INBOX, source=1, timeout_s=9.0)) == Message(1, BIG)
            yield rank.sleep(20.0)  # the second deadline passes unnoticed
        else:
            yield rank.send(BIG, to=0)

    outcome = run(program)
    assert outcome.time_s == pytest.approx(BIG_S + 20.0)
    assert outcome.dropped_messages == 0


def test_an_old_deadline_does_not_end_a_later_receive():
    def program(rank, _):
        if rank.id == 0:
            assert (yield rank.recv(INBOX, source=1, timeout_s=2.0)) == Message(1, X)
            assert (yield rank.recv(INBOX, source=1)) == Message(1, BIG)
        else:
            yield rank.send(X, to=0)
            yield rank.sleep(5.0)
            yield rank.send(BIG, to=0)

    assert run(program).time_s == pytest.approx(5.0 + BIG_S)


def test_a_started_receive_may_time_out_too():
    def program(rank, _):
        if rank.id == 0:
            handle = yield rank.start(rank.recv(INBOX, timeout_s=1.0))
            yield rank.sleep(3.0)
            assert (yield rank.wait(handle)) is None
        else:
            yield rank.sleep(2.0)
            yield rank.send(X, to=0)

    assert run(program).dropped_messages == 1


# Accounts.


def test_waiting_for_a_sender_is_not_communicating():
    def program(rank, _):
        if rank.id == 0:
            yield rank.sleep(2.0)
            yield rank.send(BIG, to=1)
        else:
            yield rank.recv(INBOX, source=0)

    outcome = run(program)
    assert outcome.ranks[1].waiting_s == pytest.approx(2.0)
    assert outcome.ranks[1].communication_s == pytest.approx(BIG_S)
    assert times(outcome, "wait", 1) == [pytest.approx((0.0, 2.0))]
    assert times(outcome, "recv", 1) == [pytest.approx((2.0, 2.0 + BIG_S))]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 10**6))))
def test_bytes_sent_are_bytes_received(messages):
    def program(rank, _):
        for source, target, nbytes in messages:
            if rank.id == source:
                yield rank.send(Buffer("x", float(nbytes)), to=target)
        for source, target, _ in messages:
            if rank.id == target:
                yield rank.recv(INBOX, source=source)

    outcome = run(program, 4)
    sent = sum(float(nbytes) for _, _, nbytes in messages)
    assert outcome.total("sent_bytes") == outcome.total("received_bytes") == sent
    assert outcome.total("sent_messages") == outcome.total("received_messages") == len(messages)
