"""Say which kernels an op runs, by its kind: their family, their sizes, and how often.

A function takes a graph and the indices (n,) of ops of one kind, and returns kernels whose sizes
are arrays (n,). Most ops are one kernel; a recurrent layer is a product for each step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from hwmodels.gpu.convolution import input_gradient
from hwmodels.gpu.family import Sizes
from simulator.ops import (
    DIMS,
    DTYPE_BYTES,
    DTYPES,
    KINDS,
    PHASES,
    FloatArray,
    Graph,
    IntArray,
)

ORDINARY = ("float32", "float64")
"""Dtypes whose products are timed as those of ordinary units."""
ATTENTION_LIBRARY = "flash_attention"
"""The library whose attention a framework takes in 16 bits."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """Be one kernel of each of n ops.

    Parameters
    ----------
    family : name of its family
    sizes : that the family's form asks for, (n,) each
    times : how often each op runs it (n,)
    """

    family: str
    sizes: Sizes
    times: FloatArray


Kernels: TypeAlias = list[Kernel]


def _dims(graph: Graph, at: IntArray) -> dict[str, FloatArray]:
    """Return the sizes of ops of one kind by name, (n,) each."""
    names = DIMS[KINDS[graph.kind[at[0]]]]
    return {name: graph.dims[at, place].astype(np.float64) for place, name in enumerate(names)}


def _is_ordinary(graph: Graph, at: IntArray) -> bool:
    return DTYPES[graph.dtype[at[0]]] in ORDINARY


def _products(
    ordinary: bool, sizes: tuple[FloatArray, ...], times: FloatArray | float = 1.0
) -> Kernels:
    """Return products of sizes batch, m, n, k (n,) each, on matrix units or on ordinary ones.

    Ordinary ones are of a family for one product with weights, and of another for a batch.
    """
    d = dict(zip(DIMS["gemm"], sizes, strict=True))
    times = np.broadcast_to(np.asarray(times, float), d["m"].shape)
    if not ordinary:
        return [Kernel("gemm", d, times)]
    single = d["batch"] == 1
    both = (Kernel("linear", d, times * single), Kernel("bmm", d, times * ~single))
    return [one for one in both if one.times.any()] or [both[0]]


def _gemm(graph: Graph, at: IntArray) -> Kernels:
    return _products(_is_ordinary(graph, at), tuple(_dims(graph, at).values()))


def _rows(graph: Graph, at: IntArray) -> Kernels:
    """Take what works on rows for a kernel that reads and writes each once, as often as it does."""
    d = _dims(graph, at)
    family = KINDS[graph.kind[at[0]]]
    once = 2.0 * DTYPE_BYTES[DTYPES[graph.dtype[at[0]]]] * d["rows"] * d["columns"]
    return [Kernel(family, d, graph.bytes_moved[at] / np.maximum(once, 1.0))]


def _convolution(graph: Graph, at: IntArray) -> Kernels:
    """Take a convolution for the algorithms of a library, in 16 bits or less for its product.

    Matrix units are taken to multiply all windows with the filters (implicit gemm) and nothing
    else: no timings tell where Winograd's algorithm is quicker there. A window of one pixel is a
    product as it is, on any units.

    A backward pass computes the gradients by the inputs (unless there are none) and the weights.
    Groups of channels are a batch of products; where each channel has a filter of its own, a
    kernel moves more than it multiplies.
    """
    d = {name: np.maximum(size, 1.0) for name, size in _dims(graph, at).items()}
    groups, one = d["groups"], np.ones(len(at))
    whole, single = groups <= 1, (groups > 1) & (groups >= d["in_channels"])
    rows, window = d["batch"] * d["out_h"] * d["out_w"], d["kernel_h"] * d["kernel_w"]
    outside, inside = d["out_channels"] / groups, d["in_channels"] / groups
    direct = 2.0 * rows * d["out_channels"] * inside * window
    needed = np.where(single, 0.0, np.maximum(np.round(graph.flops[at] / direct), 1.0))
    streamed = replace(_streaming(graph, at)[0], times=single.astype(np.float64))
    product = (groups, rows, outside, inside * window)
    if not _is_ordinary(graph, at):
        return [*_products(False, product, needed), streamed]
    passes = np.where(whole, needed, 0.0)
    sizes = {**d, "stride": np.maximum(np.round(d["in_h"] / d["out_h"]), 1.0)}
    back = whole & (graph.phase[at] == PHASES.index("backward"))
    point, by_input = window == 1, np.where(back, passes - 1.0, 0.0).clip(0.0)
    transposed = (one, rows, d["in_channels"], d["out_channels"])
    return [
        *_products(True, product, np.where(whole, np.where(point & ~back, passes, 0.0), needed)),
        *_products(True, transposed, np.where(point, by_input, 0.0)),
        Kernel("conv2d", sizes, np.where(point | back, 0.0, passes)),
        Kernel("conv2d", input_gradient(sizes), np.where(point, 0.0, by_input)),
        Kernel("convolution_weights", sizes, np.where(back, 1.0, 0.0)),
        streamed,
    ]


def _attention(graph: Graph, at: IntArray) -> Kernels:
    """Take attention for its kernels; a backward pass counts as often as it multiplies."""
    d = _dims(graph, at)
    forward = 4.0 * d["batch"] * d["heads"] * d["q_len"] * d["kv_len"] * d["head_dim"]
    times = np.where(graph.flops[at] > 0, graph.flops[at] / np.maximum(forward, 1.0), 1.0)
    return _attended(_is_ordinary(graph, at), d, times)


def _attended(ordinary: bool, d: Mapping[str, FloatArray], times: FloatArray) -> Kernels:
    """Return attention that runs so many times: in 16 bits one kernel that keeps no scores.

    In 32 and 64 bits that kernel does not exist: the scores, their softmax and the weighted values
    (the "math" way of PyTorch; its memory-efficient kernel is not measured).
    """
    if ordinary:
        each, queries = d["batch"] * d["heads"], d["q_len"]
        rows = {"rows": each * queries, "columns": d["kv_len"]}
        return [
            *_products(True, (each, queries, d["kv_len"], d["head_dim"]), times),
            Kernel("softmax", rows, times),
            *_products(True, (each, queries, d["head_dim"], d["kv_len"]), times),
        ]
    sizes, one = {**d, "kv_heads": d["heads"]}, d["q_len"] == 1
    return [
        Kernel(f"prefill_{ATTENTION_LIBRARY}", sizes, np.where(one, 0.0, times)),
        Kernel(f"decode_{ATTENTION_LIBRARY}", sizes, np.where(one, times, 0.0)),
    ]


def _recurrent(graph: Graph, at: IntArray) -> Kernels:
    """Take a recurrent layer for one product over all inputs, and one a step over the state."""
    d, ordinary = _dims(graph, at), _is_ordinary(graph, at)
    one, gates = np.ones(len(at)), d["gates"] * d["hidden"]
    return [
        *_products(ordinary, (one, d["steps"] * d["batch"], gates, d["in_features"])),
        *_products(ordinary, (one, d["batch"], gates, d["hidden"]), d["steps"]),
    ]


def _encoder(graph: Graph, at: IntArray) -> Kernels:
    """Take a fused encoder layer for its attention, its four products and two normalizations."""
    d, ordinary = _dims(graph, at), _is_ordinary(graph, at)
    one, rows, width = np.ones(len(at)), d["batch"] * d["tokens"], d["width"]
    heads = {"batch": d["batch"], "heads": d["heads"], "q_len": d["tokens"], "kv_len": d["tokens"],
             "head_dim": width / d["heads"], "causal": np.zeros(len(at))}  # fmt: skip
    sides = ((3 * width, width), (width, width), (d["hidden"], width), (width, d["hidden"]))
    return [
        *_attended(ordinary, heads, one),
        *(kernel for n, k in sides for kernel in _products(ordinary, (one, rows, n, k))),
        Kernel("normalization", {"rows": rows, "columns": width}, 2.0 * one),
    ]


def _streaming(graph: Graph, at: IntArray) -> Kernels:
    """Take an op for a kernel that reads and writes its operands; what moves nothing has none."""
    sizes = {"read_bytes": graph.bytes_read[at], "written_bytes": graph.bytes_written[at]}
    return [Kernel("streaming", sizes, (graph.bytes_moved[at] > 0).astype(np.float64))]


_SPECIAL: Mapping[str, Callable[[Graph, IntArray], Kernels]] = {
    "gemm": _gemm,
    "sparse_gemm": _gemm,
    "softmax": _rows,
    "normalization": _rows,
    "conv2d": _convolution,
    "depthwise_conv2d": _convolution,
    "attention": _attention,
    "rnn": _recurrent,
    "encoder_layer": _encoder,
}
KERNELS: Mapping[str, Callable[[Graph, IntArray], Kernels]] = MappingProxyType(
    {kind: _SPECIAL.get(kind, _streaming) for kind in KINDS}
)
"""What an op runs, by its kind; all that is not listed above streams its operands."""
