"""Parse quantities with units once, at the edge; inside everything is a float in SI units.

A *quantity* is a number with a unit: "3.35 TB/s", "80 GiB", "400 Gbit/s", "2 us".
A *dimension* is what the float inside stands for, named by the suffix of its variable:
`time_s`, `memory_bytes`, `bandwidth_bytes_per_s`, `rate_flop_per_s`, `power_w`, `energy_j`,
`clock_hz`.
"""

from __future__ import annotations

import math
import re

from simulator.errors import UnitError

_DECIMAL = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
_SMALL = {"m": 1e-3, "u": 1e-6, "µ": 1e-6, "n": 1e-9, "p": 1e-12}


def _scaled(unit: str, prefixes: dict[str, float], factor: float = 1.0) -> dict[str, float]:
    return {prefix + unit: scale * factor for prefix, scale in prefixes.items()}


_BYTES = {
    **_scaled("B", {**_DECIMAL, **_BINARY}),
    **_scaled("bit", {**_DECIMAL, **_BINARY}, 1 / 8),
}
_TIMES = {**_scaled("s", {"": 1.0, **_SMALL}), "min": 60.0, "h": 3600.0, "d": 86400.0}

UNITS: dict[str, dict[str, float]] = {
    "s": _TIMES,
    "bytes": _BYTES,
    "bytes_per_s": {f"{unit}/s": factor for unit, factor in _BYTES.items()}
    | _scaled("bps", _DECIMAL, 1 / 8),
    "flop": _scaled("FLOP", _DECIMAL),
    "flop_per_s": _scaled("FLOP/s", _DECIMAL)
    | _scaled("FLOPS", _DECIMAL)
    | _scaled("OP/s", _DECIMAL),
    "w": _scaled("W", {**_DECIMAL, **_SMALL}),
    "j": _scaled("J", {**_DECIMAL, **_SMALL}) | _scaled("Wh", _DECIMAL, 3600.0),
    "hz": _scaled("Hz", _DECIMAL),
    "j_per_byte": {
        f"{small}J/{unit}": scale / size
        for small, scale in {"": 1.0, **_SMALL}.items()
        for unit, size in (("B", 1.0), ("bit", 1 / 8))
    },
}
"""Units by dimension: how many of the inside unit one of each unit is."""

_QUANTITY = re.compile(r"\s*([-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S.*?)?\s*")


def dimension_of(name: str) -> str | None:
    """Return the dimension that the suffix of a variable's name states, or None.

    >>> dimension_of("memory.bandwidth_bytes_per_s"), dimension_of("time_s"), dimension_of("cores")
    ('bytes_per_s', 's', None)
    """
    last = name.rsplit(".", 1)[-1]
    fits = [dim for dim in UNITS if last == dim or last.endswith("_" + dim)]
    return max(fits, key=len, default=None)


def parse_quantity(text: str | float, dimension: str, what: str = "quantity") -> float:
    """Return the value of a quantity in the inside unit of its dimension.

    Parameters
    ----------
    text : "3.35 TB/s"; a plain number stands for itself in the inside unit
    dimension : one of `UNITS`
    what : the name of the quantity, for the error

    Raises
    ------
    UnitError : not a number, not finite, or a unit of another dimension

    >>> parse_quantity("400 Gbit/s", "bytes_per_s")
    50000000000.0
    >>> parse_quantity("80 GiB", "bytes") == 80 * 2**30
    True
    """
    number, unit = _split(text, what)
    if unit is None:
        return number
    factors = UNITS[dimension]
    if unit not in factors:
        some = ", ".join(list(factors)[:8])
        raise UnitError(f"{what}: '{text}' is not in a unit of {dimension}; such are {some} ...")
    return number * factors[unit]


def _split(text: str | float, what: str) -> tuple[float, str | None]:
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise UnitError(f"{what}: expected a number or a quantity such as '2 us', got {text!r}")
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if isinstance(text, str) and match is None:
        raise UnitError(f"{what}: expected a quantity such as '3.35 TB/s', got {text!r}")
    number = float(match[1]) if match else float(text)
    if not math.isfinite(number):
        raise UnitError(f"{what}: expected a finite number, got {text!r}")
    return number, match[2] if match else None


_SCALES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SHORT = ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))
_PRINTED = {
    "s": "s", "bytes": "B", "bytes_per_s": "B/s", "flop": "FLOP", "flop_per_s": "FLOP/s",
    "w": "W", "j": "J", "hz": "Hz", "j_per_byte": "J/B",
}  # fmt: skip


def format_quantity(value: float | None, dimension: str, digits: int = 4) -> str:
    """Return a value with the prefix a person would choose; None is "unknown".

    >>> format_quantity(3.35e12, "bytes_per_s"), format_quantity(2e-6, "s"), format_quantity(0, "j")
    ('3.35 TB/s', '2 us', '0 J')
    >>> format_quantity(32 * 2**20, "bytes"), format_quantity(33e6, "bytes")
    ('32 MiB', '33 MB')
    >>> format_quantity(None, "j")
    'unknown'
    """
    if value is None:
        return "unknown"
    unit = _PRINTED[dimension]
    magnitude = abs(value)
    if magnitude == 0 or not math.isfinite(magnitude):
        return f"{value:g} {unit}"
    scales: tuple[tuple[float, str], ...] = _SCALES
    if dimension in ("s", "w", "j", "j_per_byte"):
        scales = _SHORT if dimension == "j_per_byte" else _SCALES + _SHORT[1:]
    if dimension == "bytes" and (binary := _whole_binary(value)):
        return binary
    if dimension == "s" and magnitude >= 1:
        return f"{value:.{digits}g} s" if magnitude < 1e4 else f"{value:,.0f} s"
    scale, prefix = next(((s, p) for s, p in scales if magnitude >= s), scales[-1])
    return f"{value / scale:.{digits}g} {prefix}{unit}"


def _whole_binary(nbytes: float) -> str | None:
    """Return a size that is a small whole number of KiB, MiB ... as such; None for others."""
    for prefix, scale in reversed(_BINARY.items()):
        if nbytes % scale == 0 and nbytes < 1024 * scale:
            return f"{nbytes / scale:.0f} {prefix}B"
    return None
