"""Say what an op costs one thread of a CPU, and how much of that a team of threads can share.

The data of this module: a *family* is what one kernel of a library does with one dtype (matrix
products, convolutions, copies ...); its `FamilyRate` holds the rate of one thread for large sizes,
the sizes at which that rate is halved, and the time to get there. A *level* is a cache or the
memory; `Level` holds its capacity and bandwidth. `CpuRates` is both: what calibration writes and
a device reads. `OpCost` holds arrays over the n ops of a graph.

A device's events ask `op_costs(graph, rates)` once and then, for each op, its `dispatch_s`
(serial), its `team` (most threads it can use; 1 under the framework's grain) and its work:
`compute_s` (seconds of one core, dealt evenly to the team) and `traffic_bytes[:, level]`, whose
shared levels contend. `times_s(cost, rates, threads)` is the same in closed form, alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from simulator.ops import DTYPES, KINDS, FloatArray, Graph, IntArray

GRAIN_ELEMENTS = 32_768
"""Elements of one chunk of an elementwise op (`at::internal::GRAIN_SIZE` of PyTorch)."""
GRAIN_FLOPS = 200_000.0
"""Arithmetic of one chunk of a matrix product, below which the library stays on one thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRate:
    """Hold what calibration found for one family and dtype.

    Parameters
    ----------
    rate_per_s : of one thread for large sizes; FLOP per second where the family counts flops
        (`gemm` and other matrix products, convolutions, attention), else elements per second
    half : size by name at which the rate is half of `rate_per_s`
    dispatch_s : time from the framework's call to the kernel's first useful work, seconds
    """

    rate_per_s: float
    half: Mapping[str, float] = field(default_factory=dict)
    dispatch_s: float = 0.0


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
    families : by (family, dtype)
    levels : nearest first, the memory last
    fork_s : time to start and join a team of two, seconds
    fork_per_thread_s : more of it for each further thread, seconds
    """

    families: Mapping[tuple[str, str], FamilyRate]
    levels: tuple[Level, ...]
    fork_s: float = 0.0
    fork_per_thread_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpCost:
    """Hold what each of n ops costs.

    Parameters
    ----------
    dispatch_s : (n,) serial time of framework and library, seconds
    compute_s : (n,) time of one core on the op's own work, seconds; the team shares it
    traffic_bytes : (n, levels) bytes that come from or go to each level
    team : (n,) most threads the op can use
    """

    dispatch_s: FloatArray
    compute_s: FloatArray
    traffic_bytes: FloatArray
    team: IntArray


def op_costs(graph: Graph, rates: CpuRates) -> OpCost:
    """Return what each op of the graph costs at these rates."""
    pairs = list(zip(graph.kind.tolist(), graph.dtype.tolist(), strict=True))
    found = {pair: _family(KINDS[pair[0]], DTYPES[pair[1]], rates) for pair in set(pairs)}
    rate = np.array([found[pair].rate_per_s for pair in pairs])
    dispatch = np.array([found[pair].dispatch_s for pair in pairs])
    flops = graph.of_kind("gemm", "sparse_gemm", "conv2d", "depthwise_conv2d", "attention", "rnn")
    elements = graph.bytes_moved / 8
    amount = np.where(flops, graph.flops, elements)
    grain = np.where(flops, GRAIN_FLOPS, GRAIN_ELEMENTS)
    capacity = np.array([level.capacity_bytes for level in rates.levels])
    level = np.searchsorted(capacity, graph.bytes_moved)
    traffic = np.zeros((len(graph), len(capacity)))
    traffic[np.arange(len(graph)), level] = graph.bytes_moved
    team = np.maximum(np.ceil(amount / grain), 1).astype(np.int64)
    return OpCost(dispatch_s=dispatch, compute_s=amount / rate, traffic_bytes=traffic, team=team)


def _family(kind: str, dtype: str, rates: CpuRates) -> FamilyRate:
    return rates.families.get((kind, dtype)) or rates.families[kind, "float32"]


def times_s(cost: OpCost, rates: CpuRates, threads: int) -> FloatArray:
    """Return the time of each op (n,) on so many threads, alone on the machine, seconds."""
    team = np.minimum(cost.team, threads)
    one = np.array([level.bandwidth_bytes_per_s for level in rates.levels])
    shared = np.array([level.shared_bytes_per_s for level in rates.levels])
    bandwidth = np.minimum(team[:, None] * one, shared)
    memory = (cost.traffic_bytes / bandwidth).sum(axis=1)
    fork = np.where(team > 1, rates.fork_s + rates.fork_per_thread_s * (team - 2), 0.0)
    return cost.dispatch_s + fork + np.maximum(cost.compute_s / team, memory)
