"""Turn the table of whole models into cases: gpu, model, mode, seq, batch, variant, e2e_ms.

A case is one step: forward without gradients ("inf"), or forward and backward without an optimizer
("train"; the table's fw_ms and bwall_ms, of which e2e_ms is the sum). All is float32 without
tensor cores.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hwmodels.devices import find_spec
from simulator.errors import FileError, UnknownNameError
from simulator.files import read_toml
from validation.cases import Case, Conversion, convert_rows, number
from validation.suite import Row

SUITE = "gpu-model"
COLUMNS = ("gpu", "model", "mode", "seq", "batch", "variant", "e2e_ms", "source", "licence")
MODES = {"inf": "inference", "train": "training"}
"""Modes as the table spells them, and the groups that they make."""
FUSED = "fusion"
"""Variant that a compiler has fused."""
DISTRIBUTED = ("dp", "tp", "pp")
"""Variants on several devices begin with one of these."""


@functools.cache
def _tables() -> Mapping[str, Any]:
    return read_toml(Path(__file__).parent / "models.toml")


def models() -> Mapping[str, Any]:
    """Return the networks of the table by name: their workload, and sizes that differ from it."""
    return {name: table for name, table in _tables().items() if name != "out_of_scope"}


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
    variant, mode = row["variant"], row["mode"]
    if variant.startswith(DISTRIBUTED):
        return f"on several devices: {variant.rstrip('_0123456789')}"
    why: str = _tables()["out_of_scope"].get(row["model"], "")
    if why:
        return f"model {row['model']}: {why}"
    known = {"variant": ("", FUSED), "mode": MODES, "model": models()}
    for column, values in known.items():
        if row[column] not in values:
            return f"{column} {row[column]}"
    if variant == FUSED and mode != "inf":
        return "training fused by a compiler"
    try:
        find_spec(row["gpu"])
    except (FileError, UnknownNameError) as error:
        return str(error)
    return ""


def _case(row: Row, where: str) -> Case:
    found = models()[row["model"]]
    sizes = {f"workload.{name}": float(size) for name, size in found.get("sizes", {}).items()}
    training = {"workload.training": "true", "workload.optimizer": "none"}
    return Case(
        suite=SUITE,
        group=MODES[row["mode"]],
        settings={
            "workload": found["workload"],
            "workload.batch": number(row, "batch", where),
            "workload.sequence": number(row, "seq", where),
            **sizes,
            **(training if row["mode"] == "train" else {}),
            **({"workload.compiled": "true"} if row["variant"] == FUSED else {}),
            "on": row["gpu"],
            "plan": "single",
        },
        metric="step_time_s",
        measured=number(row, "e2e_ms", where) * 1e-3,
        unit="s",
        source=row["source"],
        licence=row["licence"],
    )
