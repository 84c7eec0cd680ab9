"""Be a rank that times steps of plans: what `measure_steps` asks of each process."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from simulator.actions import Action, Rank
from simulator.errors import InputError
from simulator.protocols import Device
from simulator.workload import Job
from validation.cluster_table import Calls
from validation.measure_plan import Playing
from validation.ranks import Tell
from validation.timed_steps import Stepped, Stepping
from validation.torch_collectives import Body, sampled
from validation.torch_peers import Peers
from validation.torch_plan import values_of
from validation.torch_threads import settle_allocator
from validation.torch_wall import WallRank
from validation.wall_messages import NUMBER_BYTES
from workloads.plans import DataParallel

MEGABYTE = 2**20
"""As DistributedDataParallel counts `bucket_cap_mb`, bytes."""


def measure(peers: Peers, tell: Tell, asked: Stepping) -> list[Calls]:
    """Return when the steps of each plan began and ended on this rank."""
    torch.set_num_threads(asked.threads[peers.rank])
    settle_allocator()
    found: list[Calls] = []
    for stepped in asked.steps:
        if peers.rank == 0:
            tell(f"timing {stepped.name} on {peers.size} ranks")
        playing = Playing(stepped.plan, stepped.job, asked.threads, stepped.virtual)
        with WallRank(peers, values_of(peers, playing, stepped.plan)) as rank:
            found.append(sampled(rank, _body(stepped), asked.sampling))
    return found


def _body(stepped: Stepped) -> Body:
    if stepped.by_torch:
        step = distributed_step(stepped)

        def by_torch(rank: Rank) -> Generator[Action, Any, None]:
            step()
            yield from ()

        return by_torch

    def planned(rank: Rank) -> Generator[Action, Any, None]:
        yield from stepped.plan.program(rank, stepped.job)

    return planned


def distributed_step(stepped: Stepped) -> Callable[[], object]:
    """Return a step of torch's DistributedDataParallel on a module that sleeps.

    Raises
    ------
    InputError : the plan is not data-parallel, or no device says how long to sleep
    """
    plan, virtual = stepped.plan, stepped.virtual
    if not isinstance(plan, DataParallel) or virtual is None:
        raise InputError(f"{stepped.name}: torch itself does data-parallel steps of devices that "
                         f"sleep; got plan {type(plan).__name__} on {virtual}")  # fmt: skip
    layers = sleeping_layers(stepped.job, virtual)
    module = DistributedDataParallel(layers, bucket_cap_mb=plan.bucket_bytes / MEGABYTE)

    def step() -> None:
        module.zero_grad()
        module().backward()

    return step


def sleeping_layers(job: Job, virtual: Device) -> nn.Module:
    """Return a module with a layer for each gradient, whose passes sleep as a device computes."""
    times_s = virtual.times_s(job.workload.graph, 1)
    forward = ~job.workload.graph.in_phase("backward", "update")
    forward_s = float(times_s[forward].sum())
    ends_s = times_s.cumsum()
    ready_s = [forward_s, *(float(ends_s[gradient.op]) for gradient in job.workload.gradients)]
    sizes = [int(gradient.nbytes) // NUMBER_BYTES for gradient in job.workload.gradients]
    spent_s = [end_s - begin_s for begin_s, end_s in pairwise(ready_s)]
    return _Layers(forward_s, sizes[::-1], spent_s[::-1])


class _Layers(nn.Module):
    """Sleep for a forward pass, and in the backward pass for each layer, the last one first."""

    def __init__(self, forward_s: float, sizes: Sequence[int], spent_s: Sequence[float]) -> None:
        super().__init__()
        self._forward_s, self._spent_s = forward_s, spent_s
        self.weights = nn.ParameterList(torch.zeros(size) for size in sizes)
        self._gradients = [torch.ones(size) for size in sizes]

    def forward(self) -> torch.Tensor:
        time.sleep(self._forward_s)
        passed = torch.zeros(1, requires_grad=True)
        layers = zip(self.weights, self._gradients, self._spent_s, strict=True)
        for weight, gradient, spent_s in layers:
            passed = _SlowBackward.apply(  # type: ignore[no-untyped-call]
                passed, weight, gradient, spent_s
            )
        return passed


class _SlowBackward(torch.autograd.Function):
    """Pass a value on; in the backward pass take a time, then give the weight a gradient."""

    @staticmethod
    def forward(
        ctx: Any, passed: torch.Tensor, weight: torch.Tensor, gradient: torch.Tensor, spent_s: float
    ) -> Any:
        ctx.gradient, ctx.spent_s = gradient, spent_s
        return passed.clone()

    @staticmethod
    def backward(ctx: Any, *came: Any) -> Any:
        time.sleep(ctx.spent_s)
        return came[0], ctx.gradient, None, None
