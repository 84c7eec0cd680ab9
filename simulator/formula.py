"""Let a formula take a scalar or an array: check what comes in, give back the same kind.

`Numbers` is what formulas take: one number or many. A `Result` is a float for scalars and an
array where at least one argument was an array (NumPy's broadcasting rules hold); it is typed
as loosely as the results of NumPy's own functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from simulator.errors import InputError
from simulator.ops import FloatArray

Numbers = ArrayLike
Result = Any


def numbers(
    name: str, values: Numbers, low: float = 0.0, high: float = np.inf, above: bool = False
) -> FloatArray:
    """Return `values` as floats, all finite and from `low` to `high`.

    Parameters
    ----------
    name : what the values are, for the error
    values : one number or many
    low, high : the smallest and the largest value that makes sense
    above : True where `low` itself makes no sense

    Raises
    ------
    InputError : a value that is no number, not finite or out of its range

    >>> numbers("serial_fraction", 1.2, 0, 1)
    Traceback (most recent call last):
    ...
    simulator.errors.InputError: serial_fraction: expected a number from 0 to 1, got 1.2
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        wanted = _range(low, high, above)
        raise InputError(f"{name}: expected {wanted}, got {values!r}") from None
    right = np.isfinite(array) & (array <= high) & ((array > low) if above else (array >= low))
    if not right.all():
        at = int(np.argmin(right.ravel()))
        place = f" at position {at}" if array.ndim else ""
        wanted = _range(low, high, above)
        raise InputError(f"{name}: expected {wanted}, got {array.ravel()[at]:g}{place}")
    return array


def check_single(name: str, value: object) -> None:
    """Raise where there is more than one number, or True or False.

    >>> check_single("learning_rate", [0.1])
    Traceback (most recent call last):
    ...
    simulator.errors.InputError: learning_rate: expected a number, got [0.1]
    """
    if isinstance(value, bool) or np.ndim(value):  # type: ignore[arg-type]
        raise InputError(f"{name}: expected a number, got {value!r}")


def _range(low: float, high: float, above: bool) -> str:
    if np.isfinite(high):
        return f"a number from {low:g} to {high:g}"
    if not np.isfinite(low):
        return "a finite number"
    return f"a finite number {'above' if above else 'of at least'} {low:g}"


def plain(result: FloatArray) -> Result:
    """Return a result without dimensions as a float, any other as it is.

    >>> plain(np.float64(0.5)), plain(np.ones(2))
    (0.5, array([1., 1.]))
    """
    return result if np.ndim(result) else float(result)


def check_whole(name: str, value: object, low: int) -> None:
    """Raise where a value is no whole number, or below `low`.

    Parameters
    ----------
    name : what the value is, for the error
    value : an int, of Python or NumPy; a float is none, whatever its value
    low : the smallest that makes sense

    Raises
    ------
    InputError : it is none

    >>> check_whole("steps", 2.5, 1)
    Traceback (most recent call last):
    ...
    simulator.errors.InputError: steps: expected a whole number of at least 1, got 2.5
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < low:  # type: ignore[operator]
        raise InputError(f"{name}: expected a whole number of at least {low}, got {value!r}")
