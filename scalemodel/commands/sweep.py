"""`scalemodel sweep`: every point of a grid, in one table; resumable."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option, Typer

from scalemodel.console import progress, say
from scalemodel.options import Asked, Demanded, OutputOption, command
from scalemodel.output import Output, Table, cell, emit
from simulator.errors import InputError, UnknownNameError
from simulator.run import METRICS, PATTERN_METRICS
from simulator.scenario import Scenario
from simulator.study import Study
from simulator.sweep_chunks import INTERVALS
from simulator.version import VERSION

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = """
  scalemodel sweep resnet50 --on raspberry-pi-4 --grid plan.threads=1..4
  scalemodel sweep mlp --on this-machine --grid workload.batch=1..1024*2 --grid plan.threads=1,2 \\
    --out results -o csv
  scalemodel sweep mlp --grid on=raspberry-pi-4,amd-epyc-7742 --minimize step_time_s
"""


def add(app: Typer) -> None:
    """Add the command."""
    command(app, "sweep", sweep, EXAMPLES)


def sweep(
    asked: Asked,
    demanded: Demanded,
    out: Annotated[
        Path | None,
        Option(metavar="FOLDER", help="keep results here; an interrupted sweep continues"),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Predict every point of a grid.

    What does not fit stays in the table with its reason. With --out, an interrupted sweep
    continues where it was when the same command is run again.
    """
    study = asked.study(demanded)
    if not study.grid:
        raise InputError("a sweep needs a grid: --grid NAME=VALUES, or [grid] in a scenario file")
    run_sweep(asked, study, out, output)


def run_sweep(asked: Asked, study: Study, out: Path | None, output: Output) -> None:
    """Sweep what a study asks and print the table, or the best point where one is wanted."""
    from scalemodel.own_code import own_plan, running
    from simulator.sweep import best_point, broken_points, check_points
    from simulator.sweep import sweep as swept
    from validation.what_if import WhatIf, stamp_of

    base = study.scenario()
    _check_metrics(study)
    evaluate = WhatIf(own_plan(asked.plan_file, base))
    stamp = stamp_of([base.on, *map(str, study.grid.get("on", ()))])
    try:
        with progress("points") as tell, running(asked.plan_file):
            frame = swept(study.grid, evaluate, base, out=out, progress=tell, stamp=stamp)
    except KeyboardInterrupt:
        if out is not None:
            say(f"what is done is kept in {out}; the same command continues from there")
        raise
    document: dict[str, Any] = {"scenario": base.as_dict(), "seed": base.seed, "version": VERSION,
                                "grid": study.grid}  # fmt: skip
    table = frame_table(frame)
    if study.minimize is None:
        broken_points(frame, study.bounds)  # what cannot be judged is said before the payload
        shown = _for_people(table, base, study) if output is Output.TABLE else table
        emit(output, shown, document | {"points": table.records()})
        check_points(frame, study.bounds)
        return
    best = best_point(frame, study.minimize, study.bounds)
    table = frame_table(best.to_frame().T)
    record = table.records()[0]
    if output is Output.TABLE:
        rows = [[n, cell(n, value)] for n, value in record.items() if value not in (None, "")]
        table = Table(["name", "value"], rows, f"least {study.minimize} of {len(frame)} points")
    emit(output, table, document | {"minimize": study.minimize, "best": record})


def _check_metrics(study: Study) -> None:
    """Raise where a bound or the aim names no metric: before the sweep, not at its end."""
    ends = itertools.chain(*INTERVALS.values())
    known = (*dict.fromkeys((*METRICS, *PATTERN_METRICS)), *ends, *study.grid)
    aims = [] if study.minimize is None else [study.minimize]
    for name in [*aims, *(bound.metric for bound in study.bounds)]:
        if name not in known:
            raise UnknownNameError("metric", name, known, "the sweep's table")


def frame_table(frame: pd.DataFrame) -> Table:
    """Return a data frame as a table of plain values; what is missing is None."""
    rows = frame.astype(object).where(frame.notna(), None).values.tolist()
    return Table([str(name) for name in frame.columns], rows)


SHOWN = ("step_time_s", "step_time_low_s", "step_time_high_s", "bus_bandwidth_bytes_per_s",
         "throughput", "speedup", "efficiency", "energy_j", "peak_memory_bytes", "cost",
         "reason")  # fmt: skip
"""The metrics that people are shown, where they are known; json and csv have all."""


def _for_people(table: Table, base: Scenario, study: Study) -> Table:
    wanted = {*study.grid, *SHOWN, *(bound.metric for bound in study.bounds)}
    columns = {name: [row[i] for row in table.rows] for i, name in enumerate(table.columns)}
    known = {name for name, held in columns.items() if any(v not in (None, "") for v in held)}
    kept = [name for name in columns if name in wanted & known]
    rows = list(zip(*(columns[name] for name in kept), strict=True))
    return Table(kept, rows, title=_common(base, study))


def _common(base: Scenario, study: Study) -> str:
    """Return what all points of a grid have in common."""
    fixed = {name: one for name, one in base.parameters.items() if name not in study.grid}
    names: dict[str, Any] = {n: "each" for n in ("workload", "on", "plan") if n in study.grid}
    return str(replace(base, parameters=fixed, **names))
