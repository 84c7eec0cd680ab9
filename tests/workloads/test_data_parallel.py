"""Data-parallel training: what it gains, what communication costs, and what the step hides."""

import math

import numpy as np
import pytest

import scalemodel as sm
from hwmodels.network.closed_forms import Link, ring_all_reduce_s
from hwmodels.network.cluster import Cluster
from hwmodels.network.libraries import Textbook
from hwmodels.network.shapes import star
from hwmodels.network.systems import cluster
from hwmodels.network.wires import Wire
from simulator.check_plan import check_plan, training_step
from simulator.engine.execute import execute
from simulator.errors import InputError
from simulator.ideal import IdealDevice, ideal_machine
from simulator.protocols import Machine
from simulator.simulate import simulate
from simulator.workload import Job
from workloads.plans import DataParallel, find_plan

STEP = training_step()
RING = Textbook(algorithms={"all_reduce": "ring"})


def on_star(devices, bandwidth, flops_per_s=1e9):
    network = Cluster(topology=star(devices, Wire(bandwidth, 1e-6)), library=RING)
    return Machine("star", [IdealDevice(flops_per_s)] * devices, network)


def run(devices, bandwidth, flops_per_s=1e9):
    return simulate(STEP, on_star(devices, bandwidth, flops_per_s), DataParallel())


def test_a_fast_network_lets_the_speedup_be_nearly_the_devices():
    assert run(8, 1e15, 1e6).speedup == pytest.approx(8, rel=1e-3)


def test_communication_is_hidden_behind_the_backward_pass_but_for_the_last_bucket():
    job = Job.of(STEP)
    computing_s = float(STEP.graph.flops.sum()) / 1e6
    bandwidth = 1e12
    found = run(4, bandwidth, 1e6)
    last_s = ring_all_reduce_s(job.buckets[-1].nbytes, 4, Link(2e-6, bandwidth))
    assert found.step_time_s == pytest.approx(computing_s + last_s, rel=1e-9)
    assert found.communication_share == pytest.approx(last_s / found.step_time_s, rel=1e-6)


def test_a_slow_network_makes_the_step_its_own_time():
    found = run(4, 1e6)
    nbytes = sum(bucket.nbytes for bucket in Job.of(STEP).buckets)
    assert found.step_time_s == pytest.approx(2 * 3 / 4 * nbytes / 1e6, rel=1e-3)
    assert found.communication_share > 0.99


def test_a_slower_network_is_never_quicker():
    times = [run(8, bandwidth).step_time_s for bandwidth in (1e6, 1e7, 1e8, 1e9, 1e10)]
    assert times == sorted(times, reverse=True)


def test_one_of_all_equal_ranks_is_simulated_and_gives_the_same():
    job, machine = Job.of(STEP, steps=3), on_star(16, 1e9)
    folded, unfolded = (execute(job, machine, DataParallel(), fold=fold) for fold in (True, False))
    assert (folded.simulated, unfolded.simulated) == (1, 16)
    assert folded.time_s == unfolded.time_s
    assert folded.energy == unfolded.energy
    assert folded.sent_bytes == unfolded.sent_bytes


def test_each_ring_sends_twice_the_buffer_but_for_its_own_part():
    nbytes = sum(bucket.nbytes for bucket in Job.of(STEP).buckets)
    assert run(4, 1e9).sent_bytes == pytest.approx(2 * 3 * nbytes)


def test_a_workload_that_does_not_train_is_done_side_by_side():
    found = simulate(sm.mlp(batch=8), ideal_machine(4), DataParallel())
    assert found.speedup == pytest.approx(4)
    assert found.communication_share == 0.0


def test_one_device_needs_no_network():
    assert simulate(STEP, ideal_machine(1), DataParallel()).speedup == pytest.approx(1)


def test_it_meets_the_contract_of_plans():
    assert all(check_plan(DataParallel(), n).verdict == "fine" for n in (1, 2, 4))
    assert find_plan("data-parallel") == DataParallel()


def test_the_first_lines_of_a_user_run():
    step = sm.resnet50(batch=256, training=True)
    runs = [simulate(step, cluster("dgx-a100-80gb", devices=n), DataParallel()) for n in (1, 8, 64)]
    speedups = [one.speedup or 0.0 for one in runs]
    assert np.all(np.diff(speedups) > 0)
    assert all(s <= n for s, n in zip(speedups, (1, 8, 64), strict=True))
    assert all(one.energy_j and math.isfinite(one.energy_j) for one in runs)
    assert "1 of 64 ranks simulated" in runs[-1].notes


def test_the_interval_holds_the_networks_error_by_its_share_of_the_time():
    step = sm.mlp(batch=32, width=4096, depth=4, training=True)
    whole = {}
    for name, bandwidth in (("fast", "400 Gbit/s"), ("slow", "1 Gbit/s")):
        machine = cluster("dgx-a100-80gb", devices=16,
                          parameters={"network.bandwidth_bytes_per_s": bandwidth})  # fmt: skip
        found = simulate(step, machine, DataParallel())
        assert found.interval is not None
        whole[name] = found.interval[1] / found.interval[0], found.communication_share
    assert whole["slow"][1] > whole["fast"][1]
    assert all(1 < ratio < 4 for ratio, _ in whole.values())


# --- several batches a step, and a batch that is dealt


@pytest.mark.parametrize("count", [1, 2, 8])
def test_accumulation_is_held_to_a_device_that_accumulates_too(count):
    run = simulate(STEP, on_star(4, 1e15, 1e7), DataParallel(accumulation=count))
    assert run.speedup is not None
    assert 3.0 < run.speedup <= 4.0 * (1 + 1e-9)


def test_accumulation_adds_computing_and_no_communication():
    machine = on_star(4, 1e9, 1e7)
    one, four = (simulate(STEP, machine, DataParallel(accumulation=count)) for count in (1, 4))
    works = Job.of(STEP).works
    both_s = sum(float(works[name].graph.flops.sum()) for name in ("forward", "backward")) / 1e7
    assert four.step_time_s - one.step_time_s == pytest.approx(3 * both_s)
    assert four.samples_per_step == 4 * one.samples_per_step


def test_a_bucket_as_large_as_all_gradients_hides_nothing():
    """Forward, backward, all-reduce and update one after the other."""
    nbytes = sum(bucket.nbytes for bucket in Job.of(STEP).buckets)
    found = simulate(STEP, on_star(4, 1e9, 1e7), DataParallel(bucket_bytes=nbytes))
    computing_s = float(STEP.graph.flops.sum()) / 1e7
    all_s = ring_all_reduce_s(nbytes, 4, Link(2e-6, 1e9))
    assert found.step_time_s == pytest.approx(computing_s + all_s, rel=1e-9)


def training(batch):
    return sm.mlp(batch=batch, training=True)


def test_a_global_batch_is_dealt_over_the_ranks():
    """As large a share on each as if the workload had been built with it."""
    dealt = simulate(training(1), ideal_machine(4), DataParallel(global_batch=256))
    built = simulate(training(64), ideal_machine(4), DataParallel())
    assert dealt.step_time_s == built.step_time_s
    assert dealt.samples_per_step == built.samples_per_step == 256
    assert "1 of 4 ranks simulated" in dealt.notes


def test_the_largest_share_of_an_uneven_batch_binds():
    uneven = simulate(training(1), ideal_machine(3), DataParallel(global_batch=100))
    assert uneven.samples_per_step == 100
    assert uneven.step_time_s == pytest.approx(
        simulate(training(34), ideal_machine(3), DataParallel()).step_time_s, rel=1e-6
    )


def test_a_global_batch_is_dealt_over_accumulated_batches_too():
    plan = DataParallel(global_batch=96, accumulation=3)
    found = simulate(training(1), ideal_machine(4), plan)
    same = simulate(training(8), ideal_machine(4), DataParallel(accumulation=3))
    assert found.step_time_s == same.step_time_s
    assert found.samples_per_step == same.samples_per_step


def test_a_batch_is_dealt_to_ranks_that_do_not_train_as_well():
    dealt = simulate(sm.mlp(batch=1), ideal_machine(4), DataParallel(global_batch=64))
    built = simulate(sm.mlp(batch=16), ideal_machine(4), DataParallel())
    assert (dealt.step_time_s, dealt.throughput) == (built.step_time_s, built.throughput)


def test_what_cannot_be_dealt_is_refused():
    with pytest.raises(InputError, match="global_batch of 3 has not a sample for each of 4 ranks"):
        simulate(training(1), ideal_machine(4), DataParallel(global_batch=3))
    with pytest.raises(InputError, match="needs a workload with a batch; 'check' has none"):
        simulate(STEP, ideal_machine(2), DataParallel(global_batch=8))
    with pytest.raises(InputError, match="accumulation: expected a whole number of at least 1"):
        DataParallel(accumulation=0)
