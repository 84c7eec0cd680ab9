"""Check the parameters of plans, and place one rank on each device."""

from __future__ import annotations

import math
from collections.abc import Iterable

from simulator.errors import DoesNotFitError, InputError, UnknownNameError
from simulator.formula import check_single, check_whole, numbers
from simulator.protocols import Machine, Placement
from simulator.workload import Job

MOST_LOCAL_STEPS = 100_000
"""Of a round: more of them are no round, and would not end in a simulation."""


def check_local_steps(plan: str, name: str, value: int) -> None:
    """Raise where a round has no whole number of local steps, or too many."""
    whole(plan, 1, **{name: value})
    if value > MOST_LOCAL_STEPS:
        raise InputError(f"plan {plan}: {name}: expected at most {MOST_LOCAL_STEPS:,} local steps "
                         f"of a round, got {value}")  # fmt: skip


def whole(plan: str, low: int, **values: object) -> None:
    """Raise where a parameter is no whole number of at least `low`."""
    for name, value in values.items():
        check_whole(f"plan {plan}: {name}", value, low)


def number(plan: str, name: str, value: object, low: float = 0.0, high: float = math.inf) -> None:
    """Raise where a parameter is no number from `low` to `high`."""
    check_single(f"plan {plan}: {name}", value)
    numbers(f"plan {plan}: {name}", value, low, high)  # type: ignore[arg-type]


def positive(plan: str, **values: float) -> None:
    """Raise where a parameter is no number above 0."""
    for name, value in values.items():
        check_single(f"plan {plan}: {name}", value)
        numbers(f"plan {plan}: {name}", value, above=True)


def not_negative(plan: str, **values: float) -> None:
    """Raise where a parameter is no number of at least 0."""
    for name, value in values.items():
        number(plan, name, value)


def disturbable(name: str, plan: object) -> None:
    """Raise where what is to be disturbed is no plan."""
    if isinstance(plan, type) or not hasattr(plan, "place"):
        raise InputError(f"plan {name}: expected a plan to disturb, such as DataParallel(), got "
                         f"{plan!r}")  # fmt: skip


def one_of(plan: str, name: str, value: object, known: Iterable[str]) -> None:
    """Raise where a parameter has none of the names that it may have."""
    known = tuple(known)
    if value not in known:
        raise UnknownNameError(f"{name} of plan {plan}", str(value), known)


def only_with(plan: str, name: str, given: bool, condition: str, holds: bool) -> None:
    """Raise where a parameter is given that means nothing."""
    if given and not holds:
        raise InputError(f"plan {plan}: {name} means something only with {condition}")


def spread(machine: Machine) -> Placement:
    """Return one rank on each device, with all its threads."""
    threads = [device.max_threads for device in machine.devices]
    return Placement(range(len(threads)), threads)


def at_least(plan: str, machine: Machine, devices: int, why: str) -> None:
    """Raise where a machine has too few devices."""
    have = len(machine.devices)
    if have < devices:
        raise DoesNotFitError(
            f"plan {plan} needs at least {devices} devices ({why}); '{machine.name}' has {have}"
        )


def training(plan: str, job: Job) -> Job:
    """Return a job of a workload that trains, or raise."""
    if "params" not in job.buffers:
        only = job.workload.pattern is not None
        advice = "what only communicates takes plan communicate" if only else (
            "build it with training=True (--set workload.training=true)")  # fmt: skip
        raise InputError(f"plan {plan} trains, and workload '{job.workload.name}' does not; "
                         f"{advice}")  # fmt: skip
    return job
