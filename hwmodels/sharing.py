"""Divide shared bandwidth among those who want it, max-min fairly.

A *flow* makes progress at a rate up to its own limit; each unit of progress uses so much of each
*resource* (bytes of each cache level or of memory). Weights count threads: a team of eight draws
eight times what one thread draws while both want more than there is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwmodels.cores import Cores
from hwmodels.cpu_cost import CpuRates
from hwmodels.profile import Profile
from simulator.ops import BoolArray, FloatArray, IntArray


def fair_rates(
    limit: FloatArray, use: FloatArray, capacity: FloatArray, weight: FloatArray
) -> FloatArray:
    """Return the max-min fair rate of each flow (k,).

    Progressive filling (Bertsekas and Gallager, Data Networks, 1992, section 6.5.2): all flows'
    shares of the resource that each uses most rise together, in proportion to their weights; a flow
    stops at its limit or when a resource that it uses is full.

    Parameters
    ----------
    limit : (k,) rate of each flow if it were alone, positive
    use : (k, resources) what one unit of progress uses of each resource
    capacity : (resources,) of each resource per second; inf for what is not shared
    weight : (k,) positive

    >>> fair_rates(np.array([1.0, 9.0]), np.ones((2, 1)), np.array([6.0]), np.ones(2))
    array([1., 5.])
    """
    if (limit @ use <= capacity).all():
        return limit.copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        largest = (use / capacity).max(axis=1)
        slope = np.where(largest > 0, weight / largest, np.inf)
    bound = np.isfinite(slope)
    rate = np.where(bound, 0.0, limit)
    rising = bound.copy()
    while rising.any():
        rate, rising = _fill(rate, rising, limit, use, capacity, np.where(bound, slope, 0.0))
    return rate


def _fill(
    rate: FloatArray,
    rising: BoolArray,
    limit: FloatArray,
    use: FloatArray,
    capacity: FloatArray,
    slope: FloatArray,
) -> tuple[FloatArray, BoolArray]:
    """Raise the rising flows until one reaches its limit or a resource is full."""
    climb = np.where(rising, slope, 0.0)
    growth = climb @ use
    free = capacity - rate @ use
    with np.errstate(divide="ignore", invalid="ignore"):
        to_full = np.where(growth > 0, free / growth, np.inf)
        to_limit = np.where(rising, (limit - rate) / climb, np.inf)
    step = max(min(to_full.min(), to_limit.min()), 0.0)
    full = to_full <= step * (1 + 1e-12)
    reached = rising & (to_limit <= step * (1 + 1e-12))
    rate = np.where(reached, limit, rate + step * climb)
    return rate, rising & ~reached & ~(use[:, full] > 0).any(axis=1)


def shared_paces(
    phases: Sequence[tuple[Profile, int]], rates: CpuRates, cores: Cores
) -> tuple[float, ...]:
    """Return how fast each of the phases that run at the same time goes, over alone.

    All busy threads together set the clock and the speed of the slowest thread; where there are
    more than the machine has, they take turns. Shared levels are divided max-min fairly.

    Parameters
    ----------
    phases : profile and phase of each load
    rates : of one thread
    cores : what the threads share
    """
    busy = np.array([profile.busy[phase] for profile, phase in phases])
    total = np.array([busy.sum()])
    turns = min(1.0, cores.max_threads / total[0])
    if len(phases) == 1:
        return (1.0,)
    working = [place for place, (_, phase) in enumerate(phases) if phase % 2]
    paces = np.full(len(phases), turns)
    if working:
        at = np.array(working)
        ops = [(phases[place][0], phases[place][1] // 2) for place in working]
        paces[at] = _work_paces(ops, busy[at], total, turns, rates, cores)
    return tuple(paces.tolist())


def _work_paces(
    ops: Sequence[tuple[Profile, int]],
    team: IntArray,
    total: IntArray,
    turns: float,
    rates: CpuRates,
    cores: Cores,
) -> FloatArray:
    slower = cores.speed(team) / (cores.speed(total) * turns)
    clock = cores.clock(team) / cores.clock(total)
    core_share = cores.busy(team) / team * np.maximum(total / cores.count, 1.0)
    compute = np.array([profile.compute_s[op] for profile, op in ops]) * slower * clock
    stall = np.array([profile.stall_s[op] for profile, op in ops]) * slower
    memory = np.array([profile.memory_s[op] for profile, op in ops]) * core_share
    capacity = np.array([level.shared_bytes_per_s for level in rates.levels])
    rate = fair_rates(
        limit=1 / np.maximum(compute + stall, memory),
        use=np.array([profile.traffic_bytes[op] for profile, op in ops]),
        capacity=capacity * cores.sockets_of(total)[0],
        weight=cores.busy(team).astype(float),
    )
    work: FloatArray = np.array([profile.work_s[op] for profile, op in ops])
    return rate * work
