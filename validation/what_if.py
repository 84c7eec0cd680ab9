"""Predict many scenarios at little cost each: the points of a sweep.

Where one rank does the whole step on one device, nothing competes and the step takes the sum of its
ops' times: no events are needed. All else is simulated. Both ways give the same figures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from hwmodels.cpu import Cpu, energy_by_op_j
from hwmodels.devices import with_fields
from hwmodels.gpu.device import Gpu, judge
from hwmodels.profile import Used
from hwmodels.system_files import find_system, is_system
from simulator.bill import Tariff
from simulator.errors import ScalemodelError
from simulator.memory import peak_memory
from simulator.ops import FloatArray, Graph
from simulator.protocols import Device, Metered, Plan
from simulator.run import Run, interval_of_product
from simulator.scenario import Scenario
from simulator.sweep_chunks import interval_row, run_row
from simulator.sweep_store import Row
from simulator.workload import Workload
from validation.predict import (
    first_device,
    named_device,
    plan_of,
    predict,
    tariff_of,
    workload_of,
)
from workloads.plans import Single, Threads

Costed: TypeAlias = Cpu | Gpu
"""Devices that cost many workloads in one call."""


@dataclass(frozen=True, slots=True)
class _Alone:
    """Be one rank that does so many steps, an op after the other."""

    workload: Workload
    threads: int
    steps: int
    tariff: Tariff | None

    def fits(self, device: Device) -> bool:
        """Say whether neither threads nor memory are short; why not, the simulation says."""
        memory = device.memory_bytes
        enough = memory is None or peak_memory(self.workload)["total"] <= memory
        return enough and self.threads <= device.max_threads and len(self.workload.graph) > 0

    def row(self, device: Costed, figures: Figures, single: Figures) -> Row:
        """Return the figures of the run; `single` is the same on one thread."""
        step_s, step_j = figures.step_s, figures.energy_j
        energy_j, speedup = _times(step_j, self.steps), single.step_s / step_s
        time_ratio = device.error_ratio(self.workload.graph)
        bill = None if self.tariff is None else self.tariff.bill(step_s, step_j)
        return {
            "time_s": self.steps * step_s,
            "step_time_s": step_s,
            "throughput": self.workload.samples / step_s,
            "speedup": speedup,
            "efficiency": speedup / self.threads,
            "compute_share": 1.0,
            "communication_share": 0.0,
            "idle_share": 0.0,
            "overhead_share": figures.overhead_s / step_s,
            "energy_j": energy_j,
            "energy_per_sample_j": _times(step_j, 1 / self.workload.samples),
            "mean_power_w": _times(step_j, 1 / step_s),
            "peak_power_w": device.power_w(self.threads),
            "peak_memory_bytes": peak_memory(self.workload)["total"],
            "cost": None if bill is None else bill.money,
            **interval_row("step_time_s", _around(step_s, time_ratio)),
            **interval_row("energy_j", _energy_bounds(device, energy_j, time_ratio)),
        }


Ratio: TypeAlias = tuple[float, float] | None
"""Quantiles of measured over predicted; None: unknown."""


def _around(value: float, ratio: Ratio) -> Ratio:
    return None if ratio is None else (value * ratio[0], value * ratio[1])


def _energy_bounds(device: Costed, energy_j: float | None, time_ratio: Ratio) -> Ratio:
    power_ratio = device.power_ratio if isinstance(device, Metered) else None
    if energy_j is None or time_ratio is None or power_ratio is None:
        return None
    return _around(energy_j, interval_of_product(time_ratio, power_ratio))


def stamp_of(devices: Iterable[str]) -> str:
    """Return a text that changes when one of these devices does: its fields or its calibration.

    Parameters
    ----------
    devices : names or files; those that cannot be read are left out, for predicting says why

    >>> len(stamp_of(["raspberry-pi-4"]))
    16
    """
    digest = hashlib.sha256()
    for name in sorted(set(devices)):
        try:
            system = find_system(name) if is_system(name) else None
            spec = getattr(first_device(name), "spec", None)
        except ScalemodelError:
            continue
        calibration = getattr(spec, "calibration", None)
        known = [getattr(spec, "values", {})]
        if calibration is not None:
            known += [calibration.numbers, calibration.families]
        if system is not None:
            known += [system.spec.values, system.topology]
        digest.update(repr((name, [sorted(one.items()) for one in known])).encode())
    return digest.hexdigest()[:16]


def _by_device(scenarios: Sequence[Scenario]) -> dict[tuple[object, ...], list[int]]:
    """Return the indices of the scenarios on each device."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, scenario in enumerate(scenarios):
        groups.setdefault((scenario.on, *scenario.under("on").items()), []).append(index)
    return groups


class Found:
    """Find devices by name, each once, and change their fields."""

    def __init__(self) -> None:
        self._named: dict[str, Device] = {}

    def device(self, scenario: Scenario) -> Device | None:
        """Return the device of a scenario; None where there is an error, which predicting says."""
        changes = scenario.under("on")
        try:
            if scenario.on not in self._named:
                self._named[scenario.on] = named_device(scenario.on)
            device = self._named[scenario.on]
            return with_fields(device, changes) if changes else device
        except ScalemodelError:
            return None


class Built:
    """Build workloads, each once: a sweep may go through more than are remembered."""

    def __init__(self) -> None:
        self._workloads: dict[tuple[object, ...], Workload] = {}

    def workload(self, scenario: Scenario) -> Workload:
        """Return the workload of a scenario; errors as of `workload_of`."""
        sizes = scenario.under("workload")
        key = (scenario.workload, *((name, type(v), v) for name, v in sorted(sizes.items())))
        if key not in self._workloads:
            self._workloads[key] = workload_of(scenario.workload, sizes)
        return self._workloads[key]


def _threads_alone(plan: Plan) -> int | None:
    """Return the threads of a plan in which one rank does one op after another; None: another."""
    if isinstance(plan, Single):
        return 1
    if isinstance(plan, Threads) and plan.inter_op == 1:
        return plan.threads
    return None


Points: TypeAlias = Sequence[tuple[int, _Alone]]


def _possible(device: Costed, points: Points, joined: Joined) -> dict[int, Row]:
    """Return the figures of the points that can be (a device may lack a data type), by number."""
    try:
        return _in_closed_form(device, points, joined)
    except ScalemodelError:
        half = len(points) // 2
        parts = (points[:half], points[half:]) if half else ()
        return {i: row for part in parts for i, row in _possible(device, part, joined).items()}


def _in_closed_form(device: Costed, points: Points, joined: Joined) -> dict[int, Row]:
    """Return the figures of the points that fit, by their number."""
    fitting = {i: alone for i, alone in points if alone.fits(device)}
    by_threads: dict[int, list[Workload]] = {1: [alone.workload for alone in fitting.values()]}
    for alone in fitting.values():
        by_threads.setdefault(alone.threads, []).append(alone.workload)
    figures = {
        threads: joined.figures(device, workloads, threads)
        for threads, workloads in by_threads.items()
    }
    return {
        i: alone.row(device, figures[alone.threads][alone.workload], figures[1][alone.workload])
        for i, alone in fitting.items()
    }


@dataclass(frozen=True, slots=True)
class Figures:
    """Hold what one step takes: seconds, seconds of overhead in it, joules (None: unknown)."""

    step_s: float
    overhead_s: float
    energy_j: float | None


MOST_OPS = 50_000
"""Ops that are costed in one call: many enough to be cheap, few enough for the caches."""


MOST_JOINED = 16
"""Joined graphs that are kept."""


class Joined:
    """Cost many workloads in one call, by their joined graphs; the last ones are kept."""

    def __init__(self) -> None:
        self._graphs: dict[tuple[Workload, ...], Graph] = {}

    def figures(
        self, device: Costed, workloads: Sequence[Workload], threads: int
    ) -> dict[Workload, Figures]:
        """Return what one step of each workload takes on so many threads."""
        found: dict[Workload, Figures] = {}
        for part in _parts(dict.fromkeys(workloads)):
            graph = self._graph(part)
            found |= zip(part, _figures(device, graph, part, threads), strict=True)
        return found

    def _graph(self, workloads: tuple[Workload, ...]) -> Graph:
        graph = self._graphs.pop(workloads, None)
        if graph is None:
            graph = Graph.joined([workload.graph for workload in workloads])
        self._graphs[workloads] = graph  # the last used stands last
        while len(self._graphs) > MOST_JOINED:
            del self._graphs[next(iter(self._graphs))]
        return graph


def _parts(workloads: Iterable[Workload]) -> Iterator[tuple[Workload, ...]]:
    """Yield the workloads in parts of at most `MOST_OPS` ops together."""
    part: list[Workload] = []
    ops = 0
    for workload in workloads:
        if part and ops + len(workload.graph) > MOST_OPS:
            yield tuple(part)
            part, ops = [], 0
        part.append(workload)
        ops += len(workload.graph)
    if part:
        yield tuple(part)


def _figures(
    device: Costed, graph: Graph, workloads: Sequence[Workload], threads: int
) -> list[Figures]:
    first = np.cumsum([0, *(len(workload.graph) for workload in workloads[:-1])])

    def sums(values: FloatArray) -> list[float]:
        found: list[float] = np.add.reduceat(values, first).tolist()
        return found

    step_s = sums(device.times_s(graph, threads))
    overhead_s = sums(device.breakdown_s(graph, threads)["overhead"])
    energy_j: list[float | None]
    if isinstance(device, Gpu):
        judge(device, graph)
        used = np.add.reduceat(device.profile(graph, threads).used_by_op, first, axis=1)
        energy_j = [device.energy(s, Used(*one)).total_j
                    for s, one in zip(step_s, used.T.tolist(), strict=True)]  # fmt: skip
    else:
        by_op = energy_by_op_j(device, graph, threads)
        known = [joules for joules in by_op.values() if joules is not None]
        all_known = known and len(known) == len(by_op)
        total = sum(known, np.zeros(len(graph)))
        energy_j = [*sums(total)] if all_known else [None] * len(step_s)
    return [Figures(*one) for one in zip(step_s, overhead_s, energy_j, strict=True)]


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


@dataclass(frozen=True)
class WhatIf:
    """Evaluate scenarios for a sweep.

    Parameters
    ----------
    plan : used in place of the ones that scenarios name; None: theirs
    """

    plan: Plan | None = None
    _joined: Joined = field(default_factory=Joined, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[object, ...]:
        return (WhatIf, (self.plan,))

    def __call__(self, scenario: Scenario) -> Run:
        """Return the run of one scenario, simulated by events."""
        return predict(scenario, plan=self.plan)

    def many(self, scenarios: Sequence[Scenario]) -> list[Row | ScalemodelError]:
        """Return for each scenario its figures, or the error that one by one would raise."""
        found, built = Found(), Built()
        answers: dict[int, Row | ScalemodelError] = {}
        # A device after the other: each keeps what it knows of a graph only as long as needed.
        for indices in _by_device(scenarios).values():
            alone = [self._alone(scenarios[i], built) for i in indices]
            device = found.device(scenarios[indices[0]])
            if isinstance(device, Costed):
                points = [(i, one) for i, one in zip(indices, alone, strict=True) if one]
                answers |= _possible(device, points, self._joined)
        left = [index for index in range(len(scenarios)) if index not in answers]
        answers |= {index: self._by_events(scenarios[index]) for index in left}
        return [answers[index] for index in range(len(scenarios))]

    def _alone(self, scenario: Scenario, built: Built) -> _Alone | None:
        """Return what one rank does alone; None where events (or an error) are needed."""
        try:
            plan = plan_of(scenario) if self.plan is None else self.plan
            threads = _threads_alone(plan)
            if threads is None:
                return None
            workload = built.workload(scenario)
            tariff = tariff_of(scenario, workload)
        except ScalemodelError:
            return None
        return _Alone(workload, threads, scenario.steps, tariff)

    def _by_events(self, scenario: Scenario) -> Row | ScalemodelError:
        try:
            return run_row(self(scenario))
        except ScalemodelError as error:
            return error
