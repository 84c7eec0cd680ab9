"""Time products of matrices: tiles of the result, in waves over the multiprocessors.

A kernel cuts the result into *tiles* of bm x bn. A multiprocessor computes a tile in iterations
over k; each loads a slice of both operands and multiplies it. Tiles run in waves, so that one tile
more than there are multiprocessors takes twice as long (*wave quantization*); at the border of the
result tiles are partly empty (*tile quantization*). A product with few tiles and large k is cut
along k too (*split-k*), and the parts are added up. A library tries several tiles and takes the
quickest.

All numbers are shares of what a data sheet states, or cycles, so that they hold on other chips:
operands are loaded as quickly as matrix units need them, kernels begin and join after so many
cycles. Small operands stay in the L2 cache from one product to the next. Large products need more
power than a card has: its clock goes down until the power suffices.

Forms of this kind: Li et al., "NeuSight", ASPLOS 2025; Osama et al., "Stream-K", PPoPP 2023.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwmodels.gpu.chip import Chip
from hwmodels.gpu.family import Axis, Family, Numbers, Parameter, Parts, Sizes
from simulator.ops import DTYPE_BYTES, FloatArray

TILES = (
    (16, 32), (16, 128), (32, 64), (64, 32), (64, 64), (128, 32), (64, 128), (128, 64), (128, 128),
    (64, 256), (256, 64), (128, 256), (256, 128),
)  # fmt: skip
"""Tiles that a library has, rows and columns of the result."""
SLICE_BYTES = 128.0
"""An iteration loads so many bytes of each row of the operands."""
FEWEST_ITERATIONS = 2.0
"""A part of a split product has no fewer."""
SHORT_BYTES = 1.0
"""Bytes of an element from which down operands are made short before a product."""
CLOCK_OF_POWER = 1.0 / 3.0
"""Power is capacity x voltage^2 x clock, and the voltage goes with the clock (Weste and Harris,
"CMOS VLSI Design", chapter 5)."""
HIT_STEEPNESS = 8.0
"""How steeply hits in the L2 cache fall, once the data do not fit: as the power of their size."""

PARAMETERS: Mapping[str, Parameter] = {
    "peak_share": Parameter(0.3, 0.9, 1.3, "share of the peak that large tiles reach"),
    "tile_half": Parameter(0.2, 8.0, 100.0, "rows or columns of a tile that reach half of that"),
    "memory_share": Parameter(0.4, 0.85, 1.0, "share of the memory bandwidth that is reached"),
    "l2_ratio": Parameter(0.5, 3.0, 60.0, "bandwidth of the L2 cache over that of the memory"),
    "l2_share": Parameter(0.02, 0.2, 3.0, "data that half stay in the L2 cache, over its size"),
    "floor_cycles": Parameter(200.0, 4e3, 4e4, "of an empty kernel"),
    "iteration_cycles": Parameter(5.0, 300.0, 5e3, "cycles of an iteration at least"),
    "prologue_cycles": Parameter(1.0, 500.0, 2e4, "cycles before a tile's first iteration"),
    "store_bytes_per_cycle": Parameter(1.0, 50.0, 5e3, "of one multiprocessor, for results"),
    "load_flop_per_byte": Parameter(1.0, 80.0, 800.0, "FLOP of matrix units at their peak while a "
                                    "byte of the operands is loaded"),
    "split_cycles": Parameter(20.0, 5e3, 4e5, "cycles to add up the parts of a split product"),
    "flop_per_joule": Parameter(1e11, 1e12, 2e13, "FLOP of a joule at full clock"),
    "quantize_share": Parameter(0.05, 0.4, 1.0, "share of the memory bandwidth while the left "
                                "operand is made short (8-bit products)", SHORT_BYTES),
    "quantize_s": Parameter(1e-7, 2e-6, 2e-5, "time of an empty kernel that does so, seconds",
                            SHORT_BYTES),
}  # fmt: skip


def gemm_parts(chip: Chip, dtype: str, numbers: Numbers, sizes: Sizes) -> Parts:
    """Return what products [batch, m, k] x [batch, k, n] spend time on, seconds.

    Cost: a few passes over an array of candidates (tiles x splits) x kernels.
    """
    batch, m, n, k = (np.asarray(sizes[name], float) for name in ("batch", "m", "n", "k"))
    width = DTYPE_BYTES[dtype]
    flop, nbytes = gemm_amounts(dtype, sizes)
    dram = _outer_s(chip, numbers, nbytes)
    main, l2, added = _candidates(chip, dtype, numbers, (batch, m, n, k))
    total = np.maximum(np.maximum(main, dram), l2) + added
    best = total.argmin(axis=0)[None]
    chosen = [np.take_along_axis(part, best, axis=0)[0] for part in (main, l2, added)]
    compute = chosen[0] * _slower(chip, numbers, flop / chosen[0])
    parts = Parts(np.zeros_like(m), compute, np.maximum(dram, chosen[1]))
    parts = parts.then(numbers["floor_cycles"] / chip.clock_hz, chosen[2])
    if width <= SHORT_BYTES:
        # 16-bit elements are turned into 8 bits each: 2 bytes read, 1 written.
        rate = chip.bandwidth_bytes_per_s * numbers["quantize_share"]
        parts = parts.then(numbers["quantize_s"], 3.0 * batch * m * k / rate)
    return parts


def _outer_s(chip: Chip, numbers: Numbers, nbytes: FloatArray) -> FloatArray:
    """Return the time (n,) to move all data once, out of the L2 cache where they stayed there."""
    missed = 1.0 / (1.0 + (nbytes / (numbers["l2_share"] * chip.l2_bytes)) ** -HIT_STEEPNESS)
    rate = missed / numbers["memory_share"] + (1.0 - missed) / numbers["l2_ratio"]
    time: FloatArray = nbytes * rate / chip.bandwidth_bytes_per_s
    return time


def _slower(chip: Chip, numbers: Numbers, flop_per_s: FloatArray) -> FloatArray:
    """Return how many times as long products of these rates (n,) take, as power is limited."""
    needed = flop_per_s / (numbers["flop_per_joule"] * chip.power_w)
    times: FloatArray = np.maximum(needed, 1.0) ** CLOCK_OF_POWER
    return times


def gemm_amounts(dtype: str, sizes: Sizes) -> tuple[FloatArray, FloatArray]:
    """Return FLOP and bytes of products (n,): each operand read once, each result written once.

    Results of 8-bit products have 16 bits.

    >>> one = {name: np.array([2.0]) for name in ("batch", "m", "n", "k")}
    >>> gemm_amounts("float32", one)
    (array([32.]), array([96.]))
    """
    batch, m, n, k = (np.asarray(sizes[name], float) for name in ("batch", "m", "n", "k"))
    width = DTYPE_BYTES[dtype]
    elements = (m * k + k * n) * width + m * n * max(width, 2.0)
    return 2.0 * batch * m * n * k, batch * elements


def _candidates(
    chip: Chip, dtype: str, numbers: Numbers, sizes: tuple[FloatArray, ...]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return times of all candidates (candidates, n): main loop, L2 traffic, adding up parts."""
    batch, m, n, k = sizes
    width = DTYPE_BYTES[dtype]
    slice_k = SLICE_BYTES / width
    rows, columns = (np.array(side, float)[:, None] for side in zip(*TILES, strict=True))
    tiles = batch * np.ceil(m / rows) * np.ceil(n / columns)
    most = np.maximum(np.floor(k / (FEWEST_ITERATIONS * slice_k)), 1.0)
    fill = np.clip(np.floor(chip.sms / tiles), 1.0, most)
    splits = np.concatenate([np.ones_like(tiles), fill, np.maximum(np.round(fill / 2), 1.0)])
    rows, columns, tiles = (np.concatenate([one] * 3) for one in (rows, columns, tiles))
    iterations = np.ceil(k / splits / slice_k)
    waves = np.ceil(tiles * splits / chip.sms)
    slices = (rows + columns) * slice_k * width
    cycles = numbers["prologue_cycles"] + iterations * _iteration(
        chip, dtype, numbers, (rows, columns, slices, slice_k)
    )
    cycles = cycles + rows * columns * max(width, 2.0) / numbers["store_bytes_per_cycle"]
    l2 = chip.bandwidth_bytes_per_s * numbers["l2_ratio"]
    begin = numbers["split_cycles"] / chip.clock_hz
    parts = np.where(splits > 1, begin + 4.0 * batch * m * n * splits / l2, 0.0)
    return waves * cycles / chip.clock_hz, tiles * splits * iterations * slices / l2, parts


def _iteration(
    chip: Chip, dtype: str, numbers: Numbers, tile: tuple[FloatArray, FloatArray, FloatArray, float]
) -> FloatArray:
    """Return the cycles of an iteration of each candidate (candidates, 1)."""
    rows, columns, slices, slice_k = tile
    half = numbers["tile_half"]
    shape = rows / (rows + half) * columns / (columns + half)
    per_cycle = chip.peak_flop_per_s(dtype) / (chip.sms * chip.clock_hz)
    multiply = 2.0 * rows * columns * slice_k / (per_cycle * numbers["peak_share"] * shape)
    load = slices * numbers["load_flop_per_byte"] / per_cycle
    cycles: FloatArray = np.maximum(np.maximum(multiply, load), numbers["iteration_cycles"])
    return cycles


GEMM = Family(
    name="gemm",
    sizes=("batch", "m", "n", "k"),
    parameters=PARAMETERS,
    form=gemm_parts,
    amounts=gemm_amounts,
    axes=(
        Axis("m", 0.0, 1.5, 11),
        Axis("n", 4.0, 1.5, 9),
        Axis("k", 4.0, 1.5, 9),
    ),
)
