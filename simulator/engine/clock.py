"""Be the simulated clock of the engine: SimPy's environment, with a leaner way in.

Whatever else uses the clock (devices, networks) uses it as a SimPy environment. The engine's own
actions in progress serve as events themselves: anything with `callbacks` and a true `_ok` can stand
in SimPy's queue. This module is the only one that knows SimPy's queue from inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf
from types import MethodType
from typing import Any, Protocol

import simpy
from simpy.core import EmptySchedule
from simpy.events import Event, Timeout

from simulator.errors import InputError
from simulator.protocols import Delay

NORMAL, AFTER_ALL, AT_LAST = 1, 2, 3
"""Priorities of what happens at the same time: SimPy's own; after all that; after that."""


class Happening(Protocol):
    """Be something that can stand in the queue."""

    callbacks: Sequence[Callable[[Any], object]] | None
    _ok: bool


class Alarm:
    """Be the simplest thing that can stand in the queue."""

    __slots__ = ("callbacks",)
    _ok = True

    def __init__(self, callback: Callable[[Any], object]) -> None:
        self.callbacks: Sequence[Callable[[Any], object]] | None = (callback,)


class EngineClock(simpy.Environment):
    """Be a SimPy environment whose `now` is a plain attribute."""

    __slots__ = ("now",)
    now: float

    def __init__(self) -> None:
        super().__init__(0.0)
        self.now = 0.0
        # SimPy binds these early for its own class only.
        vars(self).update(timeout=MethodType(Timeout, self), event=MethodType(Event, self))

    def put(self, what: Any, delay_s: float, priority: int = NORMAL) -> None:
        """Have something happen after so many seconds.

        Raises
        ------
        InputError : if the seconds are negative, infinite or not a number
        """
        if not 0 <= delay_s < inf:
            raise InputError(f"a duration must be finite, 0 or more seconds; got {delay_s}")
        queue: list[Any] = self._queue
        heappush(queue, (self.now + delay_s, priority, next(self._eid), what))

    def put_at(self, what: Any, time_s: float, priority: int = NORMAL) -> None:
        """Have something happen at a time, or now if that has passed."""
        queue: list[Any] = self._queue
        heappush(queue, (max(time_s, self.now), priority, next(self._eid), what))

    def jump(self, delay_s: float) -> bool:
        """Go forward at once if nothing else is to happen; return whether it was possible."""
        if self._queue or not 0 <= delay_s < inf:
            return False
        self.now = self._now = self.now + delay_s
        return True

    def step(self) -> None:
        """Let the next thing happen."""
        if not self._queue:
            raise EmptySchedule
        self.now = self.peek()
        super().step()

    def play(self, scene: Lives) -> None:
        """Let things happen while the scene is alive and there is anything to happen."""
        queue: list[Any] = self._queue
        while scene.live and queue:
            self.now, _, _, event = heappop(queue)
            self._now = self.now
            callbacks = event.callbacks
            event.callbacks = None
            for callback in callbacks:
                callback(event)
            if not event._ok and not hasattr(event, "_defused"):
                raise event._value


class Lives(Protocol):
    """Say whether a run still goes on."""

    @property
    def live(self) -> int:
        """Return how many programs and started works have not ended."""


def when(delay: Delay, callback: Callable[[Any], None], clock: EngineClock) -> None:
    """Call back when something has ended; if it already has, within this instant."""
    if not isinstance(delay, Event):
        clock.put(Alarm(callback), delay)
        return
    callbacks: list[Callable[[Any], None]] | None = delay.callbacks
    if callbacks is None:
        clock.put(Alarm(callback), 0.0)
    else:
        callbacks.append(callback)
