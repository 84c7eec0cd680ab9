"""Call collectives of torch.distributed on flat buffers, as the actions of a program mean them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.distributed as dist

from simulator.actions import Collective
from simulator.engine.cosimulation import part

Call: TypeAlias = tuple[Any, Callable[[], object]]
"""What to wait for, and what to do then."""
OPS = {
    "sum": dist.ReduceOp.SUM,
    "mean": dist.ReduceOp.SUM,
    "max": dist.ReduceOp.MAX,
    "min": dist.ReduceOp.MIN,
}
"""Reductions; of a mean the operands are divided before, as DistributedDataParallel does."""
# The first names are those of newer versions, which warn of the second.
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


@dataclass(frozen=True, slots=True)
class Part:
    """Be one rank's part in a collective.

    Parameters
    ----------
    action : which collective
    tensor : the whole buffer of this rank, flat
    place : of this rank in the group
    group : the process group, None for all ranks
    """

    action: Collective
    tensor: torch.Tensor
    place: int
    group: Any

    @property
    def own(self) -> slice:
        """Return the slice of the buffer that belongs to this rank."""
        return part(len(self.tensor), self.place, self.action.group.size)

    @property
    def op(self) -> Any:
        """Return the reduction."""
        return OPS[self.action.op]


def begin(mine: Part) -> Call:
    """Begin a collective."""
    if mine.action.kind == "barrier" or not len(mine.tensor):
        return dist.barrier(mine.group, async_op=True), _nothing
    return _BEGIN[mine.action.kind](mine)


def _nothing() -> None:
    """Do nothing more."""


def _all_reduce_call(mine: Part) -> Call:
    if mine.action.op == "mean":
        mine.tensor.div_(mine.action.group.size)
    return dist.all_reduce(mine.tensor, mine.op, mine.group, async_op=True), _nothing


def _reduce_call(mine: Part) -> Call:
    # Ranks other than the root may find partial sums in what they give.
    action, tensor = mine.action, mine.tensor
    given = tensor if action.group.index(action.root) == mine.place else tensor.clone()
    if action.op == "mean":
        given.div_(action.group.size)
    return dist.reduce(given, action.root, mine.op, mine.group, async_op=True), _nothing


def _broadcast_call(mine: Part) -> Call:
    return dist.broadcast(mine.tensor, mine.action.root, mine.group, async_op=True), _nothing


def _all_gather_call(mine: Part) -> Call:
    tensor, size = mine.tensor, mine.action.group.size
    if len(tensor) % size == 0:
        return _all_gather(tensor, tensor[mine.own], group=mine.group, async_op=True), _nothing
    padded = _padded(tensor, size)
    whole = torch.empty_like(padded)
    work = _all_gather(whole.view(-1), padded[mine.place], group=mine.group, async_op=True)
    return work, lambda: _unpad(whole, tensor)


def _reduce_scatter_call(mine: Part) -> Call:
    tensor, own = mine.tensor, mine.own
    padded = _padded(tensor, mine.action.group.size)
    if mine.action.op == "mean":
        padded = padded / mine.action.group.size
    result = torch.empty_like(padded[0])
    work = _reduce_scatter(result, padded.flatten(), mine.op, group=mine.group, async_op=True)
    return work, lambda: tensor[own].copy_(result[: own.stop - own.start])


def _all_to_all_call(mine: Part) -> Call:
    padded = _padded(mine.tensor, mine.action.group.size)
    result = torch.empty_like(padded)
    work = dist.all_to_all_single(result, padded, group=mine.group, async_op=True)
    given = result[:, : mine.own.stop - mine.own.start]
    return work, lambda: _unpad(given, mine.tensor)


def _padded(tensor: torch.Tensor, parts: int) -> torch.Tensor:
    """Return the nearly equal parts of a flat tensor as rows of one length."""
    if len(tensor) % parts == 0:
        return tensor.view(parts, -1)
    rows = torch.zeros(parts, -(-len(tensor) // parts), dtype=tensor.dtype, device=tensor.device)
    for row, slice_ in enumerate(part(len(tensor), i, parts) for i in range(parts)):
        rows[row, : slice_.stop - slice_.start] = tensor[slice_]
    return rows


def _unpad(rows: torch.Tensor, tensor: torch.Tensor) -> None:
    """Put rows back into the nearly equal parts of a flat tensor, as far as both go."""
    for row, slice_ in enumerate(part(len(tensor), i, len(rows)) for i in range(len(rows))):
        given = rows[row, : slice_.stop - slice_.start]
        tensor[slice_.start : slice_.start + len(given)] = given


_BEGIN: dict[str, Callable[[Part], Call]] = {
    "all_reduce": _all_reduce_call,
    "all_gather": _all_gather_call,
    "reduce_scatter": _reduce_scatter_call,
    "broadcast": _broadcast_call,
    "reduce": _reduce_call,
    "all_to_all": _all_to_all_call,
}
