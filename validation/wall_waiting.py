"""Let a program on the wall clock wait for what it started.

All that happens in other threads notifies the mailbox's `news`; a waiting program then looks
whether it was what it waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from simulator.actions import Compute, Handle, Recv, Sleep
from simulator.engine.races import describe
from simulator.errors import ProgramError, RankFailedError
from validation.wall_mailbox import Mailbox, Post
from validation.wall_record import Key


class Pending(Handle):
    """Be a started action.

    `then` is what is left to do once it is done; `post` is that of a receive.
    """

    __slots__ = ("end_s", "error", "key", "post", "start_s", "then")
    marks: set[str]
    done: bool

    def __init__(self, action: Any, start_s: float) -> None:
        super().__init__(action)
        self.start_s, self.end_s = start_s, inf
        self.done, self.marks = False, set()
        self.error: BaseException | None = None
        self.post: Post | None = None
        self.then: Callable[[], object] | None = None
        self.key: Key = ()


class Waiting:
    """Wait for started actions of one rank.

    Parameters
    ----------
    rank : whose
    mailbox : notifies what comes
    now : tells the time, seconds
    timeout_s : how long to wait for what needs other ranks, seconds

    `blocked` collects the stretches in which the program waited, and for what. `failed` tells what
    broke the connection to the others, None as long as it holds.
    """

    def __init__(
        self, rank: int, mailbox: Mailbox, now: Callable[[], float], timeout_s: float
    ) -> None:
        self._rank, self._mailbox, self._now, self._timeout_s = rank, mailbox, now, timeout_s
        self._news = mailbox.news
        self.blocked: list[tuple[float, float, Key]] = []
        self.failed: Callable[[], Exception | None] = lambda: None

    def finish(self, handle: Pending, error: BaseException | None = None) -> None:
        """Say that an action is done, or how it failed."""
        with self._news:
            handle.error, handle.end_s, handle.done = error, self._now(), True
            self._news.notify_all()

    def reach(self, handle: Pending, mark: str) -> None:
        """Say that a started work has reached a mark."""
        with self._news:
            handle.marks.add(mark)
            self._news.notify_all()

    def until_mark(self, handle: Pending, mark: str, limit_s: float = inf) -> None:
        """Wait until a started work has reached a mark, or a moment."""
        action = handle.action
        if not isinstance(action, Compute) or mark not in dict(action.work.marks):
            raise ProgramError(f"rank {self._rank} waits for mark '{mark}' of {describe(action)}, "
                               "which has no such mark")  # fmt: skip
        start_s = self._now()
        with self._news:
            while not (mark in handle.marks or handle.done) and self._now() < limit_s:
                self._stand_by(start_s, limit_s, [handle])
        self.blocked.append((start_s, self._now(), ()))
        if handle.error is not None:
            raise handle.error

    def until(self, handles: Sequence[Pending], count: int, limit_s: float = inf) -> bool:
        """Wait until so many actions are done, or a moment; say whether they are."""
        start_s = since_s = self._now()
        with self._news:
            waiting = [handle for handle in handles if not self.is_done(handle)]
            while len(handles) - len(waiting) < count and self._now() < limit_s:
                self._stand_by(start_s, limit_s, waiting)
                done = [handle for handle in waiting if self.is_done(handle)]
                for handle in sorted(done, key=lambda one: one.end_s):
                    waiting.remove(handle)
                    end_s = max(since_s, handle.end_s)
                    self.blocked.append((since_s, end_s, handle.key))
                    since_s = end_s
                    if handle.error is not None:
                        raise handle.error
        return len(handles) - len(waiting) >= count

    def is_done(self, handle: Pending) -> bool:
        """Say whether an action is done: of a receive the mailbox knows it."""
        post = handle.post
        if post is not None and not handle.done:
            with self._news:
                self._mailbox.expire()
                if post.done:
                    handle.key, handle.end_s, handle.done = post.key, self._now(), True
                    handle.error, handle.result = post.error, post.message
        return handle.done

    def _stand_by(self, start_s: float, limit_s: float, waiting: Sequence[Pending]) -> None:
        """Wait for news, up to the next moment that counts; the caller holds them."""
        broken = self.failed()
        if broken is not None:
            raise broken
        now = self._now()
        need_others = [h for h in waiting if not isinstance(h.action, Compute | Sleep)]
        patient_until_s = start_s + self._timeout_s if need_others else inf
        if now >= patient_until_s:
            raise RankFailedError(self._rank, f"waited {self._timeout_s:g} s for "
                                  f"{describe(need_others[0].action)}")  # fmt: skip
        deadlines = [h.post.deadline_s for h in waiting if h.post is not None]
        next_s = min([limit_s, patient_until_s, *deadlines])
        self._news.wait(None if next_s == inf else max(0.0, next_s - now))


def is_receive(handle: Pending) -> bool:
    """Say whether an action is a receive: it may stay undone when the program ends."""
    return isinstance(handle.action, Recv)
