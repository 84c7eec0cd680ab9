"""By events a CPU takes the time of the arrays when alone, and shares cores and memory if not."""

import time
from dataclasses import replace

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.cores import Cores
from hwmodels.cpu import cpu_of, energy_by_op_j
from hwmodels.open_device import OpenDevice
from hwmodels.power import CpuPower, power_of
from simulator.errors import InputError
from simulator.ops import Graph
from simulator.workload import Work
from tests.hwmodels.machines import GRAPHS, cpu, product, spec, work

pytestmark = pytest.mark.usefixtures("plain_costs")

COMPUTE = product(8e9)
STREAM = product(1e7, moved=4e9)


def run(device, *starts, ahead=True):
    """Run works, each (start time, work, threads); return when each ends, and the open CPU."""
    clock = simpy.Environment()
    used = OpenDevice(device, clock, ahead)
    ends = {}

    def one(place, start, job, threads):
        yield clock.timeout(start)
        yield used.run(job, threads).done
        ends[place] = clock.now

    for place, (start, job, threads) in enumerate(starts):
        clock.process(one(place, start, job, threads))
    clock.run()
    return [ends[place] for place in range(len(starts))], used


@given(GRAPHS, st.integers(1, 16), st.booleans())
def test_events_take_the_time_of_the_arrays_when_a_work_is_alone(graph, threads, ahead):
    device = cpu(cores=Cores(per_socket=4, sockets=2, threads_per_core=2, all_core_clock=0.8,
                             sibling_work=0.2, link_bytes_per_s=8e9, far_fork=2.0))  # fmt: skip
    [end], _ = run(device, (0.0, Work("w", graph), threads), ahead=ahead)
    assert end == pytest.approx(device.times_s(graph, threads).sum(), rel=1e-9)


@given(st.lists(st.tuples(st.floats(0, 0.2), GRAPHS, st.integers(1, 12)), min_size=1, max_size=4))
def test_running_ahead_gives_the_same_ends_and_energy_as_op_by_op(starts):
    jobs = [(start, Work("w", graph), threads) for start, graph, threads in starts]
    ends, used = run(cpu(), *jobs)
    plain_ends, plain = run(cpu(), *jobs, ahead=False)
    assert ends == pytest.approx(plain_ends, rel=1e-9)
    last = max(ends)
    for name, joules in used.energy(last).components.items():
        assert joules == pytest.approx(plain.energy(last).components[name], rel=1e-6, abs=1e-9)


@given(st.lists(st.tuples(st.floats(0, 0.2), GRAPHS, st.integers(1, 12)), min_size=1, max_size=4))
def test_beside_others_no_work_is_faster_than_alone(starts):
    device = cpu()
    jobs = [(start, Work("w", graph), threads) for start, graph, threads in starts]
    for end, (start, job, threads) in zip(run(device, *jobs)[0], jobs, strict=True):
        assert end - start >= device.times_s(job.graph, threads).sum() * (1 - 1e-9)


@given(st.lists(GRAPHS, min_size=2, max_size=4))
def test_works_together_take_no_longer_than_one_after_the_other(graphs):
    device = cpu(cores=Cores(per_socket=8))
    ends, _ = run(device, *((0.0, Work("w", graph), 2) for graph in graphs))
    assert max(ends) <= sum(device.times_s(graph, 2).sum() for graph in graphs) * (1 + 1e-9)


def test_two_works_that_want_all_of_the_memory_take_twice_as_long():
    alone = cpu().times_s(Graph.of([STREAM]), 4).sum()
    ends, _ = run(cpu(), (0.0, work(STREAM), 4), (0.0, work(STREAM), 4))
    assert ends == pytest.approx([2 * alone] * 2, rel=1e-3)


def test_computing_beside_streaming_costs_neither_anything():
    ends, _ = run(cpu(), (0.0, work(STREAM), 4), (0.0, work(COMPUTE), 4))
    assert ends == pytest.approx(
        [cpu().times_s(Graph.of([op]), 4).sum() for op in (STREAM, COMPUTE)]
    )


def test_a_work_that_comes_later_slows_the_first_from_then_on():
    device = cpu(cores=Cores(per_socket=8), dispatch_s=0.0, fork_s=0.0, per_thread_s=0.0)
    # 0.1 s alone; after 0.06 s both share: 0.08 s more for the first, 0.02 s alone for the second.
    ends, _ = run(device, (0.0, work(COMPUTE), 8), (0.06, work(COMPUTE), 8))
    assert ends == pytest.approx([0.14, 0.2])


def test_ranks_on_one_device_share_its_cores():
    device = cpu(cores=Cores(per_socket=8), dispatch_s=0.0, fork_s=0.0, per_thread_s=0.0)
    ends, _ = run(device, *[(0.0, work(COMPUTE), 8)] * 3)
    assert ends == pytest.approx([0.3] * 3)


def test_marks_happen_when_their_ops_have_ended():
    job = work(COMPUTE, STREAM, COMPUTE, marks=(("late", 2), ("early", 0), ("middle", 1)))
    device, clock = cpu(), simpy.Environment()
    running = device.open(clock).run(job, 4)
    seen = {}
    for name, event in {**running.marks, "done": running.done}.items():
        event.callbacks.append(lambda _, name=name: seen.update({name: clock.now}))
    clock.run()
    ends = np.cumsum(device.times_s(job.graph, 4))
    assert [seen[name] for name in ("early", "middle", "late")] == pytest.approx(ends.tolist())
    assert list(seen) == ["early", "middle", "late", "done"]


def test_marks_happen_at_the_ends_of_ops_beside_other_works_too():
    device = cpu(cores=Cores(per_socket=8), dispatch_s=0.0, fork_s=0.0, per_thread_s=0.0)
    clock = simpy.Environment()
    used = device.open(clock)
    running = used.run(work(COMPUTE, COMPUTE, marks=(("half", 0),)), 8)
    used.run(work(COMPUTE, COMPUTE), 8)
    seen = []
    running.marks["half"].callbacks.append(lambda _: seen.append(clock.now))
    clock.run()
    assert seen == pytest.approx([0.2])


def test_a_mark_at_an_op_that_is_not_there_is_an_error():
    with pytest.raises(InputError, match="mark at op 3; it has ops 0 to 0"):
        cpu().open(simpy.Environment()).run(work(COMPUTE, marks=(("m", 3),)), 1)


def test_a_work_without_ops_ends_at_once():
    clock = simpy.Environment()
    running = cpu().open(clock).run(work(), 1)
    clock.run(running.done)
    assert clock.now == 0


def test_more_threads_than_the_cpu_has_are_an_error():
    with pytest.raises(InputError, match="from 1 to 16, got 17"):
        cpu().open(simpy.Environment()).run(work(COMPUTE), 17)


def test_the_same_works_end_at_the_same_times_to_the_last_bit():
    starts = [(0.001 * i, work(STREAM, COMPUTE, STREAM), 1 + i % 5) for i in range(6)]
    assert run(cpu(), *starts)[0] == run(cpu(), *starts)[0]


# --- energy


def test_an_idle_cpu_uses_its_idle_power():
    _, used = run(cpu())
    assert used.energy(3.0).components == {"idle": 30.0, "compute": 0.0, "memory": 0.0}


def test_busy_cores_and_moved_bytes_use_more():
    [end], used = run(cpu(), (0.0, work(STREAM), 4))
    energy = used.energy(end).components
    overhead = 1e-6 + 2.2e-6
    assert energy["idle"] == pytest.approx(10 * end)
    assert energy["compute"] == pytest.approx(2 * (4 * (end - overhead) + overhead))
    assert energy["memory"] == pytest.approx(1e-10 * 4e9)
    assert used.energy(end).total_j == pytest.approx(sum(energy.values()))
    assert cpu().power_w(4) == pytest.approx(10 + 4 * 2 + 1e-10 * 40e9)


@given(st.lists(st.tuples(st.floats(0, 0.2), GRAPHS, st.integers(1, 16)), min_size=1, max_size=4))
def test_moved_bytes_do_not_depend_on_what_else_runs(starts):
    jobs = [(start, Work("w", graph), threads) for start, graph, threads in starts]
    ends, used = run(cpu(), *jobs)
    moved = sum(job.graph.bytes_moved[job.graph.bytes_moved > 1e6].sum() for _, job, _ in jobs)
    energy = used.energy(max(ends))
    assert energy.components["memory"] == pytest.approx(1e-10 * moved, rel=1e-6, abs=1e-9)
    assert energy.total_j >= 10 * max(ends)


def test_no_more_cores_are_busy_than_there_are():
    ends, used = run(cpu(), *[(0.0, work(COMPUTE), 8)] * 3)
    assert used.energy(max(ends)).components["compute"] <= 2 * 8 * max(ends) * (1 + 1e-9)


@given(GRAPHS, st.integers(1, 16))
def test_mean_power_is_not_above_the_power_of_so_many_threads(graph, threads):
    device = cpu()
    [end], used = run(device, (0.0, Work("w", graph), threads))
    assert used.energy(end).total_j <= device.power_w(threads) * end * (1 + 1e-9)


def test_unknown_power_is_unknown_energy():
    device = replace(cpu(), power=CpuPower(idle_w=None, core_w=None, memory_j_per_byte=None))
    [end], used = run(device, (0.0, work(COMPUTE), 4))
    assert used.energy(end).components == {"idle": None, "compute": None, "memory": None}
    assert used.energy(end).total_j is None
    assert device.power_w(4) is None


def test_a_busy_core_draws_its_share_of_what_a_full_socket_draws_more_than_an_idle_one():
    measured = power_of(spec(power__idle_w=20.0, power__full_w=100.0, power__tdp_w=180.0))
    assert (measured.idle_w, measured.core_w) == (20, 10)
    by_tdp = power_of(spec(power__idle_w=20.0, power__tdp_w=180.0, sockets=2))
    assert (by_tdp.idle_w, by_tdp.core_w) == (40, 20)
    stated = power_of(spec(power__idle_w=20.0, power__tdp_w=180.0, power__core_active_w=3.0))
    assert stated.core_w == 3
    assert power_of(spec(power__tdp_w=180.0)).core_w is None


def test_a_busy_cores_power_that_no_file_states_is_marked_as_an_estimate():
    derived = power_of(spec(power__idle_w=20.0, power__tdp_w=180.0)).core_source
    assert derived is not None
    assert derived.kind == "estimate"
    assert "(power.tdp_w - power.idle_w) / cores" in derived.text
    device = cpu_of(spec(power__idle_w=20.0, power__tdp_w=180.0))
    assert derived in device.sources
    assert power_of(spec(power__core_active_w=3.0)).core_source is None


@given(GRAPHS, st.integers(1, 16))
def test_energy_by_op_adds_up_to_what_the_events_give(graph, threads):
    device = cpu()
    [end], used = run(device, (0.0, Work("w", graph), threads))
    by_op = energy_by_op_j(device, graph, threads)
    for name, joules in used.energy(end).components.items():
        parts = by_op[name]
        assert parts is not None
        assert parts.sum() == pytest.approx(joules, rel=1e-9, abs=1e-12)


# --- speed


@pytest.mark.benchmark
def test_arrays_are_three_orders_of_magnitude_quicker_than_events(report_figure):
    job = work(*[COMPUTE, STREAM] * 250)
    device = cpu()
    device.times_s(job.graph, 8)

    def seconds(function, repeats):
        best = np.inf
        for _ in range(repeats):
            start = time.perf_counter()
            function()
            best = min(best, time.perf_counter() - start)
        return best

    events = seconds(lambda: run(device, (0.0, job, 8), ahead=False), 5)
    skipping = seconds(lambda: run(device, (0.0, job, 8)), 5)
    arrays = seconds(lambda: device.times_s(job.graph, 8).sum(), 50)
    report_figure(
        f"500 ops x 8 threads: events {1e3 * events:.2f} ms, running ahead {1e3 * skipping:.3f} "
        f"ms, arrays {1e3 * arrays:.4f} ms: {events / arrays:.0f} times as quick"
    )
