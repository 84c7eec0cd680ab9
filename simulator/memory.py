"""Say how much memory one rank needs: weights, gradients, optimizer state, activations, input.

The result of an op lives from the op to its last use; an op that allocates nothing works in place,
so that what it reads lives until the last use of its own result. An op that reads something waits
for others that it reads nothing of (0 bytes) only to keep the order: that uses no memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

import numpy as np

from simulator.ops import FloatArray, Graph, IntArray
from simulator.workload import Workload

_last_uses: WeakKeyDictionary[Graph, IntArray] = WeakKeyDictionary()
_peaks: WeakKeyDictionary[Workload, Mapping[str, float]] = WeakKeyDictionary()


def peak_memory(workload: Workload) -> Mapping[str, float]:
    """Return the bytes that one rank needs by component, and their sum as "total".

    "activations" is the largest sum of results that live at one time, gradients of weights left
    out. Costs O(ops + dependencies) once for a workload.
    """
    found = _peaks.get(workload)
    if found is None:
        found = _peaks[workload] = _peak_memory(workload)
    return found


def _peak_memory(workload: Workload) -> Mapping[str, float]:
    kept = np.zeros(len(workload.graph))
    for gradient in workload.gradients:
        kept[gradient.op] += gradient.nbytes
    live = live_bytes(workload.graph, np.maximum(workload.graph.allocated_bytes - kept, 0.0))
    parts = {
        "weights": float(workload.weight_bytes),
        "gradients": float(kept.sum()),
        "state": float(workload.state_bytes),
        "input": float(workload.input_bytes),
        "activations": float(live.max(initial=0.0)),
    }
    return parts | {"total": sum(parts.values())}


def live_bytes(graph: Graph, allocated_bytes: FloatArray | None = None) -> FloatArray:
    """Return the bytes of results that live while each op runs (n,).

    Parameters
    ----------
    graph : n ops
    allocated_bytes : what each op allocates (n,), bytes; None: as the graph says

    >>> from simulator.ops import Op
    >>> add = Op(kind="elementwise", dims=(2,), allocated_bytes=8.0)
    >>> live_bytes(Graph.of([add, add, add], deps=[[], [0], [0, 1]]))
    array([ 8., 16., 24.])
    """
    size = graph.allocated_bytes if allocated_bytes is None else allocated_bytes
    freed = np.zeros(len(graph) + 1)
    np.add.at(freed, last_use(graph) + 1, size)
    live: FloatArray = np.cumsum(size) - np.cumsum(freed[:-1])
    return live


def last_use(graph: Graph) -> IntArray:
    """Return the index of the last op that needs each op's result (n,); its own where none does."""
    found = _last_uses.get(graph)
    if found is not None:
        return found
    last = np.arange(len(graph))
    in_place = (graph.allocated_bytes == 0).tolist()
    owner = np.repeat(last, np.diff(graph.dep_start))
    uses = (graph.dep_bytes > 0) | (graph.bytes_read[owner] == 0)
    edges = zip(owner[uses].tolist(), graph.dep[uses].tolist(), strict=True)
    until = last.tolist()
    # Backwards, so that all later uses of what an op works on are known when it is reached.
    for op, before in reversed(list(edges)):
        until[before] = max(until[before], until[op] if in_place[op] else op)
    last = np.array(until, np.int64)
    _last_uses[graph] = last
    return last
