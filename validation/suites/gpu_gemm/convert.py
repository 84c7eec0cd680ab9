"""Turn the table of GPU products into cases: gpu, dtype, m, n, k, time_us."""

from __future__ import annotations

from collections.abc import Sequence

from hwmodels.devices import find_spec
from validation.cases import Case, Conversion, convert_rows, number
from validation.suite import Row

SUITE = "gpu-gemm"
COLUMNS = ("gpu", "dtype", "m", "n", "k", "time_us", "source", "licence")
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp8": "float8", "int8": "int8", "fp32": "float32",
          "tf32": "tfloat32", "fp4": "float4"}  # fmt: skip
"""Dtypes as the table spells them."""


def convert(rows: Sequence[Row]) -> Conversion:
    """Return the cases of a table, and how many rows are out of scope, by reason.

    Raises
    ------
    InputError : the table lacks a column, or a number is none
    """
    return convert_rows(SUITE, rows, COLUMNS, _read)


def _read(row: Row, where: str) -> Case | str:
    """Return the case of a row, or why it is out of scope."""
    if row["dtype"] not in DTYPES:
        return f"dtype {row['dtype']}"
    find_spec(row["gpu"])
    sizes = {f"workload.{name}": number(row, name, where) for name in ("m", "n", "k")}
    return Case(
        suite=SUITE,
        group=row["gpu"],
        settings={
            "workload": "gemm",
            "workload.dtype": DTYPES[row["dtype"]],
            **sizes,
            "on": row["gpu"],
            "plan": "single",
        },
        metric="time_s",
        measured=number(row, "time_us", where) * 1e-6,
        unit="s",
        source=row["source"],
        licence=row["licence"],
    )
