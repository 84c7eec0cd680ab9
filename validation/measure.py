"""Measure how long a call takes, on a machine that may be busy with other things too."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from simulator.errors import InputError
from validation.clean import (
    DISTURBED,
    Clocks,
    Kept,
    Sample,
    SystemClocks,
    enough,
    keep,
    relative_spread,
    take,
)
from validation.machine_record import MachineRecord, machine_record

SAMPLE_S = {True: 1e-3, False: 5e-3}
"""Shortest sample that is trusted, on one thread (True) and on more, seconds; shorter calls are
repeated within a sample."""
PATIENCE = 4.0
"""Times the budget that is spent where clean samples are rare."""
MOST_CALLS = 10_000
"""Calls within a sample at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Be a measured time.

    Parameters
    ----------
    name : what was measured
    threads : that did it
    time_s : median of the kept times of one call, seconds
    spread : distance between the quartiles of the kept times over the median; None for one
    repeatability : how far the medians of the first and second half of the kept times are apart,
        over the median; None for fewer than 4
    times_s : that were kept, in the order of measuring, seconds
    discarded : samples that were not kept
    calls : calls in one sample
    clock : which clock, and which samples it counts
    machine : the conditions
    """

    name: str
    threads: int
    time_s: float
    spread: float | None
    repeatability: float | None
    times_s: tuple[float, ...] = field(repr=False)
    discarded: int
    calls: int
    clock: str
    machine: MachineRecord

    @property
    def disturbed(self) -> bool:
        """Say whether others kept the threads waiting, so that the time is too long."""
        return DISTURBED in self.clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Say how long to measure.

    Parameters
    ----------
    warmup : calls that do not count
    repeats : samples at least
    budget_s : time to spend on further samples, seconds
    most : samples at most
    """

    warmup: int = 3
    repeats: int = 7
    budget_s: float = 0.5
    most: int = 1000

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.repeats < 1 or self.most < self.repeats:
            raise InputError(f"measuring needs warmup >= 0, repeats >= 1 and most >= repeats; got "
                             f"{self.warmup}, {self.repeats}, {self.most}")  # fmt: skip
        if not 0 <= self.budget_s < math.inf:
            raise InputError(f"budget_s must be finite and not negative; got {self.budget_s}")


def measure(
    call: Callable[[], object],
    *,
    name: str = "call",
    threads: int = 1,
    effort: Effort | None = None,
    clocks: Clocks | None = None,
    record: MachineRecord | None = None,
) -> Measurement:
    """Return how long a call takes.

    Parameters
    ----------
    call : does it once
    name : of what is measured
    threads : that the call uses; setting it so is the caller's business
    effort : how long to measure; None: the usual
    clocks : to measure with; None: the system's
    record : of the machine; None: of now

    Raises
    ------
    InputError : fewer than one thread

    >>> measure(lambda: sum(range(1000)), effort=Effort(budget_s=0.0)).time_s > 0
    True
    """
    if threads < 1:
        raise InputError(f"threads must be at least 1; got {threads}")
    effort, clocks = effort or Effort(), clocks or SystemClocks()
    for _ in range(effort.warmup):
        call()
    first = take(call, 1, clocks)
    calls = _calls(first.wall_s, threads)
    begin = clocks.wall_s()
    samples: list[Sample] = []
    while _wanted(effort, samples, threads, clocks.wall_s() - begin):
        samples.append(take(call, calls, clocks, threads))
    kept = keep(samples, threads)
    return _measurement(name, threads, calls, kept, record or machine_record())


def _wanted(effort: Effort, samples: list[Sample], threads: int, spent_s: float) -> bool:
    """Say whether another sample is wanted; where the machine is busy, wait for clean ones."""
    if len(samples) < effort.repeats:
        return True
    if len(samples) >= effort.most:
        return False
    patience = 1.0 if enough(samples, threads) or samples[-1].delay_s is None else PATIENCE
    return spent_s < patience * effort.budget_s


def _calls(first_s: float, threads: int) -> int:
    """Return how many calls make a sample long enough."""
    if first_s <= 0:
        return MOST_CALLS
    return min(MOST_CALLS, max(1, math.ceil(SAMPLE_S[threads == 1] / first_s)))


def _measurement(
    name: str, threads: int, calls: int, kept: Kept, record: MachineRecord
) -> Measurement:
    times = kept.times_s
    return Measurement(
        name=name,
        threads=threads,
        time_s=statistics.median(times),
        spread=relative_spread(times),
        repeatability=repeatability(times),
        times_s=times,
        discarded=kept.discarded,
        calls=calls,
        clock=kept.clock,
        machine=record,
    )


def repeatability(times_s: tuple[float, ...]) -> float | None:
    """Return how far the medians of both halves are apart, over the median; None for few times.

    >>> repeatability((1.0, 1.0, 1.1, 1.1))
    0.09523809523809532
    """
    if len(times_s) < 4:
        return None
    half = len(times_s) // 2
    first, second = statistics.median(times_s[:half]), statistics.median(times_s[half:])
    return abs(second - first) / statistics.median(times_s)
