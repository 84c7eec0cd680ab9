"""`scalemodel compare`: predicted against measured, with error, coverage and baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option, Typer

from scalemodel.asking import torch_needed
from scalemodel.console import say
from scalemodel.options import OutputOption, command
from scalemodel.output import Output, Table, emit
from simulator.errors import InputError
from simulator.files import check_can_write

if TYPE_CHECKING:
    from validation.cases import Case

EXAMPLES = """
  scalemodel compare --suite multicore
  scalemodel compare --suite multicore --cases mine.csv --split held_out -o json
  scalemodel compare --suite torch-cpu --out measured.csv    (measures this machine)
  scalemodel compare --all                                   (writes ACCURACY.md)
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
    baselines: Annotated[
        bool,
        Option(
            help="also predict in simpler ways; for a suite that measures this machine some of "
            "these take minutes"
        ),
    ] = True,
    live: Annotated[
        bool, Option("--live", help="with --all: measure this machine too, which takes minutes")
    ] = False,
    out: Annotated[
        Path | None,
        Option(
            help="with --all: the report [default: ACCURACY.md]; with a suite that measures "
            "this machine: a file to keep the measured cases in"
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare predicted with measured values.

    Prints error, bias, coverage of the 90 % intervals, and the same of simpler baselines, for
    cases that nothing was fitted on and for those that were.
    """
    if every == (suite is not None):
        raise InputError("compare needs --suite NAME, or --all without one")
    if live and not every:
        raise InputError("--live belongs to --all; a suite that measures this machine always does")
    if every and (cases or split or not baselines or output is not Output.TABLE):
        raise InputError("--all writes one report of everything; --cases, --split, --no-baselines "
                         "and --output belong to --suite")  # fmt: skip
    if suite is None:
        _all(out or Path("ACCURACY.md"), live)
        return
    report = _report(suite, split, _cases(suite, cases, out), baselines)
    emit(output, _table(report), report)


def _all(out: Path, live: bool) -> None:
    from validation.accuracy import recorded_reports, write_accuracy

    check_can_write(out)
    recorded = recorded_reports(say)
    if live:
        write_accuracy(out, recorded, _live_reports(), _stamp())
    else:
        write_accuracy(out, recorded)
    say(f"{out} is written")


def _live_reports() -> list[Mapping[str, Any]]:
    from validation.suite import find_suite, list_suites

    names = [name for name in list_suites() if find_suite(name).live]
    return [_report(name, None, _cases(name, None, None)) for name in names]


def _stamp() -> str:
    from validation.machine_record import machine_record

    record = machine_record()
    return f"Measured on {record.machine}, {record.system}, with {record.build}, {record.date}."


def _cases(name: str, file: Path | None, keep: Path | None) -> Sequence[Case]:
    """Return the cases to compare: of a file, measured now, or the packaged ones."""
    from validation.cases import read_cases, write_cases
    from validation.suite import find_suite

    suite = find_suite(name)
    if file is None and suite.measure is not None:
        if keep is not None:
            check_can_write(keep)
        say(f"suite {name} measures this machine; this takes minutes")
        with torch_needed("measuring"):
            measured = suite.measure(say)
        if keep is not None:
            write_cases(measured, keep)
            say(f"the measured cases are in {keep}")
        return measured
    if keep is not None:
        raise InputError(f"--out {keep}: nothing is measured here that could be kept")
    return suite.cases() if file is None else read_cases(file, name)


def _report(
    name: str, split: str | None, cases: Sequence[Case], baselines: bool = True
) -> Mapping[str, Any]:
    from validation.compare import compare as compared
    from validation.suite import find_suite

    suite = find_suite(name)
    if not baselines:
        suite = replace(suite, baselines={})
    return compared(suite, cases, suite.calibration(), split).report()


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
