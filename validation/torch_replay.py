"""Replay a step op by op: every different call is timed alone, and the times are added up.

This is the reference for models of single ops: what it gets wrong comes from composing, what a
model gets wrong beyond it comes from the model. Before each timing the caches are brought to where
the program has them: operands that were used long ago are pushed out by as many bytes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_leaves, tree_map_only

from simulator.ops import FloatArray
from validation.torch_insitu import Counting, Program, clock_cost_s, no_phase
from validation.torch_threads import torch_threads

MOST_PUSHED_BYTES = 2**27
"""Streamed at most between two uses: beyond the last cache more changes nothing."""
REPEATS = 5
BUDGET_S = 0.25
"""Time for one call, when repeating it takes long, seconds."""
FEWEST = 3


@dataclass(frozen=True, slots=True)
class Spec:
    """Say what tensor an argument was; whole numbers keep their values, which may be indices.

    Parameters
    ----------
    shape, stride : sizes, and steps in elements
    dtype : of the elements
    values : of a tensor that is not of floats
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    values: torch.Tensor | None

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Spec:
        """Return what says how to make a tensor like this."""
        values = None if tensor.is_floating_point() else tensor.clone()
        return cls(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype, values)

    @property
    def key(self) -> tuple[Any, ...]:
        """Return what makes two of them the same, values left out."""
        return (self.shape, self.stride, self.dtype)

    def tensor(self) -> torch.Tensor:
        """Return such a tensor, with normal numbers where they are of floats."""
        if self.values is not None:
            return self.values.clone()
        steps = zip(self.shape, self.stride, strict=True)
        reach = 1 + sum((size - 1) * step for size, step in steps) if 0 not in self.shape else 0
        flat = torch.randn(max(reach, 1)).to(self.dtype)
        return torch.as_strided(flat, self.shape, self.stride)


@dataclass(frozen=True, slots=True)
class Replayable:
    """Be a call that can be made again.

    Parameters
    ----------
    function : the kernel
    args, kwargs : its arguments, a `Spec` for each tensor
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def key(self) -> str:
        """Return what makes two calls the same."""
        spelled = tree_map_only(Spec, lambda one: one.key, (self.args, self.kwargs))
        return f"{self.function} {spelled}"

    def bound(self) -> tuple[Callable[[], object], list[torch.Tensor]]:
        """Return the call on tensors of its own, and these."""
        made: tuple[tuple[Any, ...], dict[str, Any]] = tree_map_only(
            Spec, lambda one: one.tensor(), (self.args, self.kwargs)
        )
        args, kwargs = made
        tensors = [one for one in tree_leaves(made) if isinstance(one, torch.Tensor)]
        return lambda: self.function(*args, **kwargs), tensors


class _Keeping(Counting):
    """Record the calls so that they can be made again, and from how far their operands come."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Replayable] = []
        self.distances: list[list[float]] = []
        self._moved = 0.0
        self._first: list[tuple[list[float], int, int]] = []
        self._touched: dict[int, float] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        before = len(self.calls)
        given = (args, dict(kwargs or {}))
        specs = tree_map_only(torch.Tensor, Spec.of, given)
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if len(self.calls) > before:
            self.kept.append(Replayable(func, *specs))
            self._note(_tensors(given), _tensors(result))
        return result

    def _note(self, given: list[torch.Tensor], made: list[torch.Tensor]) -> None:
        """Note how many bytes were moved since each operand was used last."""
        distances: list[float] = []
        for place, one in enumerate(given):
            memory = one.untyped_storage()._cdata
            touched = self._touched.get(memory)
            if touched is None:
                self._first.append((distances, place, memory))
                touched = 0.0
            distances.append(self._moved - touched + one.nbytes)
        self.distances.append(distances)
        self._moved += sum(one.nbytes for one in (*given, *made))
        for one in (*given, *made):
            self._touched[one.untyped_storage()._cdata] = self._moved

    def close(self) -> None:
        """Give what the step uses first the distance from its last use in the step before."""
        for distances, place, memory in self._first:
            distances[place] += self._moved - self._touched[memory]


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [one for one in tree_leaves(tree) if isinstance(one, torch.Tensor)]


def replayable(program: Program) -> tuple[list[Replayable], list[list[float]]]:
    """Return each op of a program as a call that can be made again, and its operands' distances.

    The distance of an operand is how many bytes the program moves between its last use and the op.
    """
    for _ in range(2):
        program.step(no_phase)
    keeping = _Keeping()
    for one in program.weights:
        keeping.storage(one, weight=True)
    with keeping:
        program.step(keeping.set_phase)
    keeping.close()
    return keeping.kept, keeping.distances


def replay_s(
    program: Program, threads: int = 1, clock: Callable[[], float] | None = None
) -> FloatArray:
    """Return the time of each op of a program (n,) when it is timed alone, seconds.

    Calls that are the same, with operands from equally far, are timed once.

    Parameters
    ----------
    program : what is replayed
    threads : that torch uses
    clock : None: processor time on one thread, wall time on more

    >>> matrix = torch.ones(8, 8)
    >>> replay_s(Program(lambda set_phase: matrix @ matrix)).shape
    (1,)
    """
    if clock is None:
        clock = time.thread_time if threads == 1 else time.perf_counter
    calls, distances = replayable(program)
    times: dict[tuple[str, tuple[int, ...]], float] = {}
    alone = np.empty(len(calls))
    with torch_threads(threads), torch.no_grad():
        for at, call in enumerate(calls):
            far = tuple(_rounded(distance) for distance in distances[at])
            if (call.key, far) not in times:
                times[call.key, far] = _time_alone(call, far, clock)
            alone[at] = times[call.key, far]
    return alone


def _rounded(distance: float) -> int:
    """Return a distance as a power of four, so that like calls are timed once."""
    most = min(max(distance, 1.0), float(MOST_PUSHED_BYTES))
    return int(4 ** round(math.log(most, 4)))


def _time_alone(call: Replayable, far: Sequence[int], clock: Callable[[], float]) -> float:
    run, tensors = call.bound()
    order = np.argsort([-distance for distance in far], kind="stable").tolist()
    steps = [(tensors[at], far[at] - far[after]) for at, after in pairwise(order)]
    steps += [(tensors[at], far[at]) for at in order[-1:]]
    pusher = torch.zeros(max([pushed for _, pushed in steps], default=4) // 4 + 1)
    run()
    cost = clock_cost_s(clock)
    times: list[float] = []
    end = time.perf_counter() + BUDGET_S
    while len(times) < FEWEST or (len(times) < REPEATS and time.perf_counter() < end):
        for tensor, pushed in steps:
            tensor.sum()
            pusher[: pushed // 4].add_(1.0)
        begin = clock()
        run()
        times.append(clock() - begin - cost)
    return max(float(np.median(times)), 0.0)
