"""Say what a family of kernels is: a form with bounded numbers, and a smooth correction of it.

A *form* computes the time of a kernel from its sizes, the chip and a few *numbers* that mean
something (a share of the peak, cycles of an iteration). Numbers are fitted within bounds. What the
form leaves over is smooth in the logarithms of the sizes: a *correction* holds it on a grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from hwmodels.gpu.chip import Chip
from hwmodels.spec import FamilyFit
from simulator.ops import FloatArray, IntArray

Numbers: TypeAlias = Mapping[str, float]
Sizes: TypeAlias = Mapping[str, FloatArray]


class Parts(NamedTuple):
    """Hold what kernels (n,) spend time on; memory and arithmetic go on at the same time, seconds.

    Parameters
    ----------
    overhead_s : before and after both
    compute_s : arithmetic
    memory_s : data from the caches and the memory
    matrix_s : the part of arithmetic that takes longest in its kernel, on matrix units
    """

    overhead_s: FloatArray
    compute_s: FloatArray
    memory_s: FloatArray
    matrix_s: FloatArray | float = 0.0

    @property
    def time_s(self) -> FloatArray:
        """Return the time of each kernel (n,), seconds."""
        total: FloatArray = self.overhead_s + np.maximum(self.compute_s, self.memory_s)
        return total

    @property
    def matrix_share(self) -> FloatArray:
        """Return the share of each kernel's time without overhead (n,) on matrix units."""
        work = np.maximum(self.compute_s, self.memory_s)
        share: FloatArray = np.where(work > 0, self.matrix_s / np.where(work > 0, work, 1.0), 0.0)
        return share

    def then(self, overhead_s: FloatArray | float, alone_s: FloatArray) -> Parts:
        """Return the parts with work before or after both, that begins and takes for so long."""
        return self._replace(
            overhead_s=self.overhead_s + overhead_s,
            compute_s=self.compute_s + alone_s,
            memory_s=self.memory_s + alone_s,
        )

    def times(self, factor: FloatArray) -> Parts:
        """Return the parts of kernels that take so many times as long."""
        return Parts(*(part * factor for part in self))


@dataclass(frozen=True, slots=True)
class Parameter:
    """Describe a number of a form.

    Parameters
    ----------
    low, start, high : bounds, and where a fit begins; all positive
    doc : what the number means, and its unit
    widest_bytes : of an element of the widest dtype that the form uses it in, bytes
    """

    low: float
    start: float
    high: float
    doc: str
    widest_bytes: float = math.inf


@dataclass(frozen=True, slots=True)
class Axis:
    """Be an axis of a correction's grid: the logarithm (base 2, clipped) of a size.

    Parameters
    ----------
    size : whose logarithm it is
    low, step, count : first point of the grid, distance and number of points
    powers : further sizes that it is multiplied with, and the powers of these
    """

    size: str
    low: float
    step: float
    count: int
    powers: tuple[tuple[str, float], ...] = ()

    @property
    def points(self) -> FloatArray:
        """Return the grid's points on this axis."""
        points: FloatArray = self.low + self.step * np.arange(self.count, dtype=np.float64)
        return points

    def place(self, sizes: Sizes) -> FloatArray:
        """Return the places of kernels (n,) on this axis, those beyond the grid at its end.

        >>> axis = Axis("heads", 0.0, 1.0, 6, (("kv_heads", -1.0),))
        >>> axis.place({"heads": np.array([32.0]), "kv_heads": np.array([8.0])})
        array([2.])
        """
        log = np.log2(np.maximum(sizes[self.size], _LEAST))
        for name, power in self.powers:
            log = log + power * np.log2(np.maximum(sizes[name], _LEAST))
        placed: FloatArray = np.clip(log, self.low, self.low + self.step * (self.count - 1))
        return placed


_LEAST = 1e-9
"""What a size of nothing counts as; below all grids."""


Form: TypeAlias = Callable[[Chip, str, Numbers, Sizes], Parts]
Amounts: TypeAlias = Callable[[str, Sizes], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Describe a family of kernels.

    Parameters
    ----------
    name : "gemm"
    sizes : that its form asks for
    parameters : by name
    form : from chip, dtype, numbers and sizes (n,) to what n kernels spend time on
    amounts : from dtype and sizes (n,) to FLOP and bytes (n,) that n kernels need at least
    axes : of the grid of its correction
    """

    name: str
    sizes: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    form: Form
    amounts: Amounts
    axes: tuple[Axis, ...]

    @property
    def start(self) -> Numbers:
        """Return the numbers that a fit begins with."""
        return {name: one.start for name, one in self.parameters.items()}

    def misfits(self, fit: FamilyFit) -> list[str]:
        """Return what keeps a fit from being one of this family: of another version, or damaged."""
        points = math.prod(axis.count for axis in self.axes)
        wrong = [f"lacks {one}" for one in self.parameters if not fit.numbers.get(one)]
        wrong += [f"has {one}, which is unknown" for one in fit.numbers
                  if one not in self.parameters]  # fmt: skip
        if len(fit.correction) not in (0, points):
            wrong.append(f"has a correction of {len(fit.correction)} points instead of {points}")
        return wrong

    def parts(self, chip: Chip, dtype: str, fit: FamilyFit, sizes: Sizes) -> Parts:
        """Return what kernels (n,) spend time on, seconds.

        Parameters
        ----------
        chip : that they run on
        dtype : of their operands
        fit : numbers and correction
        sizes : by name, (n,) each

        Raises
        ------
        InputError : the chip does not compute on the dtype
        """
        form = self.form(chip.computing_on(dtype), dtype, fit.numbers, sizes)
        return form if not fit.correction else form.times(np.exp(self.correction(fit, sizes)))

    def correction(self, fit: FamilyFit, sizes: Sizes) -> FloatArray:
        """Return the logarithm of the correction of kernels (n,), interpolated on the grid."""
        placed = [_place(axis, sizes) for axis in self.axes]
        at, step = np.zeros(len(placed[0][0]), np.int64), 1
        steps: list[int] = []  # between neighbours on each axis, in the flat grid
        for axis, (low, _) in zip(reversed(self.axes), reversed(placed), strict=True):
            at += step * low
            steps.insert(0, step)
            step *= axis.count
        corners: list[tuple[int, FloatArray | float]] = [(0, 1.0)]
        for (_, part), step in zip(placed, steps, strict=True):
            corners = [(place + side * step, weight * (part if side else 1 - part))
                       for place, weight in corners for side in (0, 1)]  # fmt: skip
        grid, found = np.array(fit.correction), np.zeros(len(at))
        for place, weight in corners:
            found += grid[at + place] * weight
        return found


def _place(axis: Axis, sizes: Sizes) -> tuple[IntArray, FloatArray]:
    """Return the grid's point below each kernel, and how far beyond it that lies, in steps."""
    steps = (axis.place(sizes) - axis.low) / axis.step
    low = np.minimum(steps.astype(np.int64), axis.count - 2)
    return low, steps - low
