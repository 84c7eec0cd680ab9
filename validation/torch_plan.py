"""Be a rank that runs its part of a plan: what `measure_plan` asks of each process."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from simulator.errors import InputError
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

MEMORY = Path("/dev") / "shm"
"""Where files are memory, on Linux."""


def play(peers: Peers, tell: Tell, asked: Playing) -> RankRecord:
    """Run one rank's program of a plan and return what it noted."""
    torch.set_num_threads(asked.threads[peers.rank])
    settle_allocator()
    plan: Plan = asked.plan.make() if isinstance(asked.plan, Made) else asked.plan
    with WallRank(peers, values_of(peers, asked, plan)) as rank:
        return rank.play(plan.program(rank.rank, asked.job))


def values_of(peers: Peers, asked: Playing, plan: Plan) -> TorchValues:
    """Return a rank's tensors and what does its works.

    Raises
    ------
    InputError : ranks have parameters in common memory and run on several machines
    """
    device, job, threads = asked.virtual, asked.job, asked.threads[peers.rank]
    if device is not None:
        return TorchValues(sleeping(lambda work: _times_s(device, work, threads)), peers.device)
    if not job.works:
        return TorchValues(sleeping(lambda _: []), peers.device)
    step = twin(job.workload, job.seed)
    step.module.to(peers.device)
    hold_still(step)
    works = TwinWorks(step, job, peers.rank)
    if hasattr(plan, "shared") and job.workload.training:
        works.share_parameters(in_common(peers, works.tensors["params"]))
    values = TorchValues(works, peers.device, works.tensors)
    # Works between buffers find there what messages brought.
    works.tensors = values.tensors
    return values


def _times_s(device: Device, work: Work, threads: int) -> list[float]:
    return [float(op_s) for op_s in device.times_s(work.graph, threads)]


def in_common(peers: Peers, flat: torch.Tensor) -> torch.Tensor:
    """Return memory that all processes of a machine have in common, with the first one's numbers.

    Raises
    ------
    InputError : the processes run on several machines
    """
    if not peers.one_clock:
        raise InputError("ranks have parameters in common memory, so all run on one machine; "
                         "got several")  # fmt: skip
    with tempfile.NamedTemporaryFile(dir=MEMORY if MEMORY.is_dir() else None) as own:
        if peers.rank == 0:
            own.write(flat.numpy().tobytes())
            own.flush()
        name = peers.gather(own.name)[0]
        common = torch.from_file(name, shared=True, size=flat.numel(), dtype=flat.dtype)
        # The file may go once all have mapped it; so nothing is left behind.
        peers.settle()
    return common
