"""Carry out Compute and Sleep: what takes time on one rank alone."""

from __future__ import annotations

from collections.abc import Callable

import simpy

from simulator.actions import Compute, Sleep
from simulator.actor import BLOCKED, Actor, Pending
from simulator.races import check, claim
from simulator.timeline import SPAN_CODES

COMPUTE, SLEEP = SPAN_CODES["compute"], SPAN_CODES["sleep"]


def compute(actor: Actor, action: Compute) -> object:
    """Do a work and wait for its end."""
    if actor.uses:
        check(actor, action)
    begin_compute(actor.block(action))
    return BLOCKED


def start_compute(pending: Pending) -> None:
    """Begin a work that the program may wait for later."""
    claim(pending)
    begin_compute(pending)


def begin_compute(pending: Pending) -> None:
    """Begin a work on the actor's device."""
    actor, work = pending.actor, pending.action.work
    if actor.values is not None:
        actor.values.compute(work)
    running = actor.device.run(work, actor.threads)
    pending.marks = running.marks
    actor.computing += 1
    actor.stage.live += 1
    when(running.done, lambda _: end_compute(pending))


def when(event: simpy.Event, callback: Callable[[simpy.Event], None]) -> None:
    """Call back once the event has happened; if it already has, within this instant."""
    callbacks: list[Callable[[simpy.Event], None]] | None = event.callbacks
    if callbacks is None:
        callbacks = event.env.timeout(0.0).callbacks
    callbacks.append(callback)


def end_compute(pending: Pending) -> None:
    """Note that a work has ended."""
    actor, work = pending.actor, pending.action.work
    actor.account(pending)
    actor.computing -= 1
    actor.stage.live -= 1
    if actor.stage.rows is not None:
        actor.record(pending, COMPUTE, work.name)
    if actor.ends is not None:
        actor.ends.append((work, actor.clock.now))
    pending.finish(None)


def sleep(actor: Actor, action: Sleep) -> object:
    """Wait for some seconds."""
    start_sleep(actor.block(action))
    return BLOCKED


def start_sleep(pending: Pending) -> None:
    """Begin a sleep that the program may wait for later."""
    actor = pending.actor
    actor.stage.live += 1
    when(actor.clock.timeout(pending.action.seconds), lambda _: end_sleep(pending))


def end_sleep(pending: Pending) -> None:
    """Note that a sleep has ended."""
    actor = pending.actor
    actor.stage.live -= 1
    actor.record(pending, SLEEP, "sleep")
    pending.finish(None)
