"""Predict a scenario: bind its names to hardware models and workloads, and simulate."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hwmodels.devices import find_device, with_fields
from hwmodels.paced import with_step_time
from hwmodels.system_files import find_system, is_system, system_names, unknown_machine
from hwmodels.this_machine import NAME as THIS_MACHINE
from hwmodels.this_machine import this_machine
from simulator.bill import Tariff
from simulator.engine.execute import place
from simulator.errors import DoesNotFitError, InputError, UnknownNameError, alike
from simulator.memory import largest_batch as largest_that_fits
from simulator.memory import memory_of_a_rank
from simulator.protocols import Device, Machine, Plan
from simulator.run import Run
from simulator.scenario import STEP_TIME, Scenario, Value
from simulator.simulate import simulate
from simulator.workload import Workload
from workloads.patterns import PATTERNS
from workloads.plans import find_plan
from workloads.registry import find_workload


@dataclass(frozen=True, slots=True)
class Binding:
    """Hold what the names of a scenario stand for."""

    workload: Workload
    machine: Machine
    plan: Plan
    tariff: Tariff | None

    @property
    def device(self) -> Device:
        """Return the machine's first device; all are equal."""
        return self.machine.devices[0]


def predict(scenario: Scenario, *, plan: Plan | None = None, record: bool = False) -> Run:
    """Return how long a scenario takes and what it needs.

    Parameters
    ----------
    scenario : workload, machine and plan by name, with dotted parameters
    plan : used in place of the one that the scenario names
    record : whether to keep a timeline

    Raises
    ------
    UnknownNameError : a name or parameter that nothing carries
    InputError : a value that makes no sense
    FileError : a device file that cannot be used
    DoesNotFitError : the device needs more memory than it has; says the largest batch that fits

    >>> scenario = Scenario(workload="mlp", on="raspberry-pi-4", parameters={"workload.batch": 8})
    >>> predict(scenario).samples_per_step
    8
    """
    bound = bind(scenario, plan)
    try:
        return simulate(
            bound.workload,
            bound.machine,
            bound.plan,
            steps=scenario.steps,
            seed=scenario.seed,
            tariff=bound.tariff,
            record=record,
        )
    except DoesNotFitError as error:
        raise DoesNotFitError(error.problem, _what_would_fit(scenario, bound)) from None


def largest_batch(scenario: Scenario, *, plan: Plan | None = None) -> int:
    """Return the largest batch of a rank whose step fits into the memory of the device.

    Parameters
    ----------
    scenario : as of `predict`; its own batch does not count
    plan : used in place of the one that the scenario names

    Returns
    -------
    int : samples a rank; 0 where not even one fits

    Raises
    ------
    InputError : the device has no memory size, or the workload no batch that its memory depends on
    UnknownNameError : a name or parameter that nothing carries

    >>> largest_batch(Scenario(workload="resnet50", on="nvidia-t4"))
    904
    """
    found = plan_of(scenario) if plan is None else plan
    return _largest_batch(scenario, machine_of(scenario), found)


def _largest_batch(scenario: Scenario, machine: Machine, plan: Plan) -> int:
    memory_bytes = memory_of_a_rank(machine, place(plan, machine))
    if memory_bytes is None:
        raise InputError(f"device '{machine.devices[0].name}' has no memory size: nothing says "
                         "what fits")  # fmt: skip
    others = scenario.changed({BATCH: 1}).under("workload")
    try:
        return _largest(scenario.workload, tuple(sorted(others.items())), memory_bytes)
    except InputError as error:
        raise InputError(f"largest batch of {scenario.workload}: {error}") from None


@functools.lru_cache(maxsize=1024)
def _largest(name: str, parameters: tuple[tuple[str, Any], ...], memory_bytes: float) -> int:
    def make(batch: int) -> Workload:
        return find_workload(name, **{**dict(parameters), "batch": batch})

    return largest_that_fits(make, memory_bytes)


def _what_would_fit(scenario: Scenario, bound: Binding) -> str:
    """Return the advice to whom a step does not fit."""
    largest = _largest_batch(scenario, bound.machine, bound.plan)
    return f"largest batch that fits: {largest:,}" if largest else "not even a batch of 1 fits"


BATCH = "workload.batch"
"""The parameter that says the samples of a rank's step."""


def bind(scenario: Scenario, plan: Plan | None = None) -> Binding:
    """Return what the names of a scenario stand for; arguments and errors as of `predict`."""
    if not isinstance(scenario, Scenario):
        raise InputError(f"scenario: expected a Scenario, got {scenario!r}")
    workload = workload_of(scenario.workload, scenario.under("workload"))
    machine = _timed(machine_of(scenario), workload, scenario)
    found = plan_of(scenario) if plan is None else plan
    return Binding(workload, machine, found, tariff_of(scenario, workload))


def _timed(machine: Machine, workload: Workload, scenario: Scenario) -> Machine:
    """Return a machine on each of whose devices a step takes what the scenario knows of it."""
    step_s = scenario.parameters.get(STEP_TIME)
    if step_s is None:
        return machine
    return with_step_time(machine, workload, step_s)  # type: ignore[arg-type]  # checked there


def workload_of(name: str, parameters: Mapping[str, Value]) -> Workload:
    """Return a workload by name and parameters; equal ones are the same object."""
    # True and 1 are equal, but not the same to ask for.
    typed = tuple((key, value, type(value)) for key, value in sorted(parameters.items()))
    return _workload(name, typed)


@functools.lru_cache(maxsize=256)
def _workload(name: str, parameters: tuple[tuple[str, Any, type], ...]) -> Workload:
    return find_workload(name, **{key: value for key, value, _ in parameters})


def machine_of(scenario: Scenario) -> Machine:
    """Return the machine of a scenario, with its fields changed as the scenario says.

    Of a system `on.devices` says how many; other parameters belong to it or to its devices. The
    time that a step is known to take does not count here, as it is that of a workload.

    >>> scenario = Scenario(workload="mlp", on="dgx-a100-80gb", parameters={"on.devices": 16})
    >>> len(machine_of(scenario).devices)
    16
    """
    changes: dict[str, Any] = scenario.under("on")
    changes.pop(STEP_TIME.removeprefix("on."), None)
    if is_system(scenario.on):
        return _system_machine(scenario.on, changes.pop("devices", None), changes)
    device = named_device(scenario.on)
    if "devices" in changes:
        raise InputError(f"on.devices: '{scenario.on}' is one device; systems have several "
                         "(`scalemodel list systems`)")  # fmt: skip
    found = with_fields(device, changes) if changes else device
    return Machine(found.name, (found,))


def named_device(name: str) -> Device:
    """Return the machine at hand, a device of the catalog or of the user, or that of a file."""
    if name == THIS_MACHINE:
        return this_machine()
    try:
        return find_device(name)
    except UnknownNameError as error:
        # A name that is wrong may be meant for a system.
        near = alike(name, system_names())
        if near:
            raise UnknownNameError("device or system", name, [*error.known, *near]) from None
        if alike(name, error.known):
            raise
        raise unknown_machine(name) from None


def _system_machine(name: str, devices: Any, changes: Mapping[str, Any]) -> Machine:
    from hwmodels.network.systems import machine_of as made  # which takes a while to import

    return made(find_system(name), devices, changes)


def first_device(name: str) -> Device:
    """Return a device by its name, or one of those of a system."""
    return _system_machine(name, 1, {}).devices[0] if is_system(name) else named_device(name)


def usual_plan(values: Mapping[str, Value]) -> str | None:
    """Return the plan that is meant where none is named; None: the one of a scenario.

    Parameters
    ----------
    values : what is known of the scenario, by name

    >>> usual_plan({"workload": "all-reduce", "on": "dgx-1"}), usual_plan({"workload": "mlp"})
    ('communicate', None)
    >>> usual_plan({"workload": "mlp", "on": "dgx-1"})
    'data-parallel'
    """
    if str(values.get("workload")).replace("_", "-") in PATTERNS:
        return "communicate"
    on = values.get("on")
    return "data-parallel" if isinstance(on, str) and is_system(on) else None


def plan_of(scenario: Scenario) -> Plan:
    """Return the plan that a scenario names."""
    return find_plan(scenario.plan, **scenario.under("plan"))


def tariff_of(scenario: Scenario, workload: Workload) -> Tariff | None:
    """Return length and prices of the whole job, None where the scenario says nothing of them.

    Raises
    ------
    UnknownNameError : no such parameter of a job
    InputError : prices without a length, or a value that makes no sense
    """
    given = scenario.under("job")
    known = [field.name for field in fields(Tariff)]
    for name, value in given.items():
        if name not in known:
            raise UnknownNameError("parameter of a job", name, known)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(f"job.{name}: expected a number, got {value!r}")
    if given and "steps" not in given:
        raise InputError(f"job.{next(iter(given))} needs job.steps: how long the whole job is")
    numbers: dict[str, Any] = dict(given)
    return Tariff(**numbers) if given else None
