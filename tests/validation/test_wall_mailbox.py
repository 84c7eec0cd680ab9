"""Messages and receives of a measured run find each other as in a simulated one."""

import pytest

from simulator.actions import Message, Recv
from simulator.errors import UnreceivedMessageError
from simulator.workload import Buffer
from validation.wall_mailbox import Mailbox, Parcel

GRAD = Buffer("grad", 4.0)


class Hand:
    """Be a rank's memory and a clock set by hand."""

    def __init__(self):
        self.memory, self.now_s = {}, 0.0

    def write(self, post, payload):
        self.memory[post.buffer.name] = payload

    def now(self):
        return self.now_s


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def box(hand):
    return Mailbox(9, hand.write, hand.now)


def parcel(source, payload="x", number=0, nbytes=4.0):
    return Parcel(source, number, Buffer("grad", nbytes), payload)


def test_a_message_that_came_is_taken_at_once(box, hand):
    box.deliver(parcel(2))
    post = box.post(Recv(GRAD, 2))
    assert post.done
    assert post.message == Message(2, GRAD)
    assert hand.memory == {"grad": "x"}


def test_a_receive_waits_for_its_source_and_leaves_the_messages_of_others(box):
    box.deliver(parcel(1))
    post = box.post(Recv(GRAD, 2))
    assert not post.done
    box.deliver(parcel(2))
    assert post.message == Message(2, GRAD)
    assert box.post(Recv(GRAD, 1)).message == Message(1, GRAD)


def test_messages_of_one_source_are_taken_in_order(box, hand):
    box.deliver(parcel(1, "first", 0))
    box.deliver(parcel(1, "second", 1))
    assert (box.post(Recv(GRAD, 1)).key, hand.memory["grad"]) == ((1, 9, 0), "first")
    assert (box.post(Recv(GRAD, 1)).key, hand.memory["grad"]) == ((1, 9, 1), "second")


def test_a_receive_from_its_source_goes_before_one_from_any(box):
    from_any, from_two = box.post(Recv(GRAD)), box.post(Recv(GRAD, 2))
    box.deliver(parcel(2))
    assert (from_any.done, from_two.done) == (False, True)
    box.deliver(parcel(2, number=1))
    assert from_any.message == Message(2, GRAD)


def test_a_receive_that_was_given_up_takes_nothing_and_the_late_message_is_dropped(box, hand):
    post = box.post(Recv(GRAD, 1, timeout_s=2.0))
    hand.now_s = 2.0
    box.deliver(parcel(1))
    assert (post.done, post.message) == (True, None)
    assert box.close() == 1


def test_a_late_message_may_still_be_taken_by_the_next_receive(box, hand):
    box.post(Recv(GRAD, 1, timeout_s=2.0))
    hand.now_s = 3.0
    box.deliver(parcel(1))
    assert box.post(Recv(GRAD, 1)).message == Message(1, GRAD)
    assert box.close() == 0


def test_a_message_that_nobody_receives_is_an_error(box):
    box.deliver(parcel(1))
    with pytest.raises(UnreceivedMessageError, match="rank 1 sent 'grad' to rank 9"):
        box.close()


def test_a_message_larger_than_its_buffer_is_an_error(box, hand):
    box.deliver(parcel(1, nbytes=8.0))
    post = box.post(Recv(GRAD, 1))
    assert "'grad' of 8.0 B" in str(post.error)
    assert not hand.memory
