"""Call collectives of torch.distributed on flat buffers, as the actions of a program mean them."""

from __future__ import annotations

from collections.abc import Callable
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


def begin(action: Collective, tensor: torch.Tensor, place: int, group: Any) -> Call:
    """Begin a collective.

    Parameters
    ----------
    action : which
    tensor : the whole buffer of this rank, flat
    place : of this rank in the group
    group : the process group, None for all ranks
    """
    if action.kind == "barrier" or not len(tensor):
        return dist.barrier(group, async_op=True), _nothing
    return _BEGIN[action.kind](action, tensor, place, group)


def _nothing() -> None:
    """Do nothing more."""


def _all_reduce_call(action: Collective, tensor: torch.Tensor, _: int, group: Any) -> Call:
    if action.op == "mean":
        tensor.div_(action.group.size)
    return dist.all_reduce(tensor, OPS[action.op], group, async_op=True), _nothing


def _reduce_call(action: Collective, tensor: torch.Tensor, place: int, group: Any) -> Call:
    # Ranks other than the root may find partial sums in what they give.
    given = tensor if action.group.index(action.root) == place else tensor.clone()
    if action.op == "mean":
        given.div_(action.group.size)
    return dist.reduce(given, action.root, OPS[action.op], group, async_op=True), _nothing


def _broadcast_call(action: Collective, tensor: torch.Tensor, _: int, group: Any) -> Call:
    return dist.broadcast(tensor, action.root, group, async_op=True), _nothing


def _all_gather_call(action: Collective, tensor: torch.Tensor, place: int, group: Any) -> Call:
    size = action.group.size
    if len(tensor) % size == 0:
        own = tensor[part(len(tensor), place, size)]
        return _all_gather(tensor, own, group=group, async_op=True), _nothing
    padded = _padded(tensor, size)
    whole = torch.empty_like(padded)
    work = _all_gather(whole.view(-1), padded[place], group=group, async_op=True)
    return work, lambda: _unpad(whole, tensor)


def _reduce_scatter_call(action: Collective, tensor: torch.Tensor, place: int, group: Any) -> Call:
    own = part(len(tensor), place, action.group.size)
    padded = _padded(tensor, action.group.size)
    if action.op == "mean":
        padded = padded / action.group.size
    result = torch.empty_like(padded[0])
    work = _reduce_scatter(result, padded.flatten(), OPS[action.op], group=group, async_op=True)
    return work, lambda: tensor[own].copy_(result[: own.stop - own.start])


def _all_to_all_call(action: Collective, tensor: torch.Tensor, place: int, group: Any) -> Call:
    padded = _padded(tensor, action.group.size)
    result = torch.empty_like(padded)
    work = dist.all_to_all_single(result, padded, group=group, async_op=True)
    own = part(len(tensor), place, action.group.size)
    return work, lambda: _unpad(result[:, : own.stop - own.start], tensor)


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


_BEGIN: dict[str, Callable[[Collective, torch.Tensor, int, Any], Call]] = {
    "all_reduce": _all_reduce_call,
    "all_gather": _all_gather_call,
    "reduce_scatter": _reduce_scatter_call,
    "broadcast": _broadcast_call,
    "reduce": _reduce_call,
    "all_to_all": _all_to_all_call,
}
