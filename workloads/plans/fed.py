"""Feed any plan: the workers' input comes from the memory of hosts, over their links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulator.actions import Action, Compute, Rank
from simulator.errors import InputError
from simulator.ops import IntArray
from simulator.protocols import Machine, Placement, Plan, Program
from simulator.workload import Buffer, Job
from workloads.plans.checks import at_least, whole

ASK = Buffer("ask", 0.0)
"""An empty message: a worker is ready for the input of its next step."""
BEGINNINGS = ("step", "local_step", "forward", "gradient")
"""Works with which a step begins."""


@dataclass(frozen=True, slots=True)
class Fed:
    """Let each worker of a plan get its input from a host before a step begins.

    The input of a step cannot come before the step before has ended, which still works on its own
    (as in MXNet, which copies each batch to the arrays that an executor is bound to). Workers of
    one host ask at the same time, so that they share its link.

    Parameters
    ----------
    plan : what is fed; each of its workers does all steps
    hosts : the last devices of the machine; each feeds as many workers in a row
    """

    plan: Plan
    hosts: int = 1

    def __post_init__(self) -> None:
        whole("fed", 1, hosts=self.hosts)

    def place(self, machine: Machine) -> Placement:
        """Return where the plan puts its ranks, then a rank on each host."""
        at_least("fed", machine, self.hosts, f"{self.hosts} hosts")
        inner, last = self.plan.place(machine), len(machine.devices)
        if self._workers(inner.size) % self.hosts:
            raise InputError(f"plan fed: {self.hosts} hosts do not share "
                             f"{self._workers(inner.size)} workers evenly")  # fmt: skip
        hosts = range(last - self.hosts, last)
        return Placement([*inner.devices, *hosts], [*inner.threads, *[1] * self.hosts])

    def copies(self, ranks: int) -> IntArray | None:
        """Return None: hosts serve who comes first."""
        return None

    def program(self, rank: Rank, job: Job) -> Program:
        """Be a rank of the plan, or a host."""
        ranks = rank.size - self.hosts
        workers = self._workers(ranks)
        each, given = workers // self.hosts, Buffer("input", job.workload.input_bytes)
        if rank.id >= ranks:
            return _feed(rank, given, each * job.steps)
        inner = self.plan.program(Rank(rank.id, ranks), job)
        if rank.id >= workers:
            return inner
        return _fed(inner, rank, job, given, ranks + rank.id // each)

    def _workers(self, ranks: int) -> int:
        learners = getattr(self.plan, "learners", None)
        return ranks if learners is None else int(learners(ranks))


def _fed(program: Program, rank: Rank, job: Job, given: Buffer, host: int) -> Program:
    """Do what a program does, and get the input before each work that begins a step."""
    beginnings = [job.works[name] for name in BEGINNINGS if name in job.works]
    answer: Any = None
    while True:
        try:
            action: Action = program.send(answer)
        except StopIteration:
            return
        if isinstance(action, Compute) and action.work in beginnings:
            yield rank.send(ASK, to=host)
            yield rank.recv(given, source=host)
        answer = yield action


def _feed(rank: Rank, given: Buffer, times: int) -> Program:
    """Be a host that sends an input to whoever asks."""
    for _ in range(times):
        message = yield rank.recv(given)
        yield rank.send(given, to=message.source)
