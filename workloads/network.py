"""Build the kernel calls of a network's step without torch: forward, then backward mirrored.

A *network* holds a tape and the weights. A layer calls kernels on tensors and leaves a *node* that
says which calls its gradient takes. The backward pass visits nodes as torch's engine does: of all
whose gradient is complete the youngest first, weights at once; gradients that meet are added.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeAlias

from simulator.workload import Gradient, Workload
from workloads.tape import Storage, Tape, Tensor

Gradients: TypeAlias = Sequence[Tensor | None]
Backward: TypeAlias = Callable[..., Gradients]
Edge: TypeAlias = tuple["Node", int] | None

_AT_ONCE = -1


class Recorded(NamedTuple):
    """Hold what a recording function gives.

    Parameters
    ----------
    result : the loss when training, else the output
    inputs : what one step is given
    """

    result: Tensor
    inputs: Sequence[Tensor]


class Node:
    """Be a step of the backward pass.

    Parameters
    ----------
    order : place in the forward pass
    backward : from the gradients of the results to those of the inputs
    edges : for each input the node that made it, and as which of its results
    results : number of results
    """

    __slots__ = ("backward", "edges", "order", "results")

    def __init__(self, order: int, backward: Backward, edges: Sequence[Edge], results: int) -> None:
        self.order = order
        self.backward = backward
        self.edges = edges
        self.results = results


class Network:
    """Be a network whose step is recorded.

    Parameters
    ----------
    training : whether layers leave nodes, batch statistics are taken and dropout drops
    dtype : of weights and activations
    """

    def __init__(self, training: bool, dtype: str = "float32") -> None:
        self.training = training
        self.dtype = dtype
        self.tape = Tape()
        self.weights: list[Tensor] = []
        self.grads: dict[int, Tensor] = {}
        self.gradients: list[Gradient] = []
        self.state_bytes = 0.0
        self._order = 0

    def given(self, shape: tuple[int, ...], dtype: str = "") -> Tensor:
        """Return a tensor that is there before the step: an input, or a buffer."""
        return self.tape.tensor(shape, dtype or self.dtype)

    def like(self, tensor: Tensor) -> Tensor:
        """Return a fresh tensor of the same shape and type."""
        return self.tape.tensor(tensor.shape, tensor.dtype)

    def weight(self, *shape: int, name: str = "") -> Tensor:
        """Return a new trained tensor."""
        tensor = self.tape.tensor(shape, self.dtype, Storage(weight=True))
        place = len(self.weights)
        self.weights.append(tensor)

        def ready(grad: Tensor) -> Gradients:
            self.grads[place] = grad
            writer = grad.storage.writer
            self.gradients.append(Gradient(name or f"weight{place}", tensor.operand.nbytes, writer))
            return ()

        tensor.node = Node(_AT_ONCE, ready, (), 1)
        return tensor

    def view(self, tensor: Tensor, *shape: int, offset: int | None = None) -> Tensor:
        """Return another shape of the same memory (or a part of it); costs nothing."""
        offset = tensor.offset if offset is None else offset
        nbytes = tensor.operand.nbytes if tensor.repeats else None
        seen = self.tape.tensor(shape, tensor.dtype, tensor.storage, nbytes, offset)
        seen.node, seen.slot, seen.repeats = tensor.node, tensor.slot, tensor.repeats
        return seen

    def expanded(self, tensor: Tensor, *shape: int) -> Tensor:
        """Return a view in which the elements are repeated; costs nothing."""
        seen = self.tape.tensor(shape, tensor.dtype, tensor.storage, tensor.operand.nbytes)
        seen.node, seen.slot, seen.repeats = tensor.node, tensor.slot, True
        return seen

    def transposed(self, matrix: Tensor) -> Tensor:
        """Return the transposed view of a matrix."""
        rows, columns = matrix.shape
        return self.view(matrix, columns, rows)

    def call(
        self,
        name: str,
        inputs: Sequence[Tensor],
        shape: tuple[int, ...],
        dtype: str = "",
        **options: Hashable,
    ) -> Tensor:
        """Call a kernel with one fresh result of this shape, and return the result."""
        result = self.tape.tensor(shape, dtype or self.dtype)
        self.tape.call(name, inputs, (result,), (), tuple(options.items()))
        return result

    def call_many(
        self, name: str, inputs: Sequence[Tensor], results: Sequence[Tensor], **options: Hashable
    ) -> None:
        """Call a kernel with any number of fresh results."""
        self.tape.call(name, inputs, results, (), tuple(options.items()))

    def write(self, name: str, *inputs: Tensor) -> None:
        """Call a kernel that writes its first input in place."""
        self.tape.call(name, inputs, (), inputs[:1])

    def link(self, results: Sequence[Tensor], inputs: Sequence[Tensor], backward: Backward) -> None:
        """Leave the node of a layer: how gradients of its results become those of its inputs."""
        if not self.training or all(one.node is None for one in inputs):
            return
        self._order += 1
        edges = [None if one.node is None else (one.node, one.slot) for one in inputs]
        node = Node(self._order, backward, edges, len(results))
        for slot, one in enumerate(results):
            one.node, one.slot = node, slot

    def backward(self, loss: Tensor) -> None:
        """Call the kernels of the backward pass from a scalar."""
        self.tape.phase = "backward"
        root: Node = loss.node
        waiting = _uses(root)
        arrived: dict[Node, list[Tensor | None]] = {root: [self.call("ones_like", [loss], ())]}
        ready: list[tuple[int, int, Node]] = [(-root.order, 0, root)]
        pushed = 0
        while ready:
            node = heapq.heappop(ready)[2]
            grads = node.backward(*arrived.pop(node))
            for edge, grad in zip(node.edges, grads, strict=True):
                if edge is None:
                    continue
                target, slot = edge
                held = arrived.setdefault(target, [None] * target.results)
                held[slot] = self._sum(held[slot], grad)
                waiting[target] -= 1
                if not waiting[target]:
                    pushed += 1
                    first = -target.order if target.order != _AT_ONCE else -(1 << 62)
                    heapq.heappush(ready, (first, pushed, target))

    def _sum(self, held: Tensor | None, grad: Tensor | None) -> Tensor | None:
        if held is None or grad is None:
            return held if grad is None else grad
        return self.call("add", [held, grad], grad.shape)

    def workload(
        self, name: str, parameters: dict[str, Any], samples: int, inputs: Sequence[Tensor]
    ) -> Workload:
        """Return what was recorded."""
        return Workload(
            name=name,
            parameters=parameters,
            graph=self.tape.graph(),
            samples=samples,
            weight_count=sum([one.operand.elements for one in self.weights]),
            weight_bytes=sum([one.operand.nbytes for one in self.weights]),
            state_bytes=self.state_bytes,
            input_bytes=sum([one.operand.nbytes for one in inputs]),
            gradients=tuple(self.gradients),
        )


def _uses(root: Node) -> dict[Node, int]:
    """Return for each node that the root leads to how many gradients it waits for."""
    uses: dict[Node, int] = {root: 0}
    stack = [root]
    while stack:
        for edge in stack.pop().edges:
            if edge is None:
                continue
            if edge[0] in uses:
                uses[edge[0]] += 1
            else:
                uses[edge[0]] = 1
                stack.append(edge[0])
    return uses
