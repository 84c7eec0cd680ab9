"""Record calls of kernels in program order and make a graph of them.

A *storage* is a piece of memory: which op wrote it last, which ops have read it since. A *tensor*
is a view of a storage. A *tape* takes calls; what a call waits for follows from the storages of
its operands, so dependencies pass through views. Calls that are alike are described once.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.ops import COLUMNS, DTYPE_BYTES, Graph, Op
from workloads import kernel_flops, kernel_traffic
from workloads.kernels import Call, Operand, cost_of

FORMULA_MODULES = (kernel_flops, kernel_traffic)
"""The modules that fill the table of formulas."""
MOST_CALLS = 1_000_000
"""A step above this is taken for a mistake: it would take minutes and gigabytes to predict."""
EXTERNAL = -1
"""Stands for the writer of what was there before the step."""


class Storage:
    """Be a piece of memory.

    Parameters
    ----------
    weight : whether it holds trained numbers
    """

    __slots__ = ("readers", "weight", "writer")

    def __init__(self, weight: bool = False) -> None:
        self.weight = weight
        self.writer = EXTERNAL
        self.readers: list[int] = []


class Tensor:
    """Be a view of a storage.

    Parameters
    ----------
    operand : shape, dtype and distinct bytes
    code : number that stands for operand and weight on the tape
    storage : where it lies
    offset : tells apart several views of a storage that share no element
    """

    __slots__ = ("code", "node", "offset", "operand", "repeats", "slot", "storage")

    def __init__(self, operand: Operand, code: int, storage: Storage, offset: int = 0) -> None:
        self.operand = operand
        self.code = code
        self.storage = storage
        self.offset = offset
        self.repeats = False
        self.node: Any = None
        self.slot = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the sizes."""
        return self.operand.shape

    @property
    def dtype(self) -> str:
        """Return the data type."""
        return self.operand.dtype


@dataclass(frozen=True, slots=True)
class Piece:
    """Hold some calls that follow each other; see `Tape.cut`."""

    rows: list[int]
    deps: list[int]
    dep_bytes: list[float]
    dep_ends: list[int]


@dataclass(slots=True)
class Tape:
    """Record calls; `graph()` returns what was recorded.

    Parameters
    ----------
    phase : of the calls that follow
    unmodelled : how often each kernel was called that the table of formulas does not know
    """

    phase: str = "forward"
    unmodelled: dict[str, int] = field(default_factory=dict)
    _codes: dict[Hashable, tuple[Operand, int]] = field(default_factory=dict)
    _rows: list[int] = field(default_factory=list)
    _known: dict[Hashable, int] = field(default_factory=dict)
    _ops: list[Op] = field(default_factory=list)
    _reads: list[tuple[float, ...]] = field(default_factory=list)
    _strange: list[bool] = field(default_factory=list)
    _dep_start: list[int] = field(default_factory=lambda: [0])
    _dep: list[int] = field(default_factory=list)
    _dep_bytes: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._rows)

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str,
        storage: Storage | None = None,
        nbytes: float | None = None,
        offset: int = 0,
    ) -> Tensor:
        """Return a tensor, on a storage of its own unless one is given.

        Parameters
        ----------
        nbytes : of its distinct elements; None: all are distinct
        """
        if storage is None:
            storage = Storage()
        key = (shape, dtype, nbytes, storage.weight)
        known = self._codes.get(key)
        if known is None:
            size = prod(shape) * DTYPE_BYTES[dtype] if nbytes is None else nbytes
            known = self._codes[key] = Operand(shape, dtype, size), len(self._codes)
        return Tensor(known[0], known[1], storage, offset)

    def call(
        self,
        name: str,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor] = (),
        writes: Sequence[Tensor] = (),
        options: tuple[tuple[str, Hashable], ...] = (),
    ) -> int:
        """Record a call of a kernel and return its index.

        Parameters
        ----------
        inputs : all tensors among the arguments, also those written in place
        outputs : fresh results
        writes : the inputs that are written in place
        options : name and value of the arguments that decide what is done
        """
        row = self._row(name, inputs, outputs, writes, options)
        index = len(self._rows)
        if index >= MOST_CALLS:
            raise InputError(f"a step of more than {MOST_CALLS:,} kernel calls is not recorded")
        self._rows.append(row)
        before: dict[int, float] = {}
        for one, nbytes in zip(inputs, self._reads[row], strict=True):
            if nbytes:
                storage = one.storage
                storage.readers.append(index)
                writer = storage.writer
                if writer in before:
                    before[writer] += nbytes
                elif writer != EXTERNAL:
                    before[writer] = nbytes
        for one in writes:
            self._write(one.storage, index, before)
        for one in outputs:
            one.storage.writer = index
        self._dep.extend(before)
        self._dep_bytes.extend(before.values())
        self._dep_start.append(len(self._dep))
        return index

    @staticmethod
    def _write(storage: Storage, index: int, before: dict[int, float]) -> None:
        """Let a write in place wait for the last write and for all reads since."""
        for earlier in (storage.writer, *storage.readers):
            if earlier not in (EXTERNAL, index):
                before.setdefault(earlier, 0.0)
        storage.writer = index
        storage.readers = []

    def _row(
        self,
        name: str,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        writes: Sequence[Tensor],
        options: tuple[tuple[str, Hashable], ...],
    ) -> int:
        """Return the number of this description of a call; equal ones are described once."""
        key = (
            name,
            self.phase,
            tuple([one.code for one in inputs]),
            _repeated(inputs) if len(inputs) > 1 else (),
            tuple([one.code for one in outputs]),
            tuple([inputs.index(one) for one in writes]) if writes else (),
            options,
        )
        row = self._known.get(key)
        if row is None:
            row = self._known[key] = len(self._ops)
            self._describe(name, inputs, outputs, writes, dict(options))
        if self._strange[row]:
            self.unmodelled[name] = self.unmodelled.get(name, 0) + 1
        return row

    def _describe(
        self,
        name: str,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        writes: Sequence[Tensor],
        options: dict[str, Hashable],
    ) -> None:
        operands = tuple([one.operand for one in inputs])
        results = tuple([one.operand for one in (*outputs, *writes)])
        cost, known = cost_of(Call(name, operands, results, options))
        full = tuple([one.nbytes for one in operands]) if cost.reads is None else cost.reads
        skip = _repeated(inputs)
        reads = tuple([0.0 if at in skip else n for at, n in enumerate(full)])
        written = sum([one.nbytes for one in results]) if cost.written is None else cost.written
        self._reads.append(reads)
        self._strange.append(not known)
        self._ops.append(
            Op(
                kind=cost.kind,
                dims=cost.dims,
                name=name,
                dtype=_dtype(operands + results),
                flops=cost.flops,
                bytes_read=sum(reads),
                bytes_written=written,
                weight_bytes=sum(
                    [n for n, one in zip(reads, inputs, strict=True) if one.storage.weight]
                ),
                allocated_bytes=sum([one.operand.nbytes for one in outputs]),
                phase=self.phase,
            )
        )

    def cut(self, start: int) -> Piece:
        """Take back all calls since the one numbered `start`, to be played again elsewhere.

        Waiting for calls before `start` is kept as it is: for negative numbers, which stand for
        calls that are named when the piece is played.
        """
        edge = self._dep_start[start]
        piece = Piece(
            rows=self._rows[start:],
            deps=[one - start if one >= start else one for one in self._dep[edge:]],
            dep_bytes=self._dep_bytes[edge:],
            dep_ends=[end - edge for end in self._dep_start[start + 1 :]],
        )
        del self._rows[start:], self._dep[edge:], self._dep_bytes[edge:]
        del self._dep_start[start + 1 :]
        return piece

    def play(self, piece: Piece, external: Sequence[int]) -> None:
        """Record the calls of a piece; its call -2 is the first of `external`, -3 the second ..."""
        start, edge = len(self._rows), len(self._dep)
        self._rows.extend(piece.rows)
        self._dep.extend([start + one if one >= 0 else external[-2 - one] for one in piece.deps])
        self._dep_bytes.extend(piece.dep_bytes)
        self._dep_start.extend([edge + end for end in piece.dep_ends])

    def graph(self) -> Graph:
        """Return the graph of all calls."""
        if not self._rows:
            raise InputError("nothing was recorded: the step calls no kernel")
        unique = Graph.of(self._ops, [()] * len(self._ops))
        rows = np.array(self._rows, np.int64)
        return Graph(
            **{column: getattr(unique, column)[rows] for column in COLUMNS},
            names=unique.names,
            dep_start=np.array(self._dep_start, np.int64),
            dep=np.array(self._dep, np.int64),
            dep_bytes=np.array(self._dep_bytes, np.float64),
        )


def _repeated(inputs: Sequence[Tensor]) -> tuple[int, ...]:
    """Return the places of the inputs that an earlier one is already (they are read once)."""
    if len({id(one.storage) for one in inputs}) == len(inputs):
        return ()
    seen: set[tuple[int, int, float]] = set()
    again = []
    for at, one in enumerate(inputs):
        what = (id(one.storage), one.offset, one.operand.nbytes)
        if what in seen:
            again.append(at)
        seen.add(what)
    return tuple(again)


def _dtype(operands: Sequence[Operand]) -> str:
    """Return the first floating type, since indices and masks do not set a kernel's speed."""
    floats = [one.dtype for one in operands if "float" in one.dtype]
    return floats[0] if floats else operands[0].dtype if operands else "float32"
