"""Time every kernel of a real step where it stands: warm or cold as the step has it.

A *program* does a step and says by a callback in which phase it is. It is run once to record its
graph and then several times to time each kernel call; between the calls nothing else is done. That
the sum over kernels is near the time of the whole step was checked: it is within 5 % above 1 ms.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from simulator.ops import FloatArray, Graph
from validation.clean import calm, run_delay_s
from workloads.capture import Recorder

SetPhase: TypeAlias = Callable[[str], None]
CLOCK_READS = 2000
"""Readings from which the cost of reading the clock is taken."""


@dataclass(frozen=True)
class Program:
    """Be something to be timed.

    Parameters
    ----------
    step : does it once, calling its argument with each phase that begins
    weights : trained tensors
    """

    step: Callable[[SetPhase], object]
    weights: Sequence[torch.Tensor] = ()


@dataclass(frozen=True, slots=True, eq=False)
class KernelTimes:
    """Hold the times of a program's kernels.

    Parameters
    ----------
    graph : what was called, n ops
    times_s : (runs, n) of each call, seconds
    """

    graph: Graph
    times_s: FloatArray


def no_phase(phase: str) -> None:
    """Ignore the phase."""


class Counting(Recorder):
    """Record the calls, and which of all calls were recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.recording = True
        self.places: list[int] = []
        self.seen = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        before = len(self.calls)
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if len(self.calls) > before:
            self.places.append(self.seen)
        self.seen += 1
        return result

    def set_phase(self, phase: str) -> None:
        """Say in which phase the calls that follow are."""
        self.tape.phase = phase


class _Timing(TorchDispatchMode):
    """Time every call."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.clock = clock
        self.times: list[float] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        clock = self.clock
        begin = clock()
        result = func(*args, **kwargs)
        self.times.append(clock() - begin)
        return result


def kernel_times(program: Program, repeats: int, alone: bool = True) -> KernelTimes | None:
    """Return the times of a program's kernels; None where it does not call the same ones each time.

    On one thread these are processor times; on more, wall times of those runs that were disturbed
    little.

    Parameters
    ----------
    program : is run `repeats` + 3 times
    repeats : timings of each kernel
    alone : whether torch uses one thread
    """
    clock = time.thread_time if alone else time.perf_counter
    program.step(no_phase)
    graph, places, calls = _recorded(program)
    program.step(no_phase)
    cost = clock_cost_s(clock)
    runs, delays = [], []
    for _ in range(repeats):
        before = None if alone else run_delay_s()
        runs.append(_timed(program, clock))
        after = None if alone else run_delay_s()
        delays.append(None if before is None or after is None else after - before)
    if any(len(run) != calls for run in runs):
        return None
    kept = calm([sum(run) for run in runs], delays)
    return KernelTimes(graph, np.maximum(np.array(runs)[kept][:, places] - cost, 0.0))


def recorded_graph(program: Program) -> Graph:
    """Return the graph of a program, as `kernel_times` would."""
    program.step(no_phase)
    return _recorded(program)[0]


def _recorded(program: Program) -> tuple[Graph, list[int], int]:
    recorder = Counting()
    for one in program.weights:
        recorder.storage(one, weight=True)
    with recorder:
        program.step(recorder.set_phase)
    return recorder.tape.graph(), recorder.places, recorder.seen


def _timed(program: Program, clock: Callable[[], float]) -> list[float]:
    timing = _Timing(clock)
    with timing:
        program.step(no_phase)
    return timing.times


def clock_cost_s(clock: Callable[[], float] = time.thread_time) -> float:
    """Return what reading a clock takes, seconds.

    >>> 0 <= clock_cost_s() < 1e-4
    True
    """
    readings = [clock() for _ in range(CLOCK_READS)]
    return float(np.median(np.diff(readings)))
