"""State bounds on metrics, such as "step_time_s <= 100 ms", and judge predictions by them.

A *metric* is a dotted name with a value, or None where it is unknown. What is unknown never
passes a bound.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from simulator.errors import BoundError, InputError
from simulator.units import dimension_of, format_quantity, parse_quantity

Metric = Callable[[str], float | None]
"""Gives the value of a metric by name; raises UnknownNameError for a name that is none."""

_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": lambda value, limit: math.isclose(value, limit, rel_tol=1e-9),
    "<": operator.lt,
    ">": operator.gt,
}

_BOUND = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(<=|>=|==|<|>)\s*([^\s<=>].*?)\s*")


@dataclass(frozen=True, slots=True)
class Bound:
    """Demand that a metric stays on one side of a limit.

    Parameters
    ----------
    metric : its dotted name
    relation : "<=", "<", ">=", ">" or "=="
    limit : in the unit that the metric's name states
    """

    metric: str
    relation: str
    limit: float

    def __str__(self) -> str:
        return f"{self.metric} {self.relation} {quantity_text(self.metric, self.limit)}"

    def holds(self, value: float | None) -> bool:
        """Say whether a value keeps the bound; the unknown and NaN never do.

        >>> parse_bound("step_time_s <= 100 ms").holds(0.09), Bound("cost", "<", 1).holds(None)
        (True, False)
        """
        return value is not None and _HOLDS[self.relation](value, self.limit)

    def broken_text(self, value: float) -> str:
        """Return what is wrong with a value that breaks the bound, and by how much."""
        got = f"{self} does not hold: it is {quantity_text(self.metric, value)}"
        if not (self.limit and math.isfinite(value)):
            return got
        off = value / self.limit - 1
        if off > 10:
            return f"{got}, {value / self.limit:,.0f} times the limit"
        side = "above" if off > 0 else "below"
        near = f"{100 * abs(off):.3g} % {side} the limit" if off else "exactly at the limit"
        return f"{got}, {near}"


def quantity_text(metric: str, value: float) -> str:
    """Return a metric's value with the unit that its name states.

    >>> quantity_text("step_time_s", 0.1), quantity_text("speedup", 3.5)
    ('100 ms', '3.5')
    """
    dimension = dimension_of(metric)
    return f"{value:.6g}" if dimension is None else format_quantity(value, dimension, 6)


def parse_bound(text: str, where: str = "--assert") -> Bound:
    """Return the bound that a text states.

    Parameters
    ----------
    text : METRIC RELATION LIMIT; the limit may carry a unit of the metric's dimension, or "%"
    where : the flag, for errors

    Raises
    ------
    InputError, UnitError : the text is no bound, or its limit no finite number in a fitting unit

    >>> parse_bound("peak_memory_bytes<4 GiB")
    Bound(metric='peak_memory_bytes', relation='<', limit=4294967296.0)
    >>> parse_bound("communication_share <= 20 %").limit
    0.2
    """
    match = _BOUND.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        what = f"{where} {text!r}".strip()
        raise InputError(f"{what}: expected METRIC<=LIMIT (or <, >=, >, ==), such as "
                         "'step_time_s<=100 ms'")  # fmt: skip
    metric, relation, limit = match.groups()
    return Bound(metric, relation, _limit(metric, limit, f"{where} '{text}'".strip()))


def _limit(metric: str, text: str, what: str) -> float:
    dimension = dimension_of(metric)
    if dimension is not None:
        return parse_quantity(text, dimension, what)
    number = text.removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{what}: expected a finite number as the limit, got '{text}'")
    return value if number == text else value / 100


def broken_bounds(metric: Metric, bounds: Iterable[Bound]) -> list[str]:
    """Return what is wrong with each bound that does not hold.

    Raises
    ------
    InputError : a bound's metric is unknown here (UnknownNameError: is no metric at all)

    >>> broken_bounds({"speedup": 3.0}.get, [Bound("speedup", ">", 2), Bound("speedup", "<", 3)])
    ['speedup < 3 does not hold: it is 3, exactly at the limit']
    """
    broken = []
    for bound in bounds:
        value = metric(bound.metric)
        if value is None or math.isnan(value):
            raise InputError(f"'{bound}' cannot be judged: {bound.metric} is unknown here")
        if not bound.holds(value):
            broken.append(bound.broken_text(value))
    return broken


def check_bounds(metric: Metric, bounds: Iterable[Bound]) -> None:
    """Raise where a bound does not hold.

    Raises
    ------
    BoundError : names each bound that does not hold, the value, and by how much
    InputError : a bound's metric is unknown here (UnknownNameError: is no metric at all)

    >>> check_bounds({"step_time_s": 0.12}.get, [parse_bound("step_time_s<=100 ms")])
    Traceback (most recent call last):
    ...
    simulator.errors.BoundError: step_time_s <= 100 ms does not hold: it is 120 ms, 20 % above \
the limit
    """
    broken = broken_bounds(metric, bounds)
    if broken:
        raise BoundError("; ".join(broken))
