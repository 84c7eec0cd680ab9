"""Train copies of a model on parts of a batch, and average their gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.actions import Rank
from simulator.ops import IntArray
from simulator.protocols import Machine, Placement, Program
from simulator.workload import Job
from workloads.plans.checks import spread


@dataclass(frozen=True, slots=True)
class DataParallel:
    """Do the step on every device with a batch of its own, and average gradients in buckets.

    A bucket is reduced as soon as its gradients are ready, while the backward pass goes on, as
    torch's DistributedDataParallel does (Li et al., "PyTorch Distributed", VLDB 2020). A workload
    that does not train is done side by side.

    >>> import scalemodel as sm
    >>> machine = sm.cluster("dgx-a100-80gb", devices=64)
    >>> run = sm.simulate(sm.resnet50(batch=256, training=True), machine, sm.DataParallel())
    >>> bool(50 < run.speedup <= 64)
    True
    """

    def place(self, machine: Machine) -> Placement:
        """Return one rank on each device, with all of its threads."""
        return spread(machine)

    def copies(self, ranks: int) -> IntArray | None:
        """Return that all ranks are alike."""
        return np.arange(ranks)[None, :]

    def program(self, rank: Rank, job: Job) -> Program:
        """Do the step, so many times."""
        if "backward" not in job.works:
            for _ in range(job.steps):
                yield rank.compute(job.step)
            return
        for _ in range(job.steps):
            yield rank.compute(job.forward)
            backward = yield rank.start(rank.compute(job.backward))
            sent = []
            for bucket in job.buckets:
                yield rank.wait(backward, mark=bucket.name)
                sent.append((yield rank.start(rank.all_reduce(bucket, op="mean"))))
            yield rank.wait(backward, *sent)
            yield rank.compute(job.update)
