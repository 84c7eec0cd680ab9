"""Model a multicore CPU: the time of each op, alone on the machine, by arrays.

The time of an op is: dispatch (one thread), fork and join of its team, and the longer of computing
and moving its data. `hwmodels.open_cpu` does the same by events, where works compete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from hwmodels.cpu_cost import CpuRates, OpCost, op_costs
from hwmodels.cpu_rates import datasheet_rates, rates_of, scaled_rates
from hwmodels.multicore import Cores, cores_of
from hwmodels.open_cpu import OpenCpu
from hwmodels.power import CpuPower, power_of
from hwmodels.profile import Profile, profile_of
from hwmodels.spec import Spec
from simulator.ops import FloatArray, Graph
from simulator.protocols import Clock


@dataclass(frozen=True, eq=False)
class Cpu:
    """Be a CPU with what is known of it.

    Parameters
    ----------
    spec : fields with sources, and the calibration where there is one

    >>> from hwmodels.devices import find_spec
    >>> Cpu(find_spec("raspberry-pi-4")).max_threads
    4
    """

    spec: Spec
    _costs: WeakKeyDictionary[Graph, OpCost] = field(
        default_factory=WeakKeyDictionary, repr=False
    )
    _profiles: WeakKeyDictionary[Graph, dict[int, Profile]] = field(
        default_factory=WeakKeyDictionary, repr=False
    )

    def __reduce__(self) -> tuple[object, ...]:
        return (Cpu, (self.spec,))

    @property
    def name(self) -> str:
        """Return the name in the catalog."""
        return self.spec.name

    @cached_property
    def cores(self) -> Cores:
        """Return what the threads share."""
        return cores_of(self.spec)

    @cached_property
    def power(self) -> CpuPower:
        """Return what the CPU draws."""
        return power_of(self.spec)

    @cached_property
    def rates(self) -> CpuRates:
        """Return the rates of one thread, for this CPU."""
        calibration = self.spec.calibration
        if calibration is None:
            return datasheet_rates(self.spec)
        return scaled_rates(rates_of(calibration), self.spec.values, calibration.reference)

    @property
    def max_threads(self) -> int:
        """Return the number of hardware threads."""
        return self.cores.max_threads

    @property
    def memory_bytes(self) -> float | None:
        """Return the size of the memory, bytes; None where unknown."""
        return self.spec.number("memory.size_bytes")

    def profile(self, graph: Graph, threads: int) -> Profile:
        """Return how the graph runs alone on so many threads; computed once for both.

        Raises
        ------
        InputError : threads not from 1 to `max_threads`
        """
        found = self._profiles.setdefault(graph, {})
        if threads not in found:
            cost = self._costs.get(graph)
            if cost is None:
                cost = self._costs[graph] = op_costs(graph, self.rates)
            team = self.cores.check(threads, self.name)
            found[threads] = profile_of(cost, self.rates, self.cores, team)
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
        """Return what each op's time (n,) is spent on, seconds; what is hidden counts nothing."""
        profile = self.profile(graph, threads)
        computing = profile.compute_s >= profile.memory_s
        return {
            "compute": np.where(computing, profile.compute_s, 0.0),
            "memory": np.where(computing, 0.0, profile.memory_s),
            "overhead": profile.overhead_s,
        }

    def power_w(self, threads: int) -> float | None:
        """Return the power while so many threads compute, watts; None where unknown."""
        power = self.power
        if power.idle_w is None or power.core_w is None:
            return None
        return power.idle_w + power.core_w * min(threads, self.cores.count)

    def open(self, clock: Clock) -> OpenCpu:
        """Return the CPU in use on a clock."""
        return OpenCpu(self, clock)
