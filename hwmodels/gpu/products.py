"""Time products of matrices on the ordinary units of a chip, without matrix units.

As in `hwmodels.gpu.gemm` a kernel cuts the result into tiles; a multiprocessor holds several at a
time (*residents*), which hide each other's latency: with q tiles to do, an iteration over k takes
as long as the arithmetic of q tiles, or as the latency of its rounds where that is longer (Volkov,
"Understanding Latency Hiding on GPUs", UC Berkeley 2016, chapter 4). Rows of operands that do not
begin at a multiple of 16 bytes cost more loads.

`LINEAR` is a product with weights (rows of both operands lie along k), where the library picks a
tile and may cut along k; `BMM` is a batch of products, for which it only uses large tiles. Both
are calls of a framework that are waited for, launch included; `VECTOR_GEMM` is a kernel alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from hwmodels.gpu.chip import Chip
from hwmodels.gpu.family import Axis, Family, Numbers, Parameter, Parts, Sizes
from simulator.ops import DTYPE_BYTES, FloatArray

TILES = (
    (32, 32), (32, 128), (128, 32), (64, 32), (32, 64), (64, 64), (64, 128), (128, 64), (128, 128),
)  # fmt: skip
"""Tiles that a library has, rows and columns of the result."""
SLICE = 8.0
"""Steps along k of one iteration."""
RESIDENT = 32768.0
"""Elements of the result that a multiprocessor holds in its registers."""
MOST_RESIDENT = 16.0
"""Tiles that a multiprocessor holds at most."""
SHORTEST = 64.0
"""Steps along k of a part of a split product at least."""
FILLS = 2.0
"""Tiles for each multiprocessor that a product is split into."""
ALIGNED_BYTES = 16.0
"""Operands whose rows begin at multiples of this are loaded by whole vectors."""

PRODUCT: Mapping[str, Parameter] = MappingProxyType({
    "peak_share": Parameter(0.2, 0.85, 1.1, "share of the peak that endless tiles reach"),
    "tile_half": Parameter(0.5, 3.0, 12.0, "rows or columns of a tile that reach half of that"),
    "memory_share": Parameter(0.3, 0.7, 1.0, "share of the memory bandwidth that is reached"),
    "l2_bytes_per_cycle": Parameter(6.0, 20.0, 64.0, "of one multiprocessor, from the L2 cache"),
    "floor_s": Parameter(1e-6, 4e-5, 3e-4, "time of an empty kernel and of its launch, seconds"),
    "iteration_cycles": Parameter(50.0, 400.0, 3e3, "latency of an iteration, cycles"),
    "prologue_cycles": Parameter(100.0, 2e3, 2e4, "cycles of a round outside of its iterations"),
})  # fmt: skip
"""Numbers of every product."""
UNALIGNED: Mapping[str, Parameter] = MappingProxyType({
    "unaligned_loads": Parameter(1.0, 1.2, 2.5, "traffic from the L2 cache of operands that are "
                                 "not aligned, over that of aligned ones"),
    "unaligned_work": Parameter(1.0, 1.05, 1.3, "cycles of arithmetic likewise"),
})  # fmt: skip
SPLIT: Mapping[str, Parameter] = MappingProxyType(
    {"split_s": Parameter(1e-6, 5e-6, 1e-4, "time to begin to add up parts, seconds")}
)
LEAST: Mapping[str, Parameter] = MappingProxyType(
    {"least_tile": Parameter(1024.0, 4096.0, 16384.0, "elements of the smallest tile in use")}
)


class Products(NamedTuple):
    """Hold products [batch, m, k] x [batch, k, n] in a dtype, (n,) each, as a form sees them.

    Parameters
    ----------
    dtype : of the operands
    batch, m, n, k : sizes
    reuse : elements of the left operand that are read for one in memory (overlapping windows)
    """

    dtype: str
    batch: FloatArray
    m: FloatArray
    n: FloatArray
    k: FloatArray
    reuse: FloatArray | float = 1.0

    @property
    def unaligned(self) -> FloatArray:
        """Return the share (n,) of operands whose rows are not aligned: none, half or all."""
        vector = ALIGNED_BYTES / DTYPE_BYTES[self.dtype]
        share: FloatArray = ((self.k % vector != 0) * 0.5) + ((self.n % vector != 0) * 0.5)
        return share

    def dram_s(self, chip: Chip, numbers: Numbers) -> FloatArray:
        """Return the time (n,) to read both operands and write the result once, seconds."""
        moved = self.m * self.k / self.reuse + self.k * self.n + self.m * self.n
        rate = chip.bandwidth_bytes_per_s * numbers["memory_share"]
        time: FloatArray = DTYPE_BYTES[self.dtype] * self.batch * moved / rate
        return time


class _Tiles(NamedTuple):
    """Hold candidates (candidates, 1 or n): sides of a tile, tiles, and parts along k."""

    rows: FloatArray
    columns: FloatArray
    number: FloatArray
    parts: FloatArray


def product_amounts(dtype: str, sizes: Sizes) -> tuple[FloatArray, FloatArray]:
    """Return FLOP and bytes that products need at least."""
    batch, m, n, k = (np.asarray(sizes[name], float) for name in ("batch", "m", "n", "k"))
    return 2.0 * batch * m * n * k, DTYPE_BYTES[dtype] * batch * (m * k + k * n + m * n)


def product_parts(chip: Chip, dtype: str, numbers: Numbers, sizes: Sizes) -> Parts:
    """Return what products, with weights or in a batch, spend time on, seconds."""
    products = Products(
        dtype, *(np.asarray(sizes[name], float) for name in ("batch", "m", "n", "k"))
    )
    parts = product_s(chip, numbers, products)
    return parts._replace(overhead_s=numbers["floor_s"] + parts.overhead_s)


def product_s(chip: Chip, numbers: Numbers, products: Products) -> Parts:
    """Return what the best candidate of each product spends time on, without the floor, seconds.

    Parameters
    ----------
    chip : that they run on
    numbers : `PRODUCT`; `UNALIGNED`, `SPLIT` and `LEAST` where these apply
    products : to time
    """
    tiles = _tiles(chip, numbers, products)
    main, l2 = _main_s(chip, numbers, products, tiles), _l2_s(chip, numbers, products, tiles)
    results = DTYPE_BYTES[products.dtype] * products.batch * products.m * products.n
    rate = chip.bandwidth_bytes_per_s * numbers["memory_share"]
    cut = tiles.parts > 1
    ways = Parts(np.zeros_like(main), main, np.maximum(l2, products.dram_s(chip, numbers))).then(
        np.where(cut, numbers.get("split_s", 0.0), 0.0),
        np.where(cut, 2.0 * results * tiles.parts / rate, 0.0),
    )
    best = ways.time_s.argmin(axis=0)[None]
    return Parts(*(np.take_along_axis(part, best, axis=0)[0] for part in ways[:3]))


def _tiles(chip: Chip, numbers: Numbers, products: Products) -> _Tiles:
    """Return the candidates: all tiles in use, whole and (with `split_s`) cut along k."""
    used = [tile for tile in TILES if tile[0] * tile[1] > 0.9 * numbers.get("least_tile", 0.0)]
    rows, columns = (np.array(side, float)[:, None] for side in zip(*used, strict=True))
    count = products.batch * np.ceil(products.m / rows) * np.ceil(products.n / columns)
    whole = _Tiles(rows, columns, count, np.ones_like(count))
    if "split_s" not in numbers:
        return whole
    most = np.maximum(np.floor(products.k / SHORTEST), 1.0)
    parts = np.clip(np.floor(FILLS * chip.sms / count), 1.0, most)
    cut = _Tiles(rows, columns, count * parts, parts)
    return _Tiles(*(np.concatenate(pair) for pair in zip(whole, cut, strict=True)))


def flop_per_cycle(chip: Chip, dtype: str) -> float:
    """Return what a multiprocessor computes in a cycle, at the rate that its power sustains.

    Raises
    ------
    InputError : the chip does not compute on the dtype
    """
    sustained = chip.sustained_share if dtype == "float32" else 1.0
    return sustained * chip.peak_flop_per_s(dtype) / (chip.sms * chip.clock_hz)


def _main_s(chip: Chip, numbers: Numbers, products: Products, tiles: _Tiles) -> FloatArray:
    """Return the time of the busiest multiprocessor (candidates, n), seconds."""
    each = np.ceil(tiles.number / chip.sms)
    resident = np.clip(RESIDENT / (tiles.rows * tiles.columns), 1.0, MOST_RESIDENT)
    rounds = np.ceil(each / resident)
    iterations = np.ceil(products.k / tiles.parts / SLICE)
    half = numbers["tile_half"]
    shape = (1.0 + half / tiles.rows) * (1.0 + half / tiles.columns)
    unaligned = 1.0 + (numbers.get("unaligned_work", 1.0) - 1.0) * products.unaligned
    per_cycle = flop_per_cycle(chip, products.dtype) * numbers["peak_share"]
    work = 2.0 * tiles.rows * tiles.columns * SLICE * shape / per_cycle
    step = np.maximum(each * work * unaligned, rounds * numbers["iteration_cycles"])
    cycles: FloatArray = rounds * numbers["prologue_cycles"] + iterations * step
    return cycles / chip.clock_hz


def _l2_s(chip: Chip, numbers: Numbers, products: Products, tiles: _Tiles) -> FloatArray:
    """Return the time to load all slices from the L2 cache (candidates, n), seconds."""
    loads = 1.0 + (numbers.get("unaligned_loads", 1.0) - 1.0) * products.unaligned
    iterations = np.ceil(products.k / tiles.parts / SLICE)
    slices = (tiles.rows + tiles.columns) * SLICE * DTYPE_BYTES[products.dtype] * loads
    rate = numbers["l2_bytes_per_cycle"] * chip.sms * chip.clock_hz
    time: FloatArray = tiles.number * iterations * slices / rate
    return time


_AXES = (
    Axis("batch", 0.0, 4.0, 4),
    Axis("m", 3.0, 2.0, 7),
    Axis("n", 2.0, 2.0, 8),
    Axis("k", 2.0, 2.0, 8),
)

LINEAR = Family(
    name="linear",
    sizes=("batch", "m", "n", "k"),
    parameters=MappingProxyType({**PRODUCT, **UNALIGNED, **SPLIT}),
    form=product_parts,
    amounts=product_amounts,
    axes=_AXES[1:],
)
BMM = Family(
    name="bmm",
    sizes=("batch", "m", "n", "k"),
    parameters=MappingProxyType({**PRODUCT, **UNALIGNED, **LEAST}),
    form=product_parts,
    amounts=product_amounts,
    axes=_AXES,
)
VECTOR_GEMM = replace(LINEAR, name="vector_gemm")
