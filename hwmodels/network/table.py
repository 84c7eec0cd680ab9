"""Hold the flows that compete for links, and let them begin, share, and end."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.network.maxmin import max_min_rates
from hwmodels.network.symmetry import Rows, fold_rows, plain_rows
from simulator.ops import BoolArray, FloatArray, IntArray

IDLE, WAITING, FLOWING = 0, 1, 2
STATE = ("phase", "free_s", "left", "sent", "received")
SAME_TIME = 1e-12
"""Events nearer to each other than this, relative to the time, happen at once."""
WORTH_FOLDING = 256
"""Messages below which equal ones are not looked for."""
MOST_REMEMBERED = 1 << 22
"""Rates that are remembered, over all sets of flows."""


@dataclass(frozen=True, slots=True, eq=False)
class Messages:
    """Be the messages of a step on a topology.

    Parameters
    ----------
    routes : links of each (m, hops), -1 after the last
    latency_s : before each flows (m,), seconds
    nbytes : size of each (m,), bytes
    weight : its share in a link is in proportion to this (m,)
    limit : no one flows faster, B/s
    before : the message that arrives at the sender of each (m,), -1 where steps are taken together
    repeat : how often each is sent
    """

    routes: IntArray
    latency_s: FloatArray
    nbytes: FloatArray
    weight: FloatArray
    limit: float
    before: IntArray
    repeat: int


class Moving:
    """Be the state of a step's messages.

    `phase` is idle, waiting (until `free_s`) or flowing (with so many bytes `left`); `sent` and
    `received` count how often a message and the one `before` it have arrived.
    """

    __slots__ = ("messages", *STATE)

    def __init__(self, messages: Messages, now_s: float) -> None:
        count = len(messages.nbytes)
        self.messages = messages
        self.phase: IntArray = np.full(count, WAITING)
        self.free_s: FloatArray = now_s + messages.latency_s
        self.left: FloatArray = messages.nbytes.astype(float)
        self.sent: IntArray = np.zeros(count, np.int64)
        self.received: IntArray = np.zeros(count, np.int64)


class Table:
    """Be messages that compete: a row for each, or for each kind of equal ones.

    Parameters
    ----------
    moving : what competes; `owner` of a row is the place in this list
    bandwidth : of each link (l,), B/s
    fold : whether to look for equal messages
    """

    def __init__(self, moving: Sequence[Moving], bandwidth: FloatArray, fold: bool) -> None:
        self.moving = list(moving)
        sizes = [len(one.phase) for one in moving]
        starts = np.cumsum([0, *sizes])
        many = [one.messages for one in moving]
        state = {name: np.concatenate([getattr(one, name) for one in moving]) for name in STATE}
        routes = _stacked([one.routes for one in many])
        latency_s, nbytes, weight = (
            np.concatenate([getattr(one, name) for one in many])
            for name in ("latency_s", "nbytes", "weight")
        )
        owner, limit, repeat = (
            np.repeat(values, sizes)
            for values in (range(len(many)), [m.limit for m in many], [m.repeat for m in many])
        )
        before = np.concatenate([
            np.where(one.before < 0, -1, one.before + start)
            for one, start in zip(many, starts, strict=False)
        ])  # fmt: skip
        self.rows = plain_rows(routes)
        if fold and len(owner) >= WORTH_FOLDING:
            alike = (owner, latency_s, nbytes, weight, *state.values())
            self.rows = fold_rows(routes, alike, before, bandwidth)
        first, row = self.rows.first, self.rows.row
        self.slices = [row[a:b] for a, b in itertools.pairwise(starts)]
        self.owner, self.repeat = owner[first], repeat[first]
        self.latency_s, self.nbytes, self.weight = latency_s[first], nbytes[first], weight[first]
        self.one_by_one = before[first] >= 0
        self.any_one_by_one = bool(self.one_by_one.any())
        self.before = row[before[first]]
        self.phase: IntArray = state["phase"][first]
        self.free_s: FloatArray = state["free_s"][first]
        self.left: FloatArray = state["left"][first]
        self.sent: IntArray = state["sent"][first]
        self.received: IntArray = state["received"][first]
        self.capacity, self.paths, self.counts = _with_limits(self.rows, bandwidth, limit[first])
        self.even = bool((weight == weight[0]).all())
        self.rate = np.zeros(len(first))
        self.stale = True
        self._due_s = math.inf
        self.remembered: dict[bytes, FloatArray] = {}

    def keep(self) -> None:
        """Write the state back to what competes, message by message."""
        for one, rows in zip(self.moving, self.slices, strict=True):
            for name in STATE:
                setattr(one, name, getattr(self, name)[rows])

    def next_s(self, now_s: float) -> float:
        """Return when the next message begins to flow or arrives, seconds."""
        if self.stale:
            self._share()
            self._due_s = max(self._soonest_s(now_s), now_s)
        return self._due_s

    def _soonest_s(self, now_s: float) -> float:
        waiting = self.phase == WAITING
        flowing = self.phase == FLOWING
        soonest = math.inf
        if waiting.any():
            soonest = float(self.free_s[waiting].min())
        if flowing.any():
            with np.errstate(divide="ignore"):
                lasts_s = self.left[flowing] / self.rate[flowing]
            soonest = min(soonest, now_s + float(lasts_s.min()))
        return soonest

    def _share(self) -> None:
        """Give each flow its rate."""
        flowing = self.phase == FLOWING
        key = flowing.tobytes()
        found = self.remembered.get(key)
        if found is None:
            found = np.zeros(len(flowing))
            if flowing.any():
                weight = None if self.even else self.weight[flowing]
                counts = None if self.counts is None else self.counts[flowing]
                found[flowing] = max_min_rates(self.paths[flowing], self.capacity, weight, counts)
            if (len(self.remembered) + 1) * len(flowing) <= MOST_REMEMBERED:
                self.remembered[key] = found
        self.rate, self.stale = found, False

    def forward(self, seconds: float) -> None:
        """Let time pass in which nothing begins or ends, as `next_s` has told."""
        flowing = self.phase == FLOWING
        self.left[flowing] -= self.rate[flowing] * seconds

    def happen(self, now_s: float) -> BoolArray:
        """Let begin and end what is due; return which rows have arrived."""
        slack_s = SAME_TIME * now_s
        flowing = self.phase == FLOWING
        begins = (self.phase == WAITING) & (self.free_s <= now_s + slack_s)
        arrived: BoolArray = flowing & (self.left <= self.rate * slack_s)
        arrived |= begins & (self.left <= 0.0)
        self.phase[begins] = FLOWING
        self.phase[arrived] = IDLE
        self.sent += arrived
        self.stale = True
        return arrived

    def go_on_one_by_one(self, arrived: BoolArray, now_s: float) -> None:
        """Begin the next message of each device whose own and whose received one have arrived."""
        self.received += arrived[self.before] & self.one_by_one
        # What is idle has been sent as often as it was begun.
        ready = self.one_by_one & (self.phase == IDLE) & (self.received >= self.sent)
        self.again(ready & (self.sent < self.repeat), now_s)

    def again(self, rows: BoolArray, now_s: float) -> None:
        """Begin messages once more."""
        self.phase[rows] = WAITING
        self.free_s[rows] = now_s + self.latency_s[rows]
        self.left[rows] = self.nbytes[rows]


def _stacked(routes: Sequence[IntArray]) -> IntArray:
    """Return routes below each other, filled up to the longest."""
    hops = max(route.shape[1] for route in routes)
    return np.concatenate([
        np.pad(route, ((0, 0), (0, hops - route.shape[1])), constant_values=-1) for route in routes
    ])  # fmt: skip


def _with_limits(
    rows: Rows, bandwidth: FloatArray, limit: FloatArray
) -> tuple[FloatArray, IntArray, FloatArray | None]:
    """Return capacities, routes and counts in which the limit of a row is a link of its own."""
    capacity = bandwidth if rows.capacity is None else rows.capacity
    if not np.isfinite(limit).any():
        return capacity, rows.routes, rows.counts
    routes = np.column_stack([rows.routes, len(capacity) + np.arange(len(limit))])
    counts = rows.counts
    if counts is not None:
        counts = np.column_stack([counts, np.ones(len(limit))])
    return np.append(capacity, limit), routes, counts
