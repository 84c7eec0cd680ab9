"""Model a multicore CPU: the time of each op, alone on the machine, by arrays.

The time of an op is: dispatch (one thread), fork and join of its team, and the longer of computing
and moving its data (`hwmodels.profile`). `hwmodels.open_device` does the same by events, where
works compete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

import numpy as np

from hwmodels.cores import Cores, cores_of
from hwmodels.cpu_cost import CpuRates, OpCost, op_costs
from hwmodels.cpu_rates import RESOURCES, rates_for, with_more
from hwmodels.open_device import OpenDevice, Phases
from hwmodels.power import CpuPower, power_of
from hwmodels.profile import Profile, Used, profile_of, team_bandwidth
from hwmodels.sharing import shared_paces
from hwmodels.spec import Spec
from simulator.energy import Energy
from simulator.errors import InputError, UnknownNameError
from simulator.ops import FloatArray, Graph
from simulator.protocols import Clock
from simulator.source import Source


def cpu_of(spec: Spec) -> Cpu:
    """Return the model of a CPU of which this is known.

    >>> from hwmodels.devices import find_spec
    >>> cpu_of(find_spec("rpi4-bcm2711")).max_threads
    4
    """
    return Cpu(spec=spec, rates=rates_for(spec), cores=cores_of(spec), power=power_of(spec))


@dataclass(frozen=True, kw_only=True, eq=False)
class Cpu:
    """Be a multicore CPU; `cpu_of` makes one.

    Parameters
    ----------
    spec : fields with sources, and the calibration where there is one
    rates : of one thread
    cores : what the threads share
    power : what it draws
    more : how many times there is of each of `resources`, where it is not once
    resources : what can bind a run
    """

    spec: Spec
    rates: CpuRates
    cores: Cores
    power: CpuPower
    more: Mapping[str, float] = field(default_factory=dict)
    resources: tuple[str, ...] = field(default=RESOURCES, init=False)
    _costs: WeakKeyDictionary[Graph, dict[bool, OpCost]] = field(
        default_factory=WeakKeyDictionary, repr=False, init=False
    )
    _profiles: WeakKeyDictionary[Graph, dict[int, Profile]] = field(
        default_factory=WeakKeyDictionary, repr=False, init=False
    )

    def __reduce__(self) -> tuple[object, ...]:
        return (_again, (self.spec, self.rates, self.cores, self.power, dict(self.more)))

    @property
    def name(self) -> str:
        """Return the name in the catalog."""
        return self.spec.name

    @property
    def max_threads(self) -> int:
        """Return the number of hardware threads."""
        return self.cores.max_threads

    @property
    def memory_bytes(self) -> float | None:
        """Return the size of the memory, bytes; None where unknown."""
        return self.spec.number("memory.size_bytes")

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return where the numbers that count come from, each once."""
        calibration, power = self.spec.calibration, self.power.core_source
        first = None if calibration is None else calibration.source
        fields = (source for key, source in self.spec.sources.items() if _counts(key, self))
        every = (first, *fields, power)
        return tuple(dict.fromkeys(source for source in every if source is not None))

    def error_ratio(self, graph: Graph) -> tuple[float, float] | None:
        """Return the 5 % and 95 % quantiles of measured over predicted time of whole runs."""
        calibration = self.spec.calibration
        return None if calibration is None else calibration.error_ratio

    def scaled(self, resource: str, factor: float) -> Cpu:
        """Return the CPU with so many times of a resource.

        Raises
        ------
        InputError : no such resource, or a factor that is not positive
        """
        if resource not in RESOURCES:
            raise UnknownNameError("resource", resource, RESOURCES, f"device '{self.name}'")
        if not 0 < factor < float("inf"):
            raise InputError(f"{resource} of '{self.name}': expected a positive factor, "
                             f"got {factor}")  # fmt: skip
        more = {**self.more, resource: self.more.get(resource, 1.0) * factor}
        link = factor if resource == "memory.bandwidth" else 1.0
        cores = replace(self.cores, link_bytes_per_s=self.cores.link_bytes_per_s * link)
        rates = with_more(self.rates, resource, factor)
        return replace(self, rates=rates, cores=cores, more=more)

    def drawn(self, seed: int) -> Cpu:
        """Return the CPU with its calibrated numbers drawn from their spreads."""
        calibration = self.spec.calibration
        if calibration is None:
            return self
        rates = rates_for(self.spec.replaced(calibration=calibration.drawn(seed)))
        for resource, factor in self.more.items():
            rates = with_more(rates, resource, factor)
        return replace(self, rates=rates)

    def profile(self, graph: Graph, threads: int) -> Profile:
        """Return how the graph runs alone on so many threads; computed once for both.

        Raises
        ------
        InputError : threads not from 1 to `max_threads`
        """
        found = self._profiles.setdefault(graph, {})
        if threads not in found:
            team = self.cores.check(threads, self.name)
            costs = self._costs.setdefault(graph, {})
            if (team > 1) not in costs:
                costs[team > 1] = op_costs(graph, self.rates, team)
            found[threads] = profile_of(costs[team > 1], self.rates, self.cores, team)
        return found[threads]

    def times_s(self, graph: Graph, threads: int) -> FloatArray:
        """Return the time of each op (n,) when the graph runs alone, seconds.

        Parameters
        ----------
        graph : the ops
        threads : from 1 to `max_threads`

        Raises
        ------
        InputError : threads out of that range
        """
        return self.profile(graph, threads).times_s

    def breakdown_s(self, graph: Graph, threads: int) -> Mapping[str, FloatArray]:
        """Return what each op's time (n,) is spent on, seconds.

        Arithmetic that hides behind shared memory counts nothing; waiting for data is memory.
        """
        profile = self.profile(graph, threads)
        own = profile.compute_s + profile.stall_s >= profile.memory_s
        return {
            "compute": np.where(own, profile.compute_s, 0.0),
            "memory": np.where(own, profile.stall_s, profile.memory_s),
            "overhead": profile.overhead_s,
        }

    def power_w(self, threads: int) -> float | None:
        """Return the power while so many threads compute and move all they can, watts.

        None where the power is unknown.

        Raises
        ------
        InputError : threads not from 1 to `max_threads`
        """
        team = np.array([self.cores.check(threads, self.name)])
        moved = float(team_bandwidth(self.rates, self.cores, team)[0, -1])
        second = self.power.energy_j(1.0, float(self.cores.busy(team)[0]), moved)
        return Energy(second).total_j

    def paces(self, phases: Phases) -> tuple[float, ...]:
        """Return how fast each of the phases that run at the same time goes, over alone."""
        return shared_paces(phases, self.rates, self.cores)

    def energy(self, time_s: float, used: Used) -> Energy:
        """Return what is drawn in some time (seconds) in which works used this, by component."""
        return Energy(self.power.energy_j(time_s, used.core_s, used.moved_bytes))

    def open(self, clock: Clock) -> OpenDevice:
        """Return the CPU in use on a clock."""
        return OpenDevice(self, clock)


def energy_by_op_j(cpu: Cpu, graph: Graph, threads: int) -> Mapping[str, FloatArray | None]:
    """Return what each op (n,) uses when the graph runs alone, joules by component.

    The sums are what the events give; None where the power is unknown.
    """
    profile = cpu.profile(graph, threads)
    core_s, _, moved_bytes = profile.used_by_op
    return cpu.power.energy_j(profile.times_s, core_s, moved_bytes)


def _again(
    spec: Spec, rates: CpuRates, cores: Cores, power: CpuPower, more: Mapping[str, float]
) -> Cpu:
    return Cpu(spec=spec, rates=rates, cores=cores, power=power, more=more)


def _counts(key: str, cpu: Cpu) -> bool:
    """Say whether a field can make a difference: not every CPU has what estimates are about."""
    calibration = cpu.spec.calibration
    if key in ("model.memory_share", "model.borrowed_spread"):
        return calibration is not None and calibration.is_borrowed
    if key == "model.sibling_work":
        return cpu.cores.threads_per_core > 1
    return key != "model.far_fork" or cpu.cores.sockets > 1
