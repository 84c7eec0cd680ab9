"""Say what an op costs one thread of a CPU, and how much of that a team of threads can share.

The data of this module: a *family* is what one kernel of a library does with one dtype (see
`hwmodels.cpu_forms`); its `FamilyRate` holds the rate of one thread for large sizes, the sizes at
which that rate is halved, and the time to get there. A *level* is a cache or the memory; `Level`
holds its capacity and bandwidth. `CpuRates` is both: what calibration writes and a device reads.
`OpCost` holds arrays over the n ops of a graph.

One thread needs dispatch + arithmetic + waiting for data: the times add up, as in the
execution-cache-memory model (Stengel, Treibig, Hager, Wellein, ICS 2015). A team shares arithmetic
and waiting, until together they draw what a shared level can give.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from hwmodels.cpu_forms import FORMS, SIZES, Family, Features, features_of
from hwmodels.cpu_traffic import Traffic, traffic_of
from simulator.errors import UnknownNameError
from simulator.ops import PHASES, FloatArray, Graph, IntArray

SOFTNESS = 0.35
"""How gradually data leave a cache as their distance passes its capacity, in powers of e, since
replacement is not exactly by last use."""
SCALARS = 6
FAR_CODE_LEVEL = "L2"
"""The level that code has left when it counts as far: the last one that holds it beside data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRate:
    """Hold what calibration found for one family.

    Parameters
    ----------
    rate_per_s : of one thread for large sizes: operations per second (`FLOP_KINDS`), else elements
    half : size at which the rate is half of that, by the name that the family's form gives it
    dispatch_s : time from the framework's call to the kernel's first useful work, seconds
    far_dispatch_s : more of it when the kernel's code has left the core's own caches, seconds
    exposure : how often the operands' time at their level's bandwidth is waited for; below 1 where
        prefetching hides it, above where a kernel passes over them several times; 0: not known,
        the op takes the longer of its work and its traffic
    weight_exposure : the same for operands that are trained weights
    parallel : share of the work that a team shares, from 0 to 1
    """

    rate_per_s: float
    half: Mapping[str, float] = field(default_factory=dict)
    dispatch_s: float = 0.0
    far_dispatch_s: float = 0.0
    exposure: float = 0.0
    weight_exposure: float = 0.0
    parallel: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Hold what calibration found for one cache or the memory.

    Parameters
    ----------
    name : "L1", "L2", "L3" or "DRAM"
    capacity_bytes : what one thread can keep in it, bytes; inf for the memory
    bandwidth_bytes_per_s : of one thread, bytes per second
    shared_bytes_per_s : of all threads together, bytes per second; inf where each core has its own
    """

    name: str
    capacity_bytes: float
    bandwidth_bytes_per_s: float
    shared_bytes_per_s: float = np.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuRates:
    """Hold all calibrated numbers of a CPU.

    Parameters
    ----------
    families : by (name, dtype); the name is a kernel's ("addmm", "convolution-direct"), or a kind's
        ("gemm"), which stands for kernels that have no entry
    levels : nearest first, the memory last
    fork_s : time to start and join a team of two, seconds
    fork_per_thread_s : more of it for each further thread, seconds
    fault_s_per_byte : time to map a page that is written for the first time, seconds per byte
    framework_s : time that the framework itself spends around each op, by phase, seconds
    """

    families: Mapping[tuple[str, str], FamilyRate]
    levels: tuple[Level, ...]
    fork_s: float = 0.0
    fork_per_thread_s: float = 0.0
    fault_s_per_byte: float = 0.0
    framework_s: Mapping[str, float] = field(default_factory=dict)

    def to_table(self) -> dict[str, Any]:
        """Return all numbers as nested tables; infinite ones are left out."""
        families: dict[str, dict[str, Any]] = {}
        for (name, dtype), rate in self.families.items():
            families.setdefault(name, {})[dtype] = _family_table(rate)
        levels = {
            str(place): {one.name: _level_table(one)} for place, one in enumerate(self.levels)
        }
        single = ("fork_s", "fork_per_thread_s", "fault_s_per_byte")
        return {
            **{name: getattr(self, name) for name in single},
            "framework_s": dict(self.framework_s),
            "family": families,
            "level": levels,
        }


def _family_table(rate: FamilyRate) -> dict[str, Any]:
    return {name: getattr(rate, name) for name in FamilyRate.__slots__ if name != "half"} | (
        {"half": dict(rate.half)} if rate.half else {}
    )


def _level_table(level: Level) -> dict[str, float]:
    values = {name: getattr(level, name) for name in Level.__slots__ if name != "name"}
    return {name: value for name, value in values.items() if np.isfinite(value)}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpCost:
    """Hold what each of n ops costs.

    Parameters
    ----------
    dispatch_s : (n,) serial time of framework and library, seconds
    compute_s : (n,) time of one core on the op's arithmetic, seconds
    traffic_bytes : (n, levels) bytes that come from or go to each level
    team : (n,) most threads the op can use
    stall_s : (n,) time for which one core, alone, waits for the op's data, seconds
    parallel : (n,) share of compute_s and stall_s that the team shares
    """

    dispatch_s: FloatArray
    compute_s: FloatArray
    traffic_bytes: FloatArray
    team: IntArray
    stall_s: FloatArray = field(default_factory=lambda: np.zeros(1))
    parallel: FloatArray = field(default_factory=lambda: np.ones(1))


def op_costs(graph: Graph, rates: CpuRates, threads: int = 1) -> OpCost:
    """Return what each op of the graph costs at these rates.

    Parameters
    ----------
    graph : the ops of a step, which is repeated
    rates : of one thread
    threads : for which the framework chooses its kernels (one, or more)

    Raises
    ------
    UnknownNameError : the rates know neither a kernel nor its kind

    >>> from simulator.ops import Op
    >>> memory = Level(name="DRAM", capacity_bytes=np.inf, bandwidth_bytes_per_s=1e10)
    >>> rates = CpuRates(families={("gemm", "float32"): FamilyRate(rate_per_s=1e11)},
    ...                  levels=(memory,))
    >>> graph = Graph.of([Op(kind="gemm", dims=(1, 100, 100, 100), flops=2e6)])
    >>> times_s(op_costs(graph, rates), rates, threads=1)
    array([2.e-05])
    """
    features, traffic = features_of(graph, threads), traffic_of(graph)
    numbers = _numbers(features, rates)[features.family]
    rate, dispatch, far_dispatch, exposure, weight_exposure, parallel = numbers[:, :SCALARS].T
    shape = np.prod(1.0 + numbers[:, SCALARS:] / features.sizes, axis=1)
    data, weights, far = _split(graph, traffic, rates.levels)
    one = np.array([level.bandwidth_bytes_per_s for level in rates.levels])
    framework = np.array([rates.framework_s.get(phase, 0.0) for phase in PHASES])
    passes = np.where(exposure > 0, exposure, 1.0)
    weight_passes = np.where(weight_exposure > 0, weight_exposure, 1.0)
    return OpCost(
        dispatch_s=np.maximum(dispatch + far_dispatch * far + framework[graph.phase], 0.0),
        compute_s=features.amount / rate * shape + traffic.fresh_bytes * rates.fault_s_per_byte,
        stall_s=exposure * (data / one).sum(axis=1) + weight_exposure * (weights / one).sum(axis=1),
        parallel=parallel,
        traffic_bytes=data * passes[:, None] + weights * weight_passes[:, None],
        team=features.team,
    )


_Capacities: TypeAlias = tuple[tuple[str, float], ...]
_SPLITS: WeakKeyDictionary[Graph, tuple[_Capacities, tuple[FloatArray, ...]]] = WeakKeyDictionary()


def _split(graph: Graph, traffic: Traffic, levels: tuple[Level, ...]) -> tuple[FloatArray, ...]:
    """Return `traffic_bytes` and `far_shares`; kept while only bandwidths change (what-ifs)."""
    key = tuple((level.name, level.capacity_bytes) for level in levels)
    kept = _SPLITS.get(graph)
    if kept is None or kept[0] != key:
        found = (*traffic_bytes(traffic, levels, len(graph)), far_shares(traffic, levels))
        kept = _SPLITS[graph] = (key, found)
    return kept[1]


def _numbers(features: Features, rates: CpuRates) -> FloatArray:
    """Return the numbers of each family (f, `SCALARS` + `SIZES`): scalars, then half sizes."""
    rows = []
    for family in features.families:
        found = family_rate(family, rates)
        half = [found.half.get(size, 0.0) for size in FORMS[family.form].sizes]
        scalars = (found.rate_per_s, found.dispatch_s, found.far_dispatch_s, found.exposure,
                   found.weight_exposure, found.parallel)  # fmt: skip
        rows.append((*scalars, *half, *[0.0] * (SIZES - len(half))))
    return np.array(rows).reshape(-1, SCALARS + SIZES)


STANDS_FOR: Mapping[str, str] = {
    **dict.fromkeys(("sparse_gemm", "conv2d", "attention", "rnn", "encoder_layer"), "gemm"),
    "depthwise_conv2d": "conv2d",
    **dict.fromkeys(("normalization", "softmax", "reduction", "pool"), "elementwise"),
    **dict.fromkeys(("copy", "random", "gather", "scatter", "sort", "tree_split"), "elementwise"),
    "host_to_device": "copy",
}
"""The kind that stands for one of which nothing is known."""


def family_rate(family: Family, rates: CpuRates) -> FamilyRate:
    """Return the rate of a family: its own, else of its kind; in its dtype, else in float32.

    A kernel that works in place ("add_") may stand for the plain one, and the other way round.

    Raises
    ------
    UnknownNameError : the rates know none of these, nor of the kind that stands for it
    """
    name, kind, dtype, _ = family
    twin = name.removesuffix("_") if name.endswith("_") else f"{name}_"
    for one in (dtype, "float32"):
        for known in (name, twin, kind):
            found = rates.families.get((known, one))
            if found is not None:
                return found
    if kind in STANDS_FOR:
        return family_rate(family._replace(name="", kind=STANDS_FOR[kind]), rates)
    names: Iterable[str] = {f"{name} in {dtype}" for name, dtype in rates.families}
    raise UnknownNameError("kind of op", f"{kind} in {dtype}", names, "the rates of a CPU")


def traffic_bytes(
    traffic: Traffic, levels: tuple[Level, ...], ops: int
) -> tuple[FloatArray, FloatArray]:
    """Return the bytes that each op moves from or to each level (ops, levels).

    The first table is of data, the second of trained weights.
    """
    share = np.ones((len(traffic.op), len(levels)))
    for place, level in enumerate(levels[:-1]):
        share[:, place + 1] = _share_beyond(traffic.distance_bytes, level.capacity_bytes)
    share[:, :-1] -= share[:, 1:]
    share *= traffic.nbytes[:, None]
    rows = traffic.op + ops * traffic.weight
    columns = [np.bincount(rows, weights=column, minlength=2 * ops) for column in share.T]
    both: FloatArray = np.stack(columns, axis=1).astype(np.float64, copy=False)
    return both[:ops], both[ops:]


def _share_beyond(distance: FloatArray, capacity: float) -> FloatArray:
    """Return which share of data at these distances a cache no longer has."""
    if not np.isfinite(capacity):
        return np.zeros_like(distance)
    ratio = np.maximum(distance, 1.0) / capacity
    share: FloatArray = 1.0 / (1.0 + ratio ** (-1.0 / SOFTNESS))
    return share


def far_shares(traffic: Traffic, levels: tuple[Level, ...]) -> FloatArray:
    """Return how much of each op's code (n,) has left the core's own caches, from 0 to 1."""
    capacities = [level.capacity_bytes for level in levels if level.name == FAR_CODE_LEVEL]
    return _share_beyond(traffic.code_distance_bytes, capacities[0] if capacities else np.inf)


def times_s(cost: OpCost, rates: CpuRates, threads: int) -> FloatArray:
    """Return the time of each op (n,) on so many like threads, alone on the machine, seconds.

    A team of t takes dispatch + fork + max(work (1 - parallel + parallel/t), sum of bytes/bandwidth
    over levels), where t threads draw t times the bandwidth of one, up to what is shared.
    """
    team = np.minimum(cost.team, threads)
    one = np.array([level.bandwidth_bytes_per_s for level in rates.levels])
    shared = np.array([level.shared_bytes_per_s for level in rates.levels])
    memory = (cost.traffic_bytes / np.minimum(team[:, None] * one, shared)).sum(axis=1)
    work = (cost.compute_s + cost.stall_s) * (1.0 - cost.parallel + cost.parallel / team)
    fork = np.where(team > 1, rates.fork_s + rates.fork_per_thread_s * (team - 2), 0.0)
    total: FloatArray = cost.dispatch_s + fork + np.maximum(work, memory)
    return total
