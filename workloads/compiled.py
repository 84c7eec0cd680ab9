"""Fuse the kernels of a graph as a compiler does: one kernel for what only maps the same elements.

A compiler such as TorchInductor (Ansel et al., "PyTorch 2", ASPLOS 2024, section 4.3) joins maps of
elements with each other and with the softmax or normalization that they feed or follow; products
stay kernels of a library. What passes between joined ops never reaches the memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from graphlib import TopologicalSorter

from simulator.ops import Graph, Op

FUSIBLE = ("softmax", "normalization", "elementwise", "random", "copy", "gather")
"""Kinds that are joined; a joined kernel is of the first of these that is in it."""
ONE_ROW = ("softmax", "normalization")
"""Kinds of which a kernel has one at most."""


def fused(graph: Graph) -> Graph:
    """Return the graph of the kernels that are left.

    Parameters
    ----------
    graph : of a forward pass

    >>> double = Op(kind="elementwise", dims=(4,), bytes_read=16.0, bytes_written=16.0)
    >>> one = fused(Graph.of([double, double], [{}, {0: 16.0}]))
    >>> len(one), one.bytes_moved
    (1, array([32.]))
    """
    ops = list(graph)
    before = [_edges(graph, at) for at in range(len(graph))]
    owner = _owners(ops, before)
    members: dict[int, list[int]] = defaultdict(list)
    for at, first in enumerate(owner):
        members[first].append(at)
    order = _in_order(members, owner, before)
    place = {at: number for number, group in enumerate(order) for at in group}
    used = _used_outside(owner, before)
    joined: list[Op] = []
    deps: list[Mapping[int, float]] = []
    for group in order:
        outside = _outside(group, before)
        joined.append(_kernel(ops, group, sum(outside.values()), before, used))
        found: dict[int, float] = defaultdict(float)
        for at, nbytes in outside.items():
            found[place[at]] += nbytes
        deps.append(dict(found))
    return Graph.of(joined, deps)


def _edges(graph: Graph, at: int) -> dict[int, float]:
    """Return the ops that an op waits for, and the bytes that it reads of each."""
    edges = slice(graph.dep_start[at], graph.dep_start[at + 1])
    return dict(zip(graph.dep[edges].tolist(), graph.dep_bytes[edges].tolist(), strict=True))


def _elements(op: Op) -> float:
    """Return the number of elements that an op maps; 0 where it maps none."""
    if op.kind in ONE_ROW or op.kind == "gather":
        return float(op.dims[0]) * op.dims[1]
    return float(op.dims[0]) if op.kind in FUSIBLE else 0.0


class _Groups:
    """Hold which ops share a kernel.

    Parameters
    ----------
    ops : in program order
    before : of each op the ops that it waits for
    """

    def __init__(self, ops: Sequence[Op], before: Sequence[Mapping[int, float]]) -> None:
        self.ops = ops
        self.before = before
        self.group: list[set[int]] = []
        # Bit i is set where the kernel of op i must be done before.
        self._ancestors: list[int] = []

    def add(self, at: int) -> None:
        """Let the next op be a kernel of its own."""
        self._ancestors.append(
            _any_of(self._ancestors[near] | _mask(self.group[near]) for near in self.before[at])
        )
        self.group.append({at})

    def join(self, one: int, other: int) -> None:
        """Let two ops share a kernel, with all that share theirs, if they may."""
        both = self.group[one] | self.group[other]
        rows = sum(self.ops[at].kind in ONE_ROW for at in both)
        mask = _mask(both)
        outside = {near for at in both for near in self.before[at]} - both
        if rows > 1 or any(self._ancestors[near] & mask for near in outside):
            return
        earlier = _any_of(self._ancestors[at] for at in both) & ~mask
        for at in range(min(both), len(self.group)):
            if at in both:
                self.group[at], self._ancestors[at] = both, earlier
            elif self._ancestors[at] & mask:
                self._ancestors[at] |= earlier | mask


def _mask(group: Iterable[int]) -> int:
    return _any_of(1 << at for at in group)


def _any_of(masks: Iterable[int]) -> int:
    """Return the bits that any of some masks has."""
    found = 0
    for mask in masks:
        found |= mask
    return found


def _owners(ops: Sequence[Op], before: Sequence[Mapping[int, float]]) -> list[int]:
    """Return for each op the first op of the kernel that it is part of."""
    groups = _Groups(ops, before)
    for at, op in enumerate(ops):
        groups.add(at)
        elements = _elements(op)
        for near in before[at]:
            if elements and _elements(ops[near]) == elements:
                groups.join(near, at)
    return [min(group) for group in groups.group]


def _in_order(members: Mapping[int, list[int]], owner: Sequence[int],
              before: Sequence[Mapping[int, float]]) -> list[list[int]]:  # fmt: skip
    """Return the kernels, each after those that it waits for."""
    waits = {
        first: {owner[near] for at in group for near in before[at]} - {first}
        for first, group in members.items()
    }
    return [members[first] for first in TopologicalSorter(waits).static_order()]


def _used_outside(owner: Sequence[int], before: Sequence[Mapping[int, float]]) -> set[int]:
    """Return the ops whose results other kernels read, or nobody does (results of the step)."""
    inside = {near for at in range(len(owner)) for near in before[at] if owner[near] == owner[at]}
    outside = {near for at in range(len(owner)) for near in before[at] if owner[near] != owner[at]}
    return outside | (set(range(len(owner))) - inside)


def _outside(group: Sequence[int], before: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Return the bytes that a kernel reads of each op outside, once."""
    mine = set(group)
    found: dict[int, float] = {}
    for at in group:
        for near, nbytes in before[at].items():
            if near not in mine:
                found[near] = max(found.get(near, 0.0), nbytes)
    return found


def _kernel(
    ops: Sequence[Op],
    group: Sequence[int],
    read_bytes: float,
    before: Sequence[Mapping[int, float]],
    used: set[int],
) -> Op:
    """Return the op that stands for a joined group."""
    own = [ops[at] for at in group]
    if len(own) == 1:
        return own[0]
    fresh = sum(max(op.bytes_read - sum(before[at].values()), 0.0)
                for at, op in zip(group, own, strict=True))  # fmt: skip
    kept = [ops[at] for at in group if at in used]
    main = min(own, key=lambda op: FUSIBLE.index(op.kind))
    return Op(
        kind=main.kind,
        dims=main.dims,
        name="fused_" + main.label,
        dtype=main.dtype,
        bytes_read=read_bytes + fresh,
        bytes_written=sum(op.bytes_written for op in kept),
        weight_bytes=sum(op.weight_bytes for op in own),
        allocated_bytes=sum(op.allocated_bytes for op in kept),
        phase=main.phase,
    )
