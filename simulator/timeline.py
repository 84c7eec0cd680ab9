"""Record what happened when: spans, held as columns.

A *span* is a stretch of time in which one rank did one thing. Kinds are "compute", the collectives,
"send" (from sending to delivery), "recv", "sleep", and "wait" (blocked until the others were ready:
the last rank of a collective arrived, or the message was sent).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeAlias

import numpy as np

from simulator.actions import COLLECTIVES
from simulator.ops import FloatArray, IntArray

Row: TypeAlias = float | int | str

SPAN_KINDS: tuple[str, ...] = ("compute", *COLLECTIVES, "send", "recv", "sleep", "wait")
SPAN_CODES: dict[str, int] = {kind: code for code, kind in enumerate(SPAN_KINDS)}
WIDTH = 5


@dataclass(frozen=True, slots=True)
class Span:
    """Be a stretch of time in which one rank did one thing.

    Parameters
    ----------
    start_s, end_s : seconds from the beginning of the run
    rank : who
    kind : one of `SPAN_KINDS`
    name : of the work or the buffer
    """

    start_s: float
    end_s: float
    rank: int
    kind: str
    name: str

    @property
    def duration_s(self) -> float:
        """Return the length, seconds."""
        return self.end_s - self.start_s


LOCAL_KINDS = ("compute", "sleep")
"""Kinds of spans in which a rank does not communicate."""
Lane: TypeAlias = tuple[int, bool, int]
"""Rank, whether it communicates, and a number: streams of one rank that overlap."""


def in_lanes(spans: Iterable[Span]) -> list[tuple[Span, Lane]]:
    """Return each span with its lane, by rank and start; no two in a lane overlap.

    >>> spans = [Span(0.0, 2.0, 0, "compute", "a"), Span(1.0, 3.0, 0, "compute", "b")]
    >>> [lane for _, lane in in_lanes(spans)]
    [(0, False, 0), (0, False, 1)]
    """
    ends: dict[tuple[int, bool], list[float]] = {}
    placed: list[tuple[Span, Lane]] = []
    for span in sorted(spans, key=_order):
        kind = (span.rank, span.kind not in LOCAL_KINDS)
        busy_until = ends.setdefault(kind, [])
        free = (i for i, end_s in enumerate(busy_until) if end_s <= span.start_s)
        number = next(free, len(busy_until))
        busy_until[number : number + 1] = [span.end_s]
        placed.append((span, (*kind, number)))
    return placed


def _order(span: Span) -> tuple[int, float, float, str, str]:
    return (span.rank, span.start_s, -span.end_s, span.kind, span.name)


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Hold n spans as columns, in the order in which they ended.

    Parameters
    ----------
    start_s, end_s : float array (n,), seconds
    rank : int array (n,)
    kind : int array (n,); indices into `SPAN_KINDS`
    name : int array (n,); indices into `names`
    names : the names that occur
    """

    start_s: FloatArray
    end_s: FloatArray
    rank: IntArray
    kind: IntArray
    name: IntArray
    names: tuple[str, ...]

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Self:
        """Return the timeline of these spans.

        >>> timeline = Timeline.of([Span(0.0, 1.5, 0, "compute", "forward")])
        >>> len(timeline), timeline.total_s("compute")
        (1, 1.5)
        """
        rows: list[Row] = []
        for span in spans:
            rows += (span.start_s, span.end_s, span.rank, SPAN_CODES[span.kind], span.name)
        return cls.from_rows(rows)

    @classmethod
    def from_rows(cls, rows: Sequence[Row]) -> Self:
        """Return the timeline of start, end, rank, kind code and name, one after the other."""
        labels = rows[4::WIDTH]
        code = {name: index for index, name in enumerate(dict.fromkeys(labels))}
        return cls(
            start_s=np.array(rows[0::WIDTH], np.float64),
            end_s=np.array(rows[1::WIDTH], np.float64),
            rank=np.array(rows[2::WIDTH], np.int64),
            kind=np.array(rows[3::WIDTH], np.int64),
            name=np.array([code[label] for label in labels], np.int64),
            names=tuple(map(str, code)),
        )

    def __len__(self) -> int:
        return len(self.start_s)

    def __iter__(self) -> Iterator[Span]:
        columns = (self.start_s, self.end_s, self.rank, self.kind, self.name)
        for start, end, rank, kind, name in zip(*(c.tolist() for c in columns), strict=True):
            yield Span(start, end, rank, SPAN_KINDS[kind], self.names[name])

    def spans(self, rank: int | None = None, kind: str | None = None) -> list[Span]:
        """Return the spans of one rank (None: of all) and one kind (None: of all), as ended."""
        return [s for s in self if rank in (None, s.rank) and kind in (None, s.kind)]

    def total_s(self, kind: str, rank: int | None = None) -> float:
        """Return the summed length of the spans of a kind, of one rank or of all, seconds."""
        chosen = self.kind == SPAN_CODES[kind]
        if rank is not None:
            chosen &= self.rank == rank
        return float((self.end_s - self.start_s)[chosen].sum())

    def totals_s(self) -> dict[str, float]:
        """Return the summed length of the spans by kind, seconds; of kinds that occur."""
        sums = np.bincount(self.kind, self.end_s - self.start_s, len(SPAN_KINDS))
        present = np.bincount(self.kind, minlength=len(SPAN_KINDS)) > 0
        return {SPAN_KINDS[code]: float(sums[code]) for code in np.flatnonzero(present)}

    def earlier(self, seconds: float) -> Timeline:
        """Return the same spans so many seconds earlier."""
        return replace(self, start_s=self.start_s - seconds, end_s=self.end_s - seconds)

    def merged(self, *others: Timeline) -> Timeline:
        """Return the spans of all timelines in one, ordered by end, then start, then rank."""
        every = (self, *others)
        names = tuple(dict.fromkeys(name for part in every for name in part.names))
        code = {name: index for index, name in enumerate(names)}
        recoded = [np.array([code[n] for n in part.names], np.int64)[part.name] for part in every]
        start, end = (np.concatenate([getattr(p, a) for p in every]) for a in ("start_s", "end_s"))
        rank, kind = (np.concatenate([getattr(p, a) for p in every]) for a in ("rank", "kind"))
        order = np.lexsort((rank, start, end))
        return Timeline(start[order], end[order], rank[order], kind[order],
                        np.concatenate(recoded)[order], names)  # fmt: skip
