"""Collectives of NCCL are kernels: they take multiprocessors and memory from what computes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwmodels.gpu.engines import communication_of
from hwmodels.network.libraries import Gloo
from hwmodels.network.systems import cluster
from simulator.actions import Group
from simulator.engine.execute import execute
from simulator.jobs import JobSpec, simulate_jobs
from simulator.ops import Graph, Op
from simulator.protocols import Footprint, Machine
from simulator.workload import Buffer, Job, Workload
from tests.simulator.plans import By

LARGE = Op(kind="gemm", dims=(1, 8192, 8192, 8192), dtype="bfloat16", flops=2 * 8192**3,
           bytes_read=2 * 8192**2 * 2, bytes_written=8192**2 * 2)  # fmt: skip
STEP = Workload(name="products", parameters={}, graph=Graph.of([LARGE] * 4), samples=1)
GRADIENTS = Buffer("gradients", 4e9)


def overlapped(rank, job):
    """Compute beside an all-reduce that takes longer."""
    reduced = yield rank.start(rank.all_reduce(GRADIENTS))
    yield rank.compute(job.works["step"])
    yield rank.wait(reduced)


def after(rank, job):
    """Compute once the all-reduce has ended."""
    yield rank.all_reduce(GRADIENTS)
    yield rank.compute(job.works["step"])


def footprint(system: str, devices: int, kind: str = "all_reduce", nbytes: float = 1e9) -> Any:
    network: Any = cluster(system, devices=devices).network
    return network.library.footprint(kind, nbytes, np.arange(devices), network.topology)


def compute_s(machine: Machine, program: Any, copies: Any = None, **options: Any) -> float:
    outcome = execute(Job.of(STEP), machine, By(program, copies), record=False, **options)
    return outcome.mean("compute_s")


def test_each_channel_takes_a_multiprocessor():
    assert footprint("dgx-1", 8).units == 12
    assert footprint("dgx-a100-80gb", 8).units == 24
    assert footprint("dgx-h100", 8, "all_gather").units == 24
    assert footprint("dgx-h100", 8).units == 16, "reduced inside the switch"


def test_what_is_sent_is_read_and_what_is_received_is_written():
    taken = footprint("dgx-a100-80gb", 8)
    network: Any = cluster("dgx-a100-80gb", devices=8).network
    took_s = network.collective_s("all_reduce", 1e9, Group.of(range(8)))
    assert taken.bytes_per_s * took_s == pytest.approx(2 * 1e9 * 14 / 8, rel=0.02)


def test_a_group_of_one_takes_nothing():
    assert footprint("dgx-a100-80gb", 8) is not None
    network: Any = cluster("dgx-a100-80gb", devices=8).network
    assert network.library.footprint("all_reduce", 1e9, np.arange(1), network.topology) is None


def test_products_beside_a_collective_have_the_multiprocessors_that_it_leaves():
    machine = cluster("dgx-a100-80gb", devices=8)
    beside, alone = (compute_s(machine, program) for program in (overlapped, after))
    assert beside / alone == pytest.approx(108 / (108 - 24), rel=0.01)


def test_libraries_of_the_host_take_nothing_of_accelerators():
    machine = cluster("dgx-a100-80gb", devices=8)
    network: Any = machine.network
    machine = replace(machine, network=replace(network, library=Gloo()))
    beside, alone = (compute_s(machine, program) for program in (overlapped, after))
    assert beside == pytest.approx(alone, rel=1e-9)


def test_folded_ranks_are_slowed_down_as_all_are():
    machine, copies = cluster("dgx-a100-80gb", devices=8), np.arange(8)[None]
    folded, whole = (compute_s(machine, overlapped, copies, fold=fold) for fold in (True, False))
    assert folded == pytest.approx(whole, rel=1e-12)


def test_a_job_is_slowed_down_by_collectives_of_another_on_its_devices():
    machine = cluster("dgx-a100-80gb", devices=8)

    def reduces(rank, _):
        yield rank.all_reduce(GRADIENTS)

    def computes(rank, job):
        yield rank.compute(job.works["step"])

    jobs = [JobSpec(STEP, By(reduces)), JobSpec(STEP, By(computes))]
    slowdowns = [one.slowdown for one in simulate_jobs(jobs, machine)]
    assert slowdowns == pytest.approx([1.0, 108 / (108 - 24)], rel=0.01)


def test_what_is_taken_is_given_back():
    machine = cluster("dgx-a100-80gb", devices=8)
    alone_s = machine.devices[0].times_s(STEP.graph, 1).sum()
    assert compute_s(machine, after) == pytest.approx(alone_s, rel=1e-9)


def test_a_footprint_is_at_most_the_whole_device():
    device: Any = cluster("dgx-a100-80gb", devices=8).devices[0]
    profile = communication_of(device.chip, Footprint(1e6, 1e15))
    assert (profile.compute_s[0], profile.memory_s[0]) == (1.0, 1.0)
