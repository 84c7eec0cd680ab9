"""Replay a step op by op: every different call is timed alone, and the times are added up.

This is the reference for models of single ops: what it gets wrong comes from composing, what a
model gets wrong beyond it comes from the model. Before each timing the caches are brought to where
the program has them: operands that were used long ago are pushed out by as many bytes.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
BUDGET_S = 0.1
"""Time for one call, when repeating it takes long, seconds."""
FEWEST = 3
POSITIVE = frozenset(("sqrt", "rsqrt", "log", "log2", "log10", "log1p", "pow", "reciprocal", "div"))
"""Kernels that take another, slow way where numbers are not positive."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
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
    def of(cls, tensor: torch.Tensor) -> TensorSpec:
        """Return what says how to make a tensor like this."""
        values = None if tensor.is_floating_point() else tensor.clone()
        return cls(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype, values)

    @property
    def key(self) -> tuple[Any, ...]:
        """Return what makes two of them the same, values left out."""
        return (self.shape, self.stride, self.dtype)

    def tensor(self, positive: bool = False) -> torch.Tensor:
        """Return such a tensor, with normal (or positive) numbers where they are of floats."""
        if self.values is not None:
            return self.values.clone()
        steps = zip(self.shape, self.stride, strict=True)
        reach = 1 + sum((size - 1) * step for size, step in steps) if 0 not in self.shape else 0
        flat = torch.randn(max(reach, 1)).to(self.dtype)
        flat = flat.abs_().add_(0.1) if positive else flat
        return torch.as_strided(flat, self.shape, self.stride)


@dataclass(frozen=True, slots=True)
class Replayable:
    """Be a call that can be made again.

    Parameters
    ----------
    function : the kernel
    args, kwargs : its arguments, a `TensorSpec` for each tensor
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def key(self) -> str:
        """Return what makes two calls the same."""
        spelled = tree_map_only(TensorSpec, lambda one: one.key, (self.args, self.kwargs))
        return f"{self.function} {spelled}"

    def bound(self) -> tuple[Callable[[], object], list[torch.Tensor]]:
        """Return the call on tensors of its own, and these."""
        positive = self.function._schema.name.split("::")[-1].rstrip("_") in POSITIVE
        made: tuple[tuple[Any, ...], dict[str, Any]] = tree_map_only(
            TensorSpec, lambda one: one.tensor(positive), (self.args, self.kwargs)
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
        self.code: list[float] = []
        self._moved = 0.0
        self._ran: dict[Any, float] = {}
        self._first: list[tuple[list[float], int, int]] = []
        self._touched: dict[int, float] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        before = len(self.calls)
        given = (args, dict(kwargs or {}))
        specs = tree_map_only(torch.Tensor, TensorSpec.of, given)
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if len(self.calls) > before:
            self.kept.append(Replayable(func, *specs))
            self.code.append(self._moved - self._ran.get(func, -math.inf))
            self._note(_tensors(given), _tensors(result))
            self._ran[func] = self._moved
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
        for distances, code in zip(self.distances, self.code, strict=True):
            # Code that the step uses once comes from the step before, too.
            distances.append(min(code, self._moved))


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [one for one in tree_leaves(tree) if isinstance(one, torch.Tensor)]


def replayable(program: Program) -> tuple[list[Replayable], list[list[float]]]:
    """Return each op of a program as a call that can be made again, and from how far it comes.

    A distance is how many bytes the program moves between the last use and the op: one for each
    operand, and at the end one for the kernel's code.
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
    again, others = call.bound()
    touches: list[Callable[[], object]] = [one.sum for one in tensors]
    # The kernel's code is brought near by the same call on other operands.
    steps = _ordered([*touches, again], far, sum(one.nbytes for one in others))
    cost = clock_cost_s(clock)
    times: list[float] = []
    run()
    end = time.perf_counter() + BUDGET_S
    while len(times) < FEWEST or (len(times) < REPEATS and time.perf_counter() < end):
        for touch, pushed in steps:
            touch()
            _pusher()[: pushed // 4].add_(1.0)
        begin = clock()
        run()
        times.append(clock() - begin - cost)
    return max(float(np.median(times)), 0.0)


def _ordered(
    touches: Sequence[Callable[[], object]], far: Sequence[int], code_bytes: int
) -> list[tuple[Callable[[], object], int]]:
    """Return what to touch, farthest first, and how many bytes to push after each."""
    order = np.argsort([-distance for distance in far], kind="stable").tolist()
    left = [far[after] for after in order[1:]] + [0]
    steps = []
    for at, next_distance in zip(order, left, strict=True):
        own = code_bytes if at == len(far) - 1 else 0
        steps.append((touches[at], max(far[at] - next_distance - own, 0)))
    return steps


@functools.cache
def _pusher() -> torch.Tensor:
    return torch.zeros(MOST_PUSHED_BYTES // 4)
