"""Be a device whose works all take so many times as long as its model says.

So a step that was timed on one device stands for what the model says of it, and what the model
says of the parts of the step, and of what runs beside it, is kept in proportion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, Self, runtime_checkable
from weakref import WeakKeyDictionary

from hwmodels.open_device import OpenDevice, Phases, Profiled
from hwmodels.profile import Profile, Used, slower
from simulator.energy import Energy
from simulator.errors import InputError
from simulator.ops import FloatArray, Graph
from simulator.protocols import Calibrated, Clock, Device, Machine
from simulator.source import Source
from simulator.workload import Job, Workload

TIMED = Source("a step that was timed on one device", kind="measured")


@runtime_checkable
class Modelled(Device, Calibrated, Profiled, Protocol):
    """Be a device of the catalog: its works are profiles, and it can be explained."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Paced:
    """Be a device whose works take `factor` times as long as those of `base`.

    Parameters
    ----------
    base : the device as it is modelled
    factor : positive
    source : where the factor comes from
    """

    base: Modelled
    factor: float
    source: Source
    _profiles: WeakKeyDictionary[Graph, dict[int, Profile]] = field(
        default_factory=WeakKeyDictionary, repr=False, init=False
    )

    @property
    def name(self) -> str:
        """Return the name in the catalog."""
        return self.base.name

    @property
    def max_threads(self) -> int:
        """Return how many threads a rank may use."""
        return self.base.max_threads

    @property
    def memory_bytes(self) -> float | None:
        """Return the memory that a job may fill, bytes; None where unknown."""
        return self.base.memory_bytes

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return where the numbers come from."""
        return (self.source, *self.base.sources)

    @property
    def resources(self) -> tuple[str, ...]:
        """Return what can bind a run."""
        return self.base.resources

    def scaled(self, resource: str, factor: float) -> Self:
        """Return the device with so many times of a resource."""
        return replace(self, base=self.base.scaled(resource, factor))

    def drawn(self, seed: int) -> Self:
        """Return the device itself: its pace was measured."""
        return self

    def error_ratio(self, graph: Graph) -> tuple[float, float] | None:
        """Return that works take what was measured."""
        return 1.0, 1.0

    def power_w(self, threads: int) -> float | None:
        """Return the power drawn while so many threads compute, watts; None where unknown."""
        return self.base.power_w(threads)

    def times_s(self, graph: Graph, threads: int) -> FloatArray:
        """Return the time of each op (n,) when the graph runs alone, seconds."""
        return self.base.times_s(graph, threads) * self.factor

    def breakdown_s(self, graph: Graph, threads: int) -> Mapping[str, FloatArray]:
        """Return what each op's time (n,) is spent on, seconds."""
        parts = self.base.breakdown_s(graph, threads)
        return {name: spent * self.factor for name, spent in parts.items()}

    def profile(self, graph: Graph, threads: int) -> Profile:
        """Return how the graph runs alone on so many threads."""
        found = self._profiles.setdefault(graph, {})
        if threads not in found:
            found[threads] = slower(self.base.profile(graph, threads), self.factor)
        return found[threads]

    def paces(self, phases: Phases) -> tuple[float, ...]:
        """Return how fast each of the phases that run at the same time goes, over alone."""
        return self.base.paces(phases)

    def energy(self, time_s: float, used: Used) -> Energy:
        """Return what is drawn in some time, by component."""
        return self.base.energy(time_s, used)

    def open(self, clock: Clock) -> OpenDevice:
        """Return the device in use on a clock."""
        opened = self.base.open(clock)
        held = opened.communication if isinstance(opened, OpenDevice) else None
        return OpenDevice(self, clock, communication=held)


def with_step_time(
    machine: Machine, workload: Workload, step_s: float, source: Source = TIMED
) -> Machine:
    """Return a machine on each of whose devices alone a step of a workload takes a known time.

    Parameters
    ----------
    machine : of devices of the catalog
    workload : whose step was timed on one device
    step_s : what that took, seconds
    source : where that was measured

    Raises
    ------
    InputError : a time that is not positive and finite, or a device that is no model

    >>> import scalemodel as sm
    >>> step, machine = sm.resnet50(batch=64, training=True), sm.cluster("dgx-1", devices=8)
    >>> known = sm.with_step_time(machine, step, 0.180)
    >>> bool(0.180 < sm.simulate(step, known, sm.DataParallel()).step_time_s < 0.200)
    True
    """
    number = isinstance(step_s, (int, float)) and not isinstance(step_s, bool)
    if not number or not 0 < step_s < math.inf:
        raise InputError(f"known step time: expected positive seconds, got {step_s!r}")
    graph, made = Job.of(workload).step.graph, dict[int, Device]()
    for device in machine.devices:
        if id(device) in made:
            continue
        if not isinstance(device, Modelled):
            raise InputError(f"known step time: device '{device.name}' is no model")
        predicted_s = float(device.times_s(graph, device.max_threads).sum())
        if not predicted_s:
            raise InputError(f"known step time: '{workload.name}' computes nothing")
        made[id(device)] = Paced(base=device, factor=step_s / predicted_s, source=source)
    return replace(machine, devices=[made[id(device)] for device in machine.devices])
