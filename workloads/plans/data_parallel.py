"""Train copies of a model on parts of a batch, and average their gradients."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.actions import Collective, Count, Rank
from simulator.errors import InputError
from simulator.ops import IntArray
from simulator.protocols import Machine, Placement, Program
from simulator.workload import BUCKET_BYTES, Job
from workloads.plans.checks import one_of, positive, spread, whole
from workloads.plans.compression import (
    METHODS,
    Code,
    Compression,
    Stage,
    check_compression,
    code_of,
)

NAME = "data-parallel"


@dataclass(frozen=True, slots=True)
class DataParallel:
    """Do the step on every device with a batch of its own, and average gradients in buckets.

    A bucket is reduced as soon as its gradients are ready, while the backward pass goes on, as
    torch's DistributedDataParallel does (Li et al., "PyTorch Distributed", VLDB 2020). A workload
    that does not train is done side by side.

    Parameters
    ----------
    bucket_bytes : size from which on a bucket of gradients is full, bytes
    accumulation : batches whose gradients a rank adds up before they are reduced, in each step
    global_batch : samples of a step over all ranks, dealt as evenly as may be, in place of the
        workload's batch on each; None: that
    compression : of gradients, by error feedback: "none", "float16", "int8", "sign", "top-k" or
        "low-rank"
    share : of the numbers that top-k keeps
    factor_rank : of the factors, where low-rank

    >>> import scalemodel as sm
    >>> machine = sm.cluster("dgx-a100-80gb", devices=64)
    >>> run = sm.simulate(sm.resnet50(batch=256, training=True), machine, sm.DataParallel())
    >>> bool(50 < run.speedup <= 64)
    True
    """

    bucket_bytes: float = BUCKET_BYTES
    accumulation: int = 1
    global_batch: int | None = None
    compression: str = "none"
    share: float = 0.01
    factor_rank: int = 4

    def __post_init__(self) -> None:
        positive(NAME, bucket_bytes=self.bucket_bytes)
        whole(NAME, 1, accumulation=self.accumulation, factor_rank=self.factor_rank)
        if self.global_batch is not None:
            whole(NAME, 1, global_batch=self.global_batch)
        one_of(NAME, "compression", self.compression, ["none", *METHODS])
        check_compression(self._compression)

    @property
    def _compression(self) -> Compression:
        return Compression(self.compression, self.share, self.factor_rank)

    def place(self, machine: Machine) -> Placement:
        """Return one rank on each device, with all of its threads.

        Raises
        ------
        InputError : a global batch that has no sample for some rank
        """
        ranks = len(machine.devices)
        if self.global_batch is not None and self.global_batch < ranks * self.accumulation:
            raise InputError(f"plan {NAME}: global_batch of {self.global_batch} has not a sample "
                             f"for each of {ranks} ranks' {self.accumulation} batches")  # fmt: skip
        return spread(machine)

    def copies(self, ranks: int) -> IntArray | None:
        """Return that all ranks are alike, if their batches are."""
        uneven = self.global_batch is not None and self.global_batch % ranks
        return None if uneven else np.arange(ranks)[None, :]

    def program(self, rank: Rank, job: Job) -> Program:
        """Do the step, so many times."""
        *first, last = batches = self._batches(rank, job)
        samples = sum(one.workload.samples for one in batches)
        for _ in range(job.steps):
            for one in first:
                yield from _alone(rank, one)
            if "backward" in last.works:
                yield from self._reduced(rank, last)
            else:
                yield from _alone(rank, last)
            if samples != job.workload.samples:
                yield Count("samples", samples)

    def _reduced(self, rank: Rank, job: Job) -> Program:
        """Do the step on one batch, and average gradients before the update."""
        yield rank.compute(job.forward)
        if self.compression == "none":
            yield from _reduce(rank, job)
        else:
            codes = [code_of(self._compression, one, rank.size) for one in job.buckets]
            yield from _reduce_codes(rank, job, codes)
        yield rank.compute(job.update)

    def _batches(self, rank: Rank, job: Job) -> list[Job]:
        """Return the job of each batch of a rank in a step."""
        if self.global_batch is None:
            return [job] * self.accumulation
        own = _dealt(self.global_batch, rank.size)[rank.id]
        return [_with_batch(job, batch, self.bucket_bytes)
                for batch in _dealt(own, self.accumulation)]  # fmt: skip


def _alone(rank: Rank, job: Job) -> Program:
    """Do what a batch needs before its gradients are reduced; all where it has none."""
    if "backward" in job.works:
        yield rank.compute(job.forward)
        yield rank.compute(job.backward)
    else:
        yield rank.compute(job.step)


def _dealt(count: int, parts: int) -> list[int]:
    """Return nearly equal parts of a number, the larger first."""
    return [(count + parts - 1 - part) // parts for part in range(parts)]


def _with_batch(job: Job, batch: int, bucket_bytes: float) -> Job:
    """Return the job of the same model on a batch of another size.

    Raises
    ------
    InputError : the workload is none of the registry's, or has no batch
    """
    workload = job.workload
    if "batch" not in workload.parameters:
        raise InputError(f"plan {NAME}: global_batch needs a workload with a batch; "
                         f"'{workload.name}' has none")  # fmt: skip
    parameters = {**workload.parameters, "batch": batch}
    return _job_of(workload.name, tuple(sorted(parameters.items())), bucket_bytes)


@functools.lru_cache(maxsize=256)
def _job_of(name: str, parameters: tuple[tuple[str, Any], ...], bucket_bytes: float) -> Job:
    from workloads.registry import find_workload

    return Job.of(find_workload(name, **dict(parameters)), bucket_bytes=bucket_bytes)


def _reduce(rank: Rank, job: Job) -> Program:
    """Do the backward pass and average each bucket as soon as it is ready."""
    backward = yield rank.start(rank.compute(job.backward))
    sent = []
    for bucket in job.buckets:
        yield rank.wait(backward, mark=bucket.name)
        sent.append((yield rank.start(rank.all_reduce(bucket, op="mean"))))
    yield rank.wait(backward, *sent)


def _reduce_codes(rank: Rank, job: Job, codes: list[Code]) -> Program:
    """Do the backward pass; encode and exchange each bucket as soon as it is ready; decode."""
    backward = yield rank.start(rank.compute(job.backward))
    sent = []
    for bucket, code in zip(job.buckets, codes, strict=True):
        yield rank.wait(backward, mark=bucket.name)
        yield rank.compute(code.stages[0].encode)
        sent.append((yield rank.start(_collective(rank, code.stages[0]))))
    yield rank.wait(backward, *sent)
    for number in range(1, max((len(code.stages) for code in codes), default=0)):
        sent = []
        for code in codes:
            yield rank.compute(code.stages[number].encode)
            sent.append((yield rank.start(_collective(rank, code.stages[number]))))
        yield rank.wait(*sent)
    for code in codes:
        yield rank.compute(code.decode)


def _collective(rank: Rank, stage: Stage) -> Collective:
    return rank.collective(stage.kind, stage.buffer)
