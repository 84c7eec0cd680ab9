"""Hold the messages that compete for links, and let them begin, share, and arrive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from hwmodels.network.maxmin import max_min_rates
from hwmodels.network.symmetry import Rows, fold_rows
from simulator.ops import BoolArray, FloatArray, IntArray

IDLE, WAITING, FLOWING = 0, 1, 2
SAME_TIME = 1e-12
"""Events nearer to each other than this, relative to the time, happen at once."""
WORTH_FOLDING = 256
"""Messages, for each traffic that competes, below which equal ones are not looked for."""
MOST_REMEMBERED = 1 << 22
"""Rates that are remembered, over all sets of flows."""


@dataclass(slots=True, eq=False)
class Messages:
    """Be messages on a topology, as columns.

    Parameters
    ----------
    owner : of which traffic each is (m,)
    routes : links of each (m, hops), -1 after the last
    latency_s : before each flows (m,), seconds
    nbytes : size of each (m,), bytes
    weight : its share in a link is in proportion to this (m,)
    limit : none flows faster (m,), B/s
    repeat : how often each is sent where devices go on one by one (m,)
    before : the message that arrives at the sender of each (m,), -1 where steps are taken together
    phase : idle, waiting (until `free_s`) or flowing (with so many bytes `left`) (m,)
    sent, received : how often a message and the one before it have arrived (m,)
    """

    owner: IntArray
    routes: IntArray
    latency_s: FloatArray
    nbytes: FloatArray
    weight: FloatArray
    limit: FloatArray
    repeat: IntArray
    before: IntArray
    phase: IntArray
    free_s: FloatArray
    left: FloatArray
    sent: IntArray
    received: IntArray

    def begun(self, owner: int, now_s: float) -> Messages:
        """Return the messages as some traffic begins them."""
        count = len(self.owner)
        return replace(
            self, owner=np.full(count, owner), free_s=now_s + self.latency_s,
            phase=np.full(count, WAITING), left=self.nbytes.copy(),
            sent=np.zeros(count, np.int64), received=np.zeros(count, np.int64),
        )  # fmt: skip

    def take(self, rows: IntArray | BoolArray) -> Messages:
        """Return some of the messages, or each so often; `before` counts in the whole still."""
        return Messages(*(getattr(self, name)[rows] for name in COLUMNS))


COLUMNS = tuple(field.name for field in fields(Messages))
STATE = ("phase", "free_s", "left", "sent", "received")


def _joined(many: Sequence[Messages]) -> Messages:
    """Return messages below each other."""
    hops = max(one.routes.shape[1] for one in many)
    columns = {name: np.concatenate([getattr(one, name) for one in many])
               for name in COLUMNS if name not in ("routes", "before")}  # fmt: skip
    sizes = [len(one.owner) for one in many]
    routes = np.full((sum(sizes), hops), -1)
    before = np.full(len(routes), -1)
    start = 0
    for one, size in zip(many, sizes, strict=True):
        routes[start : start + size, : one.routes.shape[1]] = one.routes
        before[start : start + size] = np.where(one.before < 0, -1, one.before + start)
        start += size
    return Messages(routes=routes, before=before, **columns)


def _without(whole: Messages, owners: Sequence[int]) -> Messages:
    """Return messages without those of some traffic."""
    one = len(owners) == 1
    stays = whole.owner != owners[0] if one else ~np.isin(whole.owner, owners)
    place = np.cumsum(stays) - 1
    left = whole.take(stays)
    left.before = np.where(left.before < 0, -1, place[left.before])
    return left


class Table:
    """Be messages that compete: a row for each, or for each kind of equal ones.

    Parameters
    ----------
    bandwidth : of each link (l,), B/s
    fold : whether to look for equal messages
    """

    def __init__(self, bandwidth: FloatArray, fold: bool) -> None:
        self._bandwidth, self._fold = bandwidth, fold
        self._whole: Messages | None = None
        self._row: IntArray | None = None
        self._due_s = math.inf
        self.rows: Messages | None = None

    def change(self, gone: Sequence[int], new: Sequence[Messages]) -> None:
        """Leave out the messages of some traffic, and take in others."""
        old = self.messages()
        parts = [] if old is None else [_without(old, gone) if gone else old]
        self._arrange(_joined([*parts, *new]))

    def messages(self) -> Messages | None:
        """Return all messages with their state; None where there are none."""
        if self.rows is None or self._row is None or self._whole is None:
            return self.rows
        state = {name: getattr(self.rows, name)[self._row] for name in STATE}
        return replace(self._whole, **state)

    def _arrange(self, whole: Messages) -> None:
        """Take rows of messages, or of kinds of them."""
        self.rows, self._whole, self._row = whole, None, None
        if not len(whole.owner):
            self.rows = None
            return
        folded: Rows | None = None
        many = self._fold and len(whole.owner) >= WORTH_FOLDING
        if many and len(whole.owner) >= WORTH_FOLDING * len(np.unique(whole.owner)):
            alike = [getattr(whole, name) for name in COLUMNS if name not in ("routes", "before")]
            folded = fold_rows(whole.routes, alike, whole.before, self._bandwidth)
            self._whole, self._row = whole, folded.row
            self.rows = whole.take(folded.first)
            self.rows.before = np.where(self.rows.before < 0, -1, folded.row[self.rows.before])
        rows = self.rows
        self.owners, self._place = np.unique(rows.owner, return_inverse=True)
        self._one_by_one = rows.before >= 0
        self.any_one_by_one = bool(self._one_by_one.any())
        self._even = bool((rows.weight == rows.weight[0]).all())
        self._capacity, self._paths, self._counts = _with_limits(rows, folded, self._bandwidth)
        self.rate = np.zeros(len(rows.owner))
        self._remembered: dict[bytes, FloatArray] = {}
        self._stale = True

    def next_s(self, now_s: float) -> float:
        """Return when the next message begins to flow or arrives, seconds."""
        if self.rows is None:
            return math.inf
        if self._stale:
            self._share(self.rows)
            self._due_s = max(self._soonest_s(self.rows, now_s), now_s)
        return self._due_s

    def _soonest_s(self, rows: Messages, now_s: float) -> float:
        waiting = rows.phase == WAITING
        flowing = rows.phase == FLOWING
        soonest = math.inf
        if waiting.any():
            soonest = float(rows.free_s[waiting].min())
        if flowing.any():
            with np.errstate(divide="ignore"):
                lasts_s = rows.left[flowing] / self.rate[flowing]
            soonest = min(soonest, now_s + float(lasts_s.min()))
        return soonest

    def _share(self, rows: Messages) -> None:
        """Give each flow its rate."""
        flowing = rows.phase == FLOWING
        key = flowing.tobytes()
        found = self._remembered.get(key)
        if found is None:
            found = np.zeros(len(flowing))
            if flowing.any():
                weight = None if self._even else rows.weight[flowing]
                counts = None if self._counts is None else self._counts[flowing]
                found[flowing] = max_min_rates(self._paths[flowing], self._capacity, weight, counts)
            if (len(self._remembered) + 1) * len(flowing) <= MOST_REMEMBERED:
                self._remembered[key] = found
        self.rate, self._stale = found, False

    def forward(self, seconds: float) -> None:
        """Let time pass in which nothing begins or ends, as `next_s` has told."""
        if self.rows is not None:
            flowing = self.rows.phase == FLOWING
            self.rows.left[flowing] -= self.rate[flowing] * seconds

    def happen(self, now_s: float) -> BoolArray:
        """Let begin and arrive what is due; return which rows have arrived."""
        rows = self.rows
        assert rows is not None
        slack_s = SAME_TIME * now_s
        flowing = rows.phase == FLOWING
        begins = (rows.phase == WAITING) & (rows.free_s <= now_s + slack_s)
        arrived: BoolArray = flowing & (rows.left <= self.rate * slack_s)
        arrived |= begins & (rows.left <= 0.0)
        rows.phase[begins] = FLOWING
        rows.phase[arrived] = IDLE
        rows.sent += arrived
        self._stale = True
        return arrived

    def completed(self, arrived: BoolArray) -> list[int]:
        """Return the traffic of which the last messages have arrived now."""
        rows = self.rows
        assert rows is not None
        count = len(self.owners)
        busy = np.bincount(self._place, rows.phase != IDLE, count)
        came = np.bincount(self._place, arrived, count)
        found: list[int] = self.owners[(busy == 0) & (came > 0)].tolist()
        return found

    def go_on_one_by_one(self, arrived: BoolArray, now_s: float) -> None:
        """Begin the next message of each device whose own and whose received one have arrived."""
        rows = self.rows
        assert rows is not None
        rows.received += arrived[rows.before] & self._one_by_one
        # What is idle has been sent as often as it was begun.
        ready = self._one_by_one & (rows.phase == IDLE) & (rows.received >= rows.sent)
        self._wait(ready & (rows.sent < rows.repeat), now_s)

    def again(self, owner: int, now_s: float) -> None:
        """Begin the messages of some traffic once more."""
        assert self.rows is not None
        self._wait(self.rows.owner == owner, now_s)

    def _wait(self, which: BoolArray, now_s: float) -> None:
        rows = self.rows
        assert rows is not None
        rows.phase[which] = WAITING
        rows.free_s[which] = now_s + rows.latency_s[which]
        rows.left[which] = rows.nbytes[which]


def _with_limits(
    rows: Messages, folded: Rows | None, bandwidth: FloatArray
) -> tuple[FloatArray, IntArray, FloatArray | None]:
    """Return capacities, routes and counts in which the limit of a row is a link of its own."""
    capacity, routes, counts = bandwidth, rows.routes, None
    if folded is not None and folded.capacity is not None:
        capacity, routes, counts = folded.capacity, folded.routes, folded.counts
    if not np.isfinite(rows.limit).any():
        return capacity, routes, counts
    routes = np.column_stack([routes, len(capacity) + np.arange(len(routes))])
    if counts is not None:
        counts = np.column_stack([counts, np.ones(len(routes))])
    return np.append(capacity, rows.limit), routes, counts
