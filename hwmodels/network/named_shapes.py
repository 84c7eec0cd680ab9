"""Make a network of a shape's name and plain parameters, as a file or a command line gives them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np

from hwmodels.network.composed_shapes import edge_cloud, nodes, rail_optimised
from hwmodels.network.graph_shapes import graph
from hwmodels.network.shapes import fat_tree, leaf_spine, ring, star, tapered_fat_tree, torus
from hwmodels.network.topology import Topology
from hwmodels.network.wires import Wire, wire_of
from simulator.errors import FileError, InputError, UnknownNameError
from simulator.files import read_toml

SHAPES: Mapping[str, Callable[..., Topology]] = {
    make.__name__: make
    for make in (star, ring, torus, leaf_spine, fat_tree, tapered_fat_tree, nodes,
                 rail_optimised, edge_cloud, graph)
}  # fmt: skip
"""Shapes by name."""
COMMON: Mapping[str, Any] = {"ecmp": "destination", "seed": 0, "failed": (), "degraded": ()}
"""Parameters that every shape has beside its own, and their defaults: how flows choose among equal
routes; pairs of nodes between which all links have failed, [node, node]; pairs between which links
have only a part of their bandwidth, [node, node, part]."""
NEEDED = "needed"
"""Stands for the default of a parameter that has none."""


def find_shape(name: str) -> Callable[..., Topology]:
    """Return the function that makes networks of a shape.

    Raises
    ------
    UnknownNameError : no such shape
    """
    if name not in SHAPES:
        raise UnknownNameError("shape of a network", name, SHAPES)
    return SHAPES[name]


def topology(shape: str, parameters: Mapping[str, Any]) -> Topology:
    """Return the network of a shape by its name.

    Parameters
    ----------
    shape : one of `SHAPES`
    parameters : of the shape, and those of `COMMON`. A wire is a table with the parameters of a
        `Wire`, a network within the network a table with its `shape` and parameters; either may be
        given by dotted names. Quantities may be texts with a unit

    Raises
    ------
    UnknownNameError : no such shape, or no such parameter of it
    InputError : a parameter that is missing or makes no sense

    >>> wire = {"bandwidth_bytes_per_s": "10 Gbit/s", "latency_s": "1 us"}
    >>> topology("fat_tree", {"k": 4, "wire": wire}).devices
    16
    >>> topology("fat_tree", {"k": 8, "wire.bandwidth_bytes_per_s": 1.25e9}).devices
    128
    """
    made = find_shape(shape)
    hints = get_type_hints(made)
    own = inspect.signature(made).parameters
    given = _nested(parameters)
    for name in given:
        if name not in own and name not in COMMON:
            raise UnknownNameError(f"parameter of {shape}", name, [*own, *COMMON])
    needed = [n for n, default in parameters_of(shape).items() if default == NEEDED]
    if missing := [name for name in needed if name.partition(".")[0] not in given]:
        raise InputError(f"{shape}: needs {', '.join(missing)}")
    values = {
        name: _value(f"{shape}: {name}", value, hints[name])
        for name, value in given.items() if name in own
    }  # fmt: skip
    return with_common(made(**values), given)


def parameters_of(shape: str) -> dict[str, Any]:
    """Return the parameters of a shape with their defaults, by dotted names.

    >>> parameters_of("star")["devices"], parameters_of("star")["wire.latency_s"]
    ('needed', 0.0)
    """
    found: dict[str, Any] = {}
    hints = get_type_hints(SHAPES[shape])
    for name, parameter in inspect.signature(SHAPES[shape]).parameters.items():
        default = NEEDED if parameter.default is parameter.empty else parameter.default
        if _is_wire(hints[name]):
            rest = {field.name: field.default for field in fields(Wire)}
            found |= {f"{name}.{key}": value for key, value in rest.items()}
            found[f"{name}.bandwidth_bytes_per_s"] = default
        else:
            found[f"{name}.shape" if hints[name] is Topology else name] = default
    return {**found, **COMMON}


def with_common(made: Topology, given: Mapping[str, Any]) -> Topology:
    """Return a network with the parameters that every shape has.

    Parameters
    ----------
    made : the network
    given : some of `COMMON`; others do not count

    Raises
    ------
    InputError : a value that makes no sense, or nodes between which there is no link
    """
    shape = made.shape
    if "ecmp" in given or "seed" in given:
        made = made.with_ecmp(given.get("ecmp", made.ecmp), given.get("seed", made.seed))
    for entry in given.get("degraded", ()):
        *ends, part = _entry(entry, f"{shape}: degraded", "[node, node, part of the bandwidth]", 3)
        made = made.degraded(made.between(*ends), part)
    gone = [
        made.between(*_entry(entry, f"{shape}: failed", "[node, node]", 2))
        for entry in given.get("failed", ())
    ]
    return made.failed(np.concatenate(gone)) if gone else made


def _entry(entry: Any, where: str, expected: str, size: int) -> list[Any]:
    if isinstance(entry, str) or np.shape(entry) != (size,):
        raise InputError(f"{where}: expected a list of {expected}, got {entry!r}")
    return list(entry)


def read_topology(path: Path, changed: Mapping[str, Any] | None = None) -> Topology:
    """Return the network that a TOML file describes by its `shape` and parameters.

    Parameters
    ----------
    path : of the file
    changed : parameters that go over those of the file

    Raises
    ------
    FileError : the file cannot be read, or a parameter of it makes no sense
    """
    try:
        return _inner({**read_toml(path), **(changed or {})})
    except FileError:
        raise
    except InputError as error:
        raise FileError(path, str(error)) from None


def _inner(table: Mapping[str, Any], where: str = "") -> Topology:
    """Return the network of a table with its shape and parameters."""
    if "shape" not in table:
        known = ", ".join(SHAPES)
        raise InputError(f"{where}needs the shape of a network; known: {known}")
    return topology(table["shape"], {n: v for n, v in table.items() if n != "shape"})


def _nested(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with tables for dotted names; later ones go over earlier ones."""
    found: dict[str, Any] = {}
    for path, value in _leaves(parameters):
        table = found
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise InputError(f"{'.'.join(path)}: {part} is given as a value and as a table")
        table[path[-1]] = value
    return found


def _leaves(parameters: Mapping[str, Any]) -> Iterator[tuple[list[str], Any]]:
    for name, value in parameters.items():
        path = name.split(".")
        if isinstance(value, Mapping):
            yield from (([*path, *rest], inner) for rest, inner in _leaves(value))
        else:
            yield path, value


def _value(where: str, value: Any, hint: Any) -> Any:
    """Return a parameter as its function takes it: tables become wires and networks."""
    if hint is Topology and not isinstance(value, Topology):
        table = _table(where, value, "shape and parameters of a network")
        return _inner(table, f"{where}: ")
    if _is_wire(hint) and not isinstance(value, Wire):
        if isinstance(value, list | tuple):
            return [_value(where, one, Wire) for one in value]
        return wire_of(_table(where, value, "bandwidth_bytes_per_s and latency_s"), where)
    return value


def _is_wire(hint: Any) -> bool:
    return Wire in (hint, *get_args(hint))


def _table(where: str, value: Any, of: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: expected a table with {of}, got {value!r}")
    return value
