"""Turn tables of GPU power into cases; the columns tell which table it is.

An epoch of training at a power limit (gpu, dataset, network, ..., power_limit_W) gives its mean
power and its energy. Of the energy, the time of the same epoch at the highest limit of the table is
known. A kernel (gpu, op_name, ..., power_w) gives its mean power.
"""

from __future__ import annotations

import functools
import math
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from hwmodels.devices import find_spec
from hwmodels.spec import Spec
from simulator.errors import InputError, UnknownNameError
from validation.cases import Case, Conversion, join_repeats, number
from validation.suite import Row

SUITE = "gpu-power"
EPOCH_COLUMNS = ("gpu", "dataset", "network", "batch_size", "optimizer", "power_limit_W",
                 "time_per_epoch_s", "average_power_W", "energy_per_epoch_J", "source",
                 "licence")  # fmt: skip
KERNEL_COLUMNS = ("gpu", "op_name", "power_w", "power_limit_w", "source", "licence")
EPOCHS, KERNELS = "epochs", "kernels"
ATTENTION = ("batch_size", "num_heads", "num_key_value_heads", "head_dim", "window_size")
KERNEL_SIZES: Mapping[str, tuple[str, ...]] = {
    "context_attention": (*ATTENTION, "isl"),
    "generation_attention": (*ATTENTION, "step"),
    "moe": ("num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size",
            "moe_ep_size"),
}  # fmt: skip
"""Sizes of the kernels that are predicted, as the table names them."""
MAY_BE_ZERO = ("window_size", "step")
KERNEL_WORDS = ("kernel_source", "attn_dtype", "kv_cache_dtype", "moe_dtype", "distribution")
"""Columns that say in words which kernel it is, where they say anything."""


@functools.cache
def _meant() -> Mapping[str, Any]:
    path = Path(__file__).parent / "devices.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


@functools.cache
def spec_of(gpu: str) -> Spec:
    """Return the device that a table means; read once.

    Raises
    ------
    UnknownNameError : the catalog has none of this name

    >>> spec_of("V100").known("power.tdp_w")
    250.0
    """
    row = _meant().get(gpu)
    return find_spec(gpu if row is None else row["device"])


def convert(rows: Sequence[Row]) -> Conversion:
    """Return the cases of a table, and how many rows are out of scope, by reason.

    Raises
    ------
    InputError : the table lacks a column, or a number is none
    """
    names = set(rows[0]) if rows else set(EPOCH_COLUMNS)
    columns = KERNEL_COLUMNS if "op_name" in names else EPOCH_COLUMNS
    missing = [name for name in columns if name not in names]
    if missing:
        raise InputError(f"suite {SUITE}: the table lacks the columns {', '.join(missing)}")
    reasons: Counter[str] = Counter()
    known: list[tuple[Row, str]] = []
    for place, row in enumerate(rows, start=2):
        why = _out_of_scope(row)
        if why:
            reasons[why] += 1
        else:
            known.append((row, f"row {place}"))
    cases = _epochs(known) if columns is EPOCH_COLUMNS else (_kernel(*row) for row in known)
    return Conversion(join_repeats(cases), reasons)


def _out_of_scope(row: Row) -> str:
    try:
        spec_of(row["gpu"])
    except UnknownNameError as error:
        return str(error)
    if row.get("op_name", "moe") not in KERNEL_SIZES:
        return f"kernel {row['op_name']}"
    return ""


def _epochs(rows: Sequence[tuple[Row, str]]) -> Iterator[Case]:
    """Return the two cases of each epoch."""
    times: dict[tuple[object, ...], dict[float, list[float]]] = {}
    for row, where in rows:
        at = times.setdefault(_run(row, where), {})
        limit = number(row, "power_limit_W", where)
        at.setdefault(limit, []).append(number(row, "time_per_epoch_s", where))
    for row, where in rows:
        at = times[_run(row, where)]
        settings: dict[str, str | float] = {
            "workload": row["network"],
            "workload.dataset": row["dataset"],
            "workload.optimizer": row["optimizer"],
            "workload.batch": number(row, "batch_size", where),
            "on": row["gpu"],
            "on.power.limit_w": number(row, "power_limit_W", where),
            "plan": "single",
        }
        full: dict[str, str | float] = {
            "workload.full_power_time_s": median(at[max(at)]),
            "workload.full_power_limit_w": max(at),
        }
        power, energy = (number(row, name, where)
                         for name in ("average_power_W", "energy_per_epoch_J"))  # fmt: skip
        yield _case(row, EPOCHS, settings, ("power_w", power, "W"))
        yield _case(row, EPOCHS, settings | full, ("energy_j", energy, "J"))


def _run(row: Row, where: str) -> tuple[object, ...]:
    """Return what epochs at different limits have in common."""
    names = ("gpu", "dataset", "network", "optimizer")
    return (*(row[name] for name in names), number(row, "batch_size", where))


def _kernel(row: Row, where: str) -> Case:
    sizes = {f"workload.{name}": _size(row, name, where) for name in KERNEL_SIZES[row["op_name"]]}
    words = {f"workload.{name}": row[name] for name in KERNEL_WORDS if row.get(name)}
    settings: dict[str, str | float] = {
        "workload": row["op_name"],
        **sizes,
        **words,
        "on": row["gpu"],
        "on.power.limit_w": number(row, "power_limit_w", where),
        "plan": "single",
    }
    return _case(row, KERNELS, settings, ("power_w", number(row, "power_w", where), "W"))


def _size(row: Row, column: str, where: str) -> float:
    if column not in row:
        raise InputError(f"suite {SUITE}: the table lacks the columns {column}")
    if column not in MAY_BE_ZERO:
        return number(row, column, where)
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise InputError(f"{where}, column {column}: expected 0 or a number above, "
                         f"got '{row[column]}'")  # fmt: skip
    return value


def _case(
    row: Row, group: str, settings: Mapping[str, str | float], fact: tuple[str, float, str]
) -> Case:
    metric, measured, unit = fact
    return Case(
        suite=SUITE,
        group=group,
        settings=settings,
        metric=metric,
        measured=measured,
        unit=unit,
        source=row["source"],
        licence=row["licence"],
    )
