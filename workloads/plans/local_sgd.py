"""Take steps apart from one another: on each device for a while, or on memory that all share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simulator.actions import Count, Rank
from simulator.errors import DoesNotFitError
from simulator.ops import IntArray
from simulator.protocols import Machine, Placement, Program
from simulator.workload import Job, Work
from workloads.plans.checks import check_local_steps, one_of, spread, training, whole
from workloads.plans.works import elementwise

OUTER = ("mean", "nesterov")
NESTEROV_FLOPS = 8.0
"""Of a number: its change d, the momentum m <- mu m + d (2), p <- q - lr (d + mu m) (4), a copy."""


@dataclass(frozen=True, slots=True)
class LocalSGD:
    """Take some steps on each device alone, then continue from the mean of all parameters.

    A step of the job is a round: `every` local steps and the mean (Stich, ICLR 2019). With outer
    step "nesterov" the mean change counts as the gradient of an outer optimizer with momentum, as
    in DiLoCo (Douillard et al., 2023).

    Parameters
    ----------
    every : local steps of a round (H)
    outer : what is done with the mean: "mean" takes it, "nesterov" makes an outer step
    """

    every: int = 8
    outer: str = "mean"

    def __post_init__(self) -> None:
        check_local_steps("local-sgd", "every", self.every)
        one_of("local-sgd", "outer", self.outer, OUTER)

    def place(self, machine: Machine) -> Placement:
        """Return one rank on each device."""
        return spread(machine)

    def copies(self, ranks: int) -> IntArray | None:
        """Return that all ranks are alike."""
        return np.arange(ranks)[None, :]

    def program(self, rank: Rank, job: Job) -> Program:
        """Take local steps, then the mean, so many times."""
        training("local-sgd", job)
        for _ in range(job.steps):
            for _ in range(self.every):
                yield rank.compute(job.local_step)
            yield rank.all_reduce(job.params, op="mean")
            if self.outer == "nesterov":
                yield rank.compute(outer_step(job))
            yield Count("samples", self.every * job.workload.samples)
            if rank.id == 0:
                yield Count("steps")


def outer_step(job: Job) -> Work:
    """Return the outer step of an optimizer with momentum, on parameters before and after."""
    return elementwise(
        "outer_step", job.params.nbytes, reads=("params", "params.before", "momentum"),
        writes=("params", "params.before", "momentum"), flops_per_number=NESTEROV_FLOPS,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hogwild:
    """Let processes of one device update parameters in shared memory, without locks or messages.

    A step of the job is one step of each process (Recht et al., "Hogwild!", NIPS 2011). A gradient
    is that of the parameters when its process begins with it. Each update is whole: that two at
    once may overwrite numbers of each other is left out.

    Parameters
    ----------
    processes : how many there are
    threads : of each process
    """

    processes: int = 2
    threads: int = 1
    shared: ClassVar[str] = "params"
    """The buffer that all ranks have in common memory."""

    def __post_init__(self) -> None:
        whole("hogwild", 1, processes=self.processes, threads=self.threads)

    def place(self, machine: Machine) -> Placement:
        """Return all processes on the machine's first device.

        Raises
        ------
        DoesNotFitError : they have more threads than the device
        """
        device, wanted = machine.devices[0], self.processes * self.threads
        if wanted > device.max_threads:
            raise DoesNotFitError(
                f"plan hogwild: {self.processes} processes of {self.threads} threads need "
                f"{wanted}; '{device.name}' allows {device.max_threads}"
            )
        return Placement([0] * self.processes, [self.threads] * self.processes)

    def copies(self, ranks: int) -> IntArray | None:
        """Return None: processes of one device compete."""
        return None

    def learners(self, ranks: int) -> int:
        """Return how many of so many ranks learn from data: all."""
        return ranks

    def keepers(self, ranks: int) -> range:
        """Return the ranks that keep the model: any, say the first."""
        return range(1)

    def program(self, rank: Rank, job: Job) -> Program:
        """Take steps on the parameters that all processes share."""
        training("hogwild", job)
        for _ in range(job.steps):
            yield rank.compute(job.gradient)
            yield rank.compute(job.apply)
