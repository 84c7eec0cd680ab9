"""Hold what a simulated run gave: times, shares, energy, memory, and how wrong they may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from simulator.bill import Bill
from simulator.energy import Energy
from simulator.errors import InputError, UnknownNameError
from simulator.protocols import Machine, Placement, Plan
from simulator.source import Source
from simulator.timeline import Timeline
from simulator.units import dimension_of, format_quantity
from simulator.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Run:
    """Be the result of simulating a workload on a machine under a plan.

    Parameters
    ----------
    workload, machine, plan, placement : what ran where; kept so that the run can be repeated
    steps, seed : as given
    time_s : the whole run, seconds
    step_time_s : one step, the median after warm-up, seconds
    samples_per_step : over all ranks
    compute_share, communication_share, idle_share : parts of the ranks' time that was computing,
        waiting for communication, and neither; they add up to 1
    overhead_share : the part of the ranks' time that was dispatch, fork and barrier (inside
        `compute_share`); None where the device does not say
    energy : of the whole run, by component
    peak_memory : of one rank, bytes by component
    peak_power_w : of all devices, watts; None where unknown
    interval : 5 % and 95 % quantile of the step time, seconds; None where no error is known
    power_ratio : 5 % and 95 % quantile of measured over predicted power; None where unknown
    sent_bytes : what all ranks put on the network in the whole run; None where not counted
    baseline : what `speedup` refers to
    baseline_throughput : samples/s of it; None where nothing is computed
    timeline : spans of all simulated ranks; None where not recorded
    bill : of the whole job; None where no length is given
    sources : where the numbers come from
    notes : what the reader must know (folding, borrowed calibration ...)
    """

    workload: Workload
    machine: Machine
    plan: Plan
    placement: Placement
    steps: int
    seed: int
    time_s: float
    step_time_s: float
    samples_per_step: float
    compute_share: float
    communication_share: float
    idle_share: float
    overhead_share: float | None
    energy: Energy
    peak_memory: Mapping[str, float]
    peak_power_w: float | None
    interval: tuple[float, float] | None
    baseline: str
    baseline_throughput: float | None
    timeline: Timeline | None = field(default=None, repr=False)
    bill: Bill | None = None
    sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = ()
    power_ratio: tuple[float, float] | None = None
    sent_bytes: float | None = None

    @property
    def throughput(self) -> float:
        """Return samples per second."""
        return self.samples_per_step / self.step_time_s

    @property
    def speedup(self) -> float | None:
        """Return the throughput over that of the baseline; None where nothing is computed."""
        return self.baseline_throughput and self.throughput / self.baseline_throughput

    @property
    def efficiency(self) -> float | None:
        """Return the speedup over the number of devices (or threads of the one device)."""
        if self.speedup is None:
            return None
        devices = len(set(self.placement.devices))
        return self.speedup / (devices if devices > 1 else sum(self.placement.threads))

    @property
    def energy_j(self) -> float | None:
        """Return the energy of the whole run, joules; None where a part is unknown."""
        return self.energy.total_j

    @property
    def mean_power_w(self) -> float | None:
        """Return energy over time, watts; None where unknown."""
        return None if self.energy_j is None else self.energy_j / self.time_s

    @property
    def energy_per_sample_j(self) -> float | None:
        """Return the energy of one sample, joules; None where unknown, or without samples."""
        if self.energy_j is None or not self.samples_per_step:
            return None
        return self.energy_j / (self.samples_per_step * self.steps)

    @property
    def peak_memory_bytes(self) -> float:
        """Return the memory that one rank needs, bytes."""
        return self.peak_memory.get("total", 0.0)

    @property
    def cost(self) -> float | None:
        """Return the money of the whole job; None where no price is known."""
        return None if self.bill is None else self.bill.money

    @property
    def algorithm_bandwidth_bytes_per_s(self) -> float | None:
        """Return the bytes of a pattern's buffer over its time, B/s; None for other workloads."""
        pattern = self.workload.pattern
        return None if pattern is None else pattern.nbytes * pattern.count / self.step_time_s

    @property
    def bus_bandwidth_bytes_per_s(self) -> float | None:
        """Return the bandwidth of the busiest link, as NCCL's tests count it, B/s."""
        pattern, bandwidth = self.workload.pattern, self.algorithm_bandwidth_bytes_per_s
        if pattern is None or bandwidth is None:
            return None
        return bandwidth * pattern.bus_factor(self.placement.size)

    @cached_property
    def metrics(self) -> Mapping[str, float | None]:
        """Return every figure by its dotted name; None where unknown."""
        found: dict[str, float | None] = {name: getattr(self, name) for name in _names(self)}
        found |= {f"energy.{n}_j": joules for n, joules in self.energy.components.items()}
        if self.workload.pattern is None:
            parts = {n: size for n, size in self.peak_memory.items() if n != "total"}
            found |= {f"memory.{n}_bytes": size for n, size in parts.items()}
        if self.bill is not None:
            found |= {f"job.{f.name}": getattr(self.bill, f.name) for f in fields(self.bill)}
        return found

    def metric(self, name: str) -> float | None:
        """Return one figure by its dotted name, such as "energy.idle_j".

        Raises
        ------
        UnknownNameError : no such figure
        """
        if name not in self.metrics:
            raise UnknownNameError("metric", name, self.metrics, "a run")
        return self.metrics[name]

    def bounds(self, name: str) -> tuple[float, float] | None:
        """Return the 90 % interval of a figure that follows time or power; None for others."""
        value = self.metric(name)
        if self.interval is None or value is None:
            return None
        low, high = (end / self.step_time_s for end in self.interval)
        if name in _ENERGIES and self.power_ratio is not None:
            low, high = interval_of_product((low, high), self.power_ratio)
            return value * low, value * high
        if name == "mean_power_w" and self.power_ratio is not None:
            return value * self.power_ratio[0], value * self.power_ratio[1]
        if name in ("step_time_s", "time_s"):
            return value * low, value * high
        return (value / high, value / low) if name in _PACES else None

    def __str__(self) -> str:
        width = max(map(len, self.metrics))
        title = f"{self.workload.name} on {self.machine.name}, {_plan_name(self)}"
        lines = [title, *(f"  {n:<{width}}  {self.shown(n)}" for n in self.metrics)]
        if self.baseline:
            lines.append(f"  {'baseline':<{width}}  {self.baseline}")
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  {line}" for line in dict.fromkeys(map(str, self.sources))]
        return "\n".join(lines)

    def shown(self, name: str) -> str:
        """Return a figure as a person would write it, with its interval."""
        bounds = self.bounds(name)
        text = show_metric(name, self.metric(name))
        if bounds is None:
            return text
        return f"{text}   90 %: {show_metric(name, bounds[0])} to {show_metric(name, bounds[1])}"


METRICS = (
    "time_s", "step_time_s", "throughput", "speedup", "efficiency", "compute_share",
    "communication_share", "idle_share", "overhead_share", "energy_j", "energy_per_sample_j",
    "mean_power_w", "peak_power_w", "peak_memory_bytes", "cost",
)  # fmt: skip
"""The figures that every run has."""
PATTERN_METRICS = (
    "time_s", "step_time_s", "algorithm_bandwidth_bytes_per_s", "bus_bandwidth_bytes_per_s",
    "communication_share", "idle_share", "energy_j", "mean_power_w", "cost",
)  # fmt: skip
"""The figures of a run that only communicates."""


def _names(run: Run) -> tuple[str, ...]:
    names = METRICS if run.workload.pattern is None else PATTERN_METRICS
    return names if run.sent_bytes is None else (*names, "sent_bytes")


def _plan_name(run: Run) -> str:
    ranks, threads = run.placement.size, max(run.placement.threads)
    shape = f"{ranks:,} rank{'s' * (ranks > 1)} of {threads} thread{'s' * (threads > 1)}"
    return f"plan {type(run.plan).__name__}, {shape}"


_PACES = ("throughput", "algorithm_bandwidth_bytes_per_s", "bus_bandwidth_bytes_per_s")
_ENERGIES = ("energy_j", "energy_per_sample_j")


def interval_of_product(
    one: tuple[float, float], other: tuple[float, float]
) -> tuple[float, float]:
    """Return the interval of the product of two factors that err on their own, by their intervals.

    Their logarithms are taken as normal, so half their widths add up as squares.

    >>> interval_of_product((0.5, 2.0), (1.0, 1.0))
    (0.5, 2.0)
    """
    logs = [[math.log(end) for end in interval] for interval in (one, other)]
    middle = sum(low + high for low, high in logs) / 2
    half = math.hypot(*((high - low) / 2 for low, high in logs))
    return math.exp(middle - half), math.exp(middle + half)


def show_metric(name: str, value: float | None) -> str:
    """Return a figure with the unit that its name states.

    >>> show_metric("step_time_s", 0.0123), show_metric("idle_share", 0.25)
    ('12.3 ms', '25.0 %')
    >>> show_metric("energy_j", None)
    'unknown'
    """
    if value is None:
        return "unknown"
    dimension = dimension_of(name)
    if dimension is not None:
        return format_quantity(value, dimension)
    if name.endswith("_share"):
        return f"{100 * value:.1f} %"
    return f"{show_number(value)} samples/s" if name == "throughput" else show_number(value)


def show_number(value: float) -> str:
    """Return a number without unit to four digits, never with an exponent where it is large.

    >>> show_number(1.98765), show_number(81094.2)
    ('1.988', '81,094')
    """
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def need(run: Run, name: str) -> float:
    """Return a figure that must be known.

    Raises
    ------
    InputError : the figure is unknown
    """
    value: Any = run.metric(name)
    if value is None:
        raise InputError(f"{name} of {run.workload.name} on {run.machine.name} is unknown: "
                         "the device's file has no sourced number for it")  # fmt: skip
    return float(value)
