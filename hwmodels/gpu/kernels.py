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

ORDINARY = "float32"
"""Dtype whose products are timed as those of ordinary units."""
FUSED = "flash_attention"
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


def _once(family: str, sizes: Sizes) -> Kernels:
    first = next(iter(sizes.values()))
    return [Kernel(family, sizes, np.ones_like(first))]


def _product(batch: FloatArray, m: FloatArray, n: FloatArray, k: FloatArray) -> Kernel:
    return Kernel("gemm", {"batch": batch, "m": m, "n": n, "k": k}, np.ones_like(m))


def _gemm(graph: Graph, at: IntArray) -> Kernels:
    """Take products of ordinary units for one with weights or a batch of them, else for tiles."""
    d = _dims(graph, at)
    if DTYPES[graph.dtype[at[0]]] != ORDINARY:
        return _once("gemm", d)
    single = d["batch"] == 1
    return [
        Kernel("linear", d, single.astype(np.float64)),
        Kernel("bmm", d, (~single).astype(np.float64)),
    ]


def _rows(graph: Graph, at: IntArray) -> Kernels:
    """Take what works on rows for a kernel that reads and writes each once, as often as it does."""
    d = _dims(graph, at)
    family = KINDS[graph.kind[at[0]]]
    once = 2.0 * DTYPE_BYTES[DTYPES[graph.dtype[at[0]]]] * d["rows"] * d["columns"]
    return [Kernel(family, d, graph.bytes_moved[at] / np.maximum(once, 1.0))]


def _convolution(graph: Graph, at: IntArray) -> Kernels:
    """Take a convolution for the algorithms of a library in float32, else for its product.

    A backward pass computes the gradients by the inputs (unless there are none) and the weights.
    Where each channel has a filter of its own, a kernel moves more than it multiplies.
    """
    d = {name: np.maximum(size, 1.0) for name, size in _dims(graph, at).items()}
    whole = d["groups"] <= 1
    rows, window = d["batch"] * d["out_h"] * d["out_w"], d["kernel_h"] * d["kernel_w"]
    direct = 2.0 * rows * d["out_channels"] * d["in_channels"] / d["groups"] * window
    passes = np.where(whole, np.maximum(np.round(graph.flops[at] / direct), 1.0), 0.0)
    streamed = replace(_streaming(graph, at)[0], times=(~whole).astype(np.float64))
    if DTYPES[graph.dtype[at[0]]] != ORDINARY:
        product = _product(np.ones(len(at)), rows, d["out_channels"], d["in_channels"] * window)
        return [replace(product, times=passes), streamed]
    sizes = {**d, "stride": np.maximum(np.round(d["in_h"] / d["out_h"]), 1.0)}
    back = graph.phase[at] == PHASES.index("backward")
    return [
        Kernel("conv2d", sizes, np.where(back, 0.0, passes)),
        Kernel("conv2d", input_gradient(sizes), np.where(back, passes - 1.0, 0.0).clip(0.0)),
        Kernel("convolution_weights", sizes, np.where(back & whole, 1.0, 0.0)),
        streamed,
    ]


def _attention(graph: Graph, at: IntArray) -> Kernels:
    """Take attention for one kernel that keeps no scores, in float32 for its two products.

    A backward pass counts as often as it multiplies.
    """
    d = _dims(graph, at)
    each = d["batch"] * d["heads"]
    if DTYPES[graph.dtype[at[0]]] == ORDINARY:
        return [
            _product(each, d["q_len"], d["kv_len"], d["head_dim"]),
            _product(each, d["q_len"], d["head_dim"], d["kv_len"]),
        ]
    forward = 4.0 * each * d["q_len"] * d["kv_len"] * d["head_dim"]
    times = np.where(graph.flops[at] > 0, graph.flops[at] / forward, 1.0)
    sizes, one = {**d, "kv_heads": d["heads"]}, d["q_len"] == 1
    return [
        Kernel(f"prefill_{FUSED}", sizes, np.where(one, 0.0, times)),
        Kernel(f"decode_{FUSED}", sizes, np.where(one, times, 0.0)),
    ]


def _recurrent(graph: Graph, at: IntArray) -> Kernels:
    """Take a recurrent layer for one product over all inputs, and one a step over the state."""
    d = _dims(graph, at)
    one, gates = np.ones(len(at)), d["gates"] * d["hidden"]
    step = _product(one, d["batch"], gates, d["hidden"])
    return [
        _product(one, d["steps"] * d["batch"], gates, d["in_features"]),
        Kernel(step.family, step.sizes, d["steps"]),
    ]


def _encoder(graph: Graph, at: IntArray) -> Kernels:
    """Take a fused encoder layer for its four products and its attention."""
    d = _dims(graph, at)
    one, rows, width = np.ones(len(at)), d["batch"] * d["tokens"], d["width"]
    each, head = d["batch"] * d["heads"], width / d["heads"]
    return [
        _product(one, rows, 3 * width, width),
        _product(each, d["tokens"], d["tokens"], head),
        _product(each, d["tokens"], head, d["tokens"]),
        _product(one, rows, width, width),
        _product(one, rows, d["hidden"], width),
        _product(one, rows, width, d["hidden"]),
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
