"""Be a rank that runs its part of a plan: what `measure_plan` asks of each process."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from simulator.protocols import Device, Plan
from simulator.workload import Job, Work
from validation.ranks import Made, Tell
from validation.torch_measure import hold_still
from validation.torch_peers import Peers
from validation.torch_threads import settle_allocator
from validation.torch_twins import twin
from validation.torch_values import TorchValues, TwinWorks, sleeping
from validation.torch_wall import WallRank
from validation.wall_record import RankRecord


def play(
    peers: Peers, tell: Tell, *, plan: Plan | Made, job: Job, threads: Sequence[int],
    virtual: Device | None,
) -> RankRecord:  # fmt: skip
    """Run one rank's program of a plan and return what it noted.

    Parameters
    ----------
    peers : this process among the others
    tell : is told of the progress
    plan : or what makes it
    job : what is done
    threads : of each rank
    virtual : the device as which a compute sleeps; None: works are done in torch
    """
    own = threads[peers.rank]
    torch.set_num_threads(own)
    settle_allocator()
    rank = WallRank(peers, values_of(peers, job, virtual, own))
    made = plan.make() if isinstance(plan, Made) else plan
    record = rank.play(made.program(rank.rank, job))
    rank.close()
    return record


def values_of(peers: Peers, job: Job, virtual: Device | None, threads: int) -> TorchValues:
    """Return a rank's tensors and what does its works."""
    if virtual is not None:
        device = virtual

        def times_s(work: Work) -> list[float]:
            return [float(op_s) for op_s in device.times_s(work.graph, threads)]

        return TorchValues(sleeping(times_s), peers.device)
    if not job.works:
        return TorchValues(sleeping(lambda _: []), peers.device)
    step = twin(job.workload, job.seed)
    step.module.to(peers.device)
    hold_still(step)
    works = TwinWorks(step, job)
    return TorchValues(works, peers.device, works.tensors)
