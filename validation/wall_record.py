"""Put together what the ranks of a measured run noted, into the outcome that a simulated run has.

Each rank notes by its own clock, in seconds from the common start. What has *partners*, a
collective or a message, has a key: the members of a collective give its n-th call in their group
the same key, the two ends of a message its sender, its receiver and its number. So waiting for the
others can be told from communicating, as in a simulated run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from simulator.energy import Energy, exact_sum
from simulator.engine.actor import Totals
from simulator.engine.outcome import Outcome, step_ends_s
from simulator.engine.scene import CollectiveTotal
from simulator.timeline import Span, Timeline

Key: TypeAlias = tuple[object, ...]
"""What partners share; () where there are none."""
Stretch: TypeAlias = tuple[float, float]
"""Begin and end, seconds."""


@dataclass(frozen=True, slots=True)
class Noted:
    """Be a span as one rank saw it: begin and end (seconds), kind, name, and the partners' key."""

    start_s: float
    end_s: float
    kind: str
    name: str
    key: Key = ()


@dataclass(slots=True)
class RankRecord:
    """Hold what one rank noted.

    Parameters
    ----------
    rank : who
    end_s : when its program ended, seconds
    spans : what it did (of messages, only what it received)
    blocked : stretches in which its program waited, and the key of what it waited for
    sent : of each message by key: when (seconds), the buffer's name and size (bytes)
    arrived : when each message came, by key, seconds
    received_bytes : of the messages it took, bytes
    collectives : kind and bytes of those it was the first member of
    ends : what it completed, and when, in order
    dropped : messages that came after it had given up
    counts : what its program counted, by name
    step_ends_s : when it said that a step of the job ended, seconds
    """

    rank: int
    end_s: float = 0.0
    spans: list[Noted] = field(default_factory=list)
    blocked: list[tuple[float, float, Key]] = field(default_factory=list)
    sent: dict[Key, tuple[float, str, float]] = field(default_factory=dict)
    arrived: dict[Key, float] = field(default_factory=dict)
    received_bytes: list[float] = field(default_factory=list)
    collectives: list[tuple[str, float]] = field(default_factory=list)
    ends: list[tuple[object, float]] = field(default_factory=list)
    dropped: int = 0
    counts: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    step_ends_s: list[float] = field(default_factory=list)

    def count(self, name: str, amount: float, now_s: float) -> None:
        """Add to a count; or note that a step of the job has ended."""
        if name == "steps":
            self.step_ends_s.append(now_s)
        else:
            self.counts[name] += amount


def outcome_of(records: Sequence[RankRecord], steps: int, told: str) -> Outcome:
    """Return what came out of a measured run; its energy is unknown.

    Parameters
    ----------
    records : of all ranks, in order
    steps : how many steps the job had
    told : how it was measured

    >>> noted = RankRecord(0, 2.0, [Noted(0.0, 1.5, "compute", "step")])
    >>> outcome_of([noted], 1, "").total("compute_s")
    1.5
    """
    ready = ready_s(records)
    time_s = max([r.end_s for r in records] + [n.end_s for r in records for n in r.spans])
    last = max(records, key=lambda record: record.end_s)
    told_s = tuple(sorted(end_s for record in records for end_s in record.step_ends_s))
    return Outcome(
        time_s=time_s,
        step_ends_s=told_s or step_ends_s(last.ends, steps, time_s),
        ranks=tuple(_totals(record, ready, time_s) for record in records),
        size=len(records),
        collectives=_collectives(records),
        energy=Energy(),
        timeline=Timeline.of(sorted(_spans(records, ready), key=lambda s: (s.end_s, s.start_s))),
        dropped_messages=sum(record.dropped for record in records),
        folding=told,
        counts=_counts(records),
    )


def ready_s(records: Sequence[RankRecord]) -> dict[Key, float]:
    """Return when all partners were there, by key: the last member came, the message was sent."""
    ready: dict[Key, float] = {}
    for record in records:
        for noted in record.spans:
            if noted.key and noted.kind != "recv":
                ready[noted.key] = max(ready.get(noted.key, 0.0), noted.start_s)
        ready.update((key, start_s) for key, (start_s, _, _) in record.sent.items())
    return ready


def _spans(records: Sequence[RankRecord], ready: dict[Key, float]) -> Iterable[Span]:
    arrived = {key: at_s for record in records for key, at_s in record.arrived.items()}
    for record in records:
        for noted in record.spans:
            moved_s = min(max(noted.start_s, ready.get(noted.key, 0.0)), noted.end_s)
            if moved_s > noted.start_s:
                yield Span(noted.start_s, moved_s, record.rank, "wait", noted.name)
            yield Span(moved_s, noted.end_s, record.rank, noted.kind, noted.name)
        for key, (start_s, name, _) in record.sent.items():
            yield Span(start_s, max(start_s, arrived.get(key, start_s)), record.rank, "send", name)


def _totals(record: RankRecord, ready: dict[Key, float], time_s: float) -> Totals:
    computed = union([(n.start_s, n.end_s) for n in record.spans if n.kind == "compute"])
    asleep, waiting, communicating = [], [], []
    for start_s, end_s, key in record.blocked:
        if key == SLEEPING:
            asleep.append((start_s, end_s))
            continue
        moved_s = min(max(start_s, ready.get(key, 0.0)), end_s)
        waiting.append((start_s, moved_s))
        communicating.append((moved_s, end_s))
    totals = Totals(
        rank=record.rank,
        compute_s=_length(computed),
        sleep_s=without_s(asleep, computed),
        waiting_s=without_s(waiting, computed),
        communication_s=without_s(communicating, computed),
        end_s=record.end_s,
        sent_bytes=sum(nbytes for _, _, nbytes in record.sent.values()),
        received_bytes=sum(record.received_bytes),
        sent_messages=len(record.sent),
        received_messages=len(record.received_bytes),
    )
    busy = totals.compute_s + totals.sleep_s + totals.waiting_s + totals.communication_s
    totals.idle_s = max(0.0, time_s - busy)
    return totals


SLEEPING: Key = ("sleep",)
"""The key of a stretch in which a program slept."""


def union(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Return the time that stretches cover, as stretches in order that do not meet.

    >>> union([(0.0, 2.0), (5.0, 6.0), (1.0, 3.0)])
    [(0.0, 3.0), (5.0, 6.0)]
    """
    covered: list[Stretch] = []
    for start_s, end_s in sorted(stretches):
        if covered and start_s <= covered[-1][1]:
            covered[-1] = (covered[-1][0], max(covered[-1][1], end_s))
        else:
            covered.append((start_s, end_s))
    return covered


def without_s(stretches: Iterable[Stretch], covered: Sequence[Stretch]) -> float:
    """Return how long stretches are outside what others cover, seconds.

    >>> without_s([(0.0, 4.0)], [(1.0, 2.0), (3.5, 9.0)])
    2.5
    """
    whole = union(stretches)
    return _length(union([*whole, *covered])) - _length(covered)


def _length(stretches: Iterable[Stretch]) -> float:
    return sum(end_s - start_s for start_s, end_s in stretches)


def _collectives(records: Sequence[RankRecord]) -> dict[str, CollectiveTotal]:
    sizes: dict[str, list[tuple[float, int]]] = {}
    for record in records:
        for kind, nbytes in record.collectives:
            sizes.setdefault(kind, []).append((nbytes, 1))
    return {kind: CollectiveTotal(len(of), exact_sum(of)) for kind, of in sorted(sizes.items())}


def _counts(records: Sequence[RankRecord]) -> dict[str, float]:
    """Return what all programs counted, by name."""
    total: defaultdict[str, float] = defaultdict(float)
    for record in records:
        for name, amount in record.counts.items():
            total[name] += amount
    return dict(total)
