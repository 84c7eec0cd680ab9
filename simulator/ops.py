"""Say what is computed: an operation (Op) and a graph of operations (Graph).

An *op* is one call of a framework's kernel: its kind says which sizes describe it (`DIMS`), its
name is the framework's own ("gelu", "max_pool2d"), its phase says in which part of a step it runs.
A *graph* holds many ops as arrays, so that a device costs all of them in one vectorised call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, UnknownNameError

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]

_CONV = (
    "batch", "in_channels", "in_h", "in_w", "out_channels", "out_h", "out_w",
    "kernel_h", "kernel_w", "groups",
)  # fmt: skip

DIMS: dict[str, tuple[str, ...]] = {
    "gemm": ("batch", "m", "n", "k"),
    "sparse_gemm": ("batch", "m", "n", "k"),
    "conv2d": _CONV,
    "depthwise_conv2d": _CONV,
    "attention": ("batch", "heads", "q_len", "kv_len", "head_dim", "causal"),
    "rnn": ("steps", "batch", "in_features", "hidden", "gates"),
    "encoder_layer": ("batch", "tokens", "width", "heads", "hidden"),
    "elementwise": ("elements",),
    "copy": ("elements",),
    "random": ("elements",),
    "reduction": ("elements", "outputs"),
    "normalization": ("rows", "columns"),
    "softmax": ("rows", "columns"),
    "pool": ("outputs", "window"),
    "gather": ("rows", "width", "table_rows"),
    "scatter": ("rows", "width", "table_rows"),
    "sort": ("rows", "columns"),
    "tree_split": ("rows", "features", "bins"),
    "host_to_device": ("elements",),
}
"""The sizes that describe an op of each kind, in order."""

KINDS: tuple[str, ...] = tuple(DIMS)
FROM_HOST = "host_to_device"
"""Kind of a copy from the host's memory; on a CPU a copy like any other."""
PHASES: tuple[str, ...] = ("forward", "backward", "update", "other")
DTYPE_BYTES: dict[str, float] = {
    "float64": 8, "float32": 4, "tfloat32": 4, "bfloat16": 2, "float16": 2, "float8": 1,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1, "int4": 0.5,
    "complex64": 8, "float4": 0.5,
}  # fmt: skip
"""Bytes of one element by data type."""
DTYPES: tuple[str, ...] = tuple(DTYPE_BYTES)
WIDTH: int = max(len(names) for names in DIMS.values())
"""Columns of `Graph.dims`; an op's unused columns hold 0."""
LARGEST_DIM: int = 2**63 - 1
"""What a column of `Graph.dims` can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """Describe one operation of a framework.

    Parameters
    ----------
    kind : one of `KINDS`
    dims : sizes in the order of `DIMS[kind]`
    name : the framework's name of the operation, "" means the kind itself
    dtype : one of `DTYPES`
    flops : floating-point operations, 2 per multiply-add
    bytes_read, bytes_written : memory traffic if every operand moved once, bytes
    weight_bytes : the part of `bytes_read` that is trained weights, bytes
    allocated_bytes : memory newly allocated for the result (0 when in place), bytes
    phase : one of `PHASES`
    density : share of non-zero weights, in (0, 1]
    """

    kind: str
    dims: tuple[int, ...]
    name: str = ""
    dtype: str = "float32"
    flops: float = 0.0
    bytes_read: float = 0.0
    bytes_written: float = 0.0
    weight_bytes: float = 0.0
    allocated_bytes: float = 0.0
    phase: str = "forward"
    density: float = 1.0

    def __post_init__(self) -> None:
        for what, value, known in (
            ("op kind", self.kind, KINDS),
            ("dtype", self.dtype, DTYPES),
            ("phase", self.phase, PHASES),
        ):
            if value not in known:
                raise UnknownNameError(what, value, known, where=f"op '{self.name}'")
        if len(self.dims) != len(DIMS[self.kind]):
            wanted = ", ".join(DIMS[self.kind])
            raise InputError(f"op '{self.label}' of kind {self.kind} takes the sizes {wanted}; "
                             f"got {self.dims}")  # fmt: skip
        _check_amounts(self)

    @property
    def label(self) -> str:
        """Return the name to print: the framework's, else the kind."""
        return self.name or self.kind

    def dim(self, name: str) -> int:
        """Return one size by its name.

        >>> Op(kind="gemm", dims=(1, 4, 5, 6)).dim("k")
        6
        """
        return self.dims[DIMS[self.kind].index(name)]


def _check_amounts(op: Op) -> None:
    for name in ("flops", "bytes_read", "bytes_written", "weight_bytes", "allocated_bytes"):
        value = getattr(op, name)
        if not 0 <= value < np.inf:
            raise InputError(f"op '{op.label}': {name} must be finite and not negative; "
                             f"got {value}")  # fmt: skip
    for size in op.dims:
        if not isinstance(size, (int, np.integer)) or not 0 <= size <= LARGEST_DIM:
            raise InputError(f"op '{op.label}': sizes must be whole numbers from 0 to "
                             f"{LARGEST_DIM:.2g}; got {size!r} in {op.dims}")  # fmt: skip
    if not 0 < op.density <= 1:
        raise InputError(f"op '{op.label}': density must lie in (0, 1]; got {op.density}")


_AMOUNTS = (
    "flops", "bytes_read", "bytes_written", "weight_bytes", "allocated_bytes", "density",
)  # fmt: skip
COLUMNS = ("kind", "name", "dtype", "phase", "dims", *_AMOUNTS)
"""The arrays of a graph that hold one entry an op."""


@dataclass(frozen=True, eq=False)
class Graph:
    """Hold ops and what each waits for, as arrays over the n ops in program order.

    Parameters
    ----------
    kind, name, dtype, phase : int array (n,); indices into `KINDS`, `names`, `DTYPES`, `PHASES`
    names : the op names that occur
    dims : int array (n, `WIDTH`); sizes in the order of `DIMS`, padded with 0
    flops, bytes_read, bytes_written, weight_bytes, allocated_bytes, density : float array (n,)
    dep_start : int array (n + 1,); op i waits for `dep[dep_start[i]:dep_start[i + 1]]`
    dep : int array (e,); indices of earlier ops
    dep_bytes : float array (e,); bytes that the op reads of that earlier op's result
    parts : where graphs were joined, these; what depends on a whole step is that of each part
    origin : where the ops were selected from another graph, this and their indices (n,) in it; an
        op finds its operands where the whole step left them
    """

    kind: IntArray
    name: IntArray
    dtype: IntArray
    phase: IntArray
    names: tuple[str, ...]
    dims: IntArray
    flops: FloatArray
    bytes_read: FloatArray
    bytes_written: FloatArray
    weight_bytes: FloatArray
    allocated_bytes: FloatArray
    density: FloatArray
    dep_start: IntArray
    dep: IntArray
    dep_bytes: FloatArray
    parts: tuple[Graph, ...] = ()
    origin: tuple[Graph, IntArray] | None = None

    @classmethod
    def of(
        cls,
        ops: Iterable[Op],
        deps: Sequence[Sequence[int] | Mapping[int, float]] | None = None,
    ) -> Self:
        """Return the graph of these ops.

        Parameters
        ----------
        ops : in program order
        deps : for each op the earlier ops it waits for; a mapping also says how many bytes it
            reads of each (else its unweighted reads are dealt evenly); None: a chain

        >>> graph = Graph.of([Op(kind="gemm", dims=(1, 2, 3, 4), flops=48.0)])
        >>> len(graph), graph.flops.sum(), graph[0].dim("k")
        (1, np.float64(48.0), 4)
        """
        listed = list(ops)
        names = tuple(dict.fromkeys(op.label for op in listed))
        code = {name: index for index, name in enumerate(names)}
        dims = np.zeros((len(listed), WIDTH), np.int64)
        for row, op in zip(dims, listed, strict=True):
            row[: len(op.dims)] = op.dims
        start, dep, dep_bytes = _edges(listed, deps)
        return cls(
            kind=np.array([KINDS.index(op.kind) for op in listed], np.int64),
            name=np.array([code[op.label] for op in listed], np.int64),
            dtype=np.array([DTYPES.index(op.dtype) for op in listed], np.int64),
            phase=np.array([PHASES.index(op.phase) for op in listed], np.int64),
            names=names,
            dims=dims,
            **{a: np.array([getattr(op, a) for op in listed], np.float64) for a in _AMOUNTS},
            dep_start=start,
            dep=dep,
            dep_bytes=dep_bytes,
            parts=(),
            origin=None,
        )

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, index: int) -> Op:
        kind = KINDS[self.kind[index]]
        return Op(
            kind=kind,
            name=self.names[self.name[index]],
            dims=tuple(int(d) for d in self.dims[index, : len(DIMS[kind])]),
            dtype=DTYPES[self.dtype[index]],
            phase=PHASES[self.phase[index]],
            **{a: float(getattr(self, a)[index]) for a in _AMOUNTS},
        )

    def __iter__(self) -> Iterator[Op]:
        return (self[index] for index in range(len(self)))

    def dim(self, name: str) -> IntArray:
        """Return one size of every op (n,), 0 where the op's kind has no such size."""
        column = np.array([DIMS[k].index(name) if name in DIMS[k] else -1 for k in KINDS])
        at = column[self.kind]
        picked = self.dims[np.arange(len(self)), np.maximum(at, 0)]
        return np.where(at >= 0, picked, 0)

    def of_kind(self, *kinds: str) -> BoolArray:
        """Return a mask (n,) of the ops of these kinds."""
        return np.isin(self.kind, [KINDS.index(kind) for kind in kinds])

    def in_phase(self, *phases: str) -> BoolArray:
        """Return a mask (n,) of the ops in these phases."""
        return np.isin(self.phase, [PHASES.index(phase) for phase in phases])

    @cached_property
    def bytes_moved(self) -> FloatArray:
        """Return bytes read plus written by each op (n,)."""
        return self.bytes_read + self.bytes_written

    def deps_of(self, index: int) -> IntArray:
        """Return the indices of the ops that op `index` waits for."""
        return self.dep[self.dep_start[index] : self.dep_start[index + 1]]

    @classmethod
    def joined(cls, graphs: Sequence[Graph]) -> Graph:
        """Return the graph of the ops of all graphs, one graph after the other, as its parts.

        >>> two = Graph.of([Op(kind="copy", dims=(1,)), Op(kind="sort", dims=(1, 1))])
        >>> Graph.joined([two, two]).deps_of(3)
        array([2])
        """
        names = tuple(dict.fromkeys(name for graph in graphs for name in graph.names))
        code = {name: index for index, name in enumerate(names)}
        codes = [np.array([code[n] for n in g.names], np.int64)[g.name] for g in graphs]
        first = np.cumsum([0, *(len(graph) for graph in graphs)])
        edges = np.cumsum([0, *(len(graph.dep) for graph in graphs)])
        starts = [g.dep_start[:-1] + edge for g, edge in zip(graphs, edges, strict=False)]
        columns = ("kind", "dtype", "phase", "dims", "dep_bytes", *_AMOUNTS)
        return cls(
            **{a: np.concatenate([getattr(graph, a) for graph in graphs]) for a in columns},
            name=np.concatenate(codes),
            names=names,
            dep_start=np.concatenate([*starts, edges[-1:]]),
            dep=np.concatenate([g.dep + at for g, at in zip(graphs, first, strict=False)]),
            parts=tuple(graphs),
            origin=None,
        )

    def select(self, mask: BoolArray) -> Graph:
        """Return the graph of the ops in the mask (n,); dependencies on others are dropped."""
        keep = np.flatnonzero(mask)
        place = np.full(len(self), -1, np.int64)
        place[keep] = np.arange(len(keep))
        owner = np.repeat(np.arange(len(self)), np.diff(self.dep_start))
        inside = (place[owner] >= 0) & (place[self.dep] >= 0)
        counts = np.bincount(place[owner[inside]], minlength=len(keep))
        return Graph(
            **{column: getattr(self, column)[keep] for column in COLUMNS},
            names=self.names,
            dep_start=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            dep=place[self.dep[inside]],
            dep_bytes=self.dep_bytes[inside],
            origin=self.origin_of(keep),
        )

    def origin_of(self, places: IntArray) -> tuple[Graph, IntArray]:
        """Return the whole step that some of these ops come from, and their indices in it."""
        if self.origin is None:
            return self, places
        whole, mine = self.origin
        return whole, mine[places]


def _edges(
    ops: list[Op], deps: Sequence[Sequence[int] | Mapping[int, float]] | None
) -> tuple[IntArray, IntArray, FloatArray]:
    if deps is None:
        deps = [[i - 1] if i else [] for i in range(len(ops))]
    if len(deps) != len(ops):
        raise InputError(f"a graph of {len(ops)} ops needs as many dependencies; got {len(deps)}")
    index: list[int] = []
    nbytes: list[float] = []
    for i, (op, before) in enumerate(zip(ops, deps, strict=True)):
        if any(not 0 <= j < i for j in before):
            raise InputError(f"op {i} '{op.label}' may wait for ops 0 to {i - 1} only; "
                             f"got {list(before)}")  # fmt: skip
        index += before
        share = (op.bytes_read - op.weight_bytes) / max(len(before), 1)
        nbytes += before.values() if isinstance(before, Mapping) else [share] * len(before)
    start = np.concatenate(([0], np.cumsum([len(before) for before in deps])))
    return start.astype(np.int64), np.array(index, np.int64), np.array(nbytes, np.float64)
