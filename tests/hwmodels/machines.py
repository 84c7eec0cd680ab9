"""Machines with round numbers, and graphs for them, for the tests of hardware models."""

import numpy as np
from hypothesis import strategies as st

from hwmodels.cores import Cores
from hwmodels.cpu import Cpu
from hwmodels.cpu_cost import CpuRates, FamilyRate, Level, OpCost
from hwmodels.power import CpuPower
from hwmodels.spec import Calibration, Spec
from simulator.ops import DTYPES, KINDS, Graph, Op
from simulator.workload import Work

CACHE_BYTES = 1e6
FIELDS = {
    "cores": 8,
    "threads_per_core": 2,
    "clock.boost_hz": 2e9,
    "flops_per_cycle.float32": 16.0,
    "memory.bandwidth_bytes_per_s": 40e9,
}


def spec(**changes):
    """Return a spec with round numbers; keyword `a__b` is the field `a.b`."""
    values = FIELDS | {key.replace("__", "."): value for key, value in changes.items()}
    return Spec(kind="cpu", name="round", title="Round", architecture="zen3", values=values,
                sources={})  # fmt: skip


def calibration_of(known: Spec) -> Calibration:
    assert known.calibration is not None
    return known.calibration


def rates(flop_per_s=10e9, one=10e9, shared=40e9, dispatch_s=1e-6, fork_s=2e-6, per_thread_s=1e-7):
    """Return rates with one number for all families, a cache of 1 MB and the memory."""
    family = FamilyRate(rate_per_s=flop_per_s, dispatch_s=dispatch_s)
    return CpuRates(
        families={(kind, dtype): family for kind in KINDS for dtype in DTYPES},
        levels=(
            Level(name="L2", capacity_bytes=CACHE_BYTES, bandwidth_bytes_per_s=10 * one),
            Level(name="DRAM", capacity_bytes=np.inf, bandwidth_bytes_per_s=one,
                  shared_bytes_per_s=shared),
        ),
        fork_s=fork_s,
        fork_per_thread_s=per_thread_s,
    )  # fmt: skip


GRAIN_FLOPS = 2e5


def round_costs(graph, rates, threads=1):
    """Return costs by the numbers of `rates` alone: one rate, one cache, one grain."""
    family, cached = rates.families["gemm", "float32"], graph.bytes_moved <= CACHE_BYTES
    traffic = np.stack([np.where(cached, graph.bytes_moved, 0.0),
                        np.where(cached, 0.0, graph.bytes_moved)], axis=1)  # fmt: skip
    return OpCost(
        dispatch_s=np.full(len(graph), family.dispatch_s),
        compute_s=graph.flops / family.rate_per_s,
        traffic_bytes=traffic,
        team=np.maximum(np.ceil(graph.flops / GRAIN_FLOPS), 1).astype(np.int64),
    )


def cpu(cores=None, idle_w=10.0, core_w=2.0, memory_j_per_byte=1e-10, **rated):
    """Return a CPU of 8 cores with round numbers."""
    cores = cores or Cores(per_socket=8, threads_per_core=2, sibling_work=0.2)
    power = CpuPower(idle_w, core_w, memory_j_per_byte)
    return Cpu(spec=spec(), rates=rates(**rated), cores=cores, power=power)


def product(flops, moved=0.0):
    return Op(kind="gemm", dims=(1, 8, 8, 8), flops=flops, bytes_read=moved)


def graph(*ops):
    return Graph.of(ops)


def work(*ops, marks=()):
    return Work("work", Graph.of(ops), marks=marks)


OPS = st.builds(
    product,
    flops=st.floats(0, 1e9),
    moved=st.sampled_from([0.0, 1e3, 5e5]) | st.floats(2e6, 1e9),
)
GRAPHS = st.lists(OPS, min_size=1, max_size=8).map(Graph.of)
"""Graphs of products below and above the grain, in cache and in memory, with and without work."""
