"""Keep the messages that came to a rank of a measured run, and the receives that wait for one.

A *parcel* is a message that came; a *post* is a receive. One thread delivers, others post and wait;
`news` is notified of every change. As in a simulated run a message goes to the first receive from
its source, else to the first from any; kept messages are taken in the order in which they came.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

from simulator.actions import ANY, Message, Recv
from simulator.errors import ProgramError, UnreceivedMessageError
from simulator.workload import Buffer
from validation.wall_record import Key


@dataclass(frozen=True, slots=True)
class Parcel:
    """Be a message that came.

    Parameters
    ----------
    source : rank that sent it
    number : how many that rank had sent to this one before
    buffer : what was sent
    payload : its contents; None where they are in the buffer of their receive already
    """

    source: int
    number: int
    buffer: Buffer
    payload: Any = None


class Post:
    """Be a receive: `done` once it has a message or has been given up at `deadline_s`."""

    __slots__ = ("buffer", "deadline_s", "done", "error", "key", "message", "op", "source")

    def __init__(self, action: Recv, deadline_s: float) -> None:
        self.buffer, self.source, self.op = action.buffer, action.source, action.op
        self.deadline_s = deadline_s
        self.message: Message | None = None
        self.error: ProgramError | None = None
        self.key: Key = ()
        self.done = False


class Mailbox:
    """Bring parcels and posts of one rank together.

    Parameters
    ----------
    rank : whose it is
    write : puts a payload into the buffer of a receive
    now : tells the time, seconds
    """

    def __init__(
        self, rank: int, write: Callable[[Post, Any], None], now: Callable[[], float]
    ) -> None:
        self.rank, self._write, self._now = rank, write, now
        self.news = threading.Condition()
        self.arrived: dict[Key, float] = {}
        self.received_bytes: list[float] = []
        self._kept: deque[Parcel] = deque()
        self._posts: deque[Post] = deque()
        self._given_up = 0

    def claim(self, source: int) -> Post | None:
        """Take the receive that waits for a message which has begun to come, None where none does.

        A receive that may be given up is not taken: it would have to wait for the rest.
        """
        with self.news:
            post = self._waiting_for(source)
            if post is None or post.deadline_s < inf:
                return None
            self._posts.remove(post)
            return post

    def deliver(self, parcel: Parcel, post: Post | None = None) -> None:
        """Hand a parcel to the receive that was claimed for it or waits for it, or keep it."""
        with self.news:
            self.arrived[parcel.source, self.rank, parcel.number] = self._now()
            self.expire()
            if post is None:
                post = self._waiting_for(parcel.source)
                if post is not None:
                    self._posts.remove(post)
            if post is None:
                self._kept.append(parcel)
            else:
                self._hand(parcel, post)
            self.news.notify_all()

    def post(self, action: Recv) -> Post:
        """Begin a receive; it is done at once where its message has come."""
        deadline_s = inf if action.timeout_s is None else self._now() + action.timeout_s
        post = Post(action, deadline_s)
        with self.news:
            for parcel in self._kept:
                if action.source in (ANY, parcel.source):
                    self._kept.remove(parcel)
                    self._hand(parcel, post)
                    break
            else:
                self._posts.append(post)
        return post

    def expire(self) -> None:
        """Give up the receives whose time is over; the caller holds `news`."""
        now = self._now()
        for post in [post for post in self._posts if post.deadline_s <= now]:
            self._posts.remove(post)
            self._given_up += 1
            post.done = True

    def close(self) -> int:
        """Return how many messages came too late.

        Raises
        ------
        UnreceivedMessageError : one was never received, and no receive had been given up
        """
        if self._kept and not self._given_up:
            first = self._kept[0]
            raise UnreceivedMessageError(
                f"rank {first.source} sent '{first.buffer.name}' to rank {self.rank}, and it was "
                f"never received ({len(self._kept)} such)"
            )
        return len(self._kept)

    def _waiting_for(self, source: int) -> Post | None:
        for wanted in (source, ANY):
            for post in self._posts:
                if post.source == wanted:
                    return post
        return None

    def _hand(self, parcel: Parcel, post: Post) -> None:
        sent, into = parcel.buffer, post.buffer
        post.done = True
        post.key = (parcel.source, self.rank, parcel.number)
        if sent.nbytes > into.nbytes:
            post.error = ProgramError(
                f"rank {self.rank} receives '{sent.name}' of {sent.nbytes} B from "
                f"rank {parcel.source} into '{into.name}' of {into.nbytes} B"
            )
            return
        if parcel.payload is not None:
            self._write(post, parcel.payload)
        self.received_bytes.append(sent.nbytes)
        post.message = Message(parcel.source, sent)
