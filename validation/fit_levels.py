"""Fit capacities and bandwidths of caches and memory to timings of rings of buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hwmodels.cpu_cost import SOFTNESS, Level
from hwmodels.spec import Spec
from simulator.ops import FloatArray
from validation.spreads import spreads

if TYPE_CHECKING:
    from validation.torch_levels import Reach

NAMES = ("L1", "L2", "L3", "DRAM")
CACHES = {"L1": "cache.l1d_bytes", "L2": "cache.l2_bytes", "L3": "cache.l3_bytes"}
"""Where a device file says how large each cache is."""
GUESS_BYTES = {"L1": 32e3, "L2": 1e6, "L3": 32e6}
"""Capacities to begin with where the system does not tell them."""
BETWEEN = {"L1": (1 / 2, 2.0), "L2": (1 / 2, 2.0), "L3": (1 / 32, 1.5)}
"""Factors by which a capacity may differ from what the system tells, down and up: one thread may
have less of a cache than there is, and much less of one that others use too."""
CALL_S = (1e-7, 1e-4)
BANDWIDTH_BYTES_PER_S = (1e8, 1e13)
"""Between which the time of a call without data, and bandwidths, are sought."""
START_CALL_S, START_BYTES_PER_S = 2e-6, (1e11, 1e10)
"""Where the search begins; bandwidths from the nearest level to the memory."""
STARTS = (0.2, 0.5, 0.9)
"""Where between their bounds the capacities begin, a search each."""
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


def told_bytes(spec: Spec) -> dict[str, float]:
    """Return the capacity of each cache by name, bytes; of those that the spec knows."""
    told = {name: spec.number(key) for name, key in CACHES.items()}
    return {name: size for name, size in told.items() if size}


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
    footprint = np.array([one.footprint_bytes for one in reaches])
    nbytes = np.array([one.nbytes for one in reaches])
    log_time = np.log([one.time_s for one in reaches])

    def residuals(logs: FloatArray) -> FloatArray:
        difference: FloatArray = np.log(_times(logs, footprint, nbytes)) - log_time
        return difference

    low, high = guess * np.array([BETWEEN[name] for name in caches]).T
    levels = len(caches) + 1
    bounds = (
        np.log([CALL_S[0], *low, *[BANDWIDTH_BYTES_PER_S[0]] * levels]),
        np.log([CALL_S[1], *high, *[BANDWIDTH_BYTES_PER_S[1]] * levels]),
    )
    best = None
    for place in STARTS:
        capacities = low * (high / low) ** place
        start = np.log([START_CALL_S, *capacities, *np.geomspace(*START_BYTES_PER_S, levels)])
        found = least_squares(residuals, start, bounds=bounds, loss="soft_l1", f_scale=0.1)
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    freedom = len(best.fun) - len(best.x)
    return _fitted(best.x, spreads(best.jac, best.fun, freedom), caches)


def _times(logs: FloatArray, footprint: FloatArray, nbytes: FloatArray) -> FloatArray:
    caches = (len(logs) - 2) // 2
    capacity, bandwidth = np.exp(logs[1 : 1 + caches]), np.exp(logs[1 + caches :])
    beyond = np.ones((len(footprint), caches + 2))
    beyond[:, 1:-1] = 1.0 / (1.0 + (footprint[:, None] / capacity) ** (-1.0 / SOFTNESS))
    beyond[:, -1] = 0.0
    share = beyond[:, :-1] - beyond[:, 1:]
    times: FloatArray = np.exp(logs[0]) + nbytes * (share / bandwidth).sum(axis=1)
    return times


def _fitted(logs: FloatArray, deviations: FloatArray, caches: Sequence[str]) -> FittedLevels:
    count = len(caches)
    capacities = [*np.exp(logs[1 : 1 + count]).tolist(), np.inf]
    # A farther level is not faster than a nearer one.
    bandwidths = np.minimum.accumulate(np.exp(logs[1 + count :])).tolist()
    levels, named = [], {}
    for place, name in enumerate((*caches, NAMES[-1])):
        levels.append(Level(name=name, capacity_bytes=capacities[place],
                            bandwidth_bytes_per_s=bandwidths[place]))  # fmt: skip
        where = f"level.{place}.{name}"
        named[f"{where}.bandwidth_bytes_per_s"] = float(deviations[1 + count + place])
        if place < count:
            named[f"{where}.capacity_bytes"] = float(deviations[1 + place])
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
