"""Find a buffer that is written while a started action uses it.

A started action uses its buffers until the program has waited for it: only then may the program
count on its end, whatever the clock says. A buffer written by a work and named like one of its
marks is free once the program has waited for that mark (or a later one).
"""

from __future__ import annotations

from typing import Any

from simulator.actions import Collective, Compute, Recv, Send
from simulator.engine.actor import Actor, Pending
from simulator.errors import BufferRaceError

Names = tuple[str, ...]


def reads_writes(action: Any) -> tuple[Names, Names]:
    """Return the names of the buffers that an action reads, and that it writes."""
    kind = action.__class__
    if kind is Compute:
        return action.work.reads, action.work.writes
    if kind is Collective and action.kind != "barrier":
        return (), (action.buffer.name,)
    if kind is Recv:
        return (), (action.buffer.name,)
    if kind is Send:
        return (action.buffer.name,), ()
    return (), ()


def check(actor: Actor, action: Any) -> None:
    """Raise BufferRaceError if an action cannot go along with those in progress."""
    reads, writes = reads_writes(action)
    for name in writes:
        for pending, _ in actor.uses.get(name, ()):
            raise _race(actor, name, action, pending, "written")
    for name in reads:
        for pending, written in actor.uses.get(name, ()):
            if written:
                raise _race(actor, name, action, pending, "read")


def claim(pending: Pending) -> None:
    """Note the buffers of a started action as in use until the program waits for it."""
    reads, writes = reads_writes(pending.action)
    if not (reads or writes):
        return
    uses = pending.actor.uses
    if uses:
        check(pending.actor, pending.action)
    claimed = dict.fromkeys(writes, True)
    if reads:
        claimed = dict.fromkeys(reads, False) | claimed
    pending.uses = claimed
    for name, written in claimed.items():
        if name in uses:
            uses[name].append((pending, written))
        else:
            uses[name] = [(pending, written)]


def release(pending: Pending, mark: str | None = None) -> None:
    """Note that the program has waited for a started action, or for one of its marks."""
    if not pending.uses:
        return
    if mark is None:
        for name in pending.uses:
            _drop(pending, name)
        pending.uses = None
        return
    for name in _freed_by(pending, mark):
        if name in pending.uses:
            del pending.uses[name]
            _drop(pending, name)


def _freed_by(pending: Pending, mark: str) -> list[str]:
    """Return the marks of a work up to this one, which are also its buffers that are ready."""
    at = dict(pending.action.work.marks)
    return [name for name, op in at.items() if op <= at[mark]]


def _drop(pending: Pending, name: str) -> None:
    uses = pending.actor.uses
    if len(uses[name]) == 1:
        del uses[name]
    else:
        uses[name] = [use for use in uses[name] if use[0] is not pending]


def describe(action: Any) -> str:
    """Return an action in words, for messages of errors.

    >>> from simulator.actions import Sleep
    >>> describe(Sleep(2.0))
    'sleep of 2.0 s'
    """
    kind = action.__class__
    if kind is Compute:
        return f"compute '{action.work.name}'"
    if kind is Collective:
        return f"{action.kind} '{action.buffer.name}'"
    if kind is Send:
        return f"send '{action.buffer.name}' to rank {action.to}"
    if kind is Recv:
        source = "any rank" if action.source < 0 else f"rank {action.source}"
        return f"recv '{action.buffer.name}' from {source}"
    return f"sleep of {action.seconds} s"


def _race(actor: Actor, name: str, action: Any, other: Pending, how: str) -> BufferRaceError:
    return BufferRaceError(
        f"rank {actor.rank}: buffer '{name}' is {how} by {describe(action)} at {actor.clock.now} s "
        f"while {describe(other.action)}, started at {other.start_s} s and not waited for, uses it"
    )
