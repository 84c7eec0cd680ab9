"""Show what the calibration of a GPU gave: errors before and after, numbers, what is not told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scalemodel.output import Output, Table, emit, print_table
from scalemodel.report import unit_of
from simulator.version import VERSION

if TYPE_CHECKING:
    from validation.calibrate_gpu import Errors, GpuReport, SetReport, Told
    from validation.calibrate_nccl import NcclReport

ERRORS = ("mape_pct", "median_ape_pct")
WAYS = ("datasheet", "before", "after")


def emit_report(report: GpuReport, output: Output) -> None:
    """Print a report: two tables for people, one document, or one table with a row a number."""
    if output is Output.TABLE:
        print_table(error_table(report))
        print_table(number_table(report.sets))
    else:
        emit(output, flat_table(report), document_of(report))


def error_table(report: GpuReport) -> Table:
    """Return the errors of each family and dtype, by whom they are predicted."""
    columns = ["family", "dtype", "timings", "predicted by", *ERRORS, "judged on"]
    rows = [row for one in report.sets for row in _error_rows(one)]
    count = sum(one.timings for one in report.sets)
    title = f"{report.device}: calibrated by {count} timings, {report.date}"
    return Table(columns, rows, title, [*report.notes, ""])


def _error_rows(one: SetReport) -> list[list[Any]]:
    known = f"numbers of {one.prior}"
    after = "all fitted anew" if one.full else f"{known}, moved by the timings"
    ways = {
        "datasheet roofline": (one.datasheet, one.timings),
        f"before: {known}": (one.before, one.timings),
        f"after: {after}": (one.after, one.left_out),
    }
    return [
        [one.family, one.dtype, one.timings, way, *_figures(errors),
         f"{count} kernels" + (", left out of the fit" if way.startswith("after") else "")]
        for way, (errors, count) in ways.items()
    ]  # fmt: skip


def _figures(errors: Errors | None) -> list[float | None]:
    if errors is None:
        return [None, None]
    return [errors.mape_pct, errors.median_ape_pct]


NUMBER = ("number", "value", "spread", "before", "low", "high", "told", "remark")


def number_table(sets: Sequence[SetReport]) -> Table:
    """Return all fitted numbers, and whether the timings tell them."""
    rows = [[one.family, one.dtype, *_number(told), told.doc] for one in sets
            for told in one.numbers]  # fmt: skip
    missing = [f"{one.family} in {one.dtype}, {remark}: {', '.join(names)}"
               for one in sets for remark, names in _remarked(one).items()]  # fmt: skip
    return Table(["family", "dtype", *NUMBER, "meaning"], rows, notes=missing)


def _remarked(one: SetReport) -> dict[str, list[str]]:
    """Return the numbers that have a remark, by remark."""
    found: dict[str, list[str]] = {}
    for told in one.numbers:
        if told.remark:
            found.setdefault(told.remark, []).append(told.name)
    return found


def _number(told: Told) -> list[Any]:
    return [told.name, told.value, told.spread, told.before, told.low, told.high, told.told,
            told.remark]  # fmt: skip


def flat_table(report: GpuReport) -> Table:
    """Return one table: a row a number, with the errors of its set."""
    errors = [f"{way}_{figure}" for way in WAYS for figure in ERRORS]
    columns = ["device", "family", "dtype", "timings", "full", "prior", *errors, *NUMBER]
    rows = [
        [report.device, one.family, one.dtype, one.timings, one.full, one.prior,
         *(figure for way in WAYS for figure in _figures(getattr(one, way))), *_number(told)]
        for one in report.sets for told in one.numbers
    ]  # fmt: skip
    return Table(columns, rows)


def document_of(report: GpuReport) -> dict[str, Any]:
    """Return the report as JSON has it."""
    return {
        "device": report.device,
        "kind": "calibration",
        "like": report.like,
        "file": str(report.path),
        "data": report.data,
        "date": report.date,
        "version": VERSION,
        "sets": [_set(one) for one in report.sets],
        "notes": list(report.notes),
    }


def _set(one: SetReport) -> dict[str, Any]:
    ways = {way: getattr(one, way) for way in WAYS}
    return {
        "family": one.family,
        "dtype": one.dtype,
        "timings": one.timings,
        "fitted": one.fitted,
        "full": one.full,
        "prior": one.prior,
        "errors": {way: None if errors is None else asdict(errors) for way, errors in ways.items()},
        "left_out": one.left_out,
        "error_ratio": one.fit.error_ratio,
        "correction": len(one.fit.correction),
        "numbers": [{"unit": unit_of(told.name), **asdict(told)} for told in one.numbers],
    }


def nccl_table(report: NcclReport) -> Table:
    """Return the errors of each kind of collective before and after, and where its fit is."""
    columns = ["collective", "dtype", "ranks", "timings", "mape_pct before", "mape_pct after",
               "file"]  # fmt: skip
    rows = [[one.kind, one.dtype, ", ".join(map(str, one.ranks)), one.timings, one.before_pct,
             one.after_pct, str(one.path)] for one in report.sets]  # fmt: skip
    return Table(columns, rows, f"{report.device}: collectives of NCCL, calibrated by a log")


def nccl_documents(report: NcclReport) -> list[dict[str, Any]]:
    """Return what a calibration of NCCL gave as JSON has it, an object a kind and dtype."""
    return [
        {
            "name": f"{report.device} {one.kind} {one.dtype}",
            "kind": "calibration",
            "device": report.device,
            "collective": one.kind,
            "dtype": one.dtype,
            "ranks": list(one.ranks),
            "timings": one.timings,
            "errors": {"before": one.before_pct, "after": one.after_pct},
            "error_ratio": one.fit.error_ratio,
            "file": str(one.path),
            "version": VERSION,
        }
        for one in report.sets
    ]
