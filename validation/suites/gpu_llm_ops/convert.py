"""Turn the table of ops of large language models into cases.

Columns: gpu, model, op, num_tokens, tp (devices that share the layer), n_embd, n_ffn, n_head,
n_kv_head, time_ms. A case is one op of one device's share of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence

from hwmodels.devices import find_spec
from simulator.errors import FileError, UnknownNameError
from validation.cases import Case, Conversion, convert_rows, number
from validation.suite import Row
from validation.suites.gpu_llm_ops.ops import FORMS

SUITE = "gpu-llm-ops"
SIZES = {
    "num_tokens": "workload.tokens", "tp": "workload.tensor", "n_embd": "workload.width",
    "n_ffn": "workload.hidden", "n_head": "workload.heads", "n_kv_head": "workload.kv_heads",
}  # fmt: skip
"""Columns that hold sizes, and the settings that they become."""
COLUMNS = ("gpu", "model", "op", *SIZES, "time_ms", "source", "licence")


def convert(rows: Sequence[Row]) -> Conversion:
    """Return the cases of a table, and how many rows are out of scope, by reason.

    Raises
    ------
    InputError : the table lacks a column, or a number is none
    """
    return convert_rows(
        SUITE, rows, COLUMNS, lambda row, where: _out_of_scope(row) or _case(row, where)
    )


def _out_of_scope(row: Row) -> str:
    """Return why a row is out of scope; "" if it is not."""
    if row["op"] not in FORMS:
        return f"op {row['op']}"
    try:
        find_spec(row["gpu"])
    except (FileError, UnknownNameError) as error:
        return str(error)
    return ""


def _case(row: Row, where: str) -> Case:
    return Case(
        suite=SUITE,
        group=row["op"],
        settings={
            "workload": row["op"],
            "workload.model": row["model"],
            **{setting: number(row, column, where) for column, setting in SIZES.items()},
            "on": row["gpu"],
            "plan": "single",
        },
        metric="time_s",
        measured=number(row, "time_ms", where) * 1e-3,
        unit="s",
        source=row["source"],
        licence=row["licence"],
    )
