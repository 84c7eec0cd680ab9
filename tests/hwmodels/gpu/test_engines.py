"""Streams compete for multiprocessors, memory and the copy engine: closed forms, by events."""

import functools
from dataclasses import dataclass, field

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.devices import find_device, with_fields
from hwmodels.gpu.chip import Chip
from hwmodels.gpu.engines import communication, paces_of, profile_of, with_copies
from hwmodels.gpu.family import Parts
from hwmodels.open_device import OpenDevice
from simulator.energy import Energy
from simulator.engine.execute import execute
from simulator.errors import InputError
from simulator.ideal import AlphaBetaStar
from simulator.ops import FROM_HOST, Graph, Op
from simulator.protocols import Machine
from simulator.simulate import simulate
from simulator.workload import Job, Work, Workload
from tests.hwmodels.gpu.chips import chip
from tests.simulator.plans import DataParallel
from workloads.plans import Prefetch, Single, Threads
from workloads.registry import find_workload

LINK = 10e9
FLOPS, BYTES = 10e12, 1e12
"""That the round chip does in a second."""


@dataclass(frozen=True, eq=False)
class RoundGpu:
    """Be an accelerator that takes what the datasheet says, and a floor."""

    floor_s: float = 0.0
    chip: Chip = field(default_factory=lambda: chip(link_bytes_per_s=LINK))

    @functools.cache  # noqa: B019
    def profile(self, graph, threads):
        count = len(graph)
        cost = Parts(np.full(count, self.floor_s), graph.flops / FLOPS, graph.bytes_moved / BYTES)
        return profile_of(with_copies(cost, graph, self.chip), graph, self.chip)

    def paces(self, phases):
        return paces_of(phases, self.chip)

    def energy(self, time_s, used):
        return Energy(used._asdict())


def accelerator(name="nvidia-a100-sxm-80gb", **fields):
    """Return one of the catalog; keyword `a__b` is the field `a.b`."""
    return with_fields(find_device(name), {k.replace("__", "."): v for k, v in fields.items()})


def op(compute_s=0.0, memory_s=0.0):
    return Op(kind="elementwise", dims=(1,), flops=compute_s * FLOPS, bytes_read=memory_s * BYTES)


def copy(seconds):
    return Op(kind=FROM_HOST, dims=(1,), dtype="uint8", bytes_written=seconds * LINK)


def ends_of(*starts, device=None, and_then=()):
    """Run works of ops, each from a time on; return when each ends, and the open device.

    `and_then` are (time, what is done with the open device then).
    """
    clock = simpy.Environment()
    used = OpenDevice(device or RoundGpu(), clock)
    ends = {}

    def one(place, start_s, ops):
        yield clock.timeout(start_s)
        yield used.run(Work(f"w{place}", Graph.of(ops)), 1).done
        ends[place] = clock.now

    def at(time_s, act):
        yield clock.timeout(time_s)
        act(used)

    for time_s, act in and_then:
        clock.process(at(time_s, act))
    for place, (start_s, *ops) in enumerate(starts):
        clock.process(one(place, start_s, ops))
    clock.run()
    return [ends[place] for place in range(len(starts))], used


# --- streams


@given(st.floats(0.1, 5), st.floats(0.1, 5))
def test_two_works_that_compute_take_the_sum(first, second):
    ends, _ = ends_of((0, op(first)), (0, op(second)))
    assert max(ends) == pytest.approx(first + second)
    assert min(ends) == pytest.approx(2 * min(first, second))


@given(st.floats(0.1, 5), st.floats(0.1, 5))
def test_two_works_that_move_bytes_take_the_sum(first, second):
    ends, _ = ends_of((0, op(memory_s=first)), (0, op(memory_s=second)))
    assert max(ends) == pytest.approx(first + second)


@given(st.floats(0.1, 5), st.floats(0.1, 5))
def test_computing_hides_beside_moving_bytes(compute, memory):
    ends, _ = ends_of((0, op(compute)), (0, op(memory_s=memory)))
    assert ends == pytest.approx([compute, memory])


def test_works_that_need_both_are_held_up_by_what_is_full():
    # Together 1.6 s of multiprocessors and 0.8 s of memory: the multiprocessors bind.
    ends, _ = ends_of((0, op(1.0, 0.4)), (0, op(0.6, 0.4)))
    assert ends == pytest.approx([1.6, 1.2])


def test_a_work_that_comes_later_slows_the_first_from_then_on():
    ends, _ = ends_of((0, op(1.0)), (0.6, op(1.0)))
    assert ends == pytest.approx([1.4, 2.0])


def test_floors_are_shared_with_nobody():
    ends, _ = ends_of((0, op(1.0)), (0, op(1.0)), device=RoundGpu(floor_s=0.25))
    assert ends == pytest.approx([2.25, 2.25])


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3)), min_size=1, max_size=8))
def test_a_work_alone_takes_the_sum_of_its_ops(times):
    ops = [op(compute, memory) for compute, memory in times]
    [end], _ = ends_of((0, *ops), device=RoundGpu(floor_s=0.01))
    assert end == pytest.approx(sum(max(pair) + 0.01 for pair in times), rel=1e-9)


@pytest.mark.parametrize("device", ["nvidia-a100-sxm-80gb", "nvidia-t4", "amd-mi250x"])
def test_by_events_a_model_takes_the_time_of_the_arrays(device):
    workload = find_workload("mobilenet-v2", batch=4, training=True)
    gpu = accelerator(device)
    run = simulate(workload, gpu, Single(), steps=2)
    assert run.step_time_s == pytest.approx(gpu.times_s(workload.graph, 1).sum(), rel=1e-9)


def test_lanes_of_a_plan_are_streams_that_compete():
    gpu = accelerator(model__launch_s=0)
    graph = Graph.of([op(memory_s=1e-4)] * 2, [[], []])
    workload = Workload(name="toy", parameters={}, graph=graph, samples=1)
    profile = gpu.profile(graph, 1)
    floor, work = profile.overhead_s[0], profile.work_s[0]
    assert floor > 0
    one, two = (simulate(workload, gpu, Threads(1, inter_op=k)).time_s for k in (1, 2))
    assert one == pytest.approx(2 * (floor + work))
    assert two == pytest.approx(floor + 2 * work)


# --- launches


def test_an_eager_step_is_lindleys_recursion_over_its_kernels_and_replay_their_sum():
    workload = find_workload("mlp", batch=8)
    replayed = accelerator(model__launch_s=0)
    kernels = replayed.times_s(workload.graph, 1).tolist()
    for launch_s in (0.0, 1e-6, 5e-6, 1e-4):
        launched = ended = 0.0
        for kernel_s in kernels:
            launched += launch_s
            ended = max(ended, launched) + kernel_s
        eager = accelerator(model__launch_s=launch_s)
        assert simulate(workload, eager, Single()).time_s == pytest.approx(ended, rel=1e-9)
        if not launch_s:
            assert ended == pytest.approx(sum(kernels), rel=1e-12)


# --- copies from the host


@given(st.floats(0.1, 5), st.floats(0.1, 5))
def test_copies_hide_beside_computing(compute, copied):
    ends, _ = ends_of((0, op(compute)), (0, copy(copied)))
    assert ends == pytest.approx([compute, copied])


def test_two_copies_share_the_link():
    ends, _ = ends_of((0, copy(1.0)), (0, copy(2.0)))
    assert ends == pytest.approx([2.0, 3.0])


def test_a_copy_and_a_kernel_that_moves_bytes_share_the_memory():
    # The link has a hundredth of the memory's bandwidth: together they would need 1.01 of it.
    ends, _ = ends_of((0, op(memory_s=1.0)), (0, copy(2.0)))
    assert ends == pytest.approx([1.01, 2.01])


def test_a_copy_within_a_work_waits_like_any_op():
    [end], _ = ends_of((0, copy(1.0), op(2.0)))
    assert end == pytest.approx(3.0)


def test_without_a_link_copies_cannot_be_predicted():
    device = RoundGpu(chip=chip())
    with pytest.raises(InputError, match=r"'round' does not say link\.pcie_bytes_per_s"):
        device.profile(Graph.of([copy(1.0)]), 1)
    assert "link.pcie" not in accelerator("google-tpu-v4").resources


def fed(nbytes, batch=1):
    graph = Graph.of([Op(kind="gemm", dims=(1, 4096, 4096, 4096), flops=2 * 4096**3)])
    return Workload(name="fed", parameters={}, graph=graph, samples=batch, input_bytes=nbytes)


@pytest.mark.parametrize("nbytes", [1e3, 1e9])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_prefetched_step_takes_the_longer_of_computing_and_copying(nbytes, steps):
    gpu = accelerator(model__launch_s=0)
    workload = fed(nbytes)
    times = [gpu.times_s(work.graph, 1).sum() for work in Job.of(workload).works.values()]
    run = simulate(workload, gpu, Prefetch(), steps=steps)
    assert run.step_time_s == pytest.approx(max(times), rel=1e-2)
    assert run.step_time_s >= max(times) * (1 - 1e-9)


def test_a_copy_takes_its_bytes_over_what_the_link_reaches():
    gpu = accelerator(model__launch_s=0, link__pcie_bytes_per_s=20e9, model__link_share=0.5)
    copied = Job.of(fed(1e9)).works["input"]
    assert gpu.times_s(copied.graph, 1).tolist() == pytest.approx([0.1])
    assert gpu.scaled("link.pcie", 2.0).times_s(copied.graph, 1).tolist() == pytest.approx([0.05])


def test_a_step_without_input_is_not_copied():
    workload = fed(0.0)
    assert "input" not in Job.of(workload).works
    gpu = accelerator()
    alone, prefetched = (simulate(workload, gpu, plan) for plan in (Single(), Prefetch()))
    assert prefetched.step_time_s == alone.step_time_s


# --- communication


def held(sms, bandwidth, start_s, end_s):
    """Return what holds these shares from one time to another."""
    releases = []

    def begin(used):
        releases.append(used.hold(communication(chip(), sms, bandwidth)))

    return (start_s, begin), (end_s, lambda _: releases.pop()())


@given(st.floats(0.0, 0.5), st.floats(0.5, 3))
def test_communication_leaves_kernels_the_multiprocessors_that_it_does_not_take(sms, compute):
    [end], _ = ends_of((0, op(compute)), and_then=held(sms, 0.1, 0, 1e3))
    assert end == pytest.approx(compute / (1 - sms))


@given(st.floats(0.0, 0.5), st.floats(0.5, 3))
def test_communication_leaves_kernels_the_bandwidth_that_it_does_not_take(bandwidth, memory):
    [end], _ = ends_of((0, op(memory_s=memory)), and_then=held(0.1, bandwidth, 0, 1e3))
    assert end == pytest.approx(memory / (1 - bandwidth))


def test_communication_that_ends_gives_back_what_it_took():
    # 1 s alone, 1 s at three quarters, the rest alone.
    [end], _ = ends_of((0, op(3.0)), and_then=held(0.25, 0.0, 1.0, 2.0))
    assert end == pytest.approx(3.25)


def test_two_kernels_of_communication_take_the_sum():
    both = (*held(0.2, 0.0, 0, 1e3), *held(0.3, 0.0, 0, 1e3))
    [end], _ = ends_of((0, op(1.0)), and_then=both)
    assert end == pytest.approx(2.0)


def test_communication_alone_goes_on_until_it_is_released_and_its_bytes_count():
    [end], used = ends_of((5.0, op(1.0)), and_then=held(0.1, 0.2, 1.0, 4.0))
    assert end == pytest.approx(6.0)
    assert used.energy(6.0).components == pytest.approx(
        {"core_s": 3.0 * 0.2 + 1.0, "matrix_s": 0.0, "moved_bytes": 3.0 * 0.2 * BYTES}
    )


@pytest.mark.parametrize("shares", [(-0.1, 0.5), (0.5, 1.1), (float("nan"), 0.0)])
def test_communication_takes_shares(shares):
    with pytest.raises(InputError, match="is a share from 0 to 1"):
        communication(chip(), *shares)


def test_an_open_accelerator_takes_communication():
    gpu = accelerator(model__launch_s=0)
    clock = simpy.Environment()
    used = gpu.open(clock)
    release = used.hold(communication(gpu.chip, sms=0.5, bandwidth=0.0))
    work = Job.of(fed(0.0)).works["step"]
    profile = gpu.profile(work.graph, 1)
    clock.run(used.run(work, 1).done)
    release()
    assert clock.now == pytest.approx(profile.overhead_s[0] + 2 * profile.work_s[0])


# --- many of them


def test_folded_accelerators_are_equal_to_all_of_them():
    workload = find_workload("mlp", batch=64, training=True)
    machine = Machine("many", [accelerator()] * 4, AlphaBetaStar(1e-6, 1e9))
    job = Job.of(workload, steps=2)
    folded, whole = (execute(job, machine, Folds(), fold=fold) for fold in (True, False))
    assert folded.folding != whole.folding
    assert folded.time_s == whole.time_s
    assert folded.energy.components == whole.energy.components


class Folds(DataParallel):
    """Fold: all ranks are copies of the first."""

    def copies(self, ranks):
        return np.arange(ranks)[None]
