"""Turn the table on federated learning into cases: how long phones train on a batch.

Its other rows are no results: facts of Google's fleet and FLASH's links are what plans of federated
training are given, the rows of FedScale a formula (a baseline here).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hwmodels.devices import find_spec
from simulator.errors import UnknownNameError
from simulator.files import read_toml
from validation.cases import Case, Conversion, convert_rows, number
from validation.suite import Row

SUITE = "federated"
COLUMNS = ("system", "topic", "condition", "metric", "value", "unit", "source", "licence")
TRAINING = "FLASH on-device training"
MEAN, SPREAD = "train time per batch mean", "train time per batch std"
SECONDS = {"ms": 1e-3, "s": 1.0}
REMARK = re.compile(r"\s*\(([^)]*)\)$")
"""What a name ends with: the class of a phone, or the batch of a network."""


@functools.cache
def apps() -> Mapping[str, Any]:
    """Return the networks of the table by name, and the batch where the table names none."""
    return read_toml(Path(__file__).parent / "apps.toml")


def convert(rows: Sequence[Row]) -> Conversion:
    """Return the cases of a table, and how many rows are out of scope, by reason.

    Raises
    ------
    InputError : the table lacks a column, or a number is none
    """
    return convert_rows(SUITE, rows, COLUMNS, _read)


def _read(row: Row, where: str) -> Case | str:
    if row["system"] != TRAINING:
        return f"no training time: {row['system']}"
    if row["metric"] == SPREAD:
        return "a spread, not a time"
    for column, known in (("metric", (MEAN,)), ("unit", SECONDS)):
        if row[column] not in known:
            return f"{column} {row[column]}"
    app, remark = _parts(row["topic"])
    if app == "batch" or app not in apps():
        raise UnknownNameError("network", app, [name for name in apps() if name != "batch"])
    batch = re.fullmatch(r"batch (\d+)", remark)
    sizes = apps()[app].get("sizes", {})
    return Case(
        suite=SUITE,
        group=app,
        settings={
            "workload": apps()[app]["workload"],
            "workload.batch": float(batch[1] if batch else apps()["batch"]),
            **{f"workload.{name}": float(size) for name, size in sizes.items()},
            "workload.training": "true",
            "workload.optimizer": "sgd",
            "on": find_spec(_parts(row["condition"])[0]).name,
            "plan": "single",
        },
        metric="step_time_s",
        measured=number(row, "value", where) * SECONDS[row["unit"]],
        unit="s",
        source=row["source"],
        licence=row["licence"],
    )


def _parts(text: str) -> tuple[str, str]:
    """Return a name and the remark in brackets behind it.

    >>> _parts("Google Pixel 4 (high-end)")
    ('Google Pixel 4', 'high-end')
    """
    found = REMARK.search(text)
    return (text[: found.start()], found[1]) if found else (text.strip(), "")
