"""Be a rank that runs its part of a plan: what `measure_plan` asks of each process."""

from __future__ import annotations

import torch

from simulator.protocols import Device, Plan
from simulator.workload import Work
from validation.measure_plan import Playing
from validation.ranks import Made, Tell
from validation.torch_measure import hold_still
from validation.torch_peers import Peers
from validation.torch_threads import settle_allocator
from validation.torch_twins import twin
from validation.torch_values import TorchValues, TwinWorks, sleeping
from validation.torch_wall import WallRank
from validation.wall_record import RankRecord


def play(peers: Peers, tell: Tell, asked: Playing) -> RankRecord:
    """Run one rank's program of a plan and return what it noted."""
    torch.set_num_threads(asked.threads[peers.rank])
    settle_allocator()
    plan: Plan = asked.plan.make() if isinstance(asked.plan, Made) else asked.plan
    with WallRank(peers, values_of(peers, asked)) as rank:
        return rank.play(plan.program(rank.rank, asked.job))


def values_of(peers: Peers, asked: Playing) -> TorchValues:
    """Return a rank's tensors and what does its works."""
    device, job, threads = asked.virtual, asked.job, asked.threads[peers.rank]
    if device is not None:
        return TorchValues(sleeping(lambda work: _times_s(device, work, threads)), peers.device)
    if not job.works:
        return TorchValues(sleeping(lambda _: []), peers.device)
    step = twin(job.workload, job.seed)
    step.module.to(peers.device)
    hold_still(step)
    works = TwinWorks(step, job, peers.rank)
    values = TorchValues(works, peers.device, works.tensors)
    # Works between buffers find there what messages brought.
    works.tensors = values.tensors
    return values


def _times_s(device: Device, work: Work, threads: int) -> list[float]:
    return [float(op_s) for op_s in device.times_s(work.graph, threads)]
