"""What ranks of measured runs are asked to do in tests; each process imports it by name."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from simulator.workload import Job
from tests.simulator.plans import DataParallel
from validation.ranks import Task, Tell
from validation.torch_peers import Peers
from validation.torch_plan import in_common
from validation.torch_twins import twin
from validation.torch_values import TorchValues, TwinWorks
from validation.torch_wall import WallRank
from workloads.plans.local_sgd import Hogwild
from workloads.registry import find_workload


def task(name: str, given: Any = None) -> Task:
    return Task(call=f"tests.validation.rank_tasks:{name}", given=given)


def who(peers: Peers, tell: Tell, _: None) -> tuple[int, int, int]:
    tell(f"rank {peers.rank} is here")
    total = torch.tensor([float(peers.rank)])
    dist.all_reduce(total)
    return peers.rank, int(total), os.getpid()


def interfaces(peers: Peers, tell: Tell, _: None) -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def fail(peers: Peers, tell: Tell, how: str) -> None:
    """Let rank 1 fail; the others wait for it in a collective."""
    if peers.rank == 1:
        if how == "raises":
            raise ValueError("boom")
        if how == "exits":
            os._exit(7)
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


def both_ways(peers: Peers, tell: Tell, optimizer: str) -> list[list[Any]]:
    """Train by the program of a plan, and by torch's own; return the weights of both."""
    workload = find_workload("mlp", batch=8, width=32, training=True, optimizer=optimizer)
    job = Job.of(workload, steps=4, bucket_bytes=20_000.0)
    trained = []
    for own in (True, False):
        made = twin(workload)
        made = replace(made, args=tuple(one + peers.rank for one in made.args))
        if own:
            works = TwinWorks(made, job)
            with WallRank(peers, TorchValues(works, tensors=works.tensors)) as rank:
                rank.play(DataParallel().program(rank.rank, job))
        else:
            twice = replace(made, module=DistributedDataParallel(made.module))
            for _ in range(job.steps):
                twice.step()
        trained.append([one.detach().clone().numpy() for one in made.module.parameters()])
    return trained


def hang(peers: Peers, tell: Tell, _: None) -> None:
    tell(f"pid {os.getpid()}")
    time.sleep(3600)


def memory_in_common(peers: Peers, tell: Tell, _: None) -> list[float]:
    """Write to the own place of memory that starts with the first rank's numbers."""
    common = in_common(peers, torch.full((peers.size + 1,), float(peers.rank)))
    common[peers.rank] = 10.0 + peers.rank
    peers.settle()
    return [float(number) for number in common]


def hogwild(peers: Peers, tell: Tell, steps: int) -> tuple[list[float], list[float]]:
    """Train on parameters in common memory; return those at the begin, and at the end."""
    workload = find_workload("mlp", batch=8, width=32, training=True)
    job = Job.of(workload, steps=steps)
    made = twin(workload)
    works = TwinWorks(made, job, peers.rank)
    works.share_parameters(in_common(peers, works.tensors["params"]))
    begin = works.tensors["params"].tolist()
    peers.settle()
    with WallRank(peers, TorchValues(works, peers.device, works.tensors)) as rank:
        rank.play(Hogwild(processes=peers.size).program(rank.rank, job))
    assert made.module is not None
    whole = torch.cat([one.data.flatten() for one in made.module.parameters()])
    return begin, whole.tolist()
