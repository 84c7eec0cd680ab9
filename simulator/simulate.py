"""Simulate a workload on a machine under a plan."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from simulator.bill import Tariff
from simulator.energy import exact_sum
from simulator.engine.execute import execute, place
from simulator.engine.outcome import Outcome
from simulator.errors import DoesNotFitError, InputError
from simulator.intervals import Spent, interval, used_devices
from simulator.memory import peak_memory
from simulator.protocols import (
    Calibrated,
    CalibratedNetwork,
    Device,
    Machine,
    Metered,
    Placement,
    Plan,
    Sourced,
)
from simulator.run import Run
from simulator.source import Source
from simulator.units import format_quantity
from simulator.workload import BUCKET_BYTES, Job, Workload


def simulate(
    workload: Workload,
    on: Machine | Device,
    plan: Plan,
    *,
    steps: int = 1,
    seed: int = 0,
    tariff: Tariff | None = None,
    record: bool = True,
) -> Run:
    """Return how long a workload takes on a machine, and what it needs.

    Costs one run of the engine, in proportion to the actions of all ranks that differ.

    Parameters
    ----------
    workload : what is done; its batch is per rank
    on : devices and network, or one device
    plan : who does what in which order
    steps : how many steps, at least 1
    seed : of all draws
    tariff : length and prices of the whole job; None: no bill
    record : whether to keep a timeline

    Raises
    ------
    InputError : arguments of other kinds, steps below 1, ranks where there is no device, or a
        step that takes no time
    DoesNotFitError : a device needs more memory than it has
    ProgramError : the plan's program deadlocks, races or disagrees
    """
    machine = machine_of(workload, on)
    job = job_of(workload, plan, steps, seed)
    placement = place(plan, machine)
    check_memory(machine, [(workload, placement)])
    outcome = execute(job, machine, plan, record=record)
    return run_of(job, machine, plan, placement, outcome, tariff)


def run_of(
    job: Job, machine: Machine, plan: Plan, placement: Placement, outcome: Outcome,
    tariff: Tariff | None = None,
) -> Run:  # fmt: skip
    """Return what an outcome says of a workload."""
    workload, steps = job.workload, job.steps
    step_s = _step_time_s(outcome, steps)
    if not step_s > 0:
        raise InputError(f"workload '{workload.name}' takes no time on '{machine.name}' under plan "
                         f"{type(plan).__name__}: there is nothing to predict"
                         + "; take plan communicate" * (workload.pattern is not None))  # fmt: skip
    batches = _said_by(plan, "accumulation", 1)
    baseline, baseline_throughput = _baseline(workload, machine, placement, batches)
    energy_j = outcome.energy.total_j
    step_energy_j = None if energy_j is None else energy_j / steps
    compute_share = outcome.mean("compute_s") / outcome.time_s
    communication = outcome.mean("communication_s") + outcome.mean("waiting_s")
    return Run(
        workload=workload,
        machine=machine,
        plan=plan,
        placement=placement,
        steps=steps,
        seed=job.seed,
        time_s=outcome.time_s,
        step_time_s=step_s,
        samples_per_step=_samples_per_step(workload, placement, outcome, steps),
        compute_share=compute_share,
        communication_share=communication / outcome.time_s,
        idle_share=(outcome.mean("idle_s") + outcome.mean("sleep_s")) / outcome.time_s,
        overhead_share=_overhead_share(workload, machine, placement, compute_share),
        energy=outcome.energy,
        peak_memory=peak_memory(workload),
        peak_power_w=_peak_power_w(machine, placement, outcome),
        power_ratio=_power_ratio(machine, placement),
        interval=interval(Spent(job, machine, placement, outcome), step_s),
        baseline=baseline,
        baseline_throughput=baseline_throughput,
        timeline=outcome.timeline,
        bill=None if tariff is None else tariff.bill(step_s, step_energy_j),
        sources=_sources(machine, plan, placement),
        notes=_notes(job, machine, placement, outcome),
        sent_bytes=outcome.sent_bytes,
    )


def _rate(samples: float, time_s: float) -> float:
    return samples / time_s if time_s else math.inf


def machine_of(workload: Workload, on: Machine | Device) -> Machine:
    """Return the machine, once it is checked that both are what they must be."""
    if not isinstance(workload, Workload):
        raise InputError(f"workload: expected a Workload, got {workload!r}; find_workload gives "
                         "one by its name")  # fmt: skip
    if isinstance(on, Machine):
        return on
    if not isinstance(on, Device):
        raise InputError(f"on: expected a Machine or a Device, got {on!r}; find_device gives one "
                         "by its name")  # fmt: skip
    return Machine(on.name, (on,))


def job_of(workload: Workload, plan: Plan, steps: int, seed: int) -> Job:
    """Return the job of a workload, with gradient buckets as large as the plan has them.

    A plan that says nothing of buckets but has a `plan` of its own is as that one.
    """
    bucket_bytes = _said_by(plan, "bucket_bytes", BUCKET_BYTES)
    return Job.of(workload, steps=steps, seed=seed, bucket_bytes=bucket_bytes)


def _said_by(plan: object, name: str, default: Any) -> Any:
    """Return what a plan says under a name, or the plan that it disturbs."""
    while not hasattr(plan, name) and hasattr(plan, "plan"):
        plan = plan.plan
    return getattr(plan, name, default)


def _step_time_s(outcome: Outcome, steps: int) -> float:
    """Return the median time between the ends of steps, the first one (warm-up) left out.

    Where most steps take no time, or do not recur, it is the mean.
    """
    lengths = [b - a for a, b in itertools.pairwise(outcome.step_ends_s)]
    median = statistics.median(lengths) if lengths else 0.0
    return median or outcome.time_s / steps


def _samples_per_step(
    workload: Workload, placement: Placement, outcome: Outcome, steps: int
) -> float:
    """Return what a step learns from: as the programs count it, else a batch on each rank."""
    if workload.pattern is not None:
        return workload.samples
    counted = outcome.counts.get("samples")
    return workload.samples * placement.size if counted is None else counted / steps


def check_memory(machine: Machine, jobs: Sequence[tuple[Workload, Placement]]) -> None:
    """Raise where the ranks on a device, of one job or of several, need more memory than it has."""
    needed: defaultdict[int, float] = defaultdict(float)
    names: defaultdict[int, dict[str, None]] = defaultdict(dict)
    for workload, placement in jobs:
        size = peak_memory(workload)["total"]
        for index, ranks in Counter(placement.devices).items():
            needed[index] += ranks * size
            names[index][workload.name] = None
    for index, total in needed.items():
        device = machine.devices[index]
        memory_bytes = device.memory_bytes
        if memory_bytes is not None and total > memory_bytes:
            need, have = (format_quantity(size, "bytes") for size in (total, memory_bytes))
            raise DoesNotFitError(
                f"{' and '.join(names[index])} needs {need} on device {index}, '{device.name}', "
                f"which has {have} for a job",
                "use a smaller batch",
            )


def _baseline(
    workload: Workload, machine: Machine, placement: Placement, batches: int
) -> tuple[str, float | None]:
    """Return the name and the samples per second of what the speedup refers to.

    These are None where nothing computes.

    Parameters
    ----------
    batches : whose gradients are added up before an update
    """
    if workload.pattern is not None:
        return "", None
    device = machine.devices[placement.devices[0]]
    several = len(set(placement.devices)) > 1
    threads = placement.threads[0] if several else 1
    op_s = device.times_s(workload.graph, threads)
    time_s = float(op_s.sum())
    if batches > 1:
        time_s += (batches - 1) * float(op_s[~workload.graph.in_phase("update")].sum())
    throughput = _rate(batches * workload.samples, time_s)
    if device.max_threads == 1:  # an accelerator: nobody would speak of its thread
        return f"one {device.name}", throughput
    if several:
        return f"one {device.name}, one rank of {threads} thread{'s' * (threads > 1)}", throughput
    return f"one thread of {device.name}", throughput


def _overhead_share(
    workload: Workload, machine: Machine, placement: Placement, compute_share: float
) -> float | None:
    kinds = Counter(
        (id(machine.devices[index]), threads)
        for index, threads in zip(placement.devices, placement.threads, strict=True)
    )
    devices = {id(device): device for device in used_devices(machine, placement)}
    shares = 0.0
    for (which, threads), ranks in kinds.items():
        device = devices[which]
        if not isinstance(device, Calibrated):
            return None
        parts = device.breakdown_s(workload.graph, threads)
        whole = sum(float(part.sum()) for part in parts.values())
        shares += ranks * float(parts["overhead"].sum()) / whole if whole else 0.0
    return compute_share * shares / placement.size


def _peak_power_w(machine: Machine, placement: Placement, outcome: Outcome) -> float | None:
    """Return the power of all devices that do all they can, and of a network that idles, watts."""
    threads: Counter[int] = Counter()
    for index, count in zip(placement.devices, placement.threads, strict=True):
        threads[index] += count
    devices = {id(device): device for device in (machine.devices[index] for index in threads)}
    kinds = Counter((id(machine.devices[index]), count) for index, count in threads.items())
    powers = [(_power_w(devices[which], count), many) for (which, count), many in kinds.items()]
    known = [(power, many) for power, many in powers if power is not None]
    network_j = outcome.energy.components.get("network_idle") or 0.0
    return exact_sum(known) + network_j / outcome.time_s if len(known) == len(powers) else None


def _power_ratio(machine: Machine, placement: Placement) -> tuple[float, float] | None:
    """Return measured over predicted power of all devices; the widest, for they err alike."""
    ratios = []
    for device in used_devices(machine, placement):
        ratio = device.power_ratio if isinstance(device, Metered) else None
        if ratio is None:
            return None
        ratios.append(ratio)
    return min(low for low, _ in ratios), max(high for _, high in ratios)


def _power_w(device: Device, threads: int) -> float | None:
    if not isinstance(device, Calibrated):
        return None
    return device.power_w(min(threads, device.max_threads))


def _notes(
    job: Job, machine: Machine, placement: Placement, outcome: Outcome
) -> tuple[str, ...]:  # fmt: skip
    sizeless = [one.name for one in used_devices(machine, placement) if one.memory_bytes is None]
    notes = [f"whether it fits is not known: {name} has no memory size"
             for name in dict.fromkeys(sizeless)]  # fmt: skip
    busy, all_of_them = len(set(placement.devices)), len(machine.devices)
    if busy < all_of_them:
        notes.append(f"{busy:,} of {all_of_them:,} devices are used; energy is that of these")
    notes += [f"{name}: {amount:g}" if amount.is_integer() else f"{name}: {amount:.3g}"
              for name, amount in outcome.counts.items()
              if name != "samples"]  # fmt: skip
    if outcome.size == 1:
        return tuple(notes)
    network: object = machine.network
    pattern = job.workload.pattern
    if isinstance(network, CalibratedNetwork):
        if pattern is not None:
            used = network.algorithm(pattern.kind, pattern.nbytes, placement.devices)
            notes.append(f"{pattern.kind} by {used}")
        notes += network.notes
    return (*notes, outcome.folding)


def _sources(machine: Machine, plan: Plan, placement: Placement) -> tuple[Source, ...]:
    parts: list[object] = [*used_devices(machine, placement), machine.network]
    known = [part.sources for part in parts if isinstance(part, Sourced)]
    known.append(_said_by(plan, "sources", ()))
    return tuple(dict.fromkeys(source for sources in known for source in sources))
