"""Measure a plan on real processes: the very programs that are simulated, on the wall clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwmodels.this_machine import this_machine
from simulator.engine.execute import execute, place
from simulator.engine.outcome import Outcome
from simulator.errors import InputError
from simulator.ideal import AlphaBetaStar
from simulator.memory import peak_memory
from simulator.ops import Graph
from simulator.protocols import Device, Machine, Placement, Plan
from simulator.workload import Buffer, Job, Workload
from validation.ranks import (
    TIMEOUT_S,
    Answers,
    Made,
    Task,
    Tell,
    check_fits_here,
    check_ranks,
    run_ranks,
)
from validation.wall_record import RankRecord, outcome_of

TRIAL_NETWORK = AlphaBetaStar(latency_s=1e-4, bandwidth_bytes_per_s=1e8)
"""On which a plan is tried before it is measured; any will do."""


@dataclass(frozen=True, slots=True)
class Playing:
    """Say what each process of a measured plan does.

    Parameters
    ----------
    plan : or what makes it
    job : what is done
    threads : of each rank
    virtual : the device as which a compute sleeps; None: works are done in torch
    """

    plan: Plan | Made
    job: Job
    threads: Sequence[int]
    virtual: Device | None


def measure_plan(
    job: Job,
    plan: Plan,
    devices: int,
    *,
    made: Made | None = None,
    rate_bit_per_s: float | None = None,
    virtual: Device | None = None,
    tell: Tell = lambda _: None,
    timeout_s: float = TIMEOUT_S,
) -> Outcome:
    """Return what comes out when real processes run a plan.

    The plan is simulated first, so that deadlocks, races and disagreeing collectives are found
    before processes hang or compute nonsense. Weights stay as they are, so that steps are alike.

    Parameters
    ----------
    job : works and buffers, and how many steps
    plan : who does what in which order
    devices : how many the plan may place ranks on; a rank is a process
    made : how each process makes the plan where it cannot be pickled (a file of the user's own)
    rate_bit_per_s : of each link and direction, bit/s; None: not limited
    virtual : the device as which a rank computes, by sleeping as long as it would take; None: works
        are done in torch
    tell : is told of the progress
    timeout_s : how long a rank waits for the others, seconds

    Raises
    ------
    ProgramError : the plan deadlocks, races or disagrees
    RankFailedError : a process failed; names the first
    InputError : far more ranks than this machine has cores
    DoesNotFitError : steps that this machine's memory does not hold
    """
    if made is None and type(plan).__module__ == "__main__":
        raise InputError(f"plan: {type(plan).__name__} is defined in the program that runs; other "
                         "processes can import it from a module of its own")  # fmt: skip
    placement = tried(job, plan, devices, virtual)
    if virtual is None:
        step = job.workload
        check_fits_here(step.name, peak_memory(step)["total"], placement.size)
    task = Task(call="validation.torch_plan:play",
                given=Playing(made or plan, job, list(placement.threads), virtual))  # fmt: skip
    answers = run_ranks(task, placement.size, rate_bit_per_s=rate_bit_per_s, tell=tell,
                        timeout_s=timeout_s)  # fmt: skip
    records: Sequence[RankRecord] = answers.of_ranks
    return outcome_of(records, job.steps, told(answers))


def tried(job: Job, plan: Plan, devices: int, virtual: Device | None = None) -> Placement:
    """Return where a plan puts its ranks, once it is known that its programs end."""
    device = virtual or this_machine()
    machine = Machine(device.name, [device] * devices, TRIAL_NETWORK)
    placement = place(plan, machine)
    check_ranks(placement.size)
    execute(job, machine, plan, record=False)
    return placement


def told(answers: Answers) -> str:
    """Say in one line how something was measured."""
    ranks = len(answers.of_ranks)
    network = network_text(answers.network, answers.rate_bit_per_s)
    return f"measured on {ranks} process{'es' * (ranks > 1)} ({network})"


def network_text(network: str, rate_bit_per_s: float | None) -> str:
    """Say what carried messages, and how quick its links were if they were limited.

    >>> network_text("namespaces", 1e9)
    'namespaces, links of 1 Gbit/s'
    """
    limit = "" if rate_bit_per_s is None else f", links of {rate_bit_per_s / 1e9:g} Gbit/s"
    return network + limit


def communication_job(nbytes: float, steps: int = 1) -> Job:
    """Return a job of which only the buffers count: `grad` and `params`, each of so many bytes.

    >>> communication_job(8.0).grad
    Buffer(name='grad', nbytes=8.0)
    """
    if not nbytes > 0:
        raise InputError(f"size: a message must have more than 0 bytes; got {nbytes:g}")
    nothing = Workload(name="communication", parameters={}, graph=Graph.of([]), samples=1)
    buffers = {name: Buffer(name, nbytes) for name in ("grad", "params")}
    return Job(workload=nothing, works={}, buffers=buffers, steps=steps)
