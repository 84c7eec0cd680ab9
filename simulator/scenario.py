"""Say what is asked, as text: a workload, a machine and a plan with dotted parameters.

A *scenario* is one point: "resnet50 on raspberry-pi-4 with plan threads, workload.batch 8". A
*parameter* is a dotted name and a value: "workload.batch", "on.memory.bandwidth_bytes_per_s",
"plan.threads", "job.steps", "job.price_per_kwh". A *grid* gives several values to some names.

All of it is data: nothing is evaluated or imported.
"""

from __future__ import annotations

import datetime
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np

from simulator.errors import InputError, UnitError, UnknownNameError
from simulator.formula import check_whole
from simulator.units import dimension_of, parse_quantity

Value: TypeAlias = "bool | int | float | str | tuple[Value, ...]"
"""What a parameter may be; a quantity ("200 GB/s") has become a float in its inside unit."""

T = TypeVar("T")

Grid: TypeAlias = Mapping[str, Sequence[Value]]
"""The values of each name that a sweep goes through."""

ROOTS: tuple[str, ...] = ("workload", "on", "plan", "job")
"""What a dotted parameter may belong to."""

FIELDS: tuple[str, ...] = ("workload", "on", "plan", "steps", "seed")
"""What a parameter without a dot may be."""

STEP_TIME = "on.step_time_s"
"""What a step of the workload was timed to take on one device of the machine."""

MOST_GRID_POINTS = 1_000_000
"""A grid above this is taken for a mistake: its table would not fit into an ordinary memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Ask how one workload runs on one machine under one plan.

    Parameters
    ----------
    workload : name in the registry of workloads
    on : name in the catalog, a device file, or "this-machine"
    plan : name of the plan
    parameters : value by dotted name
    steps : how many steps are run, at least 1
    seed : of all draws, at least 0

    Raises
    ------
    InputError, UnknownNameError, UnitError : a name or value that no scenario may have

    >>> scenario = Scenario(
    ...     workload="mlp", on="raspberry-pi-4",
    ...     parameters={"workload.batch": 8, "on.memory.bandwidth_bytes_per_s": "4 GB/s"},
    ... )
    >>> scenario.under("on")
    {'memory.bandwidth_bytes_per_s': 4000000000.0}
    >>> print(scenario)
    mlp on raspberry-pi-4, plan threads, on.memory.bandwidth_bytes_per_s=4000000000.0, \
workload.batch=8
    """

    workload: str
    on: str
    plan: str = "threads"
    parameters: Mapping[str, Value] = field(default_factory=dict)
    steps: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("workload", "on", "plan"):
            _check_name(name, getattr(self, name))
        for name, least in (("steps", 1), ("seed", 0)):
            check_whole(name, getattr(self, name), least)
            object.__setattr__(self, name, int(getattr(self, name)))
        if not isinstance(self.parameters, Mapping):
            raise InputError(f"parameters: expected values by dotted name, got {self.parameters!r}")
        values = {name: _parameter(name, self.parameters[name]) for name in sorted(self.parameters)}
        object.__setattr__(self, "parameters", values)

    def under(self, root: str) -> dict[str, Value]:
        """Return the parameters of one root, by the name without it."""
        start = root + "."
        return {n.removeprefix(start): v for n, v in self.parameters.items() if n.startswith(start)}

    def changed(self, values: Mapping[str, Value]) -> Scenario:
        """Return the scenario with other values for some names, dotted or one of `FIELDS`.

        >>> Scenario(workload="mlp", on="a").changed({"on": "b", "plan.threads": 2}).on
        'b'
        """
        fields: dict[str, Any] = {name: values[name] for name in FIELDS if name in values}
        dotted = {name: value for name, value in values.items() if name not in fields}
        return replace(self, **fields, parameters={**self.parameters, **dotted})

    def value(self, name: str) -> Value | None:
        """Return the value of a name, dotted or one of `FIELDS`; None where it is not set."""
        if name in FIELDS:
            found: Value = getattr(self, name)
            return found
        return self.parameters.get(name)

    def as_dict(self) -> dict[str, Any]:
        """Return the scenario as plain data, for JSON."""
        return {name: getattr(self, name) for name in FIELDS} | {"set": dict(self.parameters)}

    @property
    def key(self) -> str:
        """Return a text that two scenarios share exactly when they ask the same."""
        return json.dumps(self.as_dict(), sort_keys=True)

    def __str__(self) -> str:
        settings = [f"{name}={value}" for name, value in self.parameters.items()]
        return ", ".join([f"{self.workload} on {self.on}", f"plan {self.plan}", *settings])


def _check_name(what: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{what}: expected a name, got {value!r}")


def _parameter(name: str, value: Value) -> Value:
    root, _, rest = str(name).partition(".")
    if root not in ROOTS:
        raise UnknownNameError("parameter", name, _names_like(rest))
    if not rest:
        raise InputError(f"parameter '{name}': expected a name such as '{root}.batch'")
    return _quantity(name, _plain(name, value))


def _names_like(rest: str) -> list[str]:
    """Return the names that a parameter with this ending may have."""
    return [f"{root}.{rest}" for root in ROOTS] if rest else [*FIELDS]


def _plain(name: str, value: object) -> Value:
    """Return a value as TOML may give it, with lists as tuples; refuse all else."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return tuple(_plain(name, entry) for entry in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{name}: expected a finite number, got {value}")
    if isinstance(value, (bool, int, float, str)):
        return value
    raise InputError(f"{name}: expected a number, text, true or false, or a list; got {value!r}")


def _quantity(name: str, value: Value) -> Value:
    """Return a text as a float where the name says that it is a quantity."""
    dimension = dimension_of(name)
    if dimension is None or not isinstance(value, str):
        return value
    return parse_quantity(value, dimension, name)


def parse_value(name: str, text: str) -> Value:
    """Return the value that a text on the command line stands for.

    It is read as a TOML literal (8, 2.5, true, [512, 512], "text"), else as a quantity where the
    name's suffix says one, else as plain text.

    >>> parse_value("workload.batch", "8"), parse_value("on.memory.bytes", "4 GiB")
    (8, 4294967296.0)
    >>> parse_value("workload.dtype", "float32"), parse_value("workload.hidden", "[512, 512]")
    ('float32', (512, 512))
    """
    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        read = {"value": text}
    value = read["value"]
    if len(read) > 1 or isinstance(value, (dict, datetime.date, datetime.time)):
        value = text
    return _quantity(name, _plain(name, value))


def parse_setting(text: str, flag: str = "--set") -> tuple[str, Value]:
    """Return the name and the value of "name=value".

    >>> parse_setting("workload.batch=8")
    ('workload.batch', 8)
    """
    name, value = _name_and_text(text, flag, "workload.batch=8")
    try:
        return name, parse_value(name, value)
    except UnitError as error:
        raise UnitError(f"{flag} {text}: {error}") from None
    except InputError as error:
        raise InputError(f"{flag} {text}: {error}") from None


def named_once(entries: Iterable[tuple[str, T]], flag: str) -> dict[str, T]:
    """Return what a repeated flag says, by name; no name may come twice.

    >>> named_once([parse_setting("steps=2"), parse_setting("plan.threads=4")], "--set")
    {'steps': 2, 'plan.threads': 4}
    """
    named: dict[str, T] = {}
    for name, value in entries:
        if name in named:
            raise InputError(f"{flag}: {name} is given twice")
        named[name] = value
    return named


def _name_and_text(text: str, flag: str, example: str) -> tuple[str, str]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not (name and equals and value):
        raise InputError(f"{flag} {text}: expected NAME=VALUE, such as {flag} {example}")
    try:
        known_name(name)
    except InputError as error:
        raise type(error)(*_again(error, flag)) from None
    return name, value


def _again(error: InputError, flag: str) -> tuple[Any, ...]:
    """Return the arguments of an error once more, with the flag as its place."""
    if isinstance(error, UnknownNameError):
        return ("parameter", error.name, error.known, flag)
    return (f"{flag}: {error}",)


def known_name(name: str) -> str:
    """Return a parameter's name, or raise where no scenario has such a parameter.

    >>> known_name("plan.threads")
    'plan.threads'
    """
    if name not in FIELDS:
        _parameter(name, 0)
    return name


_RANGE = re.compile(r"(?P<low>[-+]?\.?\d[^,]*?)\.\.(?P<high>[^,]+?)((?P<how>[*/])(?P<by>[\d.]+))?")


def parse_grid_entry(text: str, flag: str = "--grid") -> tuple[str, tuple[Value, ...]]:
    """Return the name and the values of "name=values".

    Values are "1,2,4", a TOML list "[1, 2, 4]", all whole numbers "1..8", doubling "1..64*2", or
    so many evenly spaced "10e9..100e9/10".

    >>> parse_grid_entry("plan.threads=1..8*2")
    ('plan.threads', (1, 2, 4, 8))
    >>> parse_grid_entry("on=raspberry-pi-4, this-machine")
    ('on', ('raspberry-pi-4', 'this-machine'))
    >>> parse_grid_entry("on.memory.bandwidth_bytes_per_s=10 GB/s,20 GB/s")
    ('on.memory.bandwidth_bytes_per_s', (10000000000.0, 20000000000.0))
    """
    name, listed = _name_and_text(text, flag, "plan.threads=1,2,4")
    try:
        return name, tuple(_grid_values(name, listed))
    except InputError as error:
        raise InputError(f"{flag} {text}: {error}") from None


def parse_values(text: str, flag: str) -> tuple[Value, ...]:
    """Return the values that a flag lists, written as those of a grid.

    >>> parse_values("1..8*2", "--at")
    (1, 2, 4, 8)
    """
    try:
        return tuple(_grid_values("value", text))
    except InputError as error:
        raise InputError(f"{flag} {text}: {error}") from None


def parse_counts(text: str, flag: str) -> list[int]:
    """Return the whole numbers of at least 1 that a flag lists.

    >>> parse_counts("1,2,4", "--threads")
    [1, 2, 4]
    """
    values = parse_values(text, flag)
    counts = [n for n in values if isinstance(n, int) and not isinstance(n, bool) and n >= 1]
    if len(counts) < len(values):
        raise InputError(f"{flag} {text}: expected whole numbers of at least 1")
    return counts


def _grid_values(name: str, text: str) -> Sequence[Value]:
    match = _RANGE.fullmatch(text)
    if match:
        return _range(name, match)
    outside_of_brackets = r",(?![^\[]*\])"
    parts = [part.strip() for part in re.split(outside_of_brackets, text)]
    values = [parse_value(name, part) for part in parts]
    listed = values[0] if len(values) == 1 and isinstance(values[0], tuple) else values
    if not (all(parts) and listed):
        raise InputError("expected values such as 1,2,4, none of them empty")
    return listed


def _range(name: str, match: re.Match[str]) -> Sequence[Value]:
    low, high = (_number(name, parse_value(name, match[part])) for part in ("low", "high"))
    by = _number(name, parse_value(name, match["by"])) if match["by"] else None
    if low > high:
        raise InputError("expected LOW..HIGH, LOW..HIGH*FACTOR or LOW..HIGH/COUNT, LOW first")
    if match["how"] == "*":
        return _growing(low, high, by or 0)
    if match["how"] == "/":
        return _evenly(low, high, by or 0)
    if not (isinstance(low, int) and isinstance(high, int)):
        raise InputError("LOW..HIGH counts whole numbers; say how many, as in 0.5..2.0/4")
    if high - low >= MOST_GRID_POINTS:
        raise InputError(f"{high - low + 1:,} values; at most {MOST_GRID_POINTS:,} are taken")
    return range(low, high + 1)


def _number(name: str, value: Value) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"{name}: expected a number at each end of '..', got {value!r}")
    return value


def _growing(low: float, high: float, factor: float) -> list[Value]:
    if not (low > 0 and factor > 1):
        raise InputError("LOW..HIGH*FACTOR needs LOW above 0 and FACTOR above 1")
    if math.log(high) - math.log(low) >= MOST_GRID_POINTS * math.log(factor):
        raise InputError(f"more than {MOST_GRID_POINTS:,} values; FACTOR is too near to 1")
    values: list[Value] = []
    while low <= high * (1 + 1e-12):
        values.append(low)
        low *= factor
    return values


def _evenly(low: float, high: float, count: float) -> list[Value]:
    if not (isinstance(count, int) and 2 <= count <= MOST_GRID_POINTS):
        raise InputError("LOW..HIGH/COUNT needs a whole COUNT of at least 2")
    steps = [low + (high - low) * i / (count - 1) for i in range(count - 1)] + [high]
    whole = isinstance(low, int) and isinstance(high, int) and all(s == int(s) for s in steps)
    return [int(s) for s in steps] if whole else [float(s) for s in steps]


def checked_grid(grid: Mapping[str, Iterable[Value]]) -> dict[str, tuple[Value, ...]]:
    """Return a grid with known names, at least one value each, and no value twice.

    >>> checked_grid({"plan.threads": [1, 2]})
    {'plan.threads': (1, 2)}
    """
    checked = {known_name(name): _axis(name, values) for name, values in grid.items()}
    points = math.prod(len(values) for values in checked.values())
    if points > MOST_GRID_POINTS:
        raise InputError(f"the grid has {points:,} points; at most {MOST_GRID_POINTS:,} are taken")
    return checked


def _axis(name: str, values: Iterable[Value]) -> tuple[Value, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"grid '{name}': expected a list of values, got {values!r}")
    axis = tuple(_quantity(name, _plain(name, value)) for value in values)
    if not axis:
        raise InputError(f"grid '{name}': expected at least one value")
    seen: set[Value] = set()
    for value in axis:
        if value in seen:
            raise InputError(f"grid '{name}': {value!r} stands twice")
        seen.add(value)
    return axis


def check_still_timed(changed: Iterable[str]) -> None:
    """Raise where a step that was timed once is asked of another workload or machine.

    Raises
    ------
    InputError : names what changes

    >>> check_still_timed(["plan.bucket_bytes", "on.devices"])
    """
    for name in changed:
        if name == "on" or name.split(".")[0] == "workload":
            raise InputError(f"{STEP_TIME} was timed of one workload on one kind of device; it "
                             f"says nothing of another {name}")  # fmt: skip
