"""Say what binds a run: simulate it again with each resource changed.

The *elasticity* of a resource is the share of the step time that follows it: by how many percent
the step gets quicker when there is one percent more of the resource. What binds is the resource
with the largest elasticity; it binds until, with more of it, another's is larger.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from simulator.errors import InputError
from simulator.protocols import Device, Machine, Network, Sourced
from simulator.run import Run
from simulator.simulate import simulate
from simulator.units import format_quantity

STEP = 0.02
"""Relative change of a resource for an elasticity: small, yet far above rounding."""
MOST = 1024.0
"""Beyond so many times of a resource nobody asks what else binds."""
PRECISION = 0.01
"""Relative precision of the factor at which another resource takes over."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Say how a run depends on one resource.

    Parameters
    ----------
    name : dotted name, such as "memory.bandwidth"
    elasticity : share of the step time that follows it
    doubled_s : step time with twice as much, seconds
    endless_s : step time with `MOST` times as much, seconds
    """

    name: str
    elasticity: float
    doubled_s: float
    endless_s: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Say what binds a run and for how long.

    Parameters
    ----------
    step_time_s : of the run, seconds
    resources : the most binding first
    until : factor of the binding resource at which `then` binds; None: up to `MOST` nothing else
    then : what binds after that
    """

    step_time_s: float
    resources: tuple[Resource, ...]
    until: float | None
    then: str | None

    @property
    def binds(self) -> str:
        """Return the name of what binds."""
        return self.resources[0].name

    def __str__(self) -> str:
        first = self.resources[0]
        lines = [f"{first.name} binds: {100 * first.elasticity:.0f} % of the step time follows it"]
        if self.until is not None:
            lines.append(f"until there is {self.until:.3g} times as much; then {self.then} binds")
        else:
            lines.append(f"up to {MOST:g} times as much nothing else binds more")
        width = max(len(resource.name) for resource in self.resources)
        for r in self.resources:
            twice, endless = (self.step_time_s / t for t in (r.doubled_s, r.endless_s))
            lines.append(f"  {r.name:<{width}}  {round(100 * r.elasticity):3d} %   "
                         f"x2: {twice:.2f} times as fast   at most: {endless:.2f}")  # fmt: skip
        lines.append(f"step time {format_quantity(self.step_time_s, 's')}")
        return "\n".join(lines)


def explain(run: Run) -> Explanation:
    """Return what binds a run, and by how much it must improve before what else binds.

    Simulates the run some tens of times, without timeline.

    Raises
    ------
    InputError : a device of the run cannot be changed
    """
    machine = run.machine
    names = resources_of(machine)

    def step_s(factors: Mapping[str, float]) -> float:
        changed = machine
        for name, factor in factors.items():
            changed = scaled_machine(changed, name, factor)
        again = simulate(run.workload, changed, run.plan, steps=run.steps, seed=run.seed,
                         record=False)  # fmt: skip
        return again.step_time_s

    found = [
        Resource(name, _elasticity(step_s, name), step_s({name: 2.0}), step_s({name: MOST}))
        for name in names
    ]
    ordered = tuple(sorted(found, key=lambda r: -r.elasticity))
    until, then = _takeover(step_s, [r.name for r in ordered])
    return Explanation(run.step_time_s, ordered, until, then)


def resources_of(machine: Machine) -> list[str]:
    """Return what can bind on a machine: the resources of its devices and of its network."""
    parts: list[object] = [*dict.fromkeys(machine.devices), machine.network]
    names = [n for part in parts if isinstance(part, Sourced) for n in part.resources]
    if not names:
        raise InputError(f"machine '{machine.name}' names no resource that could be changed")
    return list(dict.fromkeys(names))


def scaled_machine(machine: Machine, resource: str, factor: float) -> Machine:
    """Return the machine with so many times of a resource in each part that has it."""
    new: dict[int, Device] = {}
    for device in machine.devices:
        if id(device) not in new:
            new[id(device)] = _scaled(device, resource, factor)
    network = None if machine.network is None else _scaled(machine.network, resource, factor)
    return replace(machine, devices=[new[id(d)] for d in machine.devices], network=network)


Part = TypeVar("Part", Device, Network)


def _scaled(part: Part, resource: str, factor: float) -> Part:
    if isinstance(part, Sourced) and resource in part.resources:
        return part.scaled(resource, factor)
    return part


StepTime = Callable[[Mapping[str, float]], float]


def _elasticity(step_s: StepTime, name: str, base: Mapping[str, float] | None = None) -> float:
    base = base or {}
    here = base.get(name, 1.0)
    less, more = (step_s({**base, name: here * (1 + sign * STEP)}) for sign in (-1, 1))
    return math.log(less / more) / math.log((1 + STEP) / (1 - STEP))


def _takeover(step_s: StepTime, names: Sequence[str]) -> tuple[float | None, str | None]:
    """Return the factor of the first resource at which another binds more, and which."""
    binding, others = names[0], names[1:]

    def strongest(factor: float) -> str:
        base = {binding: factor}
        return max([binding, *others], key=lambda name: _elasticity(step_s, name, base))

    if not others or strongest(MOST) == binding:
        return None, None
    low, high = 1.0, MOST
    while high / low > 1 + PRECISION:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if strongest(middle) == binding else (low, middle)
    return high, strongest(high)
