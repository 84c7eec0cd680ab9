"""Describe cables, and make the links of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from simulator.errors import InputError, UnknownNameError
from simulator.ops import FloatArray, IntArray
from simulator.units import dimension_of, parse_quantity

MOST_DEVICES = 1 << 22
"""A network above this is taken for a mistake: it would not fit into an ordinary memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Wire:
    """Describe cables, each of them a link up and a link down; where one differs, by arrays.

    Parameters
    ----------
    bandwidth_bytes_per_s : from the device up into the network (in a torus: forward), B/s; one for
        all cables, or one for each
    latency_s : of each direction, seconds; at least 0
    down_bandwidth_bytes_per_s : down to the device, B/s; None: as up

    Raises
    ------
    InputError : a bandwidth that is not above 0, a latency below 0

    >>> Wire(1.25e9, 1e-6).bandwidth_bytes_per_s
    1250000000.0
    """

    bandwidth_bytes_per_s: ArrayLike
    latency_s: ArrayLike = 0.0
    down_bandwidth_bytes_per_s: ArrayLike | None = None

    def __post_init__(self) -> None:
        for name, least in (("bandwidth_bytes_per_s", "above 0"), ("latency_s", "0 or more"),
                            ("down_bandwidth_bytes_per_s", "above 0")):  # fmt: skip
            value = getattr(self, name)
            if value is not None:
                check_numbers(f"a link's {name}", value, least)


def wire_of(table: Mapping[str, Any], where: str) -> Wire:
    """Return the wire that a table describes, whose quantities may be texts with a unit.

    Parameters
    ----------
    table : parameters of a `Wire`
    where : it stands, for errors

    Raises
    ------
    UnknownNameError : no such parameter
    InputError : no bandwidth, or a value that no wire has

    >>> wire_of({"bandwidth_bytes_per_s": "10 Gbit/s"}, "uplink").bandwidth_bytes_per_s
    1250000000.0
    """
    known = [field.name for field in fields(Wire)]
    for name in table:
        if name not in known:
            raise UnknownNameError("parameter of a wire", name, known, where)
    if "bandwidth_bytes_per_s" not in table:
        raise InputError(f"{where}: needs bandwidth_bytes_per_s")
    return Wire(**{name: _quantity(f"{where}.{name}", value) for name, value in table.items()})


def _quantity(name: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_quantity(name, one) for one in value]
    dimension = dimension_of(name)
    return value if dimension is None or value is None else parse_quantity(value, dimension, name)


class Links(NamedTuple):
    """Hold directed links as arrays."""

    tail: IntArray
    head: IntArray
    bandwidth_bytes_per_s: FloatArray
    latency_s: FloatArray


def cables(low: IntArray, high: IntArray, wire: Wire) -> Links:
    """Return the links of cables: first all from low to high, then all from high to low.

    Raises
    ------
    InputError : the wire describes another number of cables
    """
    down = wire.down_bandwidth_bytes_per_s
    back = wire.bandwidth_bytes_per_s if down is None else down
    values = [_for_each(value, len(low)) for value in (wire.bandwidth_bytes_per_s, back)]
    latency = np.tile(_for_each(wire.latency_s, len(low)), 2)
    ends = (np.concatenate([low, high]), np.concatenate([high, low]))
    return Links(*ends, np.concatenate(values), latency)


def joined_links(parts: Sequence[Links]) -> Links:
    """Return links one after the other."""
    return Links(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _for_each(values: ArrayLike, count: int) -> FloatArray:
    found = np.asarray(values, float)
    if found.ndim and found.shape != (count,):
        raise InputError(f"expected one number for all cables or one for each of {count}, got "
                         f"{found.size}")  # fmt: skip
    return np.broadcast_to(found, (count,))


def check_numbers(name: str, values: ArrayLike, least: str) -> None:
    """Raise unless all values are finite numbers "above 0" or "0 or more", as `least` says.

    Raises
    ------
    InputError : names what and got
    """
    try:
        found = np.asarray(values, float)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected a number, got {values!r}") from None
    fits = np.isfinite(found) & ((found > 0) if least == "above 0" else (found >= 0))
    if not fits.all():
        raise InputError(f"{name}: expected a finite number {least}, got {found[~fits].flat[0]:g}")


def check_devices(shape: str, devices: int) -> None:
    """Raise where a network would have more devices than `MOST_DEVICES`.

    Raises
    ------
    InputError : names the shape and the number
    """
    if devices > MOST_DEVICES:
        raise InputError(f"{shape}: expected at most {MOST_DEVICES:,} devices, got {devices:,}")
