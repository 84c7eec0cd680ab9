"""Time convolutions by the quickest of three algorithms of a library.

- *direct*: the product of all windows with the filters, windows never stored (*implicit gemm*;
  Chetlur et al., "cuDNN", arXiv:1410.0759, section 3).
- *fused Winograd* F(2x2, 3x3): 16 products for 4 results instead of 36 (Lavin & Gray, "Fast
  Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1), in one kernel after
  another that transforms the filters. A block of threads makes `BLOCK` results of 32 channels of
  one image, as the launch grids of suite gpu-fp32 show.
- *Winograd in steps* F(4x4, 3x3): 36 products for 16 results instead of 144 (ibid.), as a batch of
  36 products; kernels before and after it transform inputs, filters and results, which are stored.
  F(4x4, 5x5) likewise: 64 instead of 400.

The last two are for windows of 3 x 3 (in steps 5 x 5 too) that move by 1. Which one a library takes
is not an input.
The gradient by the input is a convolution as well (`input_gradient`); that by the weights is a
product whose long side is summed up.

`CONVOLUTION` and `WEIGHT_GRADIENT` are kernels; `CONV2D` is a call of a framework that is waited
for, with all that takes (so that its floor is much longer).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from hwmodels.gpu.chip import Chip
from hwmodels.gpu.family import Axis, Family, Numbers, Parameter, Parts, Sizes
from hwmodels.gpu.products import (
    LEAST,
    PRODUCT,
    RESIDENT,
    SLICE,
    SPLIT,
    Products,
    flop_per_cycle,
    product_s,
)
from simulator.ops import DTYPE_BYTES, BoolArray, FloatArray

SIZES = (
    "batch", "in_channels", "out_channels", "out_h", "out_w", "kernel_h", "kernel_w", "stride",
)  # fmt: skip
FUSED_SQUARE = 2.0
"""Side of the square of results that the fused Winograd kernel makes at once."""
BLOCK = (8.0, 16.0)
"""Rows and columns of results that a block of threads of it makes."""
BLOCK_CHANNELS = 32.0
"""Channels of the results of a block."""
STEPPED_SQUARE = 4.0
"""Side of the square of results that is made at once where Winograd's algorithm goes in steps."""
WINDOW = 3.0
"""Side of the windows that the fused Winograd kernel is for."""
WINDOWS = (3.0, 5.0)
"""Likewise where it goes in steps."""

_OWN: Mapping[str, Parameter] = MappingProxyType({
    "floor_s": Parameter(1e-6, 6e-5, 4e-4, "time of an empty kernel and of its launch, seconds"),
    "tile_half": Parameter(0.5, 3.0, 30.0, "rows or columns of a tile that reach half of that"),
    "direct_share": Parameter(0.5, 0.8, 1.0, "peak share of direct convolutions over products'"),
})  # fmt: skip
FUSED_SHARE: Mapping[str, Parameter] = MappingProxyType({
    "fused_share": Parameter(0.1, 0.7, 1.2, "peak share of the fused kernel over products'"),
    "fused_cycles": Parameter(100.0, 8e3, 6e4, "cycles of a round of the fused kernel outside of "
                              "its iterations"),
})  # fmt: skip
WINOGRAD: Mapping[str, Parameter] = MappingProxyType({
    "transform_share": Parameter(0.2, 0.7, 1.5, "share of the memory bandwidth of transforms"),
    "transform_s": Parameter(1e-6, 2e-5, 2e-4, "time of a transform at least, seconds"),
})  # fmt: skip


def convolution_amounts(dtype: str, sizes: Sizes) -> tuple[FloatArray, FloatArray]:
    """Return FLOP (of direct ones) and bytes that convolutions and their gradients need at least.

    >>> one = {name: np.ones(1) for name in SIZES} | {"batch": np.array([8.0])}
    >>> convolution_amounts("float32", one)
    (array([16.]), array([68.]))
    """
    arrays = {name: np.asarray(sizes[name], float) for name in SIZES}
    window = arrays["kernel_h"] * arrays["kernel_w"]
    filters = arrays["in_channels"] * arrays["out_channels"] * window
    pixels = arrays["batch"] * arrays["out_h"] * arrays["out_w"]
    inside = pixels * arrays["stride"] ** 2 * arrays["in_channels"]
    moved = inside + filters + pixels * arrays["out_channels"]
    return 2.0 * pixels * filters, DTYPE_BYTES[dtype] * moved


def convolution_parts(chip: Chip, dtype: str, numbers: Numbers, sizes: Sizes) -> Parts:
    """Return what convolutions spend time on, seconds; the quickest algorithm counts."""
    arrays = {name: np.asarray(sizes[name], float) for name in SIZES}
    ways = (
        _direct(chip, dtype, numbers, arrays),
        _where(_moves_by_one(arrays, (WINDOW,)), _fused(chip, dtype, numbers, arrays)),
        _where(_moves_by_one(arrays, WINDOWS), _stepped(chip, dtype, numbers, arrays)),
    )
    return _quickest(numbers, ways)


def _where(possible: BoolArray, way: Parts) -> Parts:
    """Return a way that takes forever where it is not possible."""
    return way._replace(overhead_s=np.where(possible, way.overhead_s, np.inf))


def _moves_by_one(sizes: Sizes, windows: tuple[float, ...]) -> BoolArray:
    """Say which convolutions (n,) have one of these windows, square, and move it by 1."""
    square = sizes["kernel_h"] == sizes["kernel_w"]
    found: BoolArray = square & np.isin(sizes["kernel_h"], windows) & (sizes["stride"] == 1.0)
    return found


def _direct(chip: Chip, dtype: str, numbers: Numbers, sizes: Sizes) -> Parts:
    window = sizes["kernel_h"] * sizes["kernel_w"]
    products = Products(
        dtype,
        np.ones_like(window),
        sizes["batch"] * sizes["out_h"] * sizes["out_w"],
        sizes["out_channels"],
        sizes["in_channels"] * window,
        reuse=np.maximum(window / sizes["stride"] ** 2, 1.0),
    )
    return product_s(chip, _direct_numbers(numbers), products)


def _direct_numbers(numbers: Numbers) -> Numbers:
    """Return the numbers of products that gather their operand; these have tiles of all sizes."""
    slower = {**numbers, "peak_share": numbers["peak_share"] * numbers["direct_share"]}
    slower.pop("least_tile", None)
    return slower


def _fused(chip: Chip, dtype: str, numbers: Numbers, sizes: Sizes) -> Parts:
    """Take each square for 16 products a channel, by blocks whose sums fill the registers."""
    points = (FUSED_SQUARE + WINDOW - 1.0) ** 2
    squares = BLOCK[0] * BLOCK[1] / FUSED_SQUARE**2
    blocks = sizes["batch"] * np.ceil(sizes["out_channels"] / BLOCK_CHANNELS)
    for side, block in zip(("out_h", "out_w"), BLOCK, strict=True):
        blocks = blocks * np.ceil(sizes[side] / block)
    each = np.ceil(blocks / chip.sms)
    rounds = np.ceil(each * points * squares * BLOCK_CHANNELS / RESIDENT)
    share = numbers["peak_share"] * numbers["fused_share"]
    work = 2.0 * points * squares * BLOCK_CHANNELS / (share * flop_per_cycle(chip, dtype))
    slices = np.ceil(sizes["in_channels"] / SLICE) * SLICE
    cycles = rounds * numbers["fused_cycles"] + each * slices * work
    pixels = sizes["batch"] * sizes["out_h"] * sizes["out_w"]
    filters = sizes["in_channels"] * sizes["out_channels"]
    moved = pixels * (sizes["in_channels"] + sizes["out_channels"]) + points * filters
    memory = DTYPE_BYTES[dtype] * moved / (chip.bandwidth_bytes_per_s * numbers["memory_share"])
    main = Parts(np.zeros_like(cycles), cycles / chip.clock_hz, memory)
    read, write = WINDOW**2, points
    return _with_transforms(main, chip, dtype, numbers, (1, (read + write) * filters))


def _with_transforms(
    parts: Parts, chip: Chip, dtype: str, numbers: Numbers, transforms: tuple[int, FloatArray]
) -> Parts:
    """Return parts before and after which so many kernels move so many elements in all."""
    kernels, moved = transforms
    rate = chip.bandwidth_bytes_per_s * numbers["transform_share"]
    begun = np.full(len(moved), kernels * numbers["transform_s"])
    return parts.then(begun, DTYPE_BYTES[dtype] * moved / rate)


def _stepped(
    chip: Chip, dtype: str, numbers: Numbers, sizes: Sizes, summed: str = "in_channels"
) -> Parts:
    """Return the parts of Winograd in steps; `summed` says over what its products sum."""
    window = sizes["kernel_h"]
    points = (STEPPED_SQUARE + window - 1.0) ** 2
    inside, outside = sizes["in_channels"], sizes["out_channels"]
    squares = sizes["batch"]
    for side in ("out_h", "out_w"):
        squares = squares * np.ceil(sizes[side] / STEPPED_SQUARE)
    sides = (squares, outside, inside) if summed == "in_channels" else (inside, outside, squares)
    products = Products(dtype, points, *sides)
    whole = {name: number for name, number in numbers.items() if name != "split_s"}
    pixels = sizes["batch"] * sizes["out_h"] * sizes["out_w"]
    moved = (pixels + points * squares) * (inside + outside)
    moved = moved + (window**2 + points) * inside * outside
    return _with_transforms(product_s(chip, whole, products), chip, dtype, numbers, (3, moved))


def weight_gradient_parts(chip: Chip, dtype: str, numbers: Numbers, sizes: Sizes) -> Parts:
    """Return what gradients of convolutions by their weights spend time on, seconds.

    They are products of the gradients [out_channels, pixels] with all windows [pixels, in_channels
    x window]; the sum over all pixels of the batch is cut into parts. Winograd's algorithm in steps
    does for them as well, summing over squares of pixels.
    """
    arrays = {name: np.asarray(sizes[name], float) for name in SIZES}
    window = arrays["kernel_h"] * arrays["kernel_w"]
    products = Products(
        dtype,
        np.ones_like(window),
        arrays["in_channels"] * window,
        arrays["out_channels"],
        arrays["batch"] * arrays["out_h"] * arrays["out_w"],
        reuse=np.maximum(window / arrays["stride"] ** 2, 1.0),
    )
    stepped = _stepped(chip, dtype, numbers, arrays, summed="squares")
    ways = (
        product_s(chip, _direct_numbers(numbers), products),
        _where(_moves_by_one(arrays, WINDOWS), stepped),
    )
    return _quickest(numbers, ways)


def _quickest(numbers: Numbers, ways: Sequence[Parts]) -> Parts:
    """Return the parts of the quickest way of each kernel."""
    best = np.stack([way.time_s for way in ways]).argmin(axis=0)
    overhead, compute, memory = (
        np.choose(best, [way[place] for way in ways]) for place in range(3)
    )
    return Parts(numbers["floor_s"] + overhead, compute, memory)


def input_gradient(sizes: Sizes) -> dict[str, FloatArray]:
    """Return the sizes of the convolutions that are the gradients of these by their inputs.

    Channels change places. One that moved by more than 1 becomes stride^2 convolutions that move
    by 1, each over a part of the window, whose results lie between each other; together they count
    as one with a smaller window (Dumoulin & Visin, arXiv:1603.07285, section 4).

    >>> one = {name: np.ones(1) for name in SIZES} | {"out_channels": np.array([64.0])}
    >>> gradient = input_gradient(one)
    >>> gradient["in_channels"], gradient["out_channels"]
    (array([64.]), array([1.]))
    """
    stride = np.asarray(sizes["stride"], float)
    return {
        "batch": np.asarray(sizes["batch"], float),
        "in_channels": np.asarray(sizes["out_channels"], float),
        "out_channels": np.asarray(sizes["in_channels"], float),
        "out_h": sizes["out_h"] * stride,
        "out_w": sizes["out_w"] * stride,
        "kernel_h": sizes["kernel_h"] / stride,
        "kernel_w": sizes["kernel_w"] / stride,
        "stride": np.ones_like(stride),
    }


_AXES = (
    Axis("batch", 0.0, 2.0, 4),
    Axis("in_channels", 1.0, 2.0, 6),
    Axis("out_channels", 1.0, 2.0, 6),
    Axis("out_w", 2.0, 1.5, 5),
)

CONVOLUTION = Family(
    name="convolution",
    sizes=SIZES,
    parameters=MappingProxyType({**PRODUCT, **SPLIT, **_OWN, **FUSED_SHARE, **WINOGRAD}),
    form=convolution_parts,
    amounts=convolution_amounts,
    axes=_AXES,
)
CONV2D = replace(
    CONVOLUTION,
    name="conv2d",
    parameters=MappingProxyType({**CONVOLUTION.parameters, **LEAST}),
)
WEIGHT_GRADIENT = Family(
    name="convolution_weights",
    sizes=SIZES,
    parameters=MappingProxyType({**PRODUCT, **SPLIT, **_OWN, **WINOGRAD}),
    form=weight_gradient_parts,
    amounts=convolution_amounts,
    axes=_AXES,
)
