"""Know everything that has a name: devices, systems, shapes, workloads, plans, suites, laws."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import UnknownNameError

if TYPE_CHECKING:
    from hwmodels.spec import Spec

Record = dict[str, Any]
"""What a list says of one thing: at least its name, its kind and a line about it."""


def devices() -> list[Record]:
    """Return the machine at hand and the devices of the catalog and of the user."""
    from hwmodels.devices import list_devices, one_line
    from hwmodels.this_machine import NAME, this_spec

    found = [
        {"name": d.name, "kind": "device", "type": d.kind, "origin": d.origin, "about": d.line}
        for d in list_devices()
    ]
    if NAME not in [record["name"] for record in found]:
        spec = this_spec()
        found.append({"name": NAME, "kind": "device", "type": spec.kind, "origin": "system",
                      "about": f"{one_line(spec)}; not calibrated"})  # fmt: skip
    return found


def systems() -> list[Record]:
    """Return the systems of the catalog and of the user."""
    return _parts("system")


def links() -> list[Record]:
    """Return the links of the catalog and of the user."""
    return _parts("link")


def _parts(kind: str) -> list[Record]:
    from hwmodels.system_files import list_parts

    return [{"name": one.name, "kind": kind, "origin": one.origin, "about": one.line}
            for one in list_parts(kind)]  # fmt: skip


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


def shapes() -> list[Record]:
    """Return the shapes of networks with the defaults of their parameters."""
    from hwmodels.network.named_shapes import SHAPES, parameters_of

    return [
        {"name": name, "kind": "shape", "about": _first_line(make).removeprefix("Return "),
         "parameters": parameters_of(name)}
        for name, make in SHAPES.items()
    ]  # fmt: skip


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
    "system": systems,
    "link": links,
    "shape": shapes,
    "workload": workloads,
    "plan": plans,
    "suite": suites,
    "law": laws,
}
"""What there is of each kind."""


def kind_and_name(text: str) -> tuple[str, str]:
    """Return of which kind a thing is, and its name; "suite:federated" says the kind itself.

    Raises
    ------
    UnknownNameError : nothing has this name

    >>> kind_and_name("federated"), kind_and_name("suite:federated")
    (('plan', 'federated'), ('suite', 'federated'))
    """
    kind, _, name = text.partition(":")
    return (kind, name) if name and kind in RECORDS else (kind_of(text), text)


def kind_of(name: str) -> str:
    """Return of which kind the thing of this name, or in a file of this name, is.

    A suite may be named as the plan that it judges, which comes first.

    Raises
    ------
    UnknownNameError : nothing has this name
    """
    if name.endswith(".toml") or Path(name).is_file():
        return _kind_of_file(Path(name))
    known: list[str] = []
    for kind, find in _FIND.items():
        try:
            find(name)
        except UnknownNameError as error:
            known += error.known
            continue
        return kind
    raise UnknownNameError("name", name, known)


def _kind_of_file(path: Path) -> str:
    """Return "system" or "link" where a file says so; else it is taken for a device's."""
    from simulator.files import read_toml

    found = str(read_toml(path).get("kind"))
    return found if found in ("system", "link") else "device"


def spec_of(name: str) -> Spec:
    """Return what is known of a device: of the machine at hand, the catalog, the user, a file."""
    from hwmodels.devices import find_spec
    from hwmodels.this_machine import NAME, this_spec

    return this_spec() if name == NAME else find_spec(name)


def _find_model(name: str) -> object:
    from workloads.registry import find_model

    return find_model(name)


def _find_plan(name: str) -> object:
    from workloads.plans import find_plan

    return find_plan(name)


def _find_shape(name: str) -> object:
    from hwmodels.network.named_shapes import find_shape

    return find_shape(name)


def _find_suite(name: str) -> object:
    from validation.suite import find_suite

    return find_suite(name)


def _find_law(name: str) -> object:
    from simulator.fit_laws import LAWS

    if name not in LAWS:
        raise UnknownNameError("law", name, LAWS)
    return LAWS[name]


def _find_system(name: str) -> object:
    from hwmodels.system_files import find_system

    return find_system(name)


def _find_link(name: str) -> object:
    from hwmodels.system_files import find_link

    return find_link(name)


_FIND: Mapping[str, Callable[[str], object]] = {
    "device": spec_of,
    "system": _find_system,
    "link": _find_link,
    "shape": _find_shape,
    "workload": _find_model,
    "plan": _find_plan,
    "suite": _find_suite,
    "law": _find_law,
}


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0].rstrip(".")
