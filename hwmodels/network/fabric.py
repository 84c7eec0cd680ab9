"""Be a network in use on a clock: messages and collectives become traffic that competes."""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import simpy

from hwmodels.network.flows import Flows
from hwmodels.network.schedules import Step
from hwmodels.network.traffic import Traffic
from simulator.actions import Group
from simulator.energy import Energy
from simulator.protocols import Clock, Footprint

MOST_KNOWN = 65_536
"""Kinds of traffic that are remembered: a program sends the same ones again and again."""


@dataclass(frozen=True, slots=True)
class _Queued:
    """Be a message that stands in line for its connection."""

    traffic: Traffic
    sent_bytes: float
    delivered: simpy.Event


class OpenFabric:
    """Carry what ranks send, and tell the clock when it has arrived.

    Parameters
    ----------
    clock : the simulated clock
    flows : on the topology; no traffic has begun
    devices : the device of each rank
    message : from a step of one message to its traffic
    collective : from kind, size and the devices of a group to its traffic
    footprint : from the same to what it takes of each device
    energy : from the time that passed and the traffic to the energy by component

    `sent_bytes` is what all ranks have sent.
    """

    def __init__(
        self,
        clock: Clock,
        flows: Flows,
        devices: Sequence[int],
        message: Callable[[Step], Traffic],
        collective: Callable[[str, float, Sequence[int]], Traffic],
        footprint: Callable[[str, float, Sequence[int]], Footprint | None],
        energy: Callable[[float, Flows], Energy],
    ) -> None:
        self._clock, self._flows, self._devices = clock, flows, devices
        self._message, self._collective, self._energy = message, collective, energy
        self._footprint = functools.lru_cache(MOST_KNOWN)(
            lambda kind, nbytes, group: footprint(kind, nbytes, self._devices_of(group))
        )
        self._known: dict[object, tuple[Traffic, float]] = {}
        self._waiting: dict[int, simpy.Event] = {}
        self._alarm_s = math.inf
        self._lines: dict[tuple[int, int], deque[_Queued]] = {}
        self.sent_bytes = 0.0

    def transfer(self, src: int, dst: int, nbytes: float, copies: int) -> simpy.Event:
        """Begin a message between devices; return when it is delivered."""
        key = (src, dst, nbytes)
        found = self._known.get(key)
        if found is None:
            step = Step(src=np.array([src]), dst=np.array([dst]), nbytes=np.array([nbytes]))
            found = self._keep(key, self._message(step))
        return self._queue((src, dst), *found) if found[0].in_order else self._begin(*found)

    def collective(self, kind: str, nbytes: float, group: Group, copies: int) -> simpy.Event:
        """Begin a collective among ranks; return when it ends for all."""
        key = (kind, nbytes, group)
        found = self._known.get(key)
        if found is None:
            found = self._keep(key, self._collective(kind, nbytes, self._devices_of(group)))
        return self._begin(*found)

    def footprint(self, kind: str, nbytes: float, group: Group) -> Footprint | None:
        """Return what a collective takes of each device; None: nothing."""
        return self._footprint(kind, nbytes, group)

    def energy(self, time_s: float) -> Energy:
        """Return what the network has used from 0 to `time_s`, by component."""
        return self._energy(time_s, self._flows)

    def _devices_of(self, group: Group) -> list[int]:
        return [self._devices[rank] for rank in group.ranks]

    def _keep(self, key: object, traffic: Traffic) -> tuple[Traffic, float]:
        """Remember traffic, and what it sends: to add that up takes time."""
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        found = self._known[key] = (traffic, traffic.sent_bytes)
        return found

    def _queue(self, way: tuple[int, int], traffic: Traffic, sent_bytes: float) -> simpy.Event:
        """Begin a message when those before it on its way are delivered; return when it is."""
        queued = _Queued(traffic, sent_bytes, self._clock.event())
        line = self._lines.setdefault(way, deque())
        line.append(queued)
        if len(line) == 1:
            self._begin_first(line)
        return queued.delivered

    def _begin_first(self, line: deque[_Queued]) -> None:
        first = line[0]
        began = self._begin(first.traffic, first.sent_bytes)
        began.callbacks.append(lambda _: self._deliver_first(line))

    def _deliver_first(self, line: deque[_Queued]) -> None:
        line.popleft().delivered.succeed()
        if line:
            self._begin_first(line)

    def _begin(self, traffic: Traffic, sent_bytes: float) -> simpy.Event:
        event = self._clock.event()
        self.sent_bytes += sent_bytes
        if self._clock.now > self._flows.now_s:
            self._arrive(self._clock.now)
        self._waiting[self._flows.begin(traffic)] = event
        # Where it costs to ask, do so once all that begins in this instant has begun.
        next_s = self._clock.now if self._flows.gathers else self._flows.next_s()
        if next_s < self._alarm_s:
            self._set_alarm(next_s)
        return event

    def _arrive(self, now_s: float) -> None:
        """Let pass the time since something happened here last."""
        # What was meant to be now may round to a little later than the clock's time.
        for ticket in self._flows.advance(max(now_s, self._flows.now_s)):
            self._waiting.pop(ticket).succeed()

    def _set_alarm(self, at_s: float) -> None:
        self._alarm_s = at_s
        alarm = self._clock.timeout(max(at_s - self._clock.now, 0.0))
        alarm.callbacks.append(lambda _: self._on_alarm(at_s))

    def _on_alarm(self, meant_s: float) -> None:
        if meant_s != self._alarm_s:
            return
        # The clock adds a delay to its time, which may round to before what was meant.
        self._arrive(max(meant_s, self._clock.now))
        self._alarm_s = math.inf
        next_s = self._flows.next_s()
        if next_s < math.inf:
            self._set_alarm(next_s)
