"""What holds for any run of any workload: bounds, accounts, and more hardware is never slower.

Programs are random graphs on CPUs of the catalog, and data-parallel steps on ideal machines.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hwmodels.devices import find_device, with_fields
from simulator.engine.execute import execute
from simulator.ideal import AlphaBetaStar, IdealDevice
from simulator.ops import Graph, Op
from simulator.protocols import Device, Machine
from simulator.simulate import simulate
from simulator.workload import Gradient, Job, Workload
from tests.simulator.plans import DataParallel
from workloads.plans import Threads

EXACT = 1 + 1e-9
CPUS = ("rpi4-bcm2711", "amd-ryzen-7950x", "amd-epyc-7742", "aws-r4-8xlarge")


@cache
def cpu(name: str) -> Device:
    return find_device(name)


def gemm(m, n, k):
    return Op(kind="gemm", dims=(1, m, n, k), flops=2.0 * m * n * k,
              bytes_read=4.0 * (m * k + k * n), bytes_written=4.0 * m * n,
              allocated_bytes=4.0 * m * n)  # fmt: skip


def add(elements):
    return Op(kind="elementwise", dims=(elements,), flops=float(elements),
              bytes_read=8.0 * elements, bytes_written=4.0 * elements,
              allocated_bytes=4.0 * elements)  # fmt: skip


SIZES = st.sampled_from([1, 3, 16, 100, 512, 1000])
OPS = st.builds(gemm, SIZES, SIZES, SIZES) | st.builds(
    add, st.sampled_from([1, 4096, 10**5, 10**7])
)


@st.composite
def workloads(draw):
    """Give a step of up to 8 ops, each of which waits for some of the earlier ones."""
    ops = draw(st.lists(OPS, min_size=1, max_size=8))
    deps = [sorted(draw(st.sets(st.integers(0, i - 1), max_size=2))) if i else []
            for i in range(len(ops))]  # fmt: skip
    return Workload(name="any", parameters={}, graph=Graph.of(ops, deps),
                    samples=draw(st.integers(1, 100)))  # fmt: skip


@st.composite
def teams(draw):
    """Give a CPU and a number of threads that it has."""
    name = draw(st.sampled_from(CPUS))
    return cpu(name), draw(st.integers(1, min(cpu(name).max_threads, 64)))


def run(workload, device, threads, **kwargs):
    return simulate(workload, device, Threads(threads), **kwargs)


# One CPU.


@given(workloads(), teams(), st.integers(1, 4))
def test_the_accounts_of_a_run_add_up(workload, team, steps):
    device, threads = team
    found = run(workload, device, threads, steps=steps)
    assert found.compute_share + found.communication_share + found.idle_share == pytest.approx(1)
    assert found.throughput * found.step_time_s == pytest.approx(workload.samples)
    assert found.time_s == pytest.approx(steps * found.step_time_s)
    assert found.efficiency * threads == pytest.approx(found.speedup)
    assert 0 <= found.overhead_share <= 1
    assert found.peak_memory_bytes == sum(
        size for name, size in found.peak_memory.items() if name != "total"
    )


@given(workloads(), teams(), st.integers(1, 4))
def test_energy_is_the_sum_of_its_parts_and_no_less_than_idling(workload, team, steps):
    device, threads = team
    found = run(workload, device, threads, steps=steps)
    assume(found.energy_j is not None)
    assert found.energy_j == pytest.approx(sum(found.energy.components.values()))
    idle_w = found.energy.components["idle"] / found.time_s
    assert found.energy_j >= idle_w * found.time_s / EXACT
    assert idle_w <= found.mean_power_w * EXACT <= found.peak_power_w * EXACT**2


@given(workloads(), teams())
def test_no_team_is_more_than_p_times_as_fast_as_one_thread(workload, team):
    device, threads = team
    assert run(workload, device, threads).speedup <= threads * EXACT


MORE = ("clock.boost_hz", "memory.bandwidth_bytes_per_s", "flops_per_cycle.float32", "cores")


@given(workloads(), teams(), st.sampled_from(MORE))
def test_more_clock_bandwidth_arithmetic_or_cores_is_never_slower(workload, team, what):
    device, threads = team
    have = device.spec.known(what)
    better = with_fields(device, {what: 2 * have if what == "cores" else min(1.5 * have, 6e11)})
    assert run(workload, better, threads).time_s <= run(workload, device, threads).time_s * EXACT


def critical_path_s(graph, times_s):
    """Return the longest chain of ops that wait for one another, seconds."""
    ends = np.zeros(len(graph))
    for op, time_s in enumerate(times_s):
        ends[op] = max(ends[graph.deps_of(op)], default=0.0) + time_s
    return ends.max()


@given(workloads(), teams(), st.integers(2, 4))
def test_lanes_take_from_the_critical_path_to_all_ops_in_turn(workload, team, lanes):
    device, threads = team
    alone_s = device.times_s(workload.graph, threads)
    time_s = simulate(workload, device, Threads(threads, inter_op=lanes)).time_s
    assert critical_path_s(workload.graph, alone_s) <= time_s * EXACT
    assert time_s <= alone_s.sum() * EXACT


@settings(max_examples=20)
@given(workloads(), teams(), st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_run(workload, team, seed):
    device, threads = team
    first, second = (simulate(workload, device, Threads(threads, 2), seed=seed) for _ in range(2))
    assert first.metrics == second.metrics
    assert [*(first.timeline or ())] == [*(second.timeline or ())] != []


# Many devices.


@st.composite
def trainings(draw):
    """Give a training step whose gradients are ready one after the other."""
    flops = st.floats(1e6, 1e9)
    layers = draw(st.integers(1, 5))
    backward = [Op(kind="gemm", dims=(1, 1, 1, 1), flops=draw(flops), phase="backward")
                for _ in range(layers)]  # fmt: skip
    forward = Op(kind="gemm", dims=(1, 1, 1, 1), flops=draw(flops))
    update = Op(kind="elementwise", dims=(1,), flops=draw(flops), phase="update")
    sizes = [draw(st.floats(1.0, 1e8)) for _ in range(layers)]
    return Workload(
        name="any", parameters={}, graph=Graph.of([forward, *backward, update]),
        samples=draw(st.integers(1, 100)), weight_bytes=sum(sizes),
        gradients=tuple(Gradient(f"w{i}", size, 1 + i) for i, size in enumerate(sizes)),
    )  # fmt: skip


STARS = st.builds(AlphaBetaStar, st.floats(0.0, 1e-3), st.floats(1e7, 1e11))


def covered_s(spans):
    """Return for how long at least one of the spans goes on, seconds."""
    total_s, until_s = 0.0, 0.0
    for span in sorted(spans, key=lambda span: span.start_s):
        total_s += max(span.end_s - max(span.start_s, until_s), 0.0)
        until_s = max(until_s, span.end_s)
    return total_s


@given(trainings(), STARS, st.integers(2, 9))
def test_communication_hides_no_longer_than_what_hides_it(workload, star, ranks):
    machine = Machine("star", [IdealDevice()] * ranks, star)
    outcome = execute(Job.of(workload), machine, DataParallel())
    timeline, first = outcome.timeline, outcome.ranks[0]
    assert timeline is not None
    reducing_s = covered_s(timeline.spans(rank=0, kind="all_reduce"))
    backward_s = sum(s.duration_s for s in timeline.spans(0, "compute") if s.name == "backward")
    hidden_s = reducing_s - first.communication_s
    assert -1e-9 * outcome.time_s <= hidden_s <= min(backward_s, reducing_s) * EXACT
    assert outcome.time_s >= max(first.compute_s, reducing_s) / EXACT


@given(trainings(), STARS, st.integers(1, 9), st.integers(1, 3))
def test_samples_are_conserved_and_speedup_is_at_most_the_devices(workload, star, ranks, steps):
    machine = Machine("star", [IdealDevice()] * ranks, star)
    found = simulate(workload, machine, DataParallel(), steps=steps)
    assert found.samples_per_step == workload.samples * ranks
    assert found.speedup <= ranks * EXACT
    assert found.compute_share + found.communication_share + found.idle_share == pytest.approx(1)


@given(trainings(), STARS, st.lists(st.sampled_from([1e9, 5e8]), min_size=2, max_size=6))
def test_the_slowest_device_sets_the_pace_wherever_it_stands(workload, star, speeds):
    def time_s(order):
        devices = [IdealDevice(speed, name=str(speed)) for speed in order]
        return simulate(workload, Machine("star", devices, star), DataParallel()).time_s

    all_slow = [min(speeds)] * len(speeds)
    assert time_s(speeds) == time_s(sorted(speeds)) == pytest.approx(time_s(all_slow))
