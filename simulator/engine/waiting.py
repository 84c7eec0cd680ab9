"""Carry out Start and Wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from simpy.events import Event

from simulator.actions import Collective, Compute, Handle, Recv, Send, Sleep, Start, Wait
from simulator.engine.actor import BLOCKED, Actor, Pending
from simulator.engine.clock import AT_LAST, Alarm, when
from simulator.engine.collectives import start_collective
from simulator.engine.computing import start_compute, start_sleep
from simulator.engine.messages import start_recv, start_send
from simulator.engine.races import describe, release
from simulator.errors import InputError, ProgramError
from simulator.protocols import Delay

_STARTERS: dict[type, Callable[[Pending], None]] = {
    Compute: start_compute,
    Collective: start_collective,
    Send: start_send,
    Recv: start_recv,
    Sleep: start_sleep,
}


def start(actor: Actor, action: Start) -> Handle:
    """Begin an action without waiting for it."""
    starter = _STARTERS.get(action.action.__class__)
    if starter is None:
        raise ProgramError(f"rank {actor.rank} starts {action.action!r}; only an action that takes "
                           "time can be started")  # fmt: skip
    pending = Pending(actor, action.action)
    starter(pending)
    return pending


def wait(actor: Actor, action: Wait) -> object:
    """Wait for all handles, for the first, or for a mark."""
    handles: tuple[Any, ...] = action.handles
    for handle in handles:
        if handle.__class__ is not Pending or handle.actor is not actor:
            raise ProgramError(f"rank {actor.rank} waits for {handle!r}, which is not a handle of "
                               "an action it started")  # fmt: skip
    if action.mark is not None:
        return _wait_mark(actor, action)
    if action.first and any(handle.done for handle in handles):
        return _first(handles)
    missing = 0
    for handle in handles:
        if not (handle.done or handle.awaited):
            handle.awaited = True
            missing += 1
    if not missing:
        return _results(handles)
    actor.foreground.action = action
    actor.missing = 1 if action.first else missing
    actor.awaiting = (_end_first if action.first else _end_all, handles)
    if action.timeout_s is not None:
        _set_timer(actor, action)
    return BLOCKED


def _results(handles: Sequence[Any]) -> object:
    for handle in handles:
        if handle.uses:
            release(handle)
    if len(handles) == 1:
        return handles[0].result
    return tuple(handle.result for handle in handles)


def _first(handles: Sequence[Any]) -> Handle:
    done: Pending = next(handle for handle in handles if handle.done)
    release(done)
    return done


def _end_all(handles: Sequence[Any], _: Pending) -> object:
    return _results(handles)


def _end_first(handles: Sequence[Any], done: Pending) -> object:
    for handle in handles:
        handle.awaited = False
    release(done)
    return done


def _wait_mark(actor: Actor, action: Wait) -> object:
    pending: Any = action.handles[0]
    mark: Any = action.mark
    reached = _mark_of(pending, mark)
    if isinstance(reached, Event):
        passed = reached.callbacks is None
    else:
        passed = pending.start_s + reached <= actor.clock.now
    if passed or pending.done:
        release(pending, mark)
        return None
    actor.foreground.action = action
    callback = partial(_end_mark, pending, mark, actor.ticket)
    if isinstance(reached, Event):
        when(reached, callback, actor.clock)
    else:
        actor.clock.put_at(Alarm(callback), pending.start_s + reached)
    if action.timeout_s is not None:
        _set_timer(actor, action)
    return BLOCKED


def _mark_of(pending: Pending, mark: str) -> Delay:
    """Return when a mark of a started work is reached, counted from its beginning."""
    action, actor = pending.action, pending.actor
    if not isinstance(action, Compute) or mark not in dict(action.work.marks):
        raise ProgramError(f"rank {actor.rank} waits for mark '{mark}' of {describe(action)}, "
                           "which has no such mark")  # fmt: skip
    marks: Mapping[str, Delay] = pending.marks
    if mark not in marks:
        device = actor.scene.machine.devices[actor.device_index].name
        raise InputError(f"device '{device}' does not say when mark '{mark}' of "
                         f"{describe(action)} is reached")  # fmt: skip
    return marks[mark]


def _end_mark(pending: Pending, mark: str, ticket: int, _: object) -> None:
    actor = pending.actor
    if actor.ticket == ticket:
        release(pending, mark)
        actor.account(pending)
        actor.resume(None)


def _set_timer(actor: Actor, action: Wait) -> None:
    expire = partial(_expire, actor, action.handles, actor.ticket)
    actor.clock.put(Alarm(expire), action.timeout_s, AT_LAST)  # type: ignore[arg-type]


def _expire(actor: Actor, handles: Sequence[Any], ticket: int, _: object) -> None:
    if actor.ticket != ticket:
        return
    for handle in handles:
        handle.awaited = False
    waited = Pending(actor, None)
    actor.account(waited)
    actor.resume(None)
