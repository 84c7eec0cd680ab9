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
from hwmodels.spec import Spec
from simulator.ops import FloatArray, Graph, IntArray


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

    def costs(self, graph: Graph) -> OpCost:
        """Return what each op costs; computed once for a graph."""
        found = self._costs.get(graph)
        if found is None:
            found = self._costs[graph] = op_costs(graph, self.rates)
        return found

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
        overhead, compute, memory = self._parts(graph, threads)
        return overhead + compute + memory

    def _parts(self, graph: Graph, threads: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return seconds of overhead, computing and moving data by op; the latter two overlap."""
        cost, cores = self.costs(graph), self.cores
        team = np.minimum(cost.team, cores.check(threads, self.name))
        clock = cores.clock(team)
        compute = cost.compute_s / (team * cores.speed(team) * clock)
        memory = (cost.traffic_bytes / self._bandwidth(team, clock)).sum(axis=1)
        fork = self.rates.fork_s + self.rates.fork_per_thread_s * (team - 2)
        far = np.where(cores.sockets_of(team) > 1, cores.far_fork, 1.0)
        overhead = cost.dispatch_s + np.where(team > 1, fork * far, 0.0)
        bound = compute >= memory
        return overhead, np.where(bound, compute, 0.0), np.where(bound, 0.0, memory)

    def _bandwidth(self, team: IntArray, clock: FloatArray) -> FloatArray:
        """Return what a team draws from each level (n, levels), bytes per second."""
        cores, levels = self.cores, self.rates.levels
        busy, sockets = cores.busy(team)[:, None], cores.sockets_of(team)[:, None]
        one = np.array([level.bandwidth_bytes_per_s for level in levels])
        shared = np.array([level.shared_bytes_per_s for level in levels])
        cached = np.array([level.name != "DRAM" for level in levels])
        alone = busy * one * np.where(cached, clock[:, None], 1.0)
        link = np.where(cached, np.inf, cores.link_bytes_per_s)
        over_links = link * sockets**2 / np.where(sockets > 1, sockets - 1, 1e-300)
        drawn: FloatArray = np.minimum(np.minimum(alone, shared * sockets), over_links)
        return drawn

    def breakdown_s(self, graph: Graph, threads: int) -> Mapping[str, FloatArray]:
        """Return what each op's time (n,) is spent on, seconds; what is hidden counts nothing."""
        overhead, compute, memory = self._parts(graph, threads)
        return {"compute": compute, "memory": memory, "overhead": overhead}
