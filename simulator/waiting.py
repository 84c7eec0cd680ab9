"""Carry out Start and Wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import simpy

from simulator.actions import Compute, Handle, Start, Wait
from simulator.actor import BLOCKED, Actor, Pending
from simulator.computing import when
from simulator.errors import InputError, ProgramError
from simulator.mailbox import AT_LAST, at_end
from simulator.races import describe, release

Starter: TypeAlias = Callable[[Pending], None]


def starting(starters: Mapping[type, Starter]) -> Callable[[Actor, Start], Handle]:
    """Return what begins an action without waiting for it, by the kind of action."""

    def start(actor: Actor, action: Start) -> Handle:
        starter = starters.get(action.action.__class__)
        if starter is None:
            raise ProgramError(f"rank {actor.rank} starts {action.action!r}; only an action that "
                               "takes time can be started")  # fmt: skip
        pending = Pending(actor, action.action)
        starter(pending)
        return pending

    return start


def wait(actor: Actor, action: Wait) -> object:
    """Wait for all handles, for the first, or for a mark."""
    handles = action.handles
    _check_handles(actor, handles)
    if action.mark is not None:
        return _wait_mark(actor, action)
    open_handles = [handle for handle in dict.fromkeys(handles) if not handle.done]
    ready = len(open_handles) < len(handles) if action.first else not open_handles
    if ready or not handles:
        return _first(handles) if action.first and handles else _results(handles)
    actor.foreground.action = action
    for handle in open_handles:
        handle.awaited = True  # type: ignore[attr-defined]
    actor.missing = 1 if action.first else len(open_handles)
    actor.awaiting = partial(_end_first if action.first else _end_all, handles)
    _set_timer(actor, action)
    return BLOCKED


def _check_handles(actor: Actor, handles: Sequence[Handle]) -> None:
    for handle in handles:
        if not isinstance(handle, Pending) or handle.actor is not actor:
            raise ProgramError(f"rank {actor.rank} waits for {handle!r}, which is not a handle of "
                               "an action it started")  # fmt: skip


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
    pending: Pending = action.handles[0]  # type: ignore[assignment]
    mark = action.mark
    marks: Any = pending.marks
    if not isinstance(pending.action, Compute) or mark not in dict(pending.action.work.marks):
        raise ProgramError(f"rank {actor.rank} waits for mark '{mark}' of "
                           f"{describe(pending.action)}, which has no such mark")  # fmt: skip
    if mark not in marks:
        raise InputError(f"device '{actor.stage.machine.devices[actor.device_index].name}' gives "
                         f"no event for mark '{mark}' of {describe(pending.action)}")  # fmt: skip
    if marks[mark].callbacks is None or pending.done:
        release(pending, mark)
        return None
    when(marks[mark], partial(_end_mark, pending, mark, actor.ticket))
    _set_timer(actor, action)
    return BLOCKED


def _end_mark(pending: Pending, mark: str, ticket: int, _: simpy.Event) -> None:
    actor = pending.actor
    if actor.ticket == ticket:
        release(pending, mark)
        actor.account(pending)
        actor.resume(None)


def _set_timer(actor: Actor, action: Wait) -> None:
    if action.timeout_s is not None:
        expire = partial(_expire, actor, action.handles, actor.ticket)
        at_end(actor.clock, action.timeout_s, AT_LAST, expire)


def _expire(actor: Actor, handles: Sequence[Any], ticket: int, _: simpy.Event) -> None:
    if actor.ticket != ticket:
        return
    for handle in handles:
        handle.awaited = False
    waited = Pending(actor, None)
    actor.account(waited)
    actor.resume(None)
