"""Say how much memory one rank needs: weights, gradients, optimizer state, activations, input.

So whether a step fits, and the largest batch that does, is a matter of tensors' lifetimes.

The result of an op lives from the op to its last use; an op that allocates nothing works in place,
so that what it reads lives until the last use of its own result. An op that reads something waits
for others that it reads nothing of (0 bytes) only to keep the order: that uses no memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

import numpy as np

from simulator.errors import InputError
from simulator.ops import FloatArray, Graph, IntArray
from simulator.protocols import Machine, Placement
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


def memory_of_a_rank(machine: Machine, placement: Placement) -> float | None:
    """Return the bytes that each rank may fill where all ranks of a device need as much.

    None where no device says how much memory it has.
    """
    sizes = [
        size / ranks
        for index, ranks in Counter(placement.devices).items()
        if (size := machine.devices[index].memory_bytes) is not None
    ]
    return min(sizes, default=None)


LARGEST_BATCH = 2**40
"""A step that still fits with so many samples does not depend on them."""


def largest_batch(make: Callable[[int], Workload], memory_bytes: float) -> int:
    """Return the largest batch whose step fits, by the peak memory of real steps; 0: none does.

    Goes along the straight line through the last two batches, with bisection in between. Costs
    about five workloads where activations grow in proportion to the batch.

    Parameters
    ----------
    make : gives the workload of a batch
    memory_bytes : that the step may fill, bytes

    Raises
    ------
    InputError : the memory does not depend on the batch
    """

    def excess(batch: int) -> float:
        return peak_memory(make(batch))["total"] - memory_bytes

    low, high = (1, excess(1)), (2, excess(2))
    if low[1] > 0:
        return 0
    while high[1] <= 0:
        if high[0] >= LARGEST_BATCH:
            raise InputError("the memory of a step does not depend on its batch")
        grows = high[1] > low[1]
        above = _crossing(low, high) + 1 if grows else 2 * high[0]
        above = min(max(above, high[0] + 1), 1024 * high[0], LARGEST_BATCH)
        low, high = high, (above, excess(above))
    for turn in range(2 * LARGEST_BATCH.bit_length()):
        if high[0] - low[0] <= 1:
            break
        guess = (low[0] + high[0]) // 2 if turn % 3 == 2 else _crossing(low, high)
        guess = min(max(guess, low[0] + 1), high[0] - 1)
        found = guess, excess(guess)
        low, high = (low, found) if found[1] > 0 else (found, high)
    return low[0]


def _crossing(low: tuple[int, float], high: tuple[int, float]) -> int:
    """Return where the straight line through two (batch, excess) is not above 0, rounded down."""
    slope = (high[1] - low[1]) / (high[0] - low[0])
    return low[0] + int(-low[1] / slope) if slope > 0 else high[0]
