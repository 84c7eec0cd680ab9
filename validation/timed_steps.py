"""Make training steps whose passes take given times, and time the steps of plans between processes.

A *timed* step computes nothing: a rank sleeps as long as each pass is said to take, so that a few
cores can play many ranks and only what they exchange is the system's own.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.errors import InputError
from simulator.formula import check_whole, numbers
from simulator.ideal import IdealDevice
from simulator.ops import DTYPE_BYTES, Graph, Op
from simulator.protocols import Device, Plan
from simulator.workload import Gradient, Job, Workload
from validation.cluster_table import Calls, Sampling, kept_times_s
from validation.measure_plan import tried
from validation.ranks import TIMEOUT_S, Task, Tell, run_ranks

CALL = "validation.torch_steps:measure"
SLEEPER = IdealDevice(flops_per_s=1e15, name="timed")
"""The device of timed steps: an op of so many seconds has as many times its flops in a second. What
plans add to the passes, such as sums of gradients, takes it next to no time."""


def timed(
    weight_bytes: float, *, layers: int = 1, forward_s: float = 0.0, backward_s: float = 0.0
) -> Workload:
    """Return a training step of equal layers whose passes take given times on `SLEEPER`.

    Parameters
    ----------
    weight_bytes : of all parameters, float32
    layers : of which each has its share of the parameters and of the backward pass
    forward_s, backward_s : of the passes, seconds; the update takes none

    >>> from validation.timed_steps import SLEEPER
    >>> step = timed(8e6, layers=4, forward_s=0.016, backward_s=0.04)
    >>> SLEEPER.times_s(step.graph, 1).round(3).tolist()
    [0.016, 0.01, 0.01, 0.01, 0.01, 0.0]
    """
    check_whole("layers", layers, 1)
    numbers("weight_bytes", weight_bytes, above=True)
    numbers("forward_s", forward_s)
    numbers("backward_s", backward_s)
    size = weight_bytes / layers
    ops = [_op("forward", forward_s), *[_op("backward", backward_s / layers)] * layers,
           _op("update", 0.0)]  # fmt: skip
    gradients = tuple(Gradient(f"weight{i}", size, 1 + i) for i in range(layers))
    return Workload(
        name="timed",
        parameters={"weight_bytes": weight_bytes, "layers": layers, "forward_s": forward_s,
                    "backward_s": backward_s},
        graph=Graph.of(ops),
        samples=1,
        weight_count=int(weight_bytes / DTYPE_BYTES["float32"]),
        weight_bytes=weight_bytes,
        gradients=gradients,
    )  # fmt: skip


def _op(phase: str, time_s: float) -> Op:
    return Op(kind="elementwise", dims=(1,), name=phase, phase=phase,
              flops=time_s * SLEEPER.flops_per_s)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """Say which step of which plan is timed.

    Parameters
    ----------
    name : what to call it while it is measured
    job : whose steps, all of them at a time
    plan : who does what
    virtual : the device as which ranks sleep; None: works are done in torch
    by_torch : whether torch's DistributedDataParallel does it in the plan's place, on a module that
        sleeps as the virtual device does
    """

    name: str
    job: Job
    plan: Plan
    virtual: Device | None = None
    by_torch: bool = False


@dataclass(frozen=True, slots=True)
class Stepping:
    """Say what each process times, and how often."""

    steps: Sequence[Stepped]
    sampling: Sampling
    threads: Sequence[int]


def measure_steps(
    steps: Sequence[Stepped],
    devices: int,
    rate_bit_per_s: float | None = None,
    *,
    sampling: Sampling | None = None,
    tell: Tell = lambda _: None,
    timeout_s: float = TIMEOUT_S,
) -> list[float]:
    """Return how long steps take between real processes, the median of clean ones, seconds.

    A step lasts from when the last rank begins it to when the last one ends; those during which
    ranks waited for a core do not count (`cluster_table.kept_times_s`).

    Parameters
    ----------
    steps : all are timed between the same processes, one after the other
    devices : how many the plans may place ranks on; a rank is a process
    rate_bit_per_s : of each link and direction, bit/s; None: not limited
    sampling : how often each is timed; None: the usual
    tell : is told of the progress
    timeout_s : how long a rank waits for the others, seconds

    Raises
    ------
    ProgramError : a plan deadlocks, races or disagrees
    RankFailedError : a process failed; names the first
    InputError : plans of different numbers of ranks
    """
    placements = [tried(one.job, one.plan, devices, one.virtual) for one in steps]
    if len({tuple(one.threads) for one in placements}) != 1:
        raise InputError("steps that are timed together must have the same ranks and threads; got "
                         f"{[list(one.threads) for one in placements]}")  # fmt: skip
    asked = Stepping(steps, sampling or Sampling(), list(placements[0].threads))
    answers = run_ranks(Task(call=CALL, given=asked), placements[0].size, tell=tell,
                        rate_bit_per_s=rate_bit_per_s, timeout_s=timeout_s)  # fmt: skip
    of_ranks: Sequence[Sequence[Calls]] = answers.of_ranks
    return [statistics.median(kept_times_s([calls[place] for calls in of_ranks], answers.one_clock))
            for place in range(len(steps))]  # fmt: skip
