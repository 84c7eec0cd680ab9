"""Fit capacities and bandwidths of caches and memory to timings of rings of buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hwmodels.cpu_cost import SOFTNESS, Level
from simulator.ops import FloatArray

if TYPE_CHECKING:
    from validation.torch_levels import Reach

NAMES = ("L1", "L2", "L3", "DRAM")
GUESS_BYTES = {"L1": 32e3, "L2": 1e6, "L3": 32e6}
"""Capacities to begin with where the system does not tell them."""
WIDTH = {"L1": 2.0, "L2": 2.0, "L3": 32.0}
"""Factor by which a capacity may differ from what the system tells: one thread may have less of a
cache than there is, of a shared one that others use too much less."""
SHARED_FROM = 0.9
"""A team that draws less than this share of its members' own bandwidths shares a limit."""


@dataclass(frozen=True, slots=True)
class FittedLevels:
    """Hold fitted levels.

    Parameters
    ----------
    levels : nearest first
    spreads : standard deviation of the logarithm of each number, by dotted name as in
        `CpuRates.to_table`
    """

    levels: tuple[Level, ...]
    spreads: Mapping[str, float]


def fit_levels(reaches: Sequence[Reach], told_bytes: Mapping[str, float]) -> FittedLevels:
    """Return the levels that explain the timings of one thread best.

    The time of a call is a constant + bytes x sum over levels of (share that comes from it) /
    (its bandwidth); errors count by their logarithm.

    Parameters
    ----------
    reaches : timings
    told_bytes : capacity of each cache by name as the system tells it; a missing "L3" is no cache
    """
    from scipy.optimize import least_squares

    caches = [name for name in NAMES[:-1] if name != "L3" or "L3" in told_bytes]
    guess = np.array([told_bytes.get(name, GUESS_BYTES[name]) for name in caches])
    width = np.array([WIDTH[name] for name in caches])
    footprint = np.array([one.footprint_bytes for one in reaches])
    nbytes = np.array([one.nbytes for one in reaches])
    log_time = np.log([one.time_s for one in reaches])

    def residuals(logs: FloatArray) -> FloatArray:
        difference: FloatArray = np.log(_times(logs, footprint, nbytes)) - log_time
        return difference

    low, high = np.log(guess / width), np.log(guess * np.where(width > 4, 1.5, width))
    ends = np.concatenate(([np.log(1e-7)], low, np.full(len(caches) + 1, np.log(1e8))))
    tops = np.concatenate(([np.log(1e-4)], high, np.full(len(caches) + 1, np.log(1e13))))
    best = None
    for place in (0.2, 0.5, 0.9):
        bandwidths = np.log(np.geomspace(1e11, 1e10, len(caches) + 1))
        start = np.concatenate(([np.log(2e-6)], low + place * (high - low), bandwidths))
        found = least_squares(residuals, start, bounds=(ends, tops), loss="soft_l1", f_scale=0.1)
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    return _fitted(best.x, _spreads(best.jac, best.fun), caches)


def _times(logs: FloatArray, footprint: FloatArray, nbytes: FloatArray) -> FloatArray:
    caches = (len(logs) - 2) // 2
    capacity, bandwidth = np.exp(logs[1 : 1 + caches]), np.exp(logs[1 + caches :])
    beyond = np.ones((len(footprint), caches + 2))
    beyond[:, 1:-1] = 1.0 / (1.0 + (footprint[:, None] / capacity) ** (-1.0 / SOFTNESS))
    beyond[:, -1] = 0.0
    share = beyond[:, :-1] - beyond[:, 1:]
    times: FloatArray = np.exp(logs[0]) + nbytes * (share / bandwidth).sum(axis=1)
    return times


def _spreads(jacobian: FloatArray, residuals: FloatArray) -> FloatArray:
    """Return the standard deviation of each parameter by the curvature at the optimum."""
    freedom = max(len(residuals) - jacobian.shape[1], 1)
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * (residuals @ residuals) / freedom
    spreads: FloatArray = np.minimum(np.sqrt(np.maximum(np.diag(covariance), 0.0)), 1.0)
    return spreads


def _fitted(logs: FloatArray, spreads: FloatArray, caches: Sequence[str]) -> FittedLevels:
    count = len(caches)
    capacities = [*np.exp(logs[1 : 1 + count]).tolist(), np.inf]
    # A farther level is not faster than a nearer one.
    bandwidths = np.minimum.accumulate(np.exp(logs[1 + count :])).tolist()
    levels, named = [], {}
    for place, name in enumerate((*caches, NAMES[-1])):
        levels.append(Level(name=name, capacity_bytes=capacities[place],
                            bandwidth_bytes_per_s=bandwidths[place]))  # fmt: skip
        where = f"level.{place}.{name}"
        named[f"{where}.bandwidth_bytes_per_s"] = float(spreads[1 + count + place])
        if place < count:
            named[f"{where}.capacity_bytes"] = float(spreads[1 + place])
    return FittedLevels(tuple(levels), named)


def with_shared(levels: Sequence[Level], team: Sequence[Reach], threads: int) -> tuple[Level, ...]:
    """Return the levels with what all threads together draw from the farther ones.

    Parameters
    ----------
    levels : of one thread
    team : timings of rings by a team
    threads : in the team
    """
    return tuple(_with_shared(levels, place, team, threads) for place in range(len(levels)))


def _with_shared(levels: Sequence[Level], place: int, team: Sequence[Reach], threads: int) -> Level:
    level = levels[place]
    if level.name in ("L1", "L2"):
        return level
    low = 2.0 * levels[place - 1].capacity_bytes * threads
    inside = [one for one in team if low < one.footprint_bytes < level.capacity_bytes / 2]
    if not inside:
        return level
    drawn = float(np.median([one.nbytes / one.time_s for one in inside]))
    limited = drawn < SHARED_FROM * threads * level.bandwidth_bytes_per_s
    shared = max(drawn, level.bandwidth_bytes_per_s) if limited else np.inf
    return replace(level, shared_bytes_per_s=shared)
