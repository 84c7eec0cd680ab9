"""Carry out Compute and Sleep: what takes time on one rank alone."""

from __future__ import annotations

from collections.abc import Callable

from simpy.events import Event

from simulator.actions import Compute, Sleep
from simulator.engine.actor import BLOCKED, Actor, Pending
from simulator.engine.clock import Alarm, EngineClock, when
from simulator.engine.races import check, claim
from simulator.protocols import Delay
from simulator.timeline import SPAN_CODES

COMPUTE, SLEEP = SPAN_CODES["compute"], SPAN_CODES["sleep"]


def compute(actor: Actor, action: Compute) -> object:
    """Do a work and wait for its end."""
    if actor.uses:
        check(actor, action)
    work = action.work
    if actor.values is not None:
        actor.values.compute(work)
    pending = actor.foreground
    pending.action = action
    pending.start_s = actor.clock.now
    through = actor.run_through
    if through is None or actor.uses or actor.computing:
        done = actor.device.run(work, actor.threads).done
    else:
        done = through(work, actor.threads)
    if action.slowdown != 1.0:
        done = slowed(done, action.slowdown, actor.clock)
    if done.__class__ is float:
        if actor.scene.alone and actor.clock.jump(done):
            _note_compute(actor, pending)
            return None
        pending.callbacks = _COMPUTED
        actor.clock.put(pending, done)
    else:
        when(done, lambda _: _end_compute(pending), actor.clock)
    return BLOCKED


def slowed(delay: Delay, slowdown: float, clock: EngineClock) -> Delay:
    """Return when something ends that takes so many times as long as it would."""
    if not isinstance(delay, Event):
        return delay * slowdown
    began_s, ended = clock.now, clock.event()

    def go_on(_: object) -> None:
        rest_s = (slowdown - 1) * (clock.now - began_s)
        clock.put(Alarm(lambda _: ended.succeed()), rest_s)

    when(delay, go_on, clock)
    return ended


def _end_compute(pending: Pending) -> None:
    actor = pending.actor
    _note_compute(actor, pending)
    actor.resume(None)


def _note_compute(actor: Actor, pending: Pending) -> None:
    """Account for a work that ends now."""
    now = actor.clock.now
    actor.totals.compute_s += now - actor.since_s
    actor.since_s = now
    rows = actor.scene.rows
    if rows is not None:
        rows += (pending.start_s, now, actor.rank, COMPUTE, pending.action.work.name)
    if actor.ends is not None:
        actor.ends.append((pending.action.work, now))


def start_compute(pending: Pending) -> None:
    """Begin a work that the program may wait for later."""
    claim(pending)
    actor, work = pending.actor, pending.action.work
    if actor.values is not None:
        actor.values.compute(work)
    running = actor.device.run(work, actor.threads)
    slowdown: float = pending.action.slowdown
    if slowdown == 1.0:
        done, pending.marks = running.done, running.marks
    else:
        done = slowed(running.done, slowdown, actor.clock)
        pending.marks = {
            name: slowed(delay, slowdown, actor.clock) for name, delay in running.marks.items()
        }
    actor.computing += 1
    actor.scene.live += 1
    _end_with(pending, done, _end_started_compute)


def _end_started_compute(pending: Pending) -> None:
    actor = pending.actor
    _note_compute(actor, pending)
    actor.computing -= 1
    actor.scene.live -= 1
    pending.finish(None)


def _end_with(pending: Pending, delay: Delay, end: Callable[[Pending], None]) -> None:
    """Call `end` with an action in progress after a delay."""
    if delay.__class__ is float:
        pending.callbacks = (end,)
        pending.actor.clock.put(pending, delay)
    else:
        when(delay, lambda _: end(pending), pending.actor.clock)


def sleep(actor: Actor, action: Sleep) -> object:
    """Wait for some seconds."""
    pending = actor.foreground
    pending.action = action
    pending.start_s = actor.clock.now
    if actor.scene.alone and actor.clock.jump(action.seconds):
        _note_sleep(actor, pending)
        return None
    pending.callbacks = _SLEPT
    actor.clock.put(pending, action.seconds)
    return BLOCKED


def _end_sleep(pending: Pending) -> None:
    actor = pending.actor
    _note_sleep(actor, pending)
    actor.resume(None)


def _note_sleep(actor: Actor, pending: Pending) -> None:
    """Account for a sleep that ends now; a work started before may go on meanwhile."""
    now = actor.clock.now
    if actor.computing:
        actor.totals.compute_s += now - actor.since_s
    else:
        actor.totals.sleep_s += now - actor.since_s
    actor.since_s = now
    rows = actor.scene.rows
    if rows is not None:
        rows += (pending.start_s, now, actor.rank, SLEEP, "sleep")


def start_sleep(pending: Pending) -> None:
    """Begin a sleep that the program may wait for later."""
    pending.actor.scene.live += 1
    _end_with(pending, pending.action.seconds, _end_started_sleep)


def _end_started_sleep(pending: Pending) -> None:
    actor = pending.actor
    actor.scene.live -= 1
    actor.record(pending, SLEEP, "sleep")
    pending.finish(None)


_COMPUTED, _SLEPT = (_end_compute,), (_end_sleep,)
