"""Carry traffic over a topology: messages share links max-min fairly, event by event.

A message waits for its latency, then flows at a rate that changes whenever another one begins or
ends on a link that matters. *Traffic* is messages in steps: a collective, an exchange, or one
message. Traffic that has its links for itself needs no events: its end follows from one step of
each kind (it is *alone*). The first other traffic on one of its links puts both into the *table* of
messages that compete, until it has its links for itself again.

An event costs array operations over the table, and a solution of `max_min_rates` where the set of
flows is new. Equal messages of large traffic are one row (`hwmodels.network.symmetry`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from weakref import WeakKeyDictionary

import numpy as np

from hwmodels.network.schedules import Step
from hwmodels.network.table import FLOWING, IDLE, Messages, Moving, Table
from hwmodels.network.topology import Topology
from simulator.errors import InputError, UnknownNameError
from simulator.ops import FloatArray, IntArray

SHARING = ("plain", "rtt")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, weakref_slot=True)
class Traffic:
    """Be steps of messages between devices, one after the other.

    Parameters
    ----------
    steps : messages; their places are devices of the topology
    together : whether a step begins when all messages of the one before have arrived, all with
        the longest latency among them; else each device begins its next step when what it sent
        and what it was sent has arrived, which needs a single step (repeated) in which each
        device sends and receives once
    limit_bytes_per_s : no message flows faster
    overhead_s : on top of the latency of each message, seconds
    reduce_s_per_byte : to add up a received byte, in steps that reduce, s/B
    """

    steps: tuple[Step, ...]
    together: bool = True
    limit_bytes_per_s: float = math.inf
    overhead_s: float = 0.0
    reduce_s_per_byte: float = 0.0

    def __post_init__(self) -> None:
        if not self.together and not (len(self.steps) == 1 and _permutes(self.steps[0])):
            raise InputError("traffic in which devices go on one by one needs a single step in "
                             "which each device sends and receives once")  # fmt: skip


def _permutes(step: Step) -> bool:
    src = np.sort(step.src)
    return bool((np.diff(src) > 0).all() and np.array_equal(src, np.sort(step.dst)))


@dataclass(slots=True)
class Known:
    """Be what is known of traffic on a topology.

    Parameters
    ----------
    messages : of each step
    step_s : how long each step takes when the traffic is alone, once that was asked
    links : that it uses, each once
    carried_bytes : over each of these links, by all of it
    even : whether its time alone follows from that of its steps
    """

    messages: tuple[Messages, ...]
    step_s: list[float | None]
    links: IntArray
    carried_bytes: FloatArray
    even: bool


@dataclass(slots=True)
class Play:
    """Be traffic in progress.

    Parameters
    ----------
    traffic : what
    known : of it, on this topology
    step, round : which step it is in, and for which time
    begun_s : when this round began, seconds
    end_s : when all has arrived, where it is alone
    moving : the state of its messages, where it competes
    tried : the count of ended traffic when it was last found to compete
    """

    traffic: Traffic
    known: Known
    step: int = 0
    round: int = 0
    begun_s: float = 0.0
    end_s: float = math.inf
    moving: Moving | None = None
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
        if sharing not in SHARING:
            raise UnknownNameError("sharing rule", sharing, SHARING)
        self.topology, self.sharing, self.fold, self.coalesce = topology, sharing, fold, coalesce
        self.now_s = 0.0
        links = len(topology.bandwidth_bytes_per_s)
        self.carried_bytes = np.zeros(links)
        self._known: WeakKeyDictionary[Traffic, Known] = WeakKeyDictionary()
        self._users = np.zeros(links, np.int32)
        self._holder = np.full(links, -1, np.int64)
        self._plays: dict[int, Play] = {}
        self._ends: list[tuple[float, int]] = []
        self._table: Table | None = None
        self._competing: list[int] = []
        self._tickets = self._ended = 0

    def begin(self, traffic: Traffic) -> int:
        """Begin traffic now; return the number by which `advance` will call it."""
        ticket, self._tickets = self._tickets, self._tickets + 1
        known = self._known.get(traffic)
        if known is None:
            known = self._known[traffic] = self._look_up(traffic)
        play = self._plays[ticket] = Play(traffic, known)
        play.begun_s = self.now_s
        rivals = bool(self._users[known.links].any())
        self._users[known.links] += 1
        self.carried_bytes[known.links] += known.carried_bytes
        if self.coalesce and known.even and not rivals:
            self._leave_alone(ticket, play)
        else:
            others = [int(one) for one in np.unique(self._holder[known.links]) if one >= 0]
            for other in others:
                self._let_compete(other)
            play.moving = Moving(known.messages[0], self.now_s)
            self._compete([*others, ticket])
        return ticket

    def next_s(self) -> float:
        """Return when something happens next, seconds; infinite where nothing does."""
        while self._ends and not self._is_end(*self._ends[0]):
            heappop(self._ends)
        first_s = self._ends[0][0] if self._ends else math.inf
        return first_s if self._table is None else min(first_s, self._table.next_s(self.now_s))

    def advance(self, to_s: float) -> list[int]:
        """Let time pass; return the traffic that has arrived in the meantime, in order."""
        finished: list[int] = []
        while (next_s := self.next_s()) <= to_s and next_s < math.inf:
            self._forward(next_s)
            while self._ends and self._ends[0][0] <= next_s:
                end_s, ticket = heappop(self._ends)
                if self._is_end(end_s, ticket):
                    self._end(ticket, finished)
            if self._table is not None:
                self._happen(self._table, finished)
        if to_s < math.inf:
            self._forward(to_s)
        return finished

    def _is_end(self, end_s: float, ticket: int) -> bool:
        play = self._plays.get(ticket)
        return play is not None and play.moving is None and play.end_s == end_s

    def _forward(self, to_s: float) -> None:
        if self._table is not None and to_s > self.now_s:
            self._table.forward(to_s - self.now_s)
        self.now_s = to_s

    def _end(self, ticket: int, finished: list[int]) -> None:
        links = self._plays.pop(ticket).known.links
        self._users[links] -= 1
        self._holder[links[self._holder[links] == ticket]] = -1
        self._ended += 1
        finished.append(ticket)

    def _happen(self, table: Table, finished: list[int]) -> None:
        """Let happen in the table what is due."""
        arrived = table.happen(self.now_s)
        if not arrived.any():
            return
        if table.any_one_by_one:
            table.go_on_one_by_one(arrived, self.now_s)
        busy = np.bincount(table.owner, table.phase != IDLE, len(self._competing))
        left = [
            self._competing[place]
            for place in np.unique(table.owner[arrived])
            if not busy[place] and not self._again(table, int(place))
        ]
        if not left:
            return
        table.keep()
        for ticket in left:
            self._next_step(ticket, finished)
        self._compete([])

    def _again(self, table: Table, place: int) -> bool:
        """Begin the same step of some traffic once more, if it is not to be left alone."""
        play = self._plays[self._competing[place]]
        if not play.traffic.together or play.round + 1 == play.traffic.steps[play.step].repeat:
            return False
        if self._is_alone(play):
            return False
        play.round, play.begun_s = play.round + 1, self.now_s
        table.again(table.owner == place, self.now_s)
        return True

    def _next_step(self, ticket: int, finished: list[int]) -> None:
        """Go on with traffic of which a round has ended and the same is not begun in the table."""
        play = self._plays[ticket]
        play.begun_s = self.now_s
        play.round += 1
        if not play.traffic.together or play.round == play.traffic.steps[play.step].repeat:
            play.step, play.round = play.step + 1, 0
        if play.step == len(play.traffic.steps):
            self._end(ticket, finished)
        elif self._is_alone(play):
            self._leave_alone(ticket, play)
        else:
            play.moving = Moving(play.known.messages[play.step], self.now_s)

    def _is_alone(self, play: Play) -> bool:
        """Tell whether traffic has its links for itself; looked up when some has ended since."""
        if not self.coalesce or not play.traffic.together or play.tried == self._ended:
            return False
        if (self._users[play.known.links] > 1).any():
            play.tried = self._ended
            return False
        return True

    def _compete(self, joining: Sequence[int]) -> None:
        """Make the table of what competes and what joins."""
        if joining and self._table is not None:
            self._table.keep()
        tickets = [*self._competing, *joining]
        self._competing = [
            one for one in tickets if one in self._plays and self._plays[one].moving is not None
        ]
        moving = [play.moving for one in self._competing if (play := self._plays[one]).moving]
        bandwidth = self.topology.bandwidth_bytes_per_s
        self._table = Table(moving, bandwidth, self.fold) if moving else None

    def _leave_alone(self, ticket: int, play: Play) -> None:
        """Take the rest of traffic that begins a round now in one go."""
        play.moving = None
        self._holder[play.known.links] = ticket
        play.end_s = self.now_s + self._lasts_s(play)
        heappush(self._ends, (play.end_s, ticket))

    def _lasts_s(self, play: Play) -> float:
        """Return how long the rest of traffic takes alone, from the round it is in."""
        steps = enumerate(play.traffic.steps)
        return math.fsum(
            self._step_s(play, index) * (step.repeat - (play.round if index == play.step else 0))
            for index, step in steps
            if index >= play.step
        )

    def _step_s(self, play: Play, index: int) -> float:
        """Return how long a step takes alone, seconds.

        One by one the slowest device keeps its pace, and its neighbours come to it: all have
        arrived after as many of its steps. So it is where messages of the step share no link.
        """
        found = play.known.step_s[index]
        if found is None:
            once = replace(play.traffic, steps=(replace(play.traffic.steps[index], repeat=1),))
            found = self._only(once).advance_all()
            play.known.step_s[index] = found
        return found

    def _let_compete(self, ticket: int) -> None:
        """Find the state, message by message, of traffic that was alone until now."""
        play = self._plays[ticket]
        links = play.known.links
        self._holder[links[self._holder[links] == ticket]] = -1
        self._find_round(play)
        messages = play.known.messages[play.step]
        step, traffic = play.traffic.steps[play.step], play.traffic
        once = replace(traffic, steps=(replace(step, repeat=1),)) if traffic.together else traffic
        inside = self._only(once)
        inside.advance(self.now_s - play.begun_s)
        if inside._table is None:
            play.moving = Moving(messages, self.now_s)
            play.moving.phase[:], play.moving.left[:] = FLOWING, 0.0
            return
        inside._table.keep()
        play.moving = inside._plays[0].moving
        assert play.moving is not None
        play.moving.messages = messages
        play.moving.free_s += play.begun_s

    def _find_round(self, play: Play) -> None:
        """Find the step and the round in which traffic is that was alone until now."""
        if not play.traffic.together:
            return
        while True:
            step_s = self._step_s(play, play.step)
            rounds = play.traffic.steps[play.step].repeat - play.round
            passed_s = self.now_s - play.begun_s
            if passed_s < step_s * rounds or play.step + 1 == len(play.traffic.steps):
                break
            play.begun_s += step_s * rounds
            play.step, play.round = play.step + 1, 0
        if step_s > 0:
            begun = min(int(passed_s / step_s), rounds - 1)
            play.round += begun
            play.begun_s = min(play.begun_s + begun * step_s, self.now_s)

    def _only(self, traffic: Traffic) -> Flows:
        """Return other flows, of this traffic only."""
        flows = Flows(self.topology, sharing=self.sharing, fold=self.fold, coalesce=False)
        flows.begin(traffic)
        return flows

    def _look_up(self, traffic: Traffic) -> Known:
        """Return what is known of traffic that begins for the first time."""
        many = tuple(self._messages(traffic, step) for step in traffic.steps)
        links = len(self.carried_bytes)
        carried = np.zeros(links)
        for one, step in zip(many, traffic.steps, strict=True):
            crossing = one.routes >= 0
            sizes = np.broadcast_to(one.nbytes[:, None], crossing.shape)[crossing]
            carried += np.bincount(one.routes[crossing], sizes, links) * step.repeat
        used = np.zeros(links, bool)
        for one in many:
            used[one.routes[one.routes >= 0]] = True
        even = traffic.together or bool(
            (np.bincount(many[0].routes[many[0].routes >= 0]) < 2).all()
        )
        where = np.flatnonzero(used)
        return Known(many, [None] * len(many), where, carried[where], even)

    def _messages(self, traffic: Traffic, step: Step) -> Messages:
        routes = self.topology.routes(step.src, step.dst)
        travel_s = np.append(self.topology.latency_s, 0.0)[routes].sum(axis=1)
        if self.sharing == "rtt" and not (travel_s > 0).all():
            raise InputError("sharing by round trip times needs a latency on every route")
        latency_s = travel_s + traffic.overhead_s
        if step.reduces:
            latency_s = latency_s + traffic.reduce_s_per_byte * step.nbytes
        before = np.full(len(routes), -1)
        if traffic.together:
            latency_s = np.full(len(routes), latency_s.max())
        else:
            by_dst = np.argsort(step.dst)
            before = by_dst[np.searchsorted(step.dst[by_dst], step.src)]
        return Messages(
            routes=routes, latency_s=latency_s, nbytes=np.asarray(step.nbytes, float),
            weight=1.0 / travel_s if self.sharing == "rtt" else np.ones(len(routes)),
            limit=traffic.limit_bytes_per_s, before=before, repeat=step.repeat,
        )  # fmt: skip

    def advance_all(self) -> float:
        """Let all traffic arrive; return when the last has, seconds."""
        self.advance(math.inf)
        return self.now_s
