"""Run the program of one rank on the wall clock: the counterpart of `simulator.engine`.

The same generator that drives a simulated actor drives this process: a compute does its work, a
collective calls torch.distributed, messages go through a mailbox.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import Any, Self

from simulator.actions import (
    Collective,
    Compute,
    Count,
    Now,
    Rank,
    Recv,
    Send,
    Sleep,
    Start,
    Wait,
)
from simulator.errors import ProgramError
from simulator.protocols import Program
from validation.torch_peers import Peers
from validation.torch_started import Starter
from validation.torch_values import TorchValues
from validation.wall_record import SLEEPING, Noted, RankRecord
from validation.wall_waiting import Pending, is_receive


class WallRank:
    """Be a rank of a measured run, within a `with` block.

    Parameters
    ----------
    peers : this process among the others
    values : the tensors and what does the works
    """

    def __init__(self, peers: Peers, values: TorchValues) -> None:
        self.peers, self.values = peers, values
        self.rank = Rank(peers.rank, peers.size)
        self._zero_s = time.monotonic()
        self._starter = Starter(peers, values, self.now)
        self._waiting = self._starter.waiting
        self._started: list[Pending] = []
        self._handlers: dict[type, Callable[[Any], object]] = {
            Compute: self._compute, Collective: self._collective, Send: self._starter.send,
            Recv: self._recv, Sleep: self._sleep, Start: self._start, Wait: self._wait,
            Now: lambda _: self.now(),
            Count: lambda told: self.record.count(told.name, told.amount, self.now()),
        }  # fmt: skip

    @property
    def record(self) -> RankRecord:
        """Return what was noted of the last program."""
        return self._starter.record

    def now(self) -> float:
        """Return the time since the common beginning, seconds."""
        return time.monotonic() - self._zero_s

    def play(self, program: Program) -> RankRecord:
        """Run a program to its end, and all that it started; programs may follow each other."""
        record = self._starter.record = RankRecord(self.peers.rank)
        self._waiting.blocked = record.blocked
        self._zero_s = self.peers.start_s()
        value: object = None
        while True:
            try:
                action = program.send(value)
            except StopIteration:
                break
            handler = self._handlers.get(action.__class__)
            if handler is None:
                raise ProgramError(f"rank {self.rank.id} yielded {action!r}; a program yields "
                                   "actions, made by its rank")  # fmt: skip
            value = handler(action)
        self._end()
        return record

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Leave the others: when all have ended their last program, at once where one failed.

        Raises
        ------
        UnreceivedMessageError : a message came that no receive took or gave up
        """
        if kind is not None:
            self._starter.messages.close(abandon=True)
            return
        self.peers.settle()
        self._starter.messages.close()
        self.record.dropped = self._starter.mailbox.close()

    def _end(self) -> None:
        """Wait for what was started and never waited for."""
        record, mailbox = self.record, self._starter.mailbox
        record.end_s = self.now()
        # What ends after the program is no time in which the program waited.
        self._waiting.blocked = []
        unfinished = [handle for handle in self._started if not is_receive(handle)]
        self._waiting.until(unfinished, len(unfinished))
        for handle in unfinished:
            self._result(handle)
        self._starter.join()
        record.arrived, record.received_bytes = mailbox.arrived, mailbox.received_bytes

    # --- actions that block ------------------------------------------------------------------

    def _compute(self, action: Compute) -> None:
        start_s = self.now()
        self._starter.compute(action)
        self._note(Noted(start_s, self.now(), "compute", action.work.name))

    def _collective(self, action: Collective) -> None:
        start_s = self.now()
        key, call = self._starter.call(action)
        if call is None:
            return
        work, then = call
        work.wait()
        self._starter.settle_device()
        then()
        end_s = self.now()
        self.record.blocked.append((start_s, end_s, key))
        self._note(Noted(start_s, end_s, action.kind, action.buffer.name, key))

    def _recv(self, action: Recv) -> object:
        handle = self._starter.start(action)
        self._waiting.until([handle], 1)
        return self._result(handle)

    def _sleep(self, action: Sleep) -> None:
        start_s = self.now()
        time.sleep(action.seconds)
        end_s = self.now()
        self.record.blocked.append((start_s, end_s, SLEEPING))
        self._note(Noted(start_s, end_s, "sleep", "sleep"))

    # --- started actions ---------------------------------------------------------------------

    def _start(self, action: Start) -> Pending:
        handle = self._starter.start(action.action)
        self._started.append(handle)
        return handle

    def _wait(self, action: Wait) -> object:
        handles: tuple[Any, ...] = action.handles
        for handle in handles:
            if handle.__class__ is not Pending:
                raise ProgramError(f"rank {self.rank.id} waits for {handle!r}, which is not a "
                                   "handle of an action it started")  # fmt: skip
        limit_s = inf if action.timeout_s is None else self.now() + action.timeout_s
        if action.mark is not None:
            self._waiting.until_mark(handles[0], action.mark, limit_s)
            return None
        if not self._waiting.until(handles, 1 if action.first else len(handles), limit_s):
            return None
        if action.first:
            done = next(handle for handle in handles if handle.done)
            self._result(done)
            return done
        results = tuple(self._result(handle) for handle in handles)
        return results[0] if len(results) == 1 else results

    def _result(self, handle: Pending) -> object:
        """Return what an action that is done gave, and note it once."""
        if handle.error is not None:
            raise handle.error
        if handle.then is not None:
            then, handle.then = handle.then, None
            then()
        noted = noted_of(handle)
        if noted is not None and (handle in self._started or is_receive(handle)):
            self._note(noted)
        if handle in self._started:
            self._started.remove(handle)
        return handle.result

    def _note(self, noted: Noted) -> None:
        self.record.spans.append(noted)
        if noted.kind not in ("recv", "sleep"):
            self.record.ends.append((f"{noted.kind} {noted.name}", noted.end_s))


def noted_of(handle: Pending) -> Noted | None:
    """Return the span of an action that is done.

    That of a send is noted when it begins, and ends at its receiver; a collective of one rank has
    none.
    """
    action, start_s, end_s = handle.action, handle.start_s, handle.end_s
    if isinstance(action, Compute):
        return Noted(start_s, end_s, "compute", action.work.name)
    if isinstance(action, Collective) and handle.key:
        return Noted(start_s, end_s, action.kind, action.buffer.name, handle.key)
    if isinstance(action, Recv):
        return Noted(start_s, end_s, "recv", action.buffer.name, handle.key)
    return Noted(start_s, end_s, "sleep", "sleep") if isinstance(action, Sleep) else None
