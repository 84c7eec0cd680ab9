"""Simulate several jobs beside each other on one machine, and tell what neighbours cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from simulator.actions import Rank
from simulator.engine.execute import Part, execute_jobs, place
from simulator.errors import InputError
from simulator.formula import check_whole, numbers
from simulator.ops import IntArray
from simulator.protocols import Machine, Placement, Plan, Program
from simulator.run import Run
from simulator.simulate import check_memory, job_of, machine_of, run_of, simulate
from simulator.workload import Job, Workload

SHARED_NETWORK = "energy leaves out the network, which other jobs use as well"


@dataclass(frozen=True)
class OnDevices:
    """Carry out a plan on some devices of a machine, as if there were no others.

    Parameters
    ----------
    plan : who does what in which order
    devices : indices of the machine's devices, in the order in which the plan sees them

    >>> import scalemodel as sm
    >>> boards = sm.Machine("two boards", [sm.device("raspberry-pi-4")] * 2)
    >>> OnDevices(sm.Single(), [1]).place(boards).devices
    [1]
    """

    plan: Plan
    devices: Sequence[int]

    def place(self, machine: Machine) -> Placement:
        """Return where each rank runs.

        Raises
        ------
        InputError : the machine does not have these devices
        """
        for device in self.devices:
            check_whole("devices", device, 0)
            if device >= len(machine.devices):
                raise InputError(f"devices: machine '{machine.name}' has devices 0 to "
                                 f"{len(machine.devices) - 1}, got {device}")  # fmt: skip
        if len(set(self.devices)) < len(self.devices):
            raise InputError(f"devices: expected each once, got {list(self.devices)}")
        seen = replace(machine, devices=[machine.devices[device] for device in self.devices])
        placement = place(self.plan, seen)
        return replace(placement, devices=[self.devices[place] for place in placement.devices])

    def program(self, rank: Rank, job: Job) -> Program:
        """Return the plan's program."""
        return self.plan.program(rank, job)

    def copies(self, ranks: int) -> IntArray | None:
        """Return which ranks are alike in the plan."""
        return self.plan.copies(ranks)


@dataclass(frozen=True)
class JobSpec:
    """Say what one of several jobs does, where, and from when on.

    Parameters
    ----------
    workload : what is done
    plan : who does what in which order
    devices : indices of the machine's devices, of which the plan takes what it needs; None: all
    start_s : when it begins, seconds
    steps, seed : as of `simulate`
    """

    workload: Workload
    plan: Plan
    devices: Sequence[int] | None = None
    start_s: float = 0.0
    steps: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        numbers("start_s", self.start_s)


@dataclass(frozen=True)
class JobRun:
    """Be what came of a job among others.

    Parameters
    ----------
    run : of the job, with times from its start; energy of devices that it shares is unknown
    start_s : when it began, seconds
    """

    run: Run
    start_s: float

    @property
    def end_s(self) -> float:
        """Return when it ended, seconds."""
        return self.start_s + self.run.time_s

    @cached_property
    def alone(self) -> Run:
        """Return the run of the job with the machine for itself; simulated when first asked."""
        run = self.run
        recorded = run.timeline is not None
        return simulate(run.workload, run.machine, run.plan, steps=run.steps, seed=run.seed,
                        record=recorded)  # fmt: skip

    @property
    def slowdown(self) -> float:
        """Return the time beside the other jobs over that alone."""
        return self.run.time_s / self.alone.time_s


def simulate_jobs(
    jobs: Sequence[JobSpec], on: Machine, *, record: bool = True
) -> tuple[JobRun, ...]:
    """Return how long each of several jobs takes beside the others.

    Costs one run of the engine with the ranks of all jobs.

    Parameters
    ----------
    jobs : which compete for what they share of the machine, on one clock
    on : devices and network
    record : whether to keep timelines

    Raises
    ------
    InputError, DoesNotFitError, ProgramError : as of `simulate`, of any of the jobs or of all

    >>> import scalemodel as sm
    >>> machine = sm.Machine("two boards", [sm.device("raspberry-pi-4")] * 2)
    >>> step = sm.mlp(batch=64)
    >>> jobs = [sm.JobSpec(step, sm.Threads(4), devices=[board]) for board in (0, 0, 1)]
    >>> [one.slowdown > 1.0 for one in sm.simulate_jobs(jobs, machine)]
    [True, True, False]
    """
    given = isinstance(jobs, Sequence) and len(jobs) > 0
    if not given or not all(isinstance(job, JobSpec) for job in jobs):
        raise InputError(f"jobs: expected one or more JobSpec, got {jobs!r}")
    plans = [job.plan if job.devices is None else OnDevices(job.plan, job.devices) for job in jobs]
    for job in jobs:
        machine_of(job.workload, on)
    placements = [place(plan, on) for plan in plans]
    check_memory(on, [(j.workload, p) for j, p in zip(jobs, placements, strict=True)])
    parts = [
        Part(job_of(job.workload, job.plan, job.steps, job.seed), plan, job.start_s)
        for job, plan in zip(jobs, plans, strict=True)
    ]
    outcomes = execute_jobs(parts, on, record=record)
    notes = (SHARED_NETWORK,) if len(jobs) > 1 and on.network is not None else ()
    runs = [
        run_of(part.job, on, part.plan, placement, outcome)
        for part, placement, outcome in zip(parts, placements, outcomes, strict=True)
    ]
    return tuple(
        JobRun(replace(run, notes=(*run.notes, *notes)), part.start_s)
        for run, part in zip(runs, parts, strict=True)
    )
