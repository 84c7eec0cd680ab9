"""Communicate and compute nothing: what a network does with a pattern."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.actions import Rank
from simulator.errors import InputError
from simulator.ops import IntArray
from simulator.protocols import Machine, Placement, Program
from simulator.workload import SEND_RECV, Job
from workloads.plans.checks import spread


@dataclass(frozen=True, slots=True)
class Communicate:
    """Let all devices do the collective of a workload such as all-reduce, or exchange messages."""

    def place(self, machine: Machine) -> Placement:
        """Return one rank on each device."""
        return spread(machine)

    def copies(self, ranks: int) -> IntArray | None:
        """Return that all ranks are alike."""
        return np.arange(ranks)[None, :]

    def program(self, rank: Rank, job: Job) -> Program:
        """Do it as often as the workload says, in each step.

        Raises
        ------
        InputError : the workload computes, or there is nobody to communicate with
        """
        pattern = job.workload.pattern
        if pattern is None:
            raise InputError(f"plan communicate: workload '{job.workload.name}' computes; those "
                             "that only communicate are all-reduce, send-recv ...")  # fmt: skip
        if rank.size == 1:
            raise InputError(f"plan communicate: {job.workload.name} needs 2 devices or more; "
                             "the machine has 1")  # fmt: skip
        for _ in range(job.steps * pattern.count):
            if pattern.kind == SEND_RECV:
                # Only the rank before sends here; naming nobody has every rank simulated.
                incoming = yield rank.start(rank.recv(job.received))
                sent = yield rank.start(rank.send(job.message, (rank.id + 1) % rank.size))
                yield rank.wait(incoming, sent)
            else:
                yield rank.collective(pattern.kind, job.message)
