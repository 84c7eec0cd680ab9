"""Evaluate the points of a sweep in chunks: in this process, in a pool, or in any executor.

What an evaluation gives becomes a row: metrics by name, or the reason why the point cannot be.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, TypeAlias, runtime_checkable

from simulator.errors import (
    DoesNotFitError,
    FileError,
    InputError,
    ScalemodelError,
    UnitError,
    UnknownNameError,
)
from simulator.run import METRICS, PATTERN_METRICS, Run
from simulator.scenario import Scenario, Value
from simulator.sweep_store import ERROR, REASON, Row

Evaluate: TypeAlias = Callable[[Scenario], "Run | Mapping[str, float | None]"]
"""Gives the run of a scenario, or its metrics by name."""

_MISTAKES = (UnknownNameError, UnitError, FileError)
"""Errors of the question itself: no other point of the grid can be meant."""

INTERVALS = MappingProxyType({
    "step_time_s": ("step_time_low_s", "step_time_high_s"),
    "energy_j": ("energy_low_j", "energy_high_j"),
})  # fmt: skip
"""What a row names the ends of the 90 % interval of a metric."""

CHUNK_S = 0.5
"""A chunk shall take about this long: rarely enough to be cheap, often enough to show progress."""
LARGEST_CHUNK = 4096
MOST_GROWTH = 8.0
"""A chunk has at most so many times the points of the one before: the first tells little."""
POOL_AFTER_S = 4.0
"""A pool of processes starts when at least so much is left to do; starting it takes a second."""


@runtime_checkable
class EvaluateMany(Protocol):
    """Evaluate many scenarios at less than the sum of their costs."""

    def many(self, scenarios: Sequence[Scenario]) -> Sequence[Row | ScalemodelError]:
        """Return for each scenario its metrics, or the error that one by one would raise."""


@dataclass(frozen=True)
class Task:
    """Hold what evaluating needs; sent to other processes whole."""

    evaluate: Evaluate
    base: Scenario
    points: Sequence[Mapping[str, Value]]

    def part(self, indices: Sequence[int]) -> Task:
        """Return the task of some of the points."""
        return Task(self.evaluate, self.base, [self.points[i] for i in indices])

    def rows(self) -> list[Row]:
        """Return the rows of all points."""
        scenarios = [self.base.changed(point) for point in self.points]
        evaluate: object = self.evaluate
        if isinstance(evaluate, EvaluateMany):
            return [_row(answer) for answer in evaluate.many(scenarios)]
        return [self._one(scenario) for scenario in scenarios]

    def _one(self, scenario: Scenario) -> Row:
        try:
            answer = self.evaluate(scenario)
        except ScalemodelError as error:
            return _row(error)
        return _row(run_row(answer) if isinstance(answer, Run) else answer)


def _row(answer: Row | ScalemodelError) -> Row:
    """Return the row of an answer; raise what no other point can mend."""
    if not isinstance(answer, ScalemodelError):
        return dict(answer)
    if isinstance(answer, _MISTAKES) or not isinstance(answer, (DoesNotFitError, InputError)):
        raise answer
    kind = "fit" if isinstance(answer, DoesNotFitError) else "input"
    return {REASON: str(answer), ERROR: kind}


def run_row(run: Run) -> Row:
    """Return the figures of a run as a sweep's row: `METRICS`, and the ends of `INTERVALS`."""
    row: dict[str, float | str | None] = {name: getattr(run, name) for name in METRICS}
    if run.workload.pattern is not None:
        row |= {name: run.metric(name) for name in PATTERN_METRICS}
    for metric in INTERVALS:
        row |= interval_row(metric, run.bounds(metric))
    return row


def interval_row(metric: str, bounds: tuple[float, float] | None) -> Row:
    """Return the ends of a metric's interval as a row names them; None where unknown.

    >>> interval_row("energy_j", None)
    {'energy_low_j': None, 'energy_high_j': None}
    """
    return dict(zip(INTERVALS[metric], bounds or (None, None), strict=True))


@dataclass
class InProcess:
    """Evaluate here, in chunks that grow until one takes about `CHUNK_S`.

    Where much is left, `pool` may take over.
    """

    pool: Callable[[], Executor] | None = None
    point_s: float = field(default=0.0, init=False)

    def chunks(self, task: Task, left: Sequence[int]) -> Iterator[dict[int, Row]]:
        """Yield the rows of the points that are left, by number."""
        done, size = 0, 1
        while done < len(left):
            part = left[done : done + size]
            begin = time.perf_counter()
            rows = task.part(part).rows()
            taken = time.perf_counter() - begin
            yield dict(zip(part, rows, strict=True))
            done, self.point_s = done + len(part), taken / len(part)
            growth = min(CHUNK_S / max(taken, 1e-9), MOST_GROWTH)
            size = min(max(size, int(growth * size)), LARGEST_CHUNK)
            if self._much_is_left(len(left) - done, taken) and _can_be_sent(task.evaluate):
                yield from self._in_pool(task, left[done:])
                return

    def _much_is_left(self, points: int, taken: float) -> bool:
        # A short chunk says little: imports and caches make the first points dear.
        known = taken > CHUNK_S / 4
        return self.pool is not None and known and points * self.point_s > POOL_AFTER_S

    def _in_pool(self, task: Task, left: Sequence[int]) -> Iterator[dict[int, Row]]:
        assert self.pool is not None
        pool = self.pool()
        try:
            yield from Submitted(pool, self.point_s).chunks(task, left)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass
class Submitted:
    """Evaluate in an executor, in chunks of equal size."""

    executor: Executor
    point_s: float | None = None

    def chunks(self, task: Task, left: Sequence[int]) -> Iterator[dict[int, Row]]:
        """Yield the rows of the points that are left, by number, as they are done."""
        size = self._size(len(left))
        parts = [left[at : at + size] for at in range(0, len(left), size)]
        waiting: dict[Future[list[Row]], Sequence[int]] = {
            self.executor.submit(task.part(part).rows): part for part in parts
        }
        try:
            while waiting:
                for future in wait(waiting, return_when="FIRST_COMPLETED").done:
                    yield dict(zip(waiting.pop(future), future.result(), strict=True))
        finally:
            for future in waiting:
                future.cancel()

    def _size(self, points: int) -> int:
        most = max(1, min(points // 64, LARGEST_CHUNK))
        if not self.point_s:
            return most
        return max(1, min(int(CHUNK_S / self.point_s), most))


def _can_be_sent(evaluate: Evaluate) -> bool:
    """Say whether another process can be given this function (a lambda it cannot)."""
    try:
        pickle.dumps(evaluate)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


def executing(executor: Executor | None) -> InProcess | Submitted:
    """Return where points are evaluated; None: here, and in a pool where that would take long."""
    return InProcess(_process_pool) if executor is None else Submitted(executor)


def _process_pool() -> Executor:
    return ProcessPoolExecutor(initializer=_leave_interrupts_to_the_parent)


def _leave_interrupts_to_the_parent() -> None:
    """Let Ctrl-C end the sweep once, in the parent, which keeps what is done."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
