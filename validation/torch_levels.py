"""Time moving memory over footprints from the first-level cache to memory.

The same map is done on a ring of buffers in turn; the ring's footprint decides from where each
buffer comes (all of it from the last level that is large enough, since the least recently used
goes first).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from validation.clean import Sample, SystemClocks, keep, take

SMALLEST, LARGEST = 2**14, 2**28
STEPS_PER_DOUBLING = 2
BUFFER_BYTES = 2**20
"""One operand at most; smaller where the ring is small."""
SHARE_OF_RING = 8
"""Buffers of the smallest rings."""
FEWEST = 4
"""Timings of a ring at least."""
FRESH_BYTES = 2**26
"""Of a result that the allocator maps anew at every call."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Be one timing of a ring.

    Parameters
    ----------
    footprint_bytes : of the whole ring
    nbytes : read and written by one call
    time_s : of one call, seconds
    """

    footprint_bytes: float
    nbytes: float
    time_s: float


def footprints(largest: int = LARGEST) -> list[int]:
    """Return the footprints of the rings, bytes.

    >>> footprints(2**16)
    [16384, 23170, 32768, 46341, 65536]
    """
    count = STEPS_PER_DOUBLING * (largest.bit_length() - SMALLEST.bit_length())
    return [round(SMALLEST * 2 ** (step / STEPS_PER_DOUBLING)) for step in range(count + 1)]


def sweep(
    rings: Sequence[int],
    budget_s: float,
    threads: int = 1,
    buffer_bytes: int = BUFFER_BYTES,
) -> list[Reach]:
    """Return timings of rings.

    Parameters
    ----------
    rings : footprints, bytes
    budget_s : for all of them, seconds
    threads : that torch uses now
    buffer_bytes : of one operand at most
    """
    pool = torch.ones(max(rings) // 4 + BUFFER_BYTES)
    return [_reach(pool, ring, budget_s / len(rings), threads, buffer_bytes) for ring in rings]


def _reach(pool: torch.Tensor, ring: int, budget_s: float, threads: int, most: int) -> Reach:
    size = max(16, min(most, ring // SHARE_OF_RING) // 4)
    parts = pool[: max(2, ring // 4 // size) // 2 * 2 * size].split(size)
    pairs = list(zip(parts[::2], parts[1::2], strict=True))
    samples: list[Sample] = []
    end = time.perf_counter() + budget_s
    with torch.no_grad():
        _around(pairs)
        while len(samples) < FEWEST or time.perf_counter() < end:
            samples.append(take(lambda: _around(pairs), 1, SystemClocks(), threads))
    times = keep(samples, threads).times_s
    return Reach(len(parts) * size * 4.0, 8.0 * size, _typical(times) / len(pairs))


def _around(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for given, made in pairs:
        torch.clamp_min(given, 0.0, out=made)


def _typical(times: Sequence[float]) -> float:
    """Return the quartile at the fast end: what disturbs only adds."""
    return statistics.quantiles(times, n=4)[0] if len(times) > 1 else times[0]


def fault_s_per_byte(repeats: int = 3, clock: Callable[[], float] = time.thread_time) -> float:
    """Return what it takes to map a byte of memory that is written for the first time, seconds."""
    kept = torch.empty(FRESH_BYTES // 4)
    kept.fill_(1.0)
    fresh = min(_seconds(lambda: torch.full((FRESH_BYTES // 4,), 1.0), clock)
                for _ in range(repeats))  # fmt: skip
    again = min(_seconds(lambda: kept.fill_(1.0), clock) for _ in range(repeats))
    return max(fresh - again, 0.0) / FRESH_BYTES


def _seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    begin = clock()
    call()
    return clock() - begin
