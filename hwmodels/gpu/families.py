"""Know all families of kernels, and what is known of them on a device.

An op goes to a family by its kind (`hwmodels.gpu.kernels`). A family that has no fit in the op's
dtype takes that of the dtype nearest in width; one that has none at all is timed by its form with
the numbers that a fit begins with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np

from hwmodels.gpu.attention import ATTENTION
from hwmodels.gpu.chip import Chip
from hwmodels.gpu.convolution import CONV2D, CONVOLUTION, WEIGHT_GRADIENT
from hwmodels.gpu.family import Family, Parts
from hwmodels.gpu.gemm import GEMM
from hwmodels.gpu.kernels import KERNELS, Kernel
from hwmodels.gpu.products import BMM, LINEAR, VECTOR_GEMM
from hwmodels.gpu.streaming import NORMALIZATION, SOFTMAX, STREAMING
from hwmodels.spec import FamilyFit
from simulator.ops import DTYPE_BYTES, DTYPES, KINDS, FloatArray, Graph, IntArray

FAMILIES: Mapping[str, Family] = MappingProxyType({
    one.name: one for one in (
        GEMM, VECTOR_GEMM, LINEAR, BMM, CONVOLUTION, CONV2D, WEIGHT_GRADIENT,
        STREAMING, NORMALIZATION, SOFTMAX, *ATTENTION,
    )
})  # fmt: skip
"""Families by name."""

Fits: TypeAlias = Mapping[tuple[str, str], FamilyFit]
Error: TypeAlias = Callable[[str, FamilyFit], float]
"""From a family's name and fit to measured over predicted time of its kernels."""
HALF = 0.5
"""Share of weights that are left where sparse units apply (2 of 4)."""


def fit_for(family: Family, dtype: str, fits: Fits) -> FamilyFit:
    """Return what is known of a family in a dtype.

    What the fits lack is taken from the dtype of the nearest width, its correction left out; where
    there is none, the form's first numbers stand.

    >>> fit_for(GEMM, "float16", {}).numbers["peak_share"]
    0.9
    """
    found = fits.get((family.name, dtype))
    if found is not None:
        return found
    width = DTYPE_BYTES[dtype]
    others = [other for name, other in fits if name == family.name]
    if not others:
        return FamilyFit(numbers=family.start, data="assumed", device="")
    near = min(others, key=lambda other: (abs(np.log2(DTYPE_BYTES[other] / width)), other))
    fit = fits[family.name, near]
    return fit if DTYPE_BYTES[near] == width else replace(fit, correction=())


class Timed(NamedTuple):
    """Hold how long kernels of one family and dtype take, of some ops.

    Parameters
    ----------
    family, dtype : of the kernels
    fit : that they are timed by
    at : the ops (n,)
    time_s : of each op's kernel (n,), seconds; 0 where an op runs none
    """

    family: str
    dtype: str
    fit: FamilyFit
    at: IntArray
    time_s: FloatArray


def costs_of(
    graph: Graph,
    chip: Chip,
    fits: Fits,
    error: Error | None = None,
    start_s: float = math.inf,
    timed: list[Timed] | None = None,
) -> Parts:
    """Return what each op of a graph (n,) spends time on when it runs alone, seconds.

    Costs one pass for each family and dtype that occur.

    Parameters
    ----------
    error : gives measured over predicted time of a family; None: all are taken as predicted
    start_s : the device's own part of a kernel's overhead at most, seconds; where timings were
        waited for, the rest was the host's launch, which passes while other kernels run
    timed : to which the kernels are added that the costs are made of; None: to nothing

    Raises
    ------
    InputError : an op in a dtype that the chip does not compute on
    """
    graph = _as_computed(graph, chip)
    totals = [np.zeros(len(graph)) for _ in Parts._fields]
    timed, every = [] if timed is None else timed, np.arange(len(graph))
    rates = _Rates(chip, fits, error, start_s, timed, every)
    sparse = graph.density <= HALF
    alike = np.stack([graph.kind, graph.dtype, sparse], axis=1)
    for kind, dtype, half in np.unique(alike, axis=0).tolist():
        at = np.flatnonzero((graph.kind == kind) & (graph.dtype == dtype) & (sparse == half))
        for total, one in zip(totals, _costs(graph, at, rates._replace(at=at)), strict=True):
            total[at] = one
    return Parts(*totals)


def _as_computed(graph: Graph, chip: Chip) -> Graph:
    """Return the graph in the dtypes that the chip computes its own in."""
    codes = np.array([DTYPES.index(chip.computed_as(dtype)) for dtype in DTYPES])
    computed = codes[graph.dtype]
    return graph if (computed == graph.dtype).all() else replace(graph, dtype=computed)


class _Rates(NamedTuple):
    """Hold what kernels are timed by."""

    chip: Chip
    fits: Fits
    error: Error | None
    start_s: float
    timed: list[Timed]
    at: IntArray


def _costs(graph: Graph, at: IntArray, rates: _Rates) -> Parts:
    """Return the parts of ops of one kind and dtype, all or none of which sparse units speed up."""
    kind, dtype = KINDS[graph.kind[at[0]]], DTYPES[graph.dtype[at[0]]]
    if kind == "sparse_gemm" and graph.density[at[0]] <= HALF:
        rates = rates._replace(chip=rates.chip.with_sparse(dtype))
    done = [_kernel(one, dtype, rates) for one in KERNELS[kind](graph, at)]
    if len(done) == 1:
        return done[0]
    overhead, busy, matrix = (np.zeros(len(at)) for _ in range(3))
    for one in done:
        overhead += one.overhead_s
        busy += np.maximum(one.compute_s, one.memory_s)
        matrix += one.matrix_s
    return Parts(overhead, busy, np.zeros(len(at)), matrix)


def _kernel(kernel: Kernel, dtype: str, rates: _Rates) -> Parts:
    family = FAMILIES[kernel.family]
    fit = fit_for(family, dtype, rates.fits)
    times = kernel.times
    if rates.error is not None:
        times = times * rates.error(family.name, fit)
    parts = family.parts(rates.chip, dtype, fit, kernel.sizes)
    started = np.minimum(parts.overhead_s, rates.start_s)
    on_matrix = (parts.compute_s >= parts.memory_s) & (dtype in rates.chip.matrix_dtypes)
    matrix = np.where(on_matrix, parts.compute_s, 0.0)
    done = parts._replace(overhead_s=started, matrix_s=matrix).times(times)
    rates.timed.append(Timed(family.name, dtype, fit, rates.at, done.time_s))
    return done
