"""Turn the table of NCCL's collectives into cases: gpu, op, dtype, num_gpus, bytes, time_us.

Bytes are the whole message, as NCCL's tests count them and as the engine does. Rows that differ in
the library's version only are repeats of one case: versions differ by 3 %, and who asks rarely
knows his.
"""

from __future__ import annotations

from collections.abc import Sequence

from hwmodels.devices import find_spec
from validation.cases import Case, Conversion, convert_rows, number
from validation.suite import Row

SUITE = "nccl"
COLUMNS = ("gpu", "op", "dtype", "num_gpus", "bytes", "time_us", "source", "licence")
KINDS = {"all_reduce": "all_reduce", "all_gather": "all_gather", "alltoall": "all_to_all",
         "reduce_scatter": "reduce_scatter", "broadcast": "broadcast"}  # fmt: skip
"""Collectives as the table spells them."""
DTYPES = {"half": "float16", "int8": "int8", "float": "float32", "bfloat16": "bfloat16"}
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
    if row["op"] not in KINDS:
        return f"collective {row['op']}"
    if row["dtype"] not in DTYPES:
        return f"dtype {row['dtype']}"
    find_spec(row["gpu"])
    return Case(
        suite=SUITE,
        group=row["gpu"],
        settings={
            "workload": KINDS[row["op"]],
            "workload.bytes": number(row, "bytes", where),
            "workload.dtype": DTYPES[row["dtype"]],
            "on": row["gpu"],
            "on.devices": number(row, "num_gpus", where),
            "plan": "nccl",
        },
        metric="time_s",
        measured=number(row, "time_us", where) * 1e-6,
        unit="s",
        source=row["source"],
        licence=row["licence"],
    )
