"""Say of what kinds the clients of federated training are, and how quick their links: a fleet.

A fleet is a file: one of `fleets/`, found by its name, or one of your own, found by its path.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import FileError, InputError, UnknownNameError
from simulator.formula import numbers
from simulator.ops import FloatArray
from simulator.source import Source
from simulator.streams import stream
from simulator.units import parse_quantity

FOLDER = Path(__file__).parent / "fleets"


@dataclass(frozen=True, slots=True)
class Link:
    """Describe the links of clients in one direction.

    Parameters
    ----------
    median_bytes_per_s : B/s
    spread : standard deviation of the logarithm, from client to client
    round_spread : the same of one client's rates, from round to round
    """

    median_bytes_per_s: float
    spread: float = 0.0
    round_spread: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Describe the clients that there are.

    Parameters
    ----------
    title : in a few words
    weights : how many clients are of each kind, or their shares
    slowdowns : how many times as long as on the machine's device a work takes on each kind
    device_spread : the logarithm of a client's slowdown is more than its kind's by so many times
        the absolute value of a normal number, as none is quicker than its device
    download, upload : links to and from the clients; None: no other than the machine's network
    correlation : of the logarithms of a client's two rates
    sources : of the numbers
    """

    title: str = "alike"
    weights: tuple[float, ...] = (1.0,)
    slowdowns: tuple[float, ...] = (1.0,)
    device_spread: float = 0.0
    download: Link | None = None
    upload: Link | None = None
    correlation: float = 1.0
    sources: tuple[Source, ...] = ()

    def slowdown(self, clients: int, seed: int) -> FloatArray:
        """Return how many times as long a work takes on each client (clients,).

        >>> Fleet(weights=(1, 1), slowdowns=(1.0, 4.0)).slowdown(5, seed=0).tolist()
        [4.0, 1.0, 1.0, 4.0, 1.0]
        """
        shares = np.array(self.weights) / sum(self.weights)
        kinds = stream(seed, 0, "kinds of clients").choice(len(shares), clients, p=shares)
        slower = np.exp(self.device_spread * np.abs(_normal(clients, seed, "speed of clients")))
        found: FloatArray = np.array(self.slowdowns)[kinds] * slower
        return found

    def rates(self, clients: int, seed: int) -> tuple[FloatArray | None, FloatArray | None]:
        """Return the median rates down to and up from each client (clients,), B/s."""
        down = _normal(clients, seed, "links of clients")
        other = _normal(clients, seed, "links up of clients")
        up = self.correlation * down + np.sqrt(1 - self.correlation**2) * other
        return _rates(self.download, down), _rates(self.upload, up)

    def luck(self, clients: int, draw: np.random.Generator) -> FloatArray:
        """Return by what the rates of clients differ in one round: down and up (2, clients)."""
        spreads = [0.0 if link is None else link.round_spread
                   for link in (self.download, self.upload)]  # fmt: skip
        if not any(spreads):
            return np.ones((2, clients))
        return np.exp(np.array(spreads)[:, None] * draw.standard_normal((2, clients)))


def _normal(count: int, seed: int, name: str) -> FloatArray:
    return stream(seed, 0, name).standard_normal(count)


def _rates(link: Link | None, normal: FloatArray) -> FloatArray | None:
    return None if link is None else link.median_bytes_per_s * np.exp(link.spread * normal)


def list_fleets() -> list[str]:
    """Return the names of all fleets.

    >>> list_fleets()
    ['flash']
    """
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find_fleet(name: str) -> Fleet:
    """Return a fleet by its name, or that of a file.

    Raises
    ------
    UnknownNameError : no such fleet
    FileError : a file that cannot be used; says where

    >>> find_fleet("flash").slowdowns
    (5.84, 2.05, 1.0)
    """
    if not isinstance(name, str):
        raise InputError(f"fleet: expected a name or the path of a file, got {name!r}")
    return _found(name)


@functools.lru_cache(maxsize=16)
def _found(name: str) -> Fleet:
    if name.endswith(".toml"):
        return _read(Path(name))
    if name not in list_fleets():
        raise UnknownNameError("fleet", name, list_fleets())
    return _read(FOLDER / f"{name}.toml")


def _read(path: Path) -> Fleet:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror or error})") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FileError(path, f"is not a fleet; is it truncated? ({error})") from error
    try:
        return _fleet(tables)
    except InputError as error:
        raise FileError(path, str(error)) from error


KEYS = ("title", "kinds", "download", "upload", "links", "sources")
SOURCE = ("text", "licence", "kind", "note")
KIND, LINK = ("weight", "slowdown"), ("median_bytes_per_s", "spread", "round_spread")


def _fleet(tables: Mapping[str, Any]) -> Fleet:
    _known("fleet", tables, KEYS)
    sources = {name: _source(name, tables) for name in _inside(tables, "sources")}
    kinds = _inside(tables, "kinds")
    if not kinds:
        raise InputError("kinds: there must be at least one, such as [kinds.phone]")
    for name in kinds:
        _known(f"kinds.{name}", _inside(kinds, name), (*KIND, "source"), sources)
    links = _inside(tables, "links")
    _known("links", links, ("correlation", "source"), sources)
    weights, slowdowns = (
        tuple(_number(f"kinds.{name}.{key}", table.get(key), above=True)
              for name, table in kinds.items()) for key in KIND
    )  # fmt: skip
    numbers("the sum of all weights", sum(weights))
    return Fleet(
        title=str(tables.get("title", "")),
        weights=weights,
        slowdowns=slowdowns,
        download=_link("download", tables, sources),
        upload=_link("upload", tables, sources),
        correlation=_number("links.correlation", links.get("correlation", 0.0), low=-1, high=1),
        sources=tuple(sources.values()),
    )


def _source(name: str, tables: Mapping[str, Any]) -> Source:
    """Return a source of numbers, all of whose keys are texts."""
    where = f"sources.{name}"
    table = _inside(_inside(tables, "sources"), name)
    _known(where, table, SOURCE)
    for key in ("text", *table):
        if not isinstance(table.get(key), str):
            raise InputError(f"{where}.{key}: expected a text, got {table.get(key)!r}")
    return Source(**table)


def _link(name: str, tables: Mapping[str, Any], sources: Mapping[str, Source]) -> Link | None:
    if name not in tables:
        return None
    table = _inside(tables, name)
    _known(name, table, (*LINK, "source"), sources)
    median, *spreads = LINK
    rate = parse_quantity(table.get(median, 0.0), "bytes_per_s", f"{name}.{median}")
    return Link(
        _number(f"{name}.{median}", rate, above=True),
        *(_number(f"{name}.{key}", table.get(key, 0.0)) for key in spreads),
    )


def _inside(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tables.get(name, {})
    if not isinstance(found, Mapping):
        raise InputError(f"{name}: expected a table, got {found!r}")
    return found


def _known(
    where: str, table: Mapping[str, Any], keys: tuple[str, ...],
    sources: Mapping[str, Source] | None = None,
) -> None:  # fmt: skip
    """Raise where a table has a key that means nothing, or numbers without a source."""
    for key in table:
        if key not in keys:
            raise UnknownNameError(f"key of {where}", key, keys)
    if sources is not None and table and str(table.get("source")) not in sources:
        raise InputError(f"{where}.source: expected one of [sources], got {table.get('source')!r}")


def _number(name: str, value: object, **bounds: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"{name}: expected a number, got {value!r}")
    return float(numbers(name, value, **bounds))
