"""`scalemodel fit`: a law of parallel speed, fitted to measured times."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, Typer

from scalemodel.console import say
from scalemodel.options import OutputOption, command
from scalemodel.output import Output, Table, emit
from simulator.errors import InputError
from simulator.scenario import parse_values
from simulator.version import VERSION

if TYPE_CHECKING:
    from simulator.fit_laws import LawFit

EXAMPLES = """
  scalemodel fit times.csv                      (columns p and time_s)
  scalemodel fit times.csv --law usl --at 16,32,64
  scalemodel fit times.csv --law ernest --at 1..128*2 -o json
"""


def add(app: Typer) -> None:
    """Add the command."""
    command(app, "fit", fit, EXAMPLES)


def fit(
    times: Annotated[Path, Argument(metavar="TIMES.csv", help="columns p and time_s")],
    law: Annotated[str, Option(help="amdahl, usl or ernest")] = "amdahl",
    at: Annotated[
        str | None, Option(metavar="P", help="also predict at these p: 16,32 or 1..64*2")
    ] = None,
    seed: Annotated[int, Option(min=0, help="of the bootstrap")] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Fit a law of parallel speed to measured times.

    Prints its parameters with 90 % intervals from a bootstrap.
    """
    from simulator.fit_laws import fit_law, read_points

    processors = _processors(at)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they stand in the fit, and are said below
        found = fit_law(law, *read_points(times), seed=seed)
    for warning in found.warnings:
        say(f"warning: {warning}")
    records = [*_parameters(found), *_predictions(found, processors)]
    columns = ["name", "value", "unit", "low", "high"]
    rows = [[record[column] for column in columns] for record in records]
    title = f"{found.law.name}: {found.law.formula}"
    table = Table(columns, rows, title, notes=[_quality(found)])
    emit(output, table, _document(found, records, seed))


def _processors(at: str | None) -> list[float]:
    if at is None:
        return []
    values = parse_values(at, "--at")
    numbers = [float(n) for n in values if isinstance(n, (int, float)) and not isinstance(n, bool)]
    if len(numbers) < len(values) or min(numbers) < 1:
        raise InputError(f"--at {at}: expected numbers of at least 1")
    return numbers


def _parameters(found: LawFit) -> list[dict[str, Any]]:
    records = []
    for name, value in found.parameters.items():
        low, high = found.intervals[name] or (None, None)
        unit = "s" if name.endswith("_s") else "1"
        records.append({"name": name, "value": value, "unit": unit, "low": low, "high": high})
    return records


def _predictions(found: LawFit, processors: list[float]) -> list[dict[str, Any]]:
    records = []
    for p in processors:
        value, low, high = found.predict(p)
        name = f"time_s at p = {p:g}"
        records.append({"name": name, "value": value, "unit": "s", "low": low, "high": high,
                        "p": p})  # fmt: skip
    return records


def _quality(found: LawFit) -> str:
    distinct = len({*found.points.p.tolist()})
    return (f"{len(found.points.p)} points at {distinct} distinct p; mean error of the fit "
            f"{found.mape_pct:.2g} %; intervals hold {found.confidence:.0%}")  # fmt: skip


def _document(found: LawFit, records: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    parameters = {r["name"]: {k: r[k] for k in ("value", "unit", "low", "high")}
                  for r in records if "p" not in r}  # fmt: skip
    predictions = [{k: r[k] for k in ("p", "value", "unit", "low", "high")}
                   for r in records if "p" in r]  # fmt: skip
    return {
        "law": found.law.name,
        "formula": found.law.formula,
        "parameters": parameters,
        "predictions": predictions,
        "points": len(found.points.p),
        "mape_pct": found.mape_pct,
        "confidence": found.confidence,
        "warnings": list(found.warnings),
        "seed": seed,
        "version": VERSION,
    }
