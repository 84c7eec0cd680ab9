"""Carry single messages event by event without arrays, as long as they share links evenly.

A flow that has its links for itself is *free*: its end is known. A *bundle* is flows of which any
two share the same links; what else each crosses, it has for itself, which limits its rate. So all
flows of a bundle with the same limit (a *lane*) have the same rate at any time, and how many bytes
each of them has got is one number: a flow ends when that reaches its *mark* (as the virtual time
of Demers, Keshav & Shenker, SIGCOMM 1989). An event costs O(log flows). Messages that begin to
share links in another way leave, for the table of messages.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sized
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np

from hwmodels.network.table import SAME_TIME
from hwmodels.network.traffic import Known, Traffic
from simulator.ops import FloatArray, IntArray


@dataclass(slots=True, eq=False)
class Flow:
    """Be a message on its way.

    Parameters
    ----------
    ticket, traffic, known : of the message
    begun_s : when it began, seconds
    links : that it crosses
    left : bytes to go when that was last told
    limit : it never flows faster, B/s
    due_s : when it begins to flow or, where it is free, ends, seconds
    flowing : whether its latency has passed
    bundle : that it is in; None where it is free
    """

    ticket: int
    traffic: Traffic
    known: Known
    begun_s: float
    links: list[int]
    left: float
    limit: float
    due_s: float
    flowing: bool = False
    bundle: Bundle | None = None


@dataclass(slots=True, eq=False)
class Lane:
    """Be flows of a bundle with the same limit: their rate, what each has got, their marks."""

    rate: float = 0.0
    got: float = 0.0
    marks: list[tuple[float, int, Flow]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Bundle:
    """Be flows of which any two share the same links.

    Parameters
    ----------
    links : that they share, in order
    capacity : of the narrowest, B/s
    now_s : when rates were last set, seconds
    due_s : when the first flow ends, seconds
    """

    links: list[int]
    capacity: float
    now_s: float
    due_s: float = math.inf
    lanes: dict[float, Lane] = field(default_factory=dict)

    def add(self, flow: Flow, limit: float) -> None:
        """Take in a flow; `share` next."""
        lane = self.lanes.setdefault(min(limit, self.capacity), Lane())
        heappush(lane.marks, (lane.got + flow.left, flow.ticket, flow))
        flow.bundle, flow.due_s = self, math.inf

    def forward(self, now_s: float) -> None:
        """Let time pass."""
        for lane in self.lanes.values():
            lane.got += lane.rate * (now_s - self.now_s)
        self.now_s = now_s

    def share(self) -> None:
        """Set the rates: lanes of low limits first, the others share what these leave."""
        left, first_s = self.capacity, math.inf
        flows = sum(len(lane.marks) for lane in self.lanes.values())
        for limit in sorted(self.lanes):
            lane = self.lanes[limit]
            lane.rate = min(limit, left / flows)
            left, flows = left - lane.rate * len(lane.marks), flows - len(lane.marks)
            first_s = min(first_s, (lane.marks[0][0] - lane.got) / lane.rate)
        self.due_s = self.now_s + max(first_s, 0.0)

    def take_ended(self) -> list[Flow]:
        """Take out the flows that have all their bytes, as near as makes no difference."""
        found = []
        for limit, lane in list(self.lanes.items()):
            reached = lane.got + lane.rate * SAME_TIME * self.now_s
            while lane.marks and lane.marks[0][0] <= reached:
                found.append(heappop(lane.marks)[2])
            if not lane.marks:
                del self.lanes[limit]
        return found

    def take_all(self) -> list[Flow]:
        """Take out all flows, each with what it has left."""
        found = []
        for lane in self.lanes.values():
            for mark, _, flow in lane.marks:
                flow.left, flow.bundle = max(mark - lane.got, 0.0), None
                found.append(flow)
        self.lanes, self.due_s = {}, math.inf
        return found


def flow_of(ticket: int, traffic: Traffic, known: Known, now_s: float) -> Flow:
    """Return the flow of traffic of a single message that begins now."""
    message = known.messages[0]
    return Flow(
        ticket, traffic, known, now_s, known.path, float(message.nbytes[0]),
        float(message.limit[0]), now_s + float(message.latency_s[0]),
    )  # fmt: skip


class Lanes:
    """Be the messages that share links evenly.

    Parameters
    ----------
    bandwidth : of each link (l,), B/s
    others : how much other traffic uses each (l,); no message flows here beside it
    rivals : that other traffic

    `busy` counts the messages on each link (l,), waiting ones as well.
    """

    def __init__(self, bandwidth: FloatArray, others: IntArray, rivals: Sized) -> None:
        self._bandwidth, self._others, self._rivals = bandwidth, others, rivals
        self.busy = np.zeros(len(bandwidth), np.int32)
        self._on: dict[int, set[Flow]] = {}
        self._due: list[tuple[float, int, Flow | Bundle]] = []
        self._serial = 0

    def begin(self, flow: Flow) -> None:
        """Take a message that waits for its latency."""
        self._count(flow, 1)
        self._await(flow)

    def next_s(self) -> float:
        """Return when something happens next, seconds."""
        due = self._due
        while due and due[0][2].due_s != due[0][0]:
            heappop(due)
        return due[0][0] if due else math.inf

    def happen(self, now_s: float) -> tuple[list[Flow], list[Flow]]:
        """Let happen what is next, now; return the flows that end, and those that must leave."""
        what = heappop(self._due)[2]
        if isinstance(what, Bundle):
            what.forward(now_s)
            ended = what.take_ended()
            for flow in ended:
                self._remove(flow)
            self._settle(what)
            return ended, []
        if what.flowing:
            self._remove(what)
            return [what], []
        what.flowing, what.due_s = True, math.inf
        rivals = self._rivals and any(self._others[link] for link in what.links)
        if not rivals and self._flow(what, now_s):
            return [], []
        self._count(what, -1)
        return [], [what, *self.leave(what.links, now_s)]

    def leave(self, links: Iterable[int], now_s: float) -> list[Flow]:
        """Take out the flows on some links, and those that share others with them."""
        left = []
        for link in links:
            while self._on.get(link):
                left += self._take_out(next(iter(self._on[link])), now_s)
        return left

    def _take_out(self, flow: Flow, now_s: float) -> list[Flow]:
        """Take out a free flow, or a whole bundle."""
        if flow.bundle is None:
            flow.left = max(flow.due_s - now_s, 0.0) * self._rate(flow.limit, flow.links)
            taken = [flow]
        else:
            flow.bundle.forward(now_s)
            taken = flow.bundle.take_all()
        for one in taken:
            self._remove(one)
        return taken

    def _flow(self, flow: Flow, now_s: float) -> bool:
        """Let a message flow, if it shares links evenly; return whether it does."""
        on = self._on
        shared = sorted(link for link in flow.links if link in on)
        bundle = None
        if shared:
            mate = next(iter(on[shared[0]]))
            if mate.bundle is None and all(on[link] == {mate} for link in shared):
                self._bind(mate, shared, now_s)
            bundle = mate.bundle
            if bundle is None or bundle.links != shared:
                return False
        for link in flow.links:
            on.setdefault(link, set()).add(flow)
        if bundle is None:
            self._free(flow, now_s)
        else:
            bundle.forward(now_s)
            self._add(bundle, flow)
            self._settle(bundle)
        return True

    def _bind(self, flow: Flow, shared: list[int], now_s: float) -> None:
        """Make a bundle of a free flow, which others join."""
        flow.left = max(flow.due_s - now_s, 0.0) * self._rate(flow.limit, flow.links)
        self._add(Bundle(shared, self._rate(math.inf, shared), now_s), flow)

    def _add(self, bundle: Bundle, flow: Flow) -> None:
        own = [link for link in flow.links if link not in bundle.links]
        bundle.add(flow, self._rate(flow.limit, own))

    def _settle(self, bundle: Bundle) -> None:
        """Share the links anew; a flow that is left alone is free."""
        if len(self._on.get(bundle.links[0], ())) > 1:
            bundle.share()
            self._await(bundle)
        else:
            for flow in bundle.take_all():
                self._free(flow, bundle.now_s)

    def _free(self, flow: Flow, now_s: float) -> None:
        flow.due_s = now_s + flow.left / self._rate(flow.limit, flow.links)
        self._await(flow)

    def _await(self, what: Flow | Bundle) -> None:
        self._serial += 1
        heappush(self._due, (what.due_s, self._serial, what))

    def _rate(self, limit: float, links: Iterable[int]) -> float:
        """Return how fast a flow goes that has these links for itself, B/s."""
        for link in links:
            limit = min(limit, float(self._bandwidth[link]))
        return limit

    def _remove(self, flow: Flow) -> None:
        flow.due_s = math.inf
        self._count(flow, -1)
        for link in flow.links:
            users = self._on[link]
            users.remove(flow)
            if not users:
                del self._on[link]

    def _count(self, flow: Flow, more: int) -> None:
        for link in flow.links:
            self.busy[link] += more
