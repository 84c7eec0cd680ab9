"""Three tiny plans, a ring written by hand, and what else the engine's tests run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.actions import Rank
from simulator.ops import Graph, IntArray, Op
from simulator.protocols import Machine, Placement, Program
from simulator.workload import Buffer, Job, Work, Workload

SPEED = 1e9
"""FLOP/s of `IdealDevice`, so that `seconds` of work are `seconds * SPEED` FLOP."""


def work(name: str, *seconds: float, **kwargs: Any) -> Work:
    """Return a work of ops that take so many seconds each on an ideal device."""
    ops = [Op(kind="elementwise", dims=(1,), flops=s * SPEED) for s in seconds]
    return Work(name, Graph.of(ops), **kwargs)


def job(
    works: Sequence[Work] = (), buffers: Sequence[Buffer] = (), steps: int = 1, **kwargs: Any
) -> Job:
    """Return a job of these works and buffers."""
    return Job(
        workload=Workload(name="toy", parameters={}, graph=Graph.of([]), samples=1),
        works={w.name: w for w in works},
        buffers={b.name: b for b in buffers},
        steps=steps,
        **kwargs,
    )


class Spread:
    """Place one rank on each device."""

    def place(self, machine: Machine) -> Placement:
        n = len(machine.devices)
        return Placement(range(n), [1] * n)

    def copies(self, ranks: int) -> IntArray | None:
        return None


class DataParallel(Spread):
    """All of DDP: gradients are reduced in buckets while the backward pass goes on."""

    def program(self, rank: Rank, job: Job) -> Program:
        for _ in range(job.steps):
            yield rank.compute(job.forward)
            backward = yield rank.start(rank.compute(job.backward))
            sent = []
            for bucket in job.buckets:
                yield rank.wait(backward, mark=bucket.name)
                sent.append((yield rank.start(rank.all_reduce(bucket, op="mean"))))
            yield rank.wait(backward, *sent)
            yield rank.compute(job.update)

    def copies(self, ranks: int) -> IntArray | None:
        return np.arange(ranks)[None, :]


class ParameterServer(Spread):
    """Rank 0 serves: it applies whichever gradient comes next and answers with parameters."""

    def program(self, rank: Rank, job: Job) -> Program:
        if rank.id == 0:
            for _ in range(job.steps * (rank.size - 1)):
                message = yield rank.recv(job.grad)
                yield rank.compute(job.apply)
                yield rank.send(job.params, to=message.source)
        else:
            for _ in range(job.steps):
                yield rank.compute(job.gradient)
                yield rank.send(job.grad, to=0)
                yield rank.recv(job.params, source=0)


@dataclass
class LocalSGD(Spread):
    """Average the parameters after every so many local steps."""

    period: int

    def program(self, rank: Rank, job: Job) -> Program:
        for step in range(job.steps):
            yield rank.compute(job.local_step)
            if (step + 1) % self.period == 0:
                yield rank.all_reduce(job.params, op="mean")

    def copies(self, ranks: int) -> IntArray | None:
        return np.arange(ranks)[None, :]


class RingAllReduce(Spread):
    """All-reduce by sends and receives: p - 1 steps of reducing, p - 1 of gathering."""

    def program(self, rank: Rank, job: Job) -> Program:
        right, left = (rank.id + 1) % rank.size, (rank.id - 1) % rank.size
        for _ in range(2 * (rank.size - 1)):
            yield rank.send(job.part, to=right)
            yield rank.recv(job.incoming, source=left)


class By(Spread):
    """Run a function as the program of every rank."""

    def __init__(
        self, program: Callable[[Rank, Job], Program], copies: IntArray | None = None
    ) -> None:
        self._program, self._copies = program, copies

    def program(self, rank: Rank, job: Job) -> Program:
        return self._program(rank, job)

    def copies(self, ranks: int) -> IntArray | None:
        return self._copies
