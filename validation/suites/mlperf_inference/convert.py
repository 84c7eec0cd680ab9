"""Turn the table of MLPerf Inference (closed) into cases: throughput and power of whole systems.

Only the scenario in which all samples are there from the start counts ("Offline", in any case of
letters): the others measure queues. A row gives a case for each of the two figures that it has.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hwmodels.devices import find_spec
from simulator.errors import FileError, UnknownNameError
from simulator.files import read_toml
from validation.cases import Case, Conversion, convert_rows, number
from validation.suite import Row

SUITE = "mlperf-inference"
COLUMNS = ("system", "accelerator", "accelerators_per_node", "nodes", "benchmark", "scenario",
           "throughput_per_s", "system_watts", "source", "licence")  # fmt: skip
SCENARIO = "offline"
METRICS = {"throughput_per_s": ("samples_per_s", "1/s"), "system_watts": ("power_w", "W")}
"""Columns with figures; the metric and unit of their cases."""
ECONOMY = "maxq"
"""Part of the name of a system that was set to use little energy."""


@functools.cache
def benchmarks() -> Mapping[str, Any]:
    """Return the benchmarks that are predicted, by name."""
    return read_toml(Path(__file__).parent / "benchmarks.toml")


def convert(rows: Sequence[Row]) -> Conversion:
    """Return the cases of a table, and how many rows are out of scope, by reason.

    Raises
    ------
    InputError : the table lacks a column, or a number is none
    """
    return convert_rows(
        SUITE, rows, COLUMNS, lambda row, where: _out_of_scope(row) or _cases(row, where)
    )


def _out_of_scope(row: Row) -> str:
    """Return why a row is out of scope; "" if it is not."""
    if row["scenario"].lower() != SCENARIO:
        return f"scenario {row['scenario'].lower()}"
    if row["benchmark"] not in benchmarks():
        return f"benchmark {row['benchmark']}"
    if not any(row[column] for column in METRICS):
        return "neither throughput nor power"
    try:
        find_spec(row["accelerator"])
    except (FileError, UnknownNameError):
        return f"accelerator {row['accelerator']}: not in the catalog"
    return ""


def _cases(row: Row, where: str) -> Iterator[Case]:
    count = number(row, "accelerators_per_node", where) * number(row, "nodes", where)
    economy = {"plan.economy": "true"} if ECONOMY in row["system"].lower() else {}
    for column, (metric, unit) in METRICS.items():
        if not row[column]:
            continue
        yield Case(
            suite=SUITE,
            group="throughput" if column == "throughput_per_s" else "power",
            settings={
                "workload": row["benchmark"],
                "on": row["accelerator"],
                "plan": SCENARIO,
                "plan.devices": count,
                **economy,
            },
            metric=metric,
            measured=number(row, column, where),
            unit=unit,
            source=row["source"],
            licence=row["licence"],
        )
