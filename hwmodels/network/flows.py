"""Carry traffic over a topology: messages share links max-min fairly, event by event.

A message waits for its latency, then flows at a rate that changes whenever another one begins or
ends on a link that matters. *Traffic* is messages in steps: a collective, an exchange, or one
message. Traffic that has its links for itself needs no events: its end follows from one step of
each kind (it is *alone*). The first other traffic on one of its links puts both into the *table* of
messages that compete, until it has its links for itself again.

Single messages that share their links evenly with each other need no table (`lanes`). An event of
the table costs array operations over it, and a solution of `max_min_rates` where the set of flows
is new. Equal messages of large traffic are one row (`hwmodels.network.symmetry`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from weakref import WeakKeyDictionary

import numpy as np

from hwmodels.network.lanes import Flow, Lanes, flow_of
from hwmodels.network.table import FLOWING, Messages, Table
from hwmodels.network.topology import Topology
from hwmodels.network.traffic import Known, Traffic, look_up, one_round


@dataclass(slots=True)
class Play:
    """Be traffic in progress.

    Parameters
    ----------
    traffic : what
    known : of it, on this topology
    begun_s : when the round it is in began, seconds
    step, round : which step that is, and for which time
    end_s : when all has arrived, where it is alone
    competes : whether its messages stand in the table
    tried : how much traffic had ended when it was last found to compete
    """

    traffic: Traffic
    known: Known
    begun_s: float
    step: int = 0
    round: int = 0
    end_s: float = math.inf
    competes: bool = False
    tried: int = -1


class Flows:
    """Be the traffic in progress on a topology.

    Parameters
    ----------
    topology : links and routes
    sharing : "plain": flows share a link evenly; "rtt": by the inverse of their round trip times,
        as TCP does (and SimGrid)
    fold : whether equal messages of large traffic are simulated once
    coalesce : whether traffic that is alone is taken in one go
    """

    def __init__(
        self, topology: Topology, *, sharing: str = "plain", fold: bool = True,
        coalesce: bool = True,
    ) -> None:  # fmt: skip
        self.topology, self.sharing, self.fold, self.coalesce = topology, sharing, fold, coalesce
        self.now_s = 0.0
        self._in_lanes = coalesce and sharing == "plain"
        links = len(topology.bandwidth_bytes_per_s)
        self.carried_bytes = np.zeros(links)
        self.table = Table(topology.bandwidth_bytes_per_s, fold)
        self._known: WeakKeyDictionary[Traffic, Known] = WeakKeyDictionary()
        self._users = np.zeros(links, np.int64)
        self._holder = np.full(links, -1, np.int64)
        self._plays: dict[int, Play] = {}
        self._lanes = Lanes(topology.bandwidth_bytes_per_s, self._users, self._plays)
        self._ends: list[tuple[float, int]] = []
        self._joining: list[Messages] = []
        self._leaving: list[int] = []
        self._tickets = self._ended = 0

    def begin(self, traffic: Traffic) -> int:
        """Begin traffic now; return the number by which `advance` will call it."""
        ticket, self._tickets = self._tickets, self._tickets + 1
        known = self._known.get(traffic)
        if known is None:
            known = self._known[traffic] = look_up(traffic, self.topology, self.sharing)
        links = known.links
        self.carried_bytes[links] += known.carried_bytes
        users, single = self._users, known.single
        rivals = bool(self._plays) and bool(users[links].any())
        if self._in_lanes and single and not rivals:
            self._lanes.begin(flow_of(ticket, traffic, known, self.now_s))
            return ticket
        play = self._plays[ticket] = Play(traffic, known, self.now_s)
        rivals = rivals or bool(self._lanes.busy[links].any())
        self._users[links] += 1
        if not traffic.steps or (self.coalesce and known.even and not rivals):
            self._leave_alone(ticket, play)
            return ticket
        for other in set(self._holder[links].tolist()) - {-1}:
            self._let_compete(other)
        _leave_lanes(self, self._lanes.leave(links.tolist(), self.now_s))
        self._compete(ticket, play)
        return ticket

    @property
    def gathers(self) -> bool:
        """Tell whether what begins in this instant should be gathered before anyone asks on."""
        return bool(self._joining or self._leaving)

    def next_s(self) -> float:
        """Return when something happens next, seconds; infinite where nothing does."""
        self._arrange()
        next_s = self._lanes.next_s()
        while self._ends and not _is_end(self._plays.get(self._ends[0][1]), self._ends[0][0]):
            heappop(self._ends)
        if self._ends:
            next_s = min(next_s, self._ends[0][0])
        return next_s if self.table.rows is None else min(next_s, self.table.next_s(self.now_s))

    def advance(self, to_s: float) -> list[int]:
        """Let time pass; return the traffic that has arrived in the meantime, in order."""
        finished: list[int] = []
        if self.table.rows is None and not (self._ends or self._joining or self._leaving):
            _advance_lanes(self, to_s, finished)
        while (next_s := self.next_s()) <= to_s and next_s < math.inf:
            self._forward(next_s)
            while self._ends and self._ends[0][0] <= next_s:
                end_s, ticket = heappop(self._ends)
                if _is_end(self._plays.get(ticket), end_s):
                    self._end(ticket, finished)
            if self.table.next_s(next_s) <= next_s:
                self._happen(finished)
            while self._lanes.next_s() <= next_s:
                self._happen_in_lanes(finished)
        if to_s < math.inf:
            self._forward(to_s)
        return finished

    def advance_all(self) -> float:
        """Let all traffic arrive; return when the last has, seconds."""
        self.advance(math.inf)
        return self.now_s

    def _forward(self, to_s: float) -> None:
        if to_s > self.now_s:
            self.table.forward(to_s - self.now_s)
        self.now_s = to_s

    def _end(self, ticket: int, finished: list[int]) -> None:
        links = self._plays.pop(ticket).known.links
        self._users[links] -= 1
        self._holder[links[self._holder[links] == ticket]] = -1
        self._ended += 1
        finished.append(ticket)

    def _happen(self, finished: list[int]) -> None:
        """Let happen in the table what is due."""
        arrived = self.table.happen(self.now_s)
        if not arrived.any():
            return
        if self.table.any_one_by_one:
            self.table.go_on_one_by_one(arrived, self.now_s)
        for ticket in self.table.completed(arrived):
            self._go_on(ticket, finished)

    def _happen_in_lanes(self, finished: list[int]) -> None:
        """Let happen what is next among messages that share links evenly."""
        ended, leaving = self._lanes.happen(self.now_s)
        self._ended += len(ended)
        finished += [flow.ticket for flow in ended]
        _leave_lanes(self, leaving)

    def _go_on(self, ticket: int, finished: list[int]) -> None:
        """Go on with traffic of which a round has ended; all of it where devices go one by one."""
        play = self._plays[ticket]
        play.begun_s = self.now_s
        play.round += 1
        again = play.traffic.together and play.round < play.traffic.steps[play.step].repeat
        if not again:
            play.step, play.round = play.step + 1, 0
        if play.step == len(play.traffic.steps):
            self._leaving.append(ticket)
            self._end(ticket, finished)
        elif _is_alone(self, play):
            self._leaving.append(ticket)
            self._leave_alone(ticket, play)
        elif again:
            self.table.again(ticket, self.now_s)
        else:
            self._leaving.append(ticket)
            self._compete(ticket, play)

    def _compete(self, ticket: int, play: Play) -> None:
        """Have the table take the messages of a step that begins now."""
        play.competes = True
        self._joining.append(play.known.messages[play.step].begun(ticket, self.now_s))

    def _arrange(self) -> None:
        """Let the table drop and take what has gathered since it was last asked."""
        if self._leaving or self._joining:
            self.table.change(self._leaving, self._joining)
            self._leaving.clear()
            self._joining.clear()

    def _leave_alone(self, ticket: int, play: Play) -> None:
        """Take the rest of traffic that begins a round now in one go."""
        play.competes = False
        self._holder[play.known.links] = ticket
        play.end_s = self.now_s + _lasts_s(self, play)
        heappush(self._ends, (play.end_s, ticket))

    def _let_compete(self, ticket: int) -> None:
        """Find the state, message by message, of traffic that was alone until now."""
        play = self._plays[ticket]
        links = play.known.links
        self._holder[links[self._holder[links] == ticket]] = -1
        _find_round(self, play)
        play.competes = True
        inside = _only(self, play.traffic, play.step)
        inside.advance(self.now_s - play.begun_s)
        messages = inside.table.messages()
        if messages is None:
            messages = play.known.messages[play.step].begun(ticket, self.now_s)
            messages.phase[:], messages.left[:] = FLOWING, 0.0
        messages.owner = np.full(len(messages.owner), ticket)
        messages.free_s = messages.free_s + play.begun_s
        self._joining.append(messages)


def _advance_lanes(flows: Flows, to_s: float, finished: list[int]) -> None:
    """Let time pass as long as there is nothing but messages that share links evenly."""
    while (next_s := flows._lanes.next_s()) <= to_s and next_s < math.inf and not flows._joining:
        flows.now_s = next_s
        flows._happen_in_lanes(finished)


def _leave_lanes(flows: Flows, leaving: Sequence[Flow]) -> None:
    """Have flows compete that shared links evenly until now."""
    for flow in leaving:
        flows._users[flow.links] += 1
        play = Play(flow.traffic, flow.known, flow.begun_s, competes=True)
        flows._plays[flow.ticket] = play
        message = flow.known.messages[0].begun(flow.ticket, flow.begun_s)
        message.phase[:], message.left[:] = FLOWING, flow.left
        flows._joining.append(message)


def _is_alone(flows: Flows, play: Play) -> bool:
    """Tell whether traffic has its links for itself; looked up when some has ended since."""
    if not flows.coalesce or not play.traffic.together or play.tried == flows._ended:
        return False
    links = play.known.links
    if (flows._users[links] > 1).any() or flows._lanes.busy[links].any():
        play.tried = flows._ended
        return False
    return True


def _is_end(play: Play | None, end_s: float) -> bool:
    """Tell whether traffic is alone and ends then, and has not come to compete in the meantime."""
    return play is not None and not play.competes and play.end_s == end_s


def _lasts_s(flows: Flows, play: Play) -> float:
    """Return how long the rest of traffic takes alone, from the round it is in.

    One by one the slowest device keeps its pace, and its neighbours come to it: all have
    arrived after as many of its steps. So it is where messages of the step share no link.
    """
    steps = play.traffic.steps[play.step :]
    whole_s = math.fsum(
        _step_s(flows, play, play.step + i) * step.repeat for i, step in enumerate(steps)
    )
    return whole_s - play.round * _step_s(flows, play, play.step) if steps else 0.0


def _step_s(flows: Flows, play: Play, index: int) -> float:
    """Return how long a step takes alone, seconds."""
    found = play.known.step_s[index]
    if found is None:
        only = _only(flows, replace(play.traffic, together=True), index)
        found = play.known.step_s[index] = only.advance_all()
    return found


def _find_round(flows: Flows, play: Play) -> None:
    """Find the step and the round in which traffic is that was alone until now."""
    while play.traffic.together:
        step_s = _step_s(flows, play, play.step)
        rounds = play.traffic.steps[play.step].repeat - play.round
        passed_s = flows.now_s - play.begun_s
        if passed_s < step_s * rounds or play.step + 1 == len(play.traffic.steps):
            begun = min(int(passed_s / step_s), rounds - 1) if step_s else 0
            play.round += begun
            play.begun_s = min(play.begun_s + begun * step_s, flows.now_s)
            return
        play.begun_s += step_s * rounds
        play.step, play.round = play.step + 1, 0


def _only(flows: Flows, traffic: Traffic, step: int) -> Flows:
    """Return other flows: one round of this traffic."""
    other = Flows(flows.topology, sharing=flows.sharing, fold=flows.fold, coalesce=False)
    other.begin(one_round(traffic, step))
    return other
