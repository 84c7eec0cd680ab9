"""`scalemodel compare`: predicted against measured, with error, coverage and baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from typer import Option, Typer

from scalemodel.console import say
from scalemodel.options import OutputOption, command
from scalemodel.output import Output, Table, emit
from simulator.errors import InputError

EXAMPLES = """
  scalemodel compare --suite multicore
  scalemodel compare --suite multicore --cases mine.csv --split held_out -o json
  scalemodel compare --suite torch-cpu                 (measures this machine)
  scalemodel compare --all                             (writes ACCURACY.md)
"""

FIGURES = ("n", "skipped", "mape_pct", "median_ape_pct", "p90_ape_pct", "worst_ape_pct",
           "bias_pct", "coverage_90_pct")  # fmt: skip


def add(app: Typer) -> None:
    """Add the command."""
    command(app, "compare", compare, EXAMPLES)


def compare(
    suite: Annotated[str | None, Option(help="as `list suites` names it")] = None,
    cases: Annotated[
        Path | None, Option(metavar="CASES.csv", help="measured cases of your own")
    ] = None,
    split: Annotated[str | None, Option(help="held_out or calibrated_on [default: both]")] = None,
    every: Annotated[
        bool, Option("--all", help="compare all recorded suites and write ACCURACY.md")
    ] = False,
    out: Annotated[Path, Option(help="the report that --all writes")] = Path("ACCURACY.md"),
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare predicted with measured values.

    Prints error, bias, coverage of the 90 % intervals, and the same of simpler baselines, for
    cases that nothing was fitted on and for those that were.
    """
    if every == (suite is not None):
        raise InputError("compare needs --suite NAME, or --all without one")
    if suite is None:
        _all(out)
        return
    report = _report(suite, cases, split)
    emit(output, _table(report), report)


def _all(out: Path) -> None:
    from validation.accuracy import recorded_reports, write_accuracy

    write_accuracy(out, recorded_reports(say))
    say(f"{out} is written")


def _report(name: str, cases: Path | None, split: str | None) -> Mapping[str, Any]:
    from validation.cases import read_cases
    from validation.compare import compare as compared
    from validation.suite import find_suite

    suite = find_suite(name)
    if cases is not None:
        measured = read_cases(cases, name)
    elif suite.measure is not None:
        say(f"suite {name} measures this machine; this takes minutes")
        measured = tuple(suite.measure(say))
    else:
        measured = suite.cases()
    return compared(suite, measured, suite.calibration(), split).report()


def _table(report: Mapping[str, Any]) -> Table:
    columns = ["by", "split", "group", *FIGURES]
    return Table(columns, list(_rows(report)), title=f"suite {report['suite']}")


def _rows(report: Mapping[str, Any]) -> Iterator[list[Any]]:
    for split, figures in report["splits"].items():
        groups = figures["groups"]
        parts = {"all": figures} | (groups if len(groups) > 1 else {})
        for group, part in parts.items():
            for name, one in {"scalemodel": part, **part["baselines"]}.items():
                yield [name, split, group, *(one[figure] for figure in FIGURES)]
