"""Run works on a device by events: what runs at the same time shares cores and bandwidth.

A *load* is a work in progress. Its *place* is how much of it is done, counted in seconds that it
would have taken alone; it moves at a *pace* of 1 alone and slower beside others. Paces change only
when a load starts or ends a phase (see `hwmodels.profile`) while others run. A load that is alone
runs ahead to its next mark in one event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
import simpy

from hwmodels.profile import Profile, Used
from simulator.energy import Energy
from simulator.errors import InputError
from simulator.ops import Graph
from simulator.protocols import Clock, Footprint, Running
from simulator.workload import Work

Phases: TypeAlias = tuple[tuple[Profile, int], ...]
"""Profile and phase of each load that runs at the same time."""


class Profiled(Protocol):
    """Be a device whose works are profiles."""

    def profile(self, graph: Graph, threads: int) -> Profile:
        """Return how the graph runs alone on so many threads."""

    def paces(self, phases: Phases) -> tuple[float, ...]:
        """Return how fast each of the phases that run at the same time goes, over alone."""

    def energy(self, time_s: float, used: Used) -> Energy:
        """Return what was drawn in some time, by component.

        Parameters
        ----------
        time_s : that passed, seconds
        used : what works used of the device
        """


_REMEMBERED = 100_000
"""Sets of concurrent phases whose paces are kept."""


@dataclass(slots=True, eq=False)
class _Load:
    """Be a work in progress.

    Parameters
    ----------
    profile : how it would run alone
    stops : phases after which an event happens, in order, with these events
    done : happens after the last phase
    phase : the one it is in
    place_s : how much is done, in seconds that it would have taken alone
    pace : seconds of place per second
    held : goes on in its last phase, over and over, until it is released
    """

    profile: Profile
    stops: list[tuple[int, simpy.Event]]
    done: simpy.Event
    phase: int = 0
    place_s: float = 0.0
    pace: float = 1.0
    next_stop: int = 0
    held: bool = False

    @property
    def last(self) -> int:
        """Return the last phase."""
        return len(self.profile.steps[0]) - 1

    @property
    def units(self) -> tuple[float, float]:
        """Return how many cores, and which share of matrix units, are busy in this phase."""
        return self.profile.steps[1][self.phase]

    def move(self, elapsed: float) -> float:
        """Go on within this phase; return the bytes moved to and from memory."""
        ends, _, moved = self.profile.steps
        end, start = ends[self.phase], ends[self.phase - 1] if self.phase else 0.0
        before, self.place_s = self.place_s, min(self.place_s + elapsed * self.pace, end)
        return moved[self.phase] * (self.place_s - before) / (end - start) if end > start else 0.0

    def go_on(self, elapsed: float) -> float:
        """Go on in the last phase for some time; return the bytes moved to and from memory."""
        ends, _, moved = self.profile.steps
        return moved[-1] * elapsed * self.pace / (ends[-1] - ends[-2])

    def target(self, ahead: bool) -> int:
        """Return the phase whose end is the next event: its own, or one ahead where alone."""
        if not ahead:
            return self.phase
        return self.stops[self.next_stop][0] if self.next_stop < len(self.stops) else self.last

    def wait_s(self, ahead: bool) -> float:
        """Return the time until its next event, seconds."""
        left = self.profile.steps[0][self.target(ahead)] - self.place_s
        return max(left, 0.0) / self.pace

    def finish(self, phase: int) -> bool:
        """Go to the end of a phase and say what is reached there; tell whether all is done."""
        self.place_s = self.profile.steps[0][phase]
        self.phase = phase + 1
        while self.next_stop < len(self.stops) and self.stops[self.next_stop][0] <= phase:
            self.stops[self.next_stop][1].succeed()
            self.next_stop += 1
        if phase == self.last:
            self.done.succeed()
        return phase == self.last

    def skip_empty(self) -> bool:
        """Finish phases that take no time; tell whether all is done."""
        ends = self.profile.steps[0]
        while ends[self.phase] <= self.place_s:
            if self.finish(self.phase):
                return True
        return False


@dataclass(slots=True, eq=False)
class OpenDevice:
    """Be a device in use on a clock.

    Parameters
    ----------
    device : which
    clock : on which
    ahead : whether a load that is alone takes one event for many ops; results are equal
    communication : gives a second of the kernel that does a collective, for `hold`; None: the
        device does not do collectives itself
    """

    device: Profiled
    clock: Clock
    ahead: bool = True
    communication: Callable[[Footprint], Profile] | None = None
    _loads: list[_Load] = field(default_factory=list)
    _since_s: float = 0.0
    _turn: int = 0
    _used: Used = field(default_factory=Used)
    _remembered: dict[Phases, tuple[float, ...]] = field(default_factory=dict)

    def run(self, work: Work, threads: int) -> Running:
        """Begin a work on so many threads.

        Raises
        ------
        InputError : more threads than the device has, or a mark at an op that the work lacks
        """
        profile = self.device.profile(work.graph, threads)
        marks = {name: self.clock.event() for name, _ in work.marks}
        done = self.clock.event()
        running = Running(done, marks)
        if not len(work.graph):
            for event in (*marks.values(), done):
                event.succeed()
            return running
        stops = sorted((self._phase(work, op), place) for place, (_, op) in enumerate(work.marks))
        events = [marks[name] for name, _ in work.marks]
        self._settle()
        self._loads.append(_Load(profile, [(phase, events[i]) for phase, i in stops], done))
        self._plan()
        return running

    def run_through(self, work: Work, threads: int) -> float:
        """Do a work on so many threads, beside which nothing else will be; return its seconds.

        Raises
        ------
        InputError : more threads than the device has
        """
        self._settle()
        profile = self.device.profile(work.graph, threads)
        if not len(work.graph):
            return 0.0
        self._use(profile.used_in_all)
        return profile.steps[0][-1]

    def hold(self, profile: Profile) -> Callable[[], None]:
        """Begin what goes on until the returned function is called: a kernel of communication.

        Beside it, works go as they do beside a work in the last phase of the profile.

        Parameters
        ----------
        profile : of one op without overhead
        """
        load = _Load(profile, [], self.clock.event(), phase=len(profile.steps[0]) - 1, held=True)
        self._settle()
        self._loads.append(load)
        self._plan()

        def release() -> None:
            self._settle()
            self._loads.remove(load)
            load.done.succeed()
            self._plan()

        return release

    def occupy(self, footprint: Footprint) -> Callable[[], None]:
        """Take what a collective takes until the returned function is called.

        Where the device does not do collectives itself, that is nothing.
        """
        return _nothing if self.communication is None else self.hold(self.communication(footprint))

    def _phase(self, work: Work, op: int) -> int:
        if not 0 <= op < len(work.graph):
            raise InputError(f"work '{work.name}' has a mark at op {op}; it has ops 0 to "
                             f"{len(work.graph) - 1}")  # fmt: skip
        return 2 * op + 1

    def energy(self, time_s: float) -> Energy:
        """Return what the device has used from 0 to `time_s`, joules by component.

        `idle` runs all the time; `compute` is the further power of busy cores, `memory` the energy
        of bytes moved; None where the power is unknown. What ran after `time_s` counts too: ask for
        the present or the future.
        """
        self._settle()
        return self.device.energy(time_s, self._used)

    @property
    def _alone(self) -> bool:
        return self.ahead and len(self._loads) == 1 and not self._loads[0].held

    def _settle(self) -> None:
        """Move every load to where it is now."""
        now = self.clock.now
        elapsed = now - self._since_s
        self._since_s = now
        if elapsed <= 0:
            return
        for load in self._loads:
            self._move(load, elapsed)

    def _move(self, load: _Load, elapsed: float) -> None:
        if self._alone:
            profile, before, end = load.profile, load.place_s, load.profile.steps[0][-1]
            load.place_s = min(before + elapsed, end)
            if before == 0.0 and load.place_s == end:
                load.phase = load.last
                self._use(profile.used_in_all)
                return
            found = int(np.searchsorted(profile.ends_s, load.place_s, "right"))
            load.phase = min(found, load.last)
            self._use(profile.used(before, load.place_s))
            return
        cores, matrix = load.units
        seconds = elapsed * self._share_of(load)
        moved = load.go_on(elapsed) if load.held else load.move(elapsed)
        self._use(Used(cores * seconds, matrix * seconds, moved))

    def _use(self, used: Used) -> None:
        self._used = Used(*(before + more for before, more in zip(self._used, used, strict=True)))

    def _share_of(self, load: _Load) -> float:
        """Return what share of the cores or units that a load asks for it has beside the others."""
        asked = sum(sum(other.units) for other in self._loads)
        return min(1.0, load.profile.cores / asked) if asked else 1.0

    def _plan(self) -> None:
        """Set all paces and ask the clock to come back at the first change."""
        self._turn += 1
        if not self._loads:
            return
        alone, turn = self._alone, self._turn
        if alone:
            first = self._loads[0]
            first.pace = 1.0
        else:
            for load, pace in zip(self._loads, self._paces(), strict=True):
                load.pace = pace
            ending = [load for load in self._loads if not load.held]
            if not ending:
                return
            first = min(ending, key=lambda load: load.wait_s(ahead=False))
        target = first.target(alone)
        timeout = self.clock.timeout(first.wait_s(alone))
        assert timeout.callbacks is not None
        timeout.callbacks.append(lambda _: self._reach(turn, first, target))

    def _paces(self) -> tuple[float, ...]:
        """Return the pace of each load in its present phase; remembered by phases."""
        key = tuple((load.profile, load.phase) for load in self._loads)
        if key not in self._remembered:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = self.device.paces(key)
        return self._remembered[key]

    def _reach(self, turn: int, load: _Load, phase: int) -> None:
        if turn != self._turn:
            return
        self._settle()
        if load.finish(phase) or load.skip_empty():
            self._loads.remove(load)
        self._plan()


def _nothing() -> None:
    """Do nothing."""
