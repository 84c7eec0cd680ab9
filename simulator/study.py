"""Read a scenario file: one scenario, and what is asked about it.

```toml
workload = "resnet50"
on = "my-server.toml"              # a name in the catalog, or a file beside this one
devices = 8                        # of a system: the same as on.devices in [set]
plan = "threads"
assert = ["step_time_s <= 100 ms"]
minimize = "energy_j"

[set]
workload.batch = 8
on.memory.bandwidth_bytes_per_s = "200 GB/s"

[grid]
plan.threads = [1, 2, 4, 8]
```

A *study* is what such a file says. All of it is data: nothing is evaluated or imported.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.bounds import Bound, parse_bound
from simulator.errors import FileError, InputError, UnknownNameError
from simulator.files import read_toml
from simulator.scenario import (
    FIELDS,
    STEP_TIME,
    Grid,
    Scenario,
    T,
    Value,
    check_still_timed,
    checked_grid,
)

KEYS: tuple[str, ...] = (*FIELDS, "devices", "set", "grid", "assert", "minimize", "job")
"""What a scenario file may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Hold what is asked: a scenario, and the points, bounds and aim around it.

    Parameters
    ----------
    values : value by name, dotted or one of `FIELDS`
    grid : the values of each name that a sweep goes through
    bounds : what must hold
    minimize : the metric that the best point of the grid has least of; None: all points count

    Raises
    ------
    InputError : a name has both a value and values on the grid
    """

    values: Mapping[str, Value] = field(default_factory=dict)
    grid: Grid = field(default_factory=dict)
    bounds: tuple[Bound, ...] = ()
    minimize: str | None = None

    def __post_init__(self) -> None:
        for name in self.values.keys() & self.grid.keys():
            raise InputError(f"{name} is given both a value ({self.values[name]}) and a grid")
        if STEP_TIME in self.values:
            check_still_timed(self.grid)

    def merged(self, other: Study) -> Study:
        """Return this study with another's wishes laid over it (flags over a file).

        A value takes the place of a grid of the same name, and a grid that of a value.
        """
        return Study(
            values=_without(self.values, other.grid) | dict(other.values),
            grid=_without(self.grid, other.values) | dict(other.grid),
            bounds=(*self.bounds, *other.bounds),
            minimize=self.minimize if other.minimize is None else other.minimize,
        )

    def scenario(self) -> Scenario:
        """Return the scenario; a name on the grid only stands at its first value.

        Raises
        ------
        InputError : no workload or no machine is named

        >>> Study(values={"workload": "mlp", "on": "this-machine"}).scenario().plan
        'threads'
        """
        first = {name: axis[0] for name, axis in self.grid.items() if name not in self.values}
        values = {**first, **self.values}
        needed = (("workload", "workload", "WORKLOAD"), ("on", "machine", "--on MACHINE"))
        for name, what, how in needed:
            if name not in values:
                raise InputError(f"no {what} is named: give {how} or a scenario file with "
                                 f"'{name} = ...'")  # fmt: skip
        named: dict[str, Any] = {name: values[name] for name in FIELDS if name in values}
        dotted = {name: value for name, value in values.items() if name not in named}
        return Scenario(**named, parameters=dotted)


def _without(mapping: Mapping[str, T], names: Container[str]) -> dict[str, T]:
    return {name: value for name, value in mapping.items() if name not in names}


def read_study(path: str | Path) -> Study:
    """Return what a scenario file asks.

    Raises
    ------
    FileError : the file cannot be read, is no TOML, or holds a key or value that has no meaning;
        the message names the key
    """
    document = read_toml(path)
    for key in document:
        if key not in KEYS:
            raise FileError(path, str(UnknownNameError("key", key, KEYS)))
    named = {name: document[name] for name in FIELDS if name in document}
    if "devices" in document:
        named["on.devices"] = document["devices"]
    job = _flat(path, {"job": _table(path, document, "job")}, "[job]")
    dotted = _flat(path, _table(path, document, "set"), "[set]")
    for name in (named | job).keys() & dotted.keys():
        raise FileError(path, f"'{name}' stands twice, here and outside of [set]", "[set]")
    values = _at(path, "", lambda: _checked(named)) | _at(path, "[job]", lambda: _checked(job))
    values |= _at(path, "[set]", lambda: _checked(dotted))
    grid = _flat(path, _table(path, document, "grid"), "[grid]")
    if "on" in values:
        values["on"] = _beside(path, str(values["on"]))
    axes = _at(path, "[grid]", lambda: checked_grid(grid))
    bounds = _at(path, "assert", lambda: _bounds(document.get("assert", [])))
    minimize = _at(path, "minimize", lambda: _text(document.get("minimize")))
    study: Study = _at(path, "[grid]", lambda: Study(
        values=values, grid=axes, bounds=bounds, minimize=minimize))  # fmt: skip
    return study


def _at(path: str | Path, key: str, read: Callable[[], Any]) -> Any:
    """Return what `read` returns; its errors name the file and the key."""
    try:
        return read()
    except FileError:
        raise
    except InputError as error:
        raise FileError(path, str(error), key) from None


def _table(path: str | Path, document: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = document.get(key, {})
    if not isinstance(table, dict):
        raise FileError(path, f"expected a table, got {table!r}", f"[{key}]")
    return table


def _flat(path: str | Path, table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return nested tables as dotted names."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        entries = {key: value}
        if isinstance(value, dict):
            entries = {f"{key}.{name}": v for name, v in _flat(path, value, where).items()}
        for name in entries.keys() & flat.keys():
            raise FileError(path, f"'{name}' stands twice, nested and dotted", where)
        flat |= entries
    return flat


def _checked(values: Mapping[str, Any]) -> dict[str, Value]:
    """Return values as a scenario would hold them."""
    held = Scenario(workload="any", on="any").changed(values)
    return {name: value for name in values if (value := held.value(name)) is not None}


def _bounds(texts: object) -> tuple[Bound, ...]:
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, list):
        raise InputError(f"expected a text or a list of texts, got {texts!r}")
    return tuple(parse_bound(text, "") for text in texts)


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InputError(f"expected the name of a metric, got {value!r}")
    return value


def _beside(path: str | Path, name: str) -> str:
    """Return the machine's file relative to the scenario file, where it is one."""
    beside = Path(path).parent / name
    return str(beside) if beside.is_file() else name
