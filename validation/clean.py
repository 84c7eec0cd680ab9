"""Tell clean timings from disturbed ones on a machine that others use too.

A *sample* is one timing: how long the clock on the wall and the thread's own processor time moved,
and how long threads of this process stood in a run queue meanwhile, ready but without a core
(Linux: /proc/self/task/*/schedstat, Documentation/scheduler/sched-stats). On one thread processor
time is clean by itself; of several threads the wall time is, where they waited less than 2 % of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

TASKS = Path("/proc/self/task")
DELAY_LIMIT = 0.02
"""Share of the wall time that threads of a clean sample may have waited for a core."""
ENOUGH = 5
"""Clean samples below which the least disturbed ones are taken instead."""
DISTURBED = "too few clean samples"
"""What the clock of such a measurement says."""
NANO = 1e-9


@dataclass(frozen=True, slots=True)
class Sample:
    """Be one timing.

    Parameters
    ----------
    wall_s, cpu_s : that the wall clock and the calling thread's processor time moved, seconds
    delay_s : that all threads of the process waited for a core, seconds; None: not known
    """

    wall_s: float
    cpu_s: float
    delay_s: float | None = None

    @property
    def clean(self) -> bool:
        """Say whether the threads hardly waited; not so where it is not known."""
        return self.delay_s is not None and self.delay_s <= DELAY_LIMIT * self.wall_s


@dataclass(frozen=True, slots=True)
class Kept:
    """Hold the times that count.

    Parameters
    ----------
    times_s : of the samples that were kept, seconds
    clock : which clock, and which samples
    discarded : how many samples were not kept
    """

    times_s: tuple[float, ...]
    clock: str
    discarded: int


class Clocks(Protocol):
    """Be what a sample is taken with; tests give their own."""

    def wall_s(self) -> float:
        """Return the wall clock, seconds."""

    def cpu_s(self) -> float:
        """Return the processor time of the calling thread, seconds."""

    def delay_s(self) -> float | None:
        """Return how long all threads of the process have waited for a core, seconds."""


@dataclass(frozen=True, slots=True)
class SystemClocks:
    """Read this system's clocks.

    Parameters
    ----------
    tasks : folder with one folder a thread, each with a file schedstat
    """

    tasks: Path = TASKS

    def wall_s(self) -> float:
        """Return the wall clock, seconds."""
        return time.perf_counter()

    def cpu_s(self) -> float:
        """Return the processor time of the calling thread, seconds."""
        return time.thread_time()

    def delay_s(self) -> float | None:
        """Return how long all threads of the process have waited for a core, seconds."""
        return run_delay_s(self.tasks)


def run_delay_s(tasks: Path = TASKS) -> float | None:
    """Return how long all threads below a folder have waited for a core, seconds.

    None where the system does not say: not Linux, or a kernel without scheduler statistics.
    """
    try:
        texts = [_text(path) for path in tasks.iterdir()]
    except OSError:
        return None
    fields = [text.split() for text in texts if text is not None]
    if not fields or any(len(one) < 2 for one in fields):
        return None
    return sum(int(one[1]) for one in fields) * NANO


def _text(thread: Path) -> str | None:
    """Return a thread's statistics; a thread that has ended is None."""
    try:
        return (thread / "schedstat").read_text()
    except FileNotFoundError:
        # No file although the thread is there: a kernel without statistics.
        return "" if thread.exists() else None
    except OSError:
        return None


def take(call: Callable[[], object], times: int, clocks: Clocks, threads: int = 1) -> Sample:
    """Return the sample of so many calls, per call; of one thread the delay is not asked for."""
    delay = clocks.delay_s() if threads > 1 else None
    wall, cpu = clocks.wall_s(), clocks.cpu_s()
    for _ in range(times):
        call()
    cpu, wall = clocks.cpu_s() - cpu, clocks.wall_s() - wall
    after = clocks.delay_s() if threads > 1 else None
    waited = None if delay is None or after is None else (after - delay) / times
    return Sample(wall / times, cpu / times, waited)


def keep(samples: Sequence[Sample], threads: int) -> Kept:
    """Return the times that count.

    On one thread all processor times. On more the wall times of clean samples; where too few are
    clean, or it is not known which are, of the fastest quarter: what disturbs only adds.

    Parameters
    ----------
    samples : at least one
    threads : that did the work

    >>> keep([Sample(1.0, 0.9)], threads=1).times_s
    (0.9,)
    """
    if threads == 1:
        return Kept(tuple(one.cpu_s for one in samples), "thread cpu time", 0)
    clean = [one for one in samples if one.clean]
    if enough(samples, threads):
        return _kept(clean, samples, "wall, clean samples")
    fastest = sorted(samples, key=lambda one: one.wall_s)[: max(1, len(samples) // 4)]
    known = all(one.delay_s is not None for one in samples)
    why = DISTURBED if known else "run-queue delay is not known here"
    return _kept(fastest, samples, f"wall, fastest quarter ({why})")


def enough(samples: Sequence[Sample], threads: int) -> bool:
    """Say whether enough samples are clean, or never will be known to be."""
    return threads == 1 or sum(one.clean for one in samples) >= ENOUGH


def calm(walls_s: Sequence[float], delays_s: Sequence[float | None]) -> list[int]:
    """Return which of some runs to keep: clean ones, else the quarter that waited least.

    Where waiting is not known all are kept.

    >>> calm([1.0, 1.0, 1.0], [0.0, 0.5, 0.01])
    [0, 2]
    """
    shares = [None if delay is None else delay / max(wall, NANO)
              for wall, delay in zip(walls_s, delays_s, strict=True)]  # fmt: skip
    known = [share for share in shares if share is not None]
    if len(known) < len(shares):
        return list(range(len(shares)))
    limit = max(DELAY_LIMIT, sorted(known)[max(0, (len(known) + 3) // 4 - 1)])
    return [place for place, share in enumerate(known) if share <= limit]


def _kept(chosen: Sequence[Sample], samples: Sequence[Sample], clock: str) -> Kept:
    times = tuple(one.wall_s for one in chosen)
    return Kept(times, clock, len(samples) - len(chosen))


def relative_spread(times_s: Sequence[float]) -> float | None:
    """Return the distance between the quartiles over the median; None for one time.

    >>> relative_spread([1.0, 1.0, 1.0, 1.0, 3.0])
    0.0
    """
    if len(times_s) < 2:
        return None
    low, middle, high = statistics.quantiles(times_s, n=4, method="inclusive")
    return (high - low) / middle
