"""Drive one rank's program on the simulated clock.

An *actor* is a rank in a run. It advances its program until an action blocks; whatever the action
waits for calls the actor back. Actions that take no time never touch the event queue. An action in
progress is a `Pending`; the one on which the program blocks directly is the actor's `foreground`,
one object used again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final, TypeAlias

from simulator.actions import Handle, Rank, Sleep
from simulator.engine.scene import Scene
from simulator.errors import ProgramError
from simulator.protocols import Program
from simulator.timeline import SPAN_CODES

BLOCKED: Final = object()
"""What the carrying out of an action gives when the program must wait."""
WAIT: Final = SPAN_CODES["wait"]


@dataclass(slots=True)
class Totals:
    """Sum up what one rank did; the five times add up to the time of the run.

    Parameters
    ----------
    rank : who; with folding, the first of the equal ones
    copies : how many ranks this one stands for, itself included
    compute_s : time in which it computed, seconds
    communication_s : time in which it was blocked while a message or collective was on its way and
        it did not compute (exposed communication), seconds
    waiting_s : time in which it was blocked until others were ready, seconds
    sleep_s : time asleep, seconds
    idle_s : the rest: nothing left to do, seconds
    end_s : when its program ended, seconds
    sent_bytes, received_bytes : in messages (collectives are counted by group), bytes
    sent_messages, received_messages : how many
    """

    rank: int
    copies: int = 1
    compute_s: float = 0.0
    communication_s: float = 0.0
    waiting_s: float = 0.0
    sleep_s: float = 0.0
    idle_s: float = 0.0
    end_s: float = 0.0
    sent_bytes: float = 0.0
    received_bytes: float = 0.0
    sent_messages: int = 0
    received_messages: int = 0


class Pending(Handle):
    """Be an action in progress, in the foreground or started; it may stand in the clock's queue.

    `moved_s` is when the others were ready, so that waiting can be told from communicating.
    """

    __slots__ = ("actor", "awaited", "callbacks", "moved_s", "start_s", "uses")
    _ok = True
    action: Any
    marks: Any
    callbacks: Sequence[Callable[[Any], object]] | None
    uses: dict[str, bool] | None

    def __init__(self, actor: Actor, action: object) -> None:
        self.actor = actor
        self.action = action
        self.start_s = self.moved_s = actor.clock.now
        self.done = self.awaited = False
        self.marks = self.result = self.uses = self.callbacks = None

    def finish(self, result: object) -> None:
        """Note the result and call back whoever waits for it."""
        self.done = True
        self.result = result
        if self.awaited:
            self.awaited = False
            actor = self.actor
            actor.account(self)
            if self is actor.foreground:
                actor.resume(result)
            elif actor.missing == 1:
                result_of, handles = actor.awaiting
                actor.resume(result_of(handles, self))
            else:
                actor.missing -= 1


class Actor:
    """Be a rank in a run.

    Parameters
    ----------
    rank : who
    scene : what all ranks share
    copies : how many equal ranks it stands for
    device : index of the machine's device
    threads : how many threads it uses there
    """

    __slots__ = (
        "advance", "awaiting", "clock", "computing", "copies", "device", "device_index", "ended",
        "ends", "foreground", "handlers", "mailbox", "me", "memberships", "missing", "outbox",
        "peers", "rank", "run_through", "scene", "since_s", "threads", "ticket", "totals", "turns",
        "uses", "values",
    )  # fmt: skip

    def __init__(self, rank: Rank, scene: Scene, copies: int, device: int, threads: int) -> None:
        self.me, self.rank = rank, rank.id
        self.scene, self.clock = scene, scene.clock
        self.copies, self.threads = copies, threads
        self.device_index, self.device = device, scene.device(device, copies)
        self.run_through = scene.run_through(device)
        self.values = None if scene.values is None else scene.values[rank.id]
        self.totals = Totals(rank.id, copies)
        self.ends: list[tuple[object, float]] | None = [] if scene.keeps_ends else None
        self.foreground = Pending(self, None)
        self.awaiting: Any = None
        self.missing = self.ticket = self.computing = 0
        self.since_s = 0.0
        self.ended = False
        self.turns = repeat(None, scene.most_actions)
        self.uses: dict[str, list[Any]] = {}
        self.memberships: dict[Any, Any] = {}
        self.outbox: dict[int, Any] = {}
        self.peers: Mapping[int, Actor] = {}
        self.mailbox: Any = None

    def begin(self, program: Program, handlers: Mapping[type, Handler]) -> None:
        """Run the program up to its first blocking action."""
        if not hasattr(program, "send"):
            raise ProgramError(f"the program of rank {self.rank} must be a generator of actions; "
                               f"got {type(program).__name__}")  # fmt: skip
        self.advance, self.handlers = program.send, handlers
        self.scene.live += 1
        self.resume(None)

    def resume(self, value: object) -> None:
        """Give the program the result of its last action and run it until it blocks or ends."""
        advance, handlers = self.advance, self.handlers
        self.ticket += 1
        for _ in self.turns:
            try:
                action = advance(value)
            except StopIteration:
                self.ended = True
                self.totals.end_s = self.clock.now
                self.scene.live -= 1
                return
            except Exception as error:
                error.add_note(f"in the program of rank {self.rank}, at {self.clock.now} s")
                raise
            try:
                handler = handlers[action.__class__]
            except KeyError:
                raise self._no_action(action) from None
            value = handler(self, action)
            if value is BLOCKED:
                return
        raise ProgramError(f"rank {self.rank} does more than {self.scene.most_actions:,} actions, "
                           f"up to {self.clock.now:g} s; does its program end?")  # fmt: skip

    def _no_action(self, got: object) -> ProgramError:
        return ProgramError(f"rank {self.rank} yielded {got!r} at {self.clock.now} s; a program "
                            "yields actions, made by its rank")  # fmt: skip

    def account(self, pending: Pending) -> None:
        """Add the time since the last account to the totals, as blocked until `pending` ended."""
        now, since_s = self.clock.now, self.since_s
        if now > since_s:
            totals, moved_s = self.totals, pending.moved_s
            if self.computing:
                totals.compute_s += now - since_s
            elif pending.action.__class__ is Sleep:
                totals.sleep_s += now - since_s
            elif moved_s > since_s:
                totals.waiting_s += moved_s - since_s
                totals.communication_s += now - moved_s
            else:
                totals.communication_s += now - since_s
            self.since_s = now

    def record(self, pending: Pending, kind: int, name: str) -> None:
        """Add the spans of an action that ends now to the timeline, if there is one."""
        rows = self.scene.rows
        if rows is not None:
            if pending.moved_s > pending.start_s:
                rows += (pending.start_s, pending.moved_s, self.rank, WAIT, name)
            rows += (pending.moved_s, self.clock.now, self.rank, kind, name)


Handler: TypeAlias = Callable[[Actor, Any], object]
