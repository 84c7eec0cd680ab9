"""Turn the table of attention kernels into cases.

`isl` is the number of queries of a sequence, `step` the length of what its cache already holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hwmodels.devices import find_spec
from simulator.errors import InputError
from validation.cases import Case, Conversion, convert_rows
from validation.suite import Row
from validation.suites.gpu_gemm.convert import DTYPES

SUITE = "gpu-attention"
SIZES = ("batch", "isl", "step", "n_heads", "n_kv_heads", "head_dim")
COLUMNS = ("gpu", "phase", "dtype", *SIZES, "kernel", "time_us", "source", "licence")
PHASES = ("prefill", "decode")


def convert(rows: Sequence[Row]) -> Conversion:
    """Return the cases of a table, and how many rows are out of scope, by reason.

    Raises
    ------
    InputError : the table lacks a column, or a number is none
    """
    return convert_rows(
        SUITE, rows, COLUMNS, lambda row, where: _out_of_scope(row, where) or _case(row, where)
    )


def _out_of_scope(row: Row, where: str) -> str:
    """Return why a row is out of scope, "" if it is in."""
    if row["dtype"] not in DTYPES:
        return f"dtype {row['dtype']}"
    if row["phase"] not in PHASES:
        return f"phase {row['phase']}"
    if row["phase"] == "decode" and _whole(row, "isl", 1, where) > 1:
        return "decode of more than one query"
    find_spec(row["gpu"])
    return ""


def _case(row: Row, where: str) -> Case:
    least = {"step": 0}
    size = {name: _whole(row, name, least.get(name, 1), where) for name in SIZES}
    if size["n_heads"] < size["n_kv_heads"]:
        raise InputError(f"{where}: {size['n_kv_heads']:g} heads of keys and values for "
                         f"{size['n_heads']:g} heads; expected at most as many")  # fmt: skip
    settings: dict[str, str | float] = {
        "workload": "attention",
        "workload.phase": row["phase"],
        "workload.kernel": row["kernel"],
        "workload.dtype": DTYPES[row["dtype"]],
        "workload.batch": size["batch"],
        "workload.q_len": size["isl"],
        "workload.kv_len": size["step"] + size["isl"],
        "workload.heads": size["n_heads"],
        "workload.kv_heads": size["n_kv_heads"],
        "workload.head_dim": size["head_dim"],
        "workload.causal": 1.0,
        "on": row["gpu"],
        "plan": "single",
    }
    return Case(suite=SUITE, group=f"{row['gpu']}, {row['phase']}", settings=settings,
                metric="time_s", measured=_seconds(row, where), unit="s", source=row["source"],
                licence=row["licence"])  # fmt: skip


def _whole(row: Row, column: str, least: int, where: str) -> float:
    """Return a cell as a whole number.

    Raises
    ------
    InputError : it is none, or below the least
    """
    value = _number(row[column])
    if not (value >= least and value.is_integer()):
        raise InputError(f"{where}, column {column}: expected a whole number of at least {least}, "
                         f"got '{row[column]}'")  # fmt: skip
    return value


def _seconds(row: Row, where: str) -> float:
    """Return the measured time; its digits stay those of the table.

    Raises
    ------
    InputError : it is none, or not positive
    """
    time_us = _number(row["time_us"])
    if not (math.isfinite(time_us) and time_us > 0):
        raise InputError(f"{where}, column time_us: expected a number above 0, "
                         f"got '{row['time_us']}'")  # fmt: skip
    return float(f"{time_us!r}e-6") if "e" not in repr(time_us) else time_us * 1e-6


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
