"""Evaluate every point of a grid, into one tidy table.

A *point* is the base scenario with one value for each name on the grid; points are numbered in
the order of the grid, its last name changing fastest. A *row* is what a point gave: metrics by
name, or the reason why the point cannot be.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from simulator.bounds import Bound, check_bounds
from simulator.errors import BoundError, DoesNotFitError, InputError, UnknownNameError
from simulator.scenario import Scenario, Value, checked_grid
from simulator.sweep_chunks import Evaluate, Task, executing
from simulator.sweep_store import ERROR, REASON, Row, SweepStore

if TYPE_CHECKING:
    import pandas as pd

Progress: TypeAlias = Callable[[int, int], None]
"""Is told how many points are done, and of how many."""


def sweep(
    grid: Mapping[str, Iterable[Value]],
    evaluate: Evaluate,
    base: Scenario,
    *,
    out: str | Path | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    stamp: str = "",
) -> pd.DataFrame:
    """Return one row a point: the grid's names, the metrics, and the reason of what cannot be.

    Numbers and order depend on neither executor nor interruptions.

    Parameters
    ----------
    grid : the values of each name, dotted or one of the scenario's fields
    evaluate : gives a scenario's run or metrics; where it also has `many`, as
        `simulator.sweep_chunks.EvaluateMany` says, that is called with whole chunks of points
    base : what holds at every point
    out : folder of results; a sweep that was interrupted continues from it, and `table.csv` in it
        is the whole table at the end
    executor : where points are evaluated; None: in this process while that takes a few seconds,
        else in a pool of processes
    progress : is told how far the sweep is
    stamp : what else the figures depend on (a calibration ...); with another stamp, what is in
        `out` belongs to another sweep

    Raises
    ------
    InputError : the grid or the base scenario makes no sense, or not a single point of it does
    FileError : `out` holds another sweep

    >>> base = Scenario(workload="any", on="any")
    >>> square = lambda point: {"time_s": float(point.value("workload.n")) ** 2}
    >>> sweep({"workload.n": [1, 2, 3]}, square, base)["time_s"].tolist()
    [1.0, 4.0, 9.0]
    """
    axes = checked_grid(grid)
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    store = None if out is None else SweepStore.open(Path(out), base, axes, stamp)
    rows: dict[int, Row] = {} if store is None else store.rows(len(points))
    left = [index for index in range(len(points)) if index not in rows]
    task = Task(evaluate, base, points)
    for done in executing(executor).chunks(task, left):
        rows |= done
        if store is not None:
            store.add(done)
        if progress is not None:
            progress(len(rows), len(points))
    _check_some_point_makes_sense(rows)
    frame = _table(points, rows)
    if store is not None:
        store.finish(frame.to_csv(index=False))
    return frame


def _check_some_point_makes_sense(rows: Mapping[int, Row]) -> None:
    if rows and all(row.get(ERROR) == "input" for row in rows.values()):
        raise InputError(f"no point of the grid makes sense; the first: {rows[min(rows)][REASON]}")


def _table(points: Sequence[Mapping[str, Value]], rows: Mapping[int, Row]) -> pd.DataFrame:
    import pandas as pd

    ordered = [rows[index] for index in range(len(points))]
    names = dict.fromkeys(name for row in ordered for name in row)
    metrics = [name for name in names if name not in (REASON, ERROR)]
    columns: dict[str, list[object]] = {name: [p[name] for p in points] for name in points[0]}
    for name in metrics:
        columns[name] = [row.get(name) for row in ordered]
    frame = pd.DataFrame(columns)
    frame[metrics] = frame[metrics].astype(float)
    frame[REASON] = [row.get(REASON, "") for row in ordered]
    return frame


def check_points(frame: pd.DataFrame, bounds: Sequence[Bound]) -> None:
    """Raise where a point of a sweep breaks a bound.

    Raises
    ------
    UnknownNameError, InputError : as of `broken_points`
    BoundError : names how many points break bounds, and the first of them
    """
    broken = broken_points(frame, bounds)
    if broken:
        index, text = broken[0]
        raise BoundError(f"{len(broken)} of {len(frame)} points break a bound; "
                         f"the first is row {index + 1}: {text}")  # fmt: skip


def broken_points(frame: pd.DataFrame, bounds: Sequence[Bound]) -> list[tuple[int, str]]:
    """Return the index of each point that breaks a bound, and why; what cannot be keeps none.

    Raises
    ------
    UnknownNameError : a bound's metric is no column
    InputError : a bound's metric is unknown at a point
    """
    _check_names(frame, [bound.metric for bound in bounds])
    return [(index, text) for index in frame.index if (text := _broken(frame, index, bounds))]


def _broken(frame: pd.DataFrame, index: int, bounds: Sequence[Bound]) -> str:
    """Return what is wrong with a point, "" where nothing is."""
    row = frame.loc[index]
    if bounds and row[REASON]:
        return str(row[REASON])
    try:
        check_bounds(lambda name: float(str(row[name])), bounds)
    except BoundError as error:
        return str(error)
    return ""


def best_point(frame: pd.DataFrame, metric: str, bounds: Sequence[Bound] = ()) -> pd.Series:
    """Return the row that has least of a metric, among those that can be and keep the bounds.

    Parameters
    ----------
    frame : as `sweep` gives it
    metric : the column to minimise
    bounds : what a row must keep

    Raises
    ------
    UnknownNameError : no such metric
    InputError : the metric is unknown at every point
    BoundError : no point keeps the bounds
    DoesNotFitError : no point can be at all
    """
    possible = frame[frame[REASON] == ""]
    if possible.empty:
        raise DoesNotFitError(f"no point of the grid can be; the first: {frame[REASON].iloc[0]}")
    _check_names(frame, [metric, *(bound.metric for bound in bounds)])
    kept = possible
    for bound in bounds:
        kept = kept[[bound.holds(value) for value in kept[bound.metric]]]
    if kept.empty:
        raise BoundError(_nearest_miss(possible, bounds))
    if kept[metric].isna().all():
        raise InputError(f"{metric} is unknown at every point of the grid")
    return kept.loc[[kept[metric].idxmin()]].iloc[0]


def _check_names(frame: pd.DataFrame, metrics: Iterable[str]) -> None:
    names = [name for name in frame.columns if frame[name].dtype.kind in "fi"]
    for name in metrics:
        if name not in names:
            raise UnknownNameError("metric", name, names, "the sweep's table")


def _nearest_miss(possible: pd.DataFrame, bounds: Sequence[Bound]) -> str:
    """Return which bound no point keeps and how near the nearest comes to it."""
    for bound in bounds:
        values = [value for value in possible[bound.metric] if not math.isnan(value)]
        if values and not any(bound.holds(value) for value in values):
            nearest = min(values, key=lambda value: abs(value - bound.limit))
            return f"at no point of the grid: {bound.broken_text(float(nearest))}"
    return "no point of the grid keeps all bounds: " + "; ".join(map(str, bounds))
