"""Hold cases of one system as arrays, one number a case."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.ops import FloatArray, IntArray
from validation.cases import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Be so many (n,) runs of data-parallel training.

    Parameters
    ----------
    apps : names of the applications
    app : index of each run's among these (n,)
    batch : samples of a device in a step (n,)
    devices, nodes : how many there are (n,)
    most : devices on the node that has most (n,)
    measured_s : what a step took (n,), seconds
    """

    apps: tuple[str, ...]
    app: IntArray
    batch: FloatArray
    devices: FloatArray
    nodes: FloatArray
    most: FloatArray
    measured_s: FloatArray


def runs_of(cases: Sequence[Case]) -> Runs:
    """Return cases as arrays."""
    apps = tuple(sorted({case.text("workload") for case in cases}))
    return Runs(
        apps=apps,
        app=np.array([apps.index(case.text("workload")) for case in cases], dtype=np.int64),
        batch=np.array([case.number("workload.batch") for case in cases]),
        devices=np.array([float(case.count("on.devices")) for case in cases]),
        nodes=np.array([float(case.count("on.nodes")) for case in cases]),
        most=np.array([_most(case) for case in cases]),
        measured_s=np.array([case.measured for case in cases]),
    )


def _most(case: Case) -> float:
    """Return the devices of the fullest node; they are spread evenly where nobody says."""
    digits = case.text("on.placement")
    if "on.placement" in case.settings:
        digits = str(case.count("on.placement", 2**53))  # each node is a digit
        return float(max(int(digit) for digit in digits))
    return float(np.ceil(case.number("on.devices") / case.number("on.nodes")))


def app_entry(name: str) -> Mapping[str, Any]:
    """Return what is known of an application: `bytes` of its gradients, and their `spread`."""
    return _entries().get(name, _entries()[""])


@functools.cache
def _entries() -> Mapping[str, Mapping[str, Any]]:
    path = Path(__file__).parent / "apps.toml"
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    named = {name: entry for entry in tables.values() for name in entry["names"]}
    return {**named, "": tables["other"]}
