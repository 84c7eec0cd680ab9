"""Say how much work an op is for a CPU's libraries, and which sizes make it efficient.

A *family* is what one kernel does with one dtype. Its *form* gives the *amount* of work of an op
(operations of products, else elements) and the *sizes* on which the rate depends: a rate is
peak x product of d/(d + d_half) over the sizes d. `FORMS` is the table of forms. What is computed
here from a graph says nothing of a device and is found once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from simulator.ops import (
    DIMS,
    DTYPE_BYTES,
    DTYPES,
    KINDS,
    BoolArray,
    FloatArray,
    Graph,
    IntArray,
)

GRAIN_ELEMENTS = 32_768
"""Elements of one thread's chunk of an elementwise op (PyTorch, `at::internal::GRAIN_SIZE`)."""
GRAIN_FLOPS = 200_000.0
"""Arithmetic of a matrix product below which the library stays on one thread."""
CHANNEL_BLOCK = 16
"""Channels that convolution kernels handle at once (oneDNN's layouts nChw16c and OIhw16i16o);
what does not fill a block costs as much as a full one."""
FEW_CHANNELS = 4
"""Inputs with fewer channels (images) are not padded to a block."""
SIZES = 4
"""Most sizes of a form."""

FLOP_KINDS = frozenset(
    ("gemm", "sparse_gemm", "conv2d", "depthwise_conv2d", "attention", "rnn", "encoder_layer")
)
"""Kinds whose amount counts operations; the others' counts elements."""


class Rows(NamedTuple):
    """Hold ops of one kind.

    Parameters
    ----------
    dim : sizes (n,) of the ops by name, as in `simulator.ops.DIMS`
    flops : (n,) operations
    elements : (n,) of the larger of what is read and what is written
    """

    dim: Mapping[str, FloatArray]
    flops: FloatArray
    elements: FloatArray


Column: TypeAlias = Callable[[Rows], FloatArray]


class Form(NamedTuple):
    """Say what work an op of a family is.

    Parameters
    ----------
    amount : operations or elements
    sizes : on which the rate depends, by name; at most `SIZES`
    """

    amount: Column
    sizes: Mapping[str, Column]


class Family(NamedTuple):
    """Name what one kernel does with one dtype.

    Parameters
    ----------
    name : of the kernel, with its variant after a hyphen ("convolution-direct")
    kind, dtype : as the op has them
    form : a key of `FORMS`
    """

    name: str
    kind: str
    dtype: str
    form: str


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Hold the work of n ops of f families.

    Parameters
    ----------
    families : f of them
    family : (n,) index of each op's family
    amount : (n,) work
    sizes : (n, `SIZES`) in the order of the form's sizes, padded with 1
    team : (n,) most threads that have a chunk of work
    """

    families: tuple[Family, ...]
    family: IntArray
    amount: FloatArray
    sizes: FloatArray
    team: IntArray


def _dim(name: str) -> Column:
    return lambda rows: rows.dim[name]


def _dims(*names: str) -> dict[str, Column]:
    return {name: _dim(name) for name in names}


def _product(*names: str) -> Column:
    return lambda rows: np.prod([rows.dim[name] for name in names], axis=0)


def _flops(rows: Rows) -> FloatArray:
    return rows.flops


def _elements(rows: Rows) -> FloatArray:
    return rows.elements


def _blocks(channels: FloatArray) -> FloatArray:
    """Return channels rounded up to whole blocks."""
    rounded: FloatArray = np.ceil(channels / CHANNEL_BLOCK) * CHANNEL_BLOCK
    return rounded


def _inputs(rows: Rows) -> FloatArray:
    """Return the input channels of a group."""
    channels: FloatArray = rows.dim["in_channels"] / rows.dim["groups"]
    return channels


def _taps(rows: Rows) -> FloatArray:
    return rows.dim["kernel_h"] * rows.dim["kernel_w"]


def _pixels(rows: Rows) -> FloatArray:
    return rows.dim["out_h"] * rows.dim["out_w"]


def _positions(rows: Rows) -> FloatArray:
    return rows.dim["batch"] * _pixels(rows)


def _blocked_flops(rows: Rows) -> FloatArray:
    """Return the operations of a convolution whose channels are padded to whole blocks."""
    given, made = _inputs(rows), rows.dim["out_channels"]
    padded = np.where(given < FEW_CHANNELS, 1.0, _blocks(given) / given)
    return rows.flops * padded * _blocks(made) / made


def _uses(rows: Rows) -> FloatArray:
    """Return how many outputs each input of a convolution counts for."""
    strides = rows.dim["in_h"] * rows.dim["in_w"] / _pixels(rows)
    uses: FloatArray = rows.dim["out_channels"] * _taps(rows) / np.maximum(strides, 1.0)
    return uses


def _inner(rows: Rows) -> FloatArray:
    """Return how many products are summed for one output of a convolution."""
    return _inputs(rows) * _taps(rows)


_ROWS_COLUMNS = Form(_product("rows", "columns"), _dims("rows", "columns"))


def _evenness(rows: Rows) -> FloatArray:
    """Return columns over those that do not fill a vector; these are done one by one."""
    left = np.maximum(rows.dim["columns"] % CHANNEL_BLOCK, 1e-9)
    even: FloatArray = rows.dim["columns"] / left
    return even


_LOOKUP = Form(_product("rows", "width"), _dims("width"))
_MAP = Form(_elements, {})
_DIRECT = Form(_blocked_flops, {"positions": _positions, "uses": _uses, "inner": _inner})

FORMS: dict[str, Form] = {
    "gemm": Form(_flops, _dims("m", "n", "k")),
    "sparse_gemm": Form(_flops, _dims("m", "n", "k")),
    "conv2d-direct": _DIRECT,
    "conv2d-point": Form(_blocked_flops, {**_DIRECT.sizes, "made": _dim("out_channels")}),
    "conv2d-gemm": Form(
        _flops, {"made": _dim("out_channels"), "pixels": _pixels, "inner": _inner}
    ),
    "depthwise_conv2d": Form(
        lambda rows: rows.flops * _blocks(rows.dim["out_channels"]) / rows.dim["out_channels"],
        {"width": _dim("out_w"), "pixels": _pixels, "taps": _taps, "positions": _positions},
    ),
    "attention": Form(_flops, _dims("q_len", "kv_len", "head_dim")),
    "rnn": Form(_flops, _dims("batch", "in_features", "hidden")),
    "encoder_layer": Form(
        _flops, {"rows": _product("batch", "tokens"), "width": _dim("width")}
    ),
    "elementwise": _MAP,
    "copy": _MAP,
    "random": _MAP,
    "reduction": Form(
        _dim("elements"),
        {
            "outputs": _dim("outputs"),
            "summands": lambda rows: rows.dim["elements"] / np.maximum(rows.dim["outputs"], 1.0),
        },
    ),
    "normalization": _ROWS_COLUMNS,
    "softmax": Form(_ROWS_COLUMNS.amount, {**_ROWS_COLUMNS.sizes, "evenness": _evenness}),
    "sort": _ROWS_COLUMNS,
    "pool": Form(_product("outputs", "window"), _dims("window")),
    "gather": _LOOKUP,
    "scatter": _LOOKUP,
    "tree_split": Form(_product("rows", "features"), _dims("bins")),
    "host_to_device": _MAP,
}  # fmt: skip
"""The form of each kind of op; convolutions have one for each way the framework takes."""

_FOUND: dict[bool, WeakKeyDictionary[Graph, Features]] = {
    True: WeakKeyDictionary(),
    False: WeakKeyDictionary(),
}


def features_of(graph: Graph, threads: int = 1) -> Features:
    """Return the work of each op, computed once for one thread and once for more.

    Parameters
    ----------
    graph : the ops
    threads : the framework takes another convolution kernel on one thread than on more

    >>> from simulator.ops import Op
    >>> product = Op(kind="gemm", name="mm", dims=(1, 64, 64, 64), flops=524288.0)
    >>> features_of(Graph.of([product])).families[0].name
    'mm'
    """
    found = _FOUND[threads > 1].get(graph)
    if found is None:
        found = _FOUND[threads > 1][graph] = _features(graph, threads)
    return found


def _features(graph: Graph, threads: int) -> Features:
    variant = _variants(graph, threads)
    keys = np.stack([graph.kind, graph.name, graph.dtype, variant], axis=1)
    unique, family = np.unique(keys, axis=0, return_inverse=True)
    family = family.ravel()
    amount, sizes = np.ones(len(graph)), np.ones((len(graph), SIZES))
    families = []
    for index, (kind, name, dtype, way) in enumerate(unique.tolist()):
        families.append(_family(KINDS[kind], graph.names[name], DTYPES[dtype], _WAYS[way]))
        at = np.flatnonzero(family == index)
        form, rows = FORMS[families[-1].form], _rows(graph, at)
        amount[at] = np.maximum(form.amount(rows), 1.0)
        for column, size in enumerate(form.sizes.values()):
            sizes[at, column] = np.maximum(size(rows), 1.0)
    return Features(tuple(families), family, amount, sizes, _team(graph, amount))


def _family(kind: str, name: str, dtype: str, way: str) -> Family:
    if kind == "conv2d":
        return Family(f"{name}-{way}", kind, dtype, f"conv2d-{way}")
    return Family(f"{name}-{way}" if way else name, kind, dtype, kind)


def _rows(graph: Graph, at: IntArray) -> Rows:
    kind = KINDS[graph.kind[at[0]]]
    dims = graph.dims[at].astype(np.float64)
    size = DTYPE_BYTES[DTYPES[graph.dtype[at[0]]]]
    larger = np.maximum(graph.bytes_read[at], graph.bytes_written[at])
    return Rows(
        dim={name: dims[:, column] for column, name in enumerate(DIMS[kind])},
        flops=graph.flops[at],
        elements=larger / size,
    )


_WAYS = ("", "direct", "point", "gemm", "eval", "train", "flat", "thin", "partial", "single")
"""Variants of a kernel; each takes its own way through the libraries."""
_ONE_DNN_BATCH = 16
_ONE_DNN_INPUTS = 20_480
_THIN = 4
"""Fewer rows ("flat") or columns ("thin") make a product one of a matrix with vectors."""
_PARTIAL_SORT = 64
"""`topk` sorts partially where a row has so many times more elements than are wanted (PyTorch,
ATen/native/TopKImpl.h), else it selects."""
_INDEX_BYTES = 8.0


def _variants(graph: Graph, threads: int) -> IntArray:
    """Return the index in `_WAYS` of each op (n,)."""
    way = np.zeros(len(graph), np.int64)
    conv = graph.of_kind("conv2d")
    if conv.any():
        way[conv] = _conv_ways(graph, np.flatnonzero(conv), threads)
    size = np.array([DTYPE_BYTES[dtype] for dtype in DTYPES])[graph.dtype]
    norm = graph.of_kind("normalization") & _named(graph, "native_batch_norm")
    # Own statistics are results too.
    makes_more = graph.allocated_bytes > graph.dims[:, 0] * graph.dims[:, 1] * size
    way[norm] = np.where(makes_more[norm], _WAYS.index("train"), _WAYS.index("eval"))
    product = graph.of_kind("gemm")
    way[product & (graph.dim("n") < _THIN)] = _WAYS.index("thin")
    way[product & (graph.dim("m") < _THIN)] = _WAYS.index("flat")
    top = graph.of_kind("sort") & _named(graph, "topk")
    wanted = graph.bytes_written / (size + _INDEX_BYTES) / np.maximum(graph.dim("rows"), 1)
    way[top & (wanted * _PARTIAL_SORT <= graph.dim("columns"))] = _WAYS.index("partial")
    way[graph.of_kind("gather", "scatter") & (graph.dim("width") == 1)] = _WAYS.index("single")
    return way


def _named(graph: Graph, start: str) -> BoolArray:
    """Return a mask (n,) of the ops whose name begins so."""
    names = np.array([name.startswith(start) for name in graph.names], np.bool_)
    found: BoolArray = names[graph.name]
    return found


def _conv_ways(graph: Graph, at: IntArray, threads: int) -> IntArray:
    """Return how PyTorch does convolutions without groups: by oneDNN or as one product an image.

    The rule is that of `ConvParams::use_mkldnn` (ATen/native/Convolution.cpp).
    """
    rows = _rows(graph, at)
    taps, batch = _taps(rows), rows.dim["batch"]
    strided = rows.dim["in_h"] >= 2 * rows.dim["out_h"] - 1
    strided &= rows.dim["out_h"] > 1
    wanted = strided | (batch >= _ONE_DNN_BATCH) | (taps > 1) | (threads > 1)
    inputs = batch * rows.dim["in_channels"] * rows.dim["in_h"] * rows.dim["in_w"]
    wide = (rows.dim["kernel_h"] > 3) & (rows.dim["kernel_w"] > 3)
    large = (rows.dim["groups"] > 1) | wide | (batch > 1) | (inputs > _ONE_DNN_INPUTS)
    one_dnn = np.where(taps > 1, _WAYS.index("direct"), _WAYS.index("point"))
    ways: IntArray = np.where(wanted & large, one_dnn, _WAYS.index("gemm"))
    return ways


def _team(graph: Graph, amount: FloatArray) -> IntArray:
    """Return how many threads have a chunk of each op's work (n,)."""
    grain = np.where(graph.of_kind(*FLOP_KINDS), GRAIN_FLOPS, GRAIN_ELEMENTS)
    return np.maximum(np.ceil(amount / grain), 1.0).astype(np.int64)
