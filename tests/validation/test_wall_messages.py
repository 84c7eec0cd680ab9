"""Messages between ranks arrive whole, in order, and where a receive waits for them."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from simulator.actions import Recv
from simulator.errors import ProgramError
from simulator.workload import Buffer
from validation.wall_mailbox import Mailbox
from validation.wall_messages import LONGEST_NAME, Messages, listen


class Rank:
    """Be a process with two kinds of memory: one that others write to, one that they do not."""

    def __init__(self, rank, listening, addresses):
        self.memory = {}
        self.copied = []
        self.mailbox = Mailbox(rank, self.write, lambda: 0.0)
        self.messages = Messages(rank, listening, addresses, self.mailbox, self.memory_of)

    def memory_of(self, buffer):
        return self.memory.get(buffer.name)

    def write(self, post, contents):
        self.copied.append(bytes(contents))
        self.messages.done_with(contents)

    def take(self, name, nbytes, source):
        """Receive, and wait for it."""
        post = self.mailbox.post(Recv(Buffer(name, nbytes), source))
        with self.mailbox.news:
            assert self.mailbox.news.wait_for(lambda: post.done, 60)
        assert post.message is not None
        return post.message


@pytest.fixture
def ranks():
    sockets = [listen("127.0.0.1") for _ in range(3)]
    addresses = [one.getsockname() for one in sockets]
    made = [Rank(rank, one, addresses) for rank, one in enumerate(sockets)]
    yield made
    closing = [threading.Thread(target=rank.messages.close) for rank in made]
    for thread in closing:
        thread.start()
    for thread in closing:
        thread.join()
    assert not any(rank.messages.failed for rank in made)


def numbers(nbytes, seed=0):
    return np.random.default_rng(seed).integers(0, 256, nbytes, np.uint8)


@pytest.mark.parametrize("nbytes", [0, 1, 256, 100_003, 20_000_001])
def test_a_message_arrives_whole(ranks, nbytes):
    sent = numbers(nbytes)
    ranks[0].messages.send(Buffer("grad", nbytes), sent, 1, None)
    message = ranks[1].take("grad", nbytes, 0)
    assert (message.source, message.buffer) == (0, Buffer("grad", nbytes))
    assert ranks[1].copied == [sent.tobytes()]


def test_contents_go_straight_into_the_buffer_of_a_receive_that_waits(ranks):
    into = ranks[1].memory["grad"] = np.zeros(1_000_000, np.uint8)
    post = ranks[1].mailbox.post(Recv(Buffer("grad", 1e6), 0))
    sent = numbers(1_000_000)
    ranks[0].messages.send(Buffer("grad", 1e6), sent, 1, None)
    with ranks[1].mailbox.news:
        assert ranks[1].mailbox.news.wait_for(lambda: post.done, 60)
    assert np.array_equal(into, sent)
    assert not ranks[1].copied


def test_a_send_is_a_copy_what_happens_later_to_the_buffer_does_not_count(ranks):
    sent = numbers(20_000_000)
    wanted = sent.tobytes()
    ranks[0].messages.send(Buffer("grad", 2e7), sent, 1, None)
    sent[:] = 0
    ranks[1].take("grad", 2e7, 0)
    assert ranks[1].copied == [wanted]


def test_messages_of_one_rank_arrive_in_the_order_of_sending(ranks):
    sizes = [3_000_000, 1, 500_000, 0, 7]
    for place, nbytes in enumerate(sizes):
        ranks[0].messages.send(Buffer(f"part{place}", nbytes), numbers(nbytes, place), 1, None)
    names = [ranks[1].take("any", 1e7, 0).buffer.name for _ in sizes]
    assert names == [f"part{place}" for place in range(len(sizes))]
    assert [len(one) for one in ranks[1].copied] == sizes


def test_two_ranks_may_send_to_each_other_and_to_themselves_before_either_receives(ranks):
    for rank, other in ((0, 1), (1, 0), (2, 2)):
        ranks[rank].messages.send(Buffer("grad", 9e6), numbers(9_000_000, rank), other, None)
    for rank, other in ((0, 1), (1, 0), (2, 2)):
        ranks[rank].take("grad", 9e6, other)
        assert ranks[rank].copied == [numbers(9_000_000, other).tobytes()]


def test_a_send_that_is_waited_for_is_done_when_its_message_has_come(ranks):
    delivered = threading.Event()
    ranks[0].messages.send(Buffer("grad", 4.0), numbers(4), 1, delivered.set)
    assert delivered.wait(60)
    assert ranks[1].mailbox.arrived.keys() == {(0, 1, 0)}


def test_who_gives_up_waits_for_nothing_that_is_on_its_way():
    sockets = [listen("127.0.0.1") for _ in range(2)]
    addresses = [one.getsockname() for one in sockets]
    first, second = (Rank(rank, one, addresses) for rank, one in enumerate(sockets))
    first.messages.send(Buffer("grad", 5e7), numbers(50_000_000), 1, None)
    first.messages.close(abandon=True)
    second.messages.close(abandon=True)


def test_a_buffer_with_an_endless_name_cannot_be_sent(ranks):
    with pytest.raises(ProgramError, match=f"{LONGEST_NAME} bytes"):
        ranks[0].messages.send(Buffer("x" * (LONGEST_NAME + 1), 4.0), numbers(4), 1, None)
