"""Say from how far each operand of an op comes: reuse distances in a graph.

The *distance* of an operand is how many bytes a step touches between the last use of this memory
and the op, the operand included: memory at a distance above a cache's capacity is no longer in it
(Mattson et al., IBM Systems Journal 9(2), 1970, for a cache that drops what was used longest ago).
A step is repeated, so that weights and inputs come from one whole step ago. Results get the memory
that was given back last, as allocators do. Distances say nothing of a device; they are found once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from simulator.ops import PHASES, BoolArray, FloatArray, Graph, IntArray

LARGEST_KEPT_BYTES = 32 * 2**20
"""Memory above this size is given back to the system at once, and is mapped anew, page by page, at
the next call (glibc's upper bound of M_MMAP_THRESHOLD, see mallopt(3))."""


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """Hold what n ops read and write in a accesses, and from how far.

    Parameters
    ----------
    op : (a,) index of the op
    nbytes : (a,) bytes read or written
    distance_bytes : (a,) bytes touched since this memory was used last
    weight : (a,) whether it reads trained weights
    code_distance_bytes : (n,) bytes touched since the same kernel ran last
    fresh_bytes : (n,) bytes written to pages that the system maps during the op
    """

    op: IntArray
    nbytes: FloatArray
    distance_bytes: FloatArray
    weight: BoolArray
    code_distance_bytes: FloatArray
    fresh_bytes: FloatArray


_FOUND: WeakKeyDictionary[Graph, Traffic] = WeakKeyDictionary()


def traffic_of(graph: Graph) -> Traffic:
    """Return the accesses of a graph, computed once.

    >>> from simulator.ops import Op
    >>> add = Op(kind="elementwise", dims=(8,), bytes_read=64.0, bytes_written=32.0)
    >>> traffic_of(Graph.of([add])).nbytes
    array([64., 32.])
    """
    found = _FOUND.get(graph)
    if found is None:
        if graph.origin is not None:
            whole, places = graph.origin
            found = _selected(traffic_of(whole), places)
        else:
            found = _joined(graph.parts) if graph.parts else _traffic(graph)
        _FOUND[graph] = found
    return found


def _selected(whole: Traffic, places: IntArray) -> Traffic:
    """Return the accesses of some ops of a step."""
    place = np.full(len(whole.fresh_bytes), -1, np.int64)
    place[places] = np.arange(len(places))
    mine = place[whole.op] >= 0
    return Traffic(
        op=place[whole.op[mine]],
        nbytes=whole.nbytes[mine],
        distance_bytes=whole.distance_bytes[mine],
        weight=whole.weight[mine],
        code_distance_bytes=whole.code_distance_bytes[places],
        fresh_bytes=whole.fresh_bytes[places],
    )


def _joined(parts: Sequence[Graph]) -> Traffic:
    """Return the accesses of graphs that were joined; each is a step by itself."""
    found = [traffic_of(part) for part in parts]
    first = np.cumsum([0, *(len(part) for part in parts)])
    columns = ("nbytes", "distance_bytes", "weight", "code_distance_bytes", "fresh_bytes")
    return Traffic(
        op=np.concatenate([one.op + at for one, at in zip(found, first, strict=False)]),
        **{name: np.concatenate([getattr(one, name) for one in found]) for name in columns},
    )


def _traffic(graph: Graph) -> Traffic:
    ops = np.arange(len(graph))
    reader = np.repeat(ops, np.diff(graph.dep_start))
    from_ops = np.bincount(reader, weights=graph.dep_bytes, minlength=len(graph))
    outside = np.maximum(graph.bytes_read - from_ops, 0.0)
    fresh = np.minimum(graph.allocated_bytes, graph.bytes_written)
    clock = np.concatenate(([0.0], np.cumsum(graph.bytes_moved)))
    footprint = float(outside.sum() + fresh.sum())
    recycled = _recycled_distances(graph, reader, clock)
    weights = np.minimum(graph.weight_bytes, outside)
    far = np.full(len(graph), footprint)
    accesses = (
        (ops, weights, far),
        (ops, outside - weights, far),
        (reader, graph.dep_bytes, clock[reader] - clock[graph.dep + 1] + graph.dep_bytes),
        (ops, fresh, recycled + fresh),
        # What is written in place was read by the same op: it is near.
        (ops, graph.bytes_written - fresh, np.zeros(len(graph))),
    )
    op, nbytes, distance = (np.concatenate(columns) for columns in zip(*accesses, strict=True))
    some = nbytes > 0
    weight = np.arange(len(op)) < len(graph)
    return Traffic(
        op=op[some],
        nbytes=nbytes[some],
        distance_bytes=np.minimum(distance, footprint)[some],
        weight=weight[some],
        code_distance_bytes=_code_distances(graph, clock),
        fresh_bytes=np.where(graph.allocated_bytes > LARGEST_KEPT_BYTES, fresh, 0.0),
    )


def _code_distances(graph: Graph, clock: FloatArray) -> FloatArray:
    """Return the bytes touched since each op's kernel ended last, in this step or the one before.

    Plain and in-place forms ("add", "add_") are one kernel.
    """
    plain = [name.rstrip("_") for name in graph.names]
    kernel = np.unique(plain, return_inverse=True)[1][graph.name]
    order = np.argsort(kernel, kind="stable")
    before = np.roll(order, 1)
    first = kernel[order] != kernel[before]
    # The first of each kernel follows the last one of the step before.
    last = np.roll(np.flatnonzero(first), -1) - 1
    before[first] = order[last]
    distance = np.empty(len(graph))
    distance[order] = clock[order] - clock[before + 1] + np.where(before >= order, clock[-1], 0.0)
    return distance


def _recycled_distances(graph: Graph, reader: IntArray, clock: FloatArray) -> FloatArray:
    """Return how far back each op's new memory was used last (n,), bytes.

    Memory given back lies on a stack; a new result takes from the top as many bytes as it needs.
    The step is done twice, for what the first one leaves to the second.
    """
    end = _ends(graph, reader)
    returned: list[list[int]] = [[] for _ in range(len(graph))]
    sizes = graph.allocated_bytes.tolist()
    for op, last in enumerate(end.tolist()):
        if sizes[op]:
            returned[last].append(op)
    times, step = clock.tolist(), float(clock[-1])
    distance = np.full(len(graph), step)
    stack: list[list[float]] = []
    for start in (0.0, step):
        for op, size in enumerate(sizes):
            if size:
                since = _take(stack, size)
                distance[op] = step if since is None else start + times[op] - since
            stack += [[sizes[one], start + times[op + 1]] for one in returned[op]]
    recycled: FloatArray = np.maximum(distance, 0.0)
    return recycled


def _take(stack: list[list[float]], size: float) -> float | None:
    """Take bytes from the top of a stack; return when the oldest was used, None if too few."""
    since = None
    while size > 0 and stack:
        top = stack[-1]
        since = top[1] if since is None else min(since, top[1])
        if top[0] > size:
            top[0] -= size
            return since
        size -= top[0]
        stack.pop()
    return since if size <= 0 else None


def _ends(graph: Graph, reader: IntArray) -> IntArray:
    """Return the last op (n,) that needs each op's result.

    A gradient that the update reads last, and a result that no op reads, live until the step's end.
    """
    last = np.full(len(graph), -1, np.int64)
    np.maximum.at(last, graph.dep, reader)
    update = graph.phase[last] == PHASES.index("update")
    gradient = (graph.phase == PHASES.index("backward")) & update
    ends: IntArray = np.where((last < 0) | gradient, len(graph) - 1, last)
    return ends
