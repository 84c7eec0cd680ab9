"""Time convolutions by the quickest of three algorithms of a library.

- *direct*: the product of all windows with the filters, windows never stored (*implicit gemm*;
  Chetlur et al., "cuDNN", arXiv:1410.0759, section 3).
- *fused Winograd* F(2x2, 3x3): 16 products for 4 results instead of 36 (Lavin & Gray, "Fast
  Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1), all in one kernel.
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

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from hwmodels.gpu.chip import Chip
from hwmodels.gpu.family import Axis, Family, Numbers, Parameter, Parts, Sizes
from hwmodels.gpu.products import PRODUCT, SPLIT, Products, product_s
from simulator.ops import DTYPE_BYTES, FloatArray

SIZES = (
    "batch", "in_channels", "out_channels", "out_h", "out_w", "kernel_h", "kernel_w", "stride",
)  # fmt: skip
FUSED = 2.0
"""Side of the square of results that the fused Winograd kernel makes at once."""
STEPPED = 4.0
"""Likewise where it goes in steps."""
WINDOW = 3.0
"""Side of the windows that the fused Winograd kernel is for."""
WINDOWS = (3.0, 5.0)
"""Likewise where it goes in steps."""

_OWN: Mapping[str, Parameter] = MappingProxyType({
    "floor_s": Parameter(1e-6, 6e-5, 4e-4, "time of an empty kernel and of its launch, seconds"),
    "tile_half": Parameter(0.5, 3.0, 30.0, "rows or columns of a tile that reach half of that"),
    "direct_share": Parameter(0.3, 0.7, 1.0, "peak share of direct convolutions over products'"),
})  # fmt: skip
FUSED_SHARE: Mapping[str, Parameter] = MappingProxyType({
    "fused_share": Parameter(0.1, 0.7, 1.2, "peak share of the fused kernel over products'"),
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
    ways = np.stack([
        np.stack(_direct(chip, dtype, numbers, arrays)),
        np.stack(_fused(chip, dtype, numbers, arrays)),
        np.stack(_stepped(chip, dtype, numbers, arrays)),
    ])  # fmt: skip
    ways[1, 2, np.logical_not(_moves_by_one(arrays, (WINDOW,)))] = np.inf
    ways[2, 2, np.logical_not(_moves_by_one(arrays, WINDOWS))] = np.inf
    return _quickest(numbers, ways)


def _moves_by_one(sizes: Sizes, windows: tuple[float, ...]) -> FloatArray:
    """Say which convolutions (n,) have one of these windows, square, and move it by 1."""
    square = sizes["kernel_h"] == sizes["kernel_w"]
    found: FloatArray = square & np.isin(sizes["kernel_h"], windows) & (sizes["stride"] == 1.0)
    return found


def _direct(
    chip: Chip, dtype: str, numbers: Numbers, sizes: Sizes
) -> tuple[FloatArray, FloatArray, FloatArray]:
    window = sizes["kernel_h"] * sizes["kernel_w"]
    products = Products(
        dtype,
        np.ones_like(window),
        sizes["batch"] * sizes["out_h"] * sizes["out_w"],
        sizes["out_channels"],
        sizes["in_channels"] * window,
        reuse=np.maximum(window / sizes["stride"] ** 2, 1.0),
    )
    slower = {**numbers, "peak_share": numbers["peak_share"] * numbers["direct_share"]}
    return product_s(chip, slower, products)


def _fused(
    chip: Chip, dtype: str, numbers: Numbers, sizes: Sizes
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Take each result for a product of (2 + 2)^2 / 2^2 = 4 steps a channel, instead of 9."""
    each = ((FUSED + WINDOW - 1.0) / FUSED) ** 2
    squares = sizes["batch"] * np.ceil(sizes["out_h"] / FUSED) * np.ceil(sizes["out_w"] / FUSED)
    products = Products(
        dtype,
        np.ones_like(squares),
        squares * FUSED**2,
        sizes["out_channels"],
        sizes["in_channels"] * each,
        reuse=each,
    )
    slower = {**numbers, "peak_share": numbers["peak_share"] * numbers["fused_share"]}
    slower.pop("split_s")
    compute, memory, added = product_s(chip, slower, products)
    return compute, memory, added + numbers["transform_s"]


def _stepped(
    chip: Chip, dtype: str, numbers: Numbers, sizes: Sizes, summed: str = "in_channels"
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the times of Winograd in steps; `summed` says over what its products sum."""
    window = sizes["kernel_h"]
    points = (STEPPED + window - 1.0) ** 2
    inside, outside = sizes["in_channels"], sizes["out_channels"]
    squares = sizes["batch"] * np.ceil(sizes["out_h"] / STEPPED) * np.ceil(sizes["out_w"] / STEPPED)
    sides = (squares, outside, inside) if summed == "in_channels" else (inside, outside, squares)
    products = Products(dtype, points, *sides)
    whole = {name: number for name, number in numbers.items() if name != "split_s"}
    compute, memory, added = product_s(chip, whole, products)
    pixels = sizes["batch"] * sizes["out_h"] * sizes["out_w"]
    moved = (pixels + points * squares) * (inside + outside)
    moved = moved + (window**2 + points) * inside * outside
    rate = chip.bandwidth_bytes_per_s * numbers["transform_share"]
    transforms = DTYPE_BYTES[dtype] * moved / rate + 3.0 * numbers["transform_s"]
    return compute, memory, added + transforms


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
    slower = {**numbers, "peak_share": numbers["peak_share"] * numbers["direct_share"]}
    ways = np.stack([
        np.stack(product_s(chip, slower, products)),
        np.stack(_stepped(chip, dtype, numbers, arrays, summed="squares")),
    ])  # fmt: skip
    ways[1, 2, np.logical_not(_moves_by_one(arrays, WINDOWS))] = np.inf
    return _quickest(numbers, ways)


def _quickest(numbers: Numbers, ways: FloatArray) -> Parts:
    """Return the parts of the quickest of ways (ways, 3, n): arithmetic, memory, added; seconds."""
    total = np.maximum(ways[:, 0], ways[:, 1]) + ways[:, 2]
    compute, memory, added = np.take_along_axis(ways, total.argmin(axis=0)[None, None], axis=0)[0]
    return Parts(numbers["floor_s"] + added, compute, memory)


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
CONV2D = replace(CONVOLUTION, name="conv2d")
WEIGHT_GRADIENT = Family(
    name="convolution_weights",
    sizes=SIZES,
    parameters=MappingProxyType({**PRODUCT, **SPLIT, **_OWN, **WINOGRAD}),
    form=weight_gradient_parts,
    amounts=convolution_amounts,
    axes=_AXES,
)
