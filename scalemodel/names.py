"""Know everything that has a name: devices, workloads, plans, suites, laws."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from simulator.errors import UnknownNameError

Record = dict[str, Any]
"""What a list says of one thing: at least its name, its kind and a line about it."""


def devices() -> list[Record]:
    """Return the devices of the catalog and of the user."""
    from hwmodels.devices import list_devices

    return [
        {"name": d.name, "kind": "device", "type": d.kind, "origin": d.origin, "about": d.line}
        for d in list_devices()
    ]


def workloads() -> list[Record]:
    """Return the workloads with the defaults of their parameters."""
    from workloads.registry import list_workloads

    return [
        {"name": model.name, "kind": "workload", "about": model.description,
         "parameters": dict(model.parameters)}
        for model in list_workloads()
    ]  # fmt: skip


def plans() -> list[Record]:
    """Return the plans."""
    from workloads.plans import PLANS

    return [
        {"name": name, "kind": "plan", "about": _first_line(plan)} for name, plan in PLANS.items()
    ]


def suites() -> list[Record]:
    """Return the suites."""
    from validation.suite import find_suite, list_suites

    found = [find_suite(name) for name in list_suites()]
    return [{"name": suite.name, "kind": "suite", "about": suite.summary} for suite in found]


def laws() -> list[Record]:
    """Return the laws that `fit` knows."""
    from simulator.fit_laws import LAWS

    return [{"name": law.name, "kind": "law", "about": law.formula} for law in LAWS.values()]


RECORDS: Mapping[str, Callable[[], list[Record]]] = {
    "device": devices,
    "workload": workloads,
    "plan": plans,
    "suite": suites,
    "law": laws,
}
"""What there is of each kind."""


def kind_of(name: str) -> str:
    """Return of which kind the thing of this name is.

    Raises
    ------
    UnknownNameError : nothing has this name
    """
    known: list[str] = []
    for kind, records in RECORDS.items():
        names = [record["name"] for record in records()]
        if name in names:
            return kind
        known += names
    raise UnknownNameError("name", name, known)


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0].rstrip(".")
