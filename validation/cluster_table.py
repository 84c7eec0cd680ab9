"""Make a table of measured collectives from what the ranks noted.

A *point* is what is measured: a kind and a size. Its *calls* are what one rank noted of it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simulator.actions import COLLECTIVES
from simulator.errors import InputError, UnknownNameError
from simulator.protocols import Plan
from simulator.units import parse_quantity
from validation.clean import ENOUGH, NANO, calm, relative_spread
from validation.ranks import Answers, Made

SEND_RECV = "send_recv"
"""Every rank sends to the next one and receives from the one before."""
KINDS = (*COLLECTIVES, SEND_RECV)
USUAL_KINDS = ("all_reduce", "all_gather", "broadcast", "reduce_scatter", SEND_RECV)
USUAL_SIZES = ("64 KiB", "512 KiB", "4 MiB", "16 MiB")


@dataclass(frozen=True, slots=True)
class Point:
    """Say what is measured.

    Parameters
    ----------
    kind : one of `KINDS`, or the name of the user's own
    nbytes : of one rank's buffer, as `Rank.collective` counts it, bytes
    own : whether the user's own program does it
    """

    kind: str
    nbytes: float
    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Say how often each point is measured.

    Parameters
    ----------
    most, least : calls
    budget_s : for one point, seconds
    """

    most: int = 25
    least: int = 9
    budget_s: float = 1.5

    def calls(self, call_s: float) -> int:
        """Return how many calls are made of which one takes so long (seconds).

        >>> Sampling().calls(0.1), Sampling().calls(1.0), Sampling().calls(1e-3)
        (15, 9, 25)
        """
        affordable = int(self.budget_s / call_s) if call_s > 0 else self.most
        return min(self.most, max(self.least, affordable))


@dataclass(frozen=True, slots=True)
class Timing:
    """Say what each process measures.

    Parameters
    ----------
    points : in this order
    sampling : how often
    own : the user's own plan, or what makes it, where a point asks for it
    """

    points: Sequence[Point]
    sampling: Sampling
    own: Plan | Made | None = None


@dataclass(frozen=True, slots=True)
class Calls:
    """Hold when the calls of a point began and ended on one rank.

    Parameters
    ----------
    begins_s, ends_s : one a call, seconds from the beginning that the ranks have in common
    delays_s : how long the rank's threads waited for a core meanwhile, seconds; None: not known
    """

    begins_s: list[float]
    ends_s: list[float]
    delays_s: list[float | None]

    def longest_s(self, warmup: int) -> float:
        """Return the longest call after the first few, seconds."""
        spans = zip(self.begins_s[warmup:], self.ends_s[warmup:], strict=True)
        return max(end_s - begin_s for begin_s, end_s in spans)


def points_of(kinds: Sequence[str], sizes: Sequence[float], own: str | None = None) -> list[Point]:
    """Return what is measured: each kind at each size, and the user's own.

    Raises
    ------
    UnknownNameError : no such kind
    InputError : nothing to measure, or a size that is no whole number above 0
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownNameError("collective", kind, KINDS)
    if not sizes or not (kinds or own):
        raise InputError("nothing to measure: at least one kind and one size are needed")
    for size in sizes:
        if not size > 0 or size % 1:
            raise InputError(f"sizes: must be whole bytes, more than 0 bytes; got {size:g}")
    named = [Point(kind, size) for kind in kinds for size in sizes]
    return named + [Point(own, size, own=True) for size in sizes if own]


def parse_sizes(text: str) -> list[float]:
    """Return sizes in bytes of a list such as "64 KiB,4MB,1000".

    >>> parse_sizes("64 KiB,1000")
    [65536.0, 1000.0]
    """
    return [parse_quantity(part, "bytes", "sizes") for part in text.split(",")]


def records_of(points: Sequence[Point], answers: Answers) -> list[dict[str, Any]]:
    """Return one record a point, from the `Calls` of each point that each rank answered.

    A call lasts from when the last rank began to when the last one ended; where clocks differ, as
    long as on the rank on which it was longest.
    """
    return [_record(point, [calls[place] for calls in answers.of_ranks], answers)
            for place, point in enumerate(points)]  # fmt: skip


def _record(point: Point, calls: Sequence[Calls], answers: Answers) -> dict[str, Any]:
    kept = kept_times_s(calls, answers.one_clock)
    time_s = statistics.median(kept)
    spread = relative_spread(kept)
    return {
        "kind": point.kind,
        "bytes": point.nbytes,
        "ranks": len(calls),
        "time_s": time_s,
        "low_s": min(kept),
        "high_s": max(kept),
        "spread_pct": None if spread is None else 100 * spread,
        "algorithm_bandwidth_bytes_per_s": point.nbytes / time_s,
        "samples": len(kept),
        "discarded": len(calls[0].begins_s) - len(kept),
        "network": answers.network,
        "rate_bit_per_s": answers.rate_bit_per_s,
    }


def kept_times_s(calls: Sequence[Calls], one_clock: bool) -> list[float]:
    """Return how long those calls took that count, seconds, from what all ranks noted of them."""
    times_s = call_times_s(calls, one_clock)
    return [times_s[place] for place in _calmer(times_s, _delays(calls))]


def _calmer(times_s: Sequence[float], delays_s: Sequence[float | None]) -> list[int]:
    """Return which calls to keep: clean ones, else the half in which ranks waited least for a core.

    Where there are more ranks than cores, hardly any call is clean: waiting is part of it. And as
    TCP now and then waits for a packet that was lost, a median needs many calls.
    """
    clean = calm(times_s, delays_s)
    if len(clean) >= ENOUGH or None in delays_s:
        return clean
    shares = [delay / max(time_s, NANO) for delay, time_s in zip(delays_s, times_s, strict=True)
              if delay is not None]  # fmt: skip
    order = sorted(range(len(shares)), key=shares.__getitem__)
    return sorted(order[: max(1, (len(order) + 1) // 2)])


def call_times_s(calls: Sequence[Calls], one_clock: bool) -> list[float]:
    """Return how long each call took, by what all ranks noted of it, seconds.

    >>> first, second = Calls([0.0], [2.0], [None]), Calls([1.0], [2.5], [None])
    >>> call_times_s([first, second], one_clock=True), call_times_s([first, second], False)
    ([1.5], [2.0])
    """
    begins = list(zip(*(one.begins_s for one in calls), strict=True))
    ends = list(zip(*(one.ends_s for one in calls), strict=True))
    if one_clock:
        return [max(e) - max(b) for b, e in zip(begins, ends, strict=True)]
    pairs = zip(begins, ends, strict=True)
    return [max(e - b for b, e in zip(*pair, strict=True)) for pair in pairs]


def _delays(calls: Sequence[Calls]) -> list[float | None]:
    """Return how long the rank that waited longest for a core waited in each call."""
    by_call = zip(*(one.delays_s for one in calls), strict=True)
    return [_longest(delays) for delays in by_call]


def _longest(delays: Sequence[float | None]) -> float | None:
    known = [delay for delay in delays if delay is not None]
    return max(known) if len(known) == len(delays) else None
