"""Say how wrong the time of a run may be, by the errors of its devices and of its network.

Computing and communication err on their own. So the interval of their sum is each one's, in
logarithms, by its share of the time; half its width adds up as squares.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from simulator.engine.outcome import Outcome
from simulator.protocols import Calibrated, CalibratedNetwork, Device, Machine, Placement
from simulator.workload import SEND_RECV, Job

Ratio: TypeAlias = tuple[float, float]
"""5 % and 95 % quantile of measured over predicted time."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Hold on what a run spent its time."""

    job: Job
    machine: Machine
    placement: Placement
    outcome: Outcome


def interval(spent: Spent, step_s: float) -> tuple[float, float] | None:
    """Return the 5 % and 95 % quantile of the step time, seconds; None where no error is known.

    Parameters
    ----------
    spent : devices, network, and what the ranks did
    step_s : the step time, seconds
    """
    outcome = spent.outcome
    computing = outcome.mean("compute_s")
    communicating = outcome.mean("communication_s") + outcome.mean("waiting_s")
    parts: list[tuple[float, Ratio | None]] = []
    if computing:
        parts.append((computing, _devices_ratio(spent)))
    if communicating and spent.machine.network is not None:
        parts.append((communicating, _network_ratio(spent)))
    ratio = combined(parts)
    return None if ratio is None else (step_s * ratio[0], step_s * ratio[1])


def combined(parts: Iterable[tuple[float, Ratio | None]]) -> Ratio | None:
    """Return the quantiles of a sum's ratio of measured over predicted, by those of its parts.

    Parameters
    ----------
    parts : the time of each, seconds, and its quantiles; None where they are unknown

    >>> combined([(1.0, (0.5, 2.0))])
    (0.5, 2.0)
    >>> low, high = combined([(1.0, (0.5, 2.0)), (1.0, (0.5, 2.0))])
    >>> 0.5 < low < 0.7 < 1.4 < high < 2.0
    True
    >>> combined([(1.0, (0.9, 1.1)), (1.0, None)]) is None
    True
    """
    listed = list(parts)
    known = [(time_s, ratio) for time_s, ratio in listed if ratio is not None]
    if len(known) < len(listed) or not known:
        return None
    if len(known) == 1:
        return known[0][1]
    total_s = sum(time_s for time_s, _ in known)
    logs = [(time_s / total_s, math.log(low), math.log(high)) for time_s, (low, high) in known]
    middle = sum(share * (low + high) / 2 for share, low, high in logs)
    half = math.hypot(*(share * (high - low) / 2 for share, low, high in logs))
    return math.exp(middle - half), math.exp(middle + half)


def used_devices(machine: Machine, placement: Placement) -> list[Device]:
    """Return the devices that ranks are on, each that is the same object once."""
    used = (machine.devices[index] for index in sorted(set(placement.devices)))
    return [*{id(device): device for device in used}.values()]


def _devices_ratio(spent: Spent) -> Ratio | None:
    """Return the quantiles of the device whose error is known least well."""
    graph = spent.job.workload.graph
    ratios = [
        device.error_ratio(graph) if isinstance(device, Calibrated) else None
        for device in used_devices(spent.machine, spent.placement)
    ]
    return widest(ratios)


def _network_ratio(spent: Spent) -> Ratio | None:
    network = spent.machine.network
    kinds = [*spent.outcome.collectives] or [SEND_RECV]
    return network.error_ratio(kinds) if isinstance(network, CalibratedNetwork) else None


def widest(ratios: Iterable[Ratio | None]) -> Ratio | None:
    """Return the lowest and the highest quantile of several; None where one is unknown.

    >>> widest([(0.9, 1.1), (0.8, 1.0)]), widest([(0.9, 1.1), None])
    ((0.8, 1.1), None)
    """
    listed = list(ratios)
    known = [ratio for ratio in listed if ratio is not None]
    if not known or len(known) < len(listed):
        return None
    return min(low for low, _ in known), max(high for _, high in known)
