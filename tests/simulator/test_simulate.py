"""A run says times, shares, energy and memory as the definitions in `simulator.run` state."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from simulator.bill import Tariff
from simulator.energy import Energy
from simulator.errors import DoesNotFitError, InputError, UnknownNameError
from simulator.ideal import AlphaBetaStar, IdealDevice, ideal_machine
from simulator.ops import Graph, Op
from simulator.protocols import Machine
from simulator.run import need
from simulator.simulate import simulate
from simulator.workload import Buffer, Gradient, Workload
from tests.simulator.devices import TwoResources
from tests.simulator.plans import By, DataParallel
from workloads.plans import Single, Threads


def gemm(flops, phase="forward", allocated=0.0):
    return Op(kind="gemm", dims=(1, 2, 2, 2), flops=flops, phase=phase, allocated_bytes=allocated)


def inference(flops=1e9, samples=8):
    return Workload(name="toy", parameters={}, graph=Graph.of([gemm(flops)]), samples=samples)


def training(weight_bytes=1e6):
    graph = Graph.of([gemm(1e9), gemm(2e9, "backward"), gemm(1e8, "update")])
    return Workload(
        name="toy", parameters={}, graph=graph, samples=8, weight_bytes=weight_bytes,
        gradients=(Gradient("w", weight_bytes, 1),),
    )  # fmt: skip


@dataclass(frozen=True)
class SmallDevice(IdealDevice):
    """Have a memory of 1 kB."""

    @property
    def memory_bytes(self):
        return 1000.0


def test_one_thread_takes_flops_over_speed():
    run = simulate(inference(1e9), IdealDevice(1e9), Single(), steps=3)
    assert run.time_s == pytest.approx(3.0, rel=1e-12)
    assert run.step_time_s == pytest.approx(1.0, rel=1e-12)
    assert run.throughput == pytest.approx(8.0, rel=1e-12)
    assert (run.speedup, run.efficiency, run.compute_share) == pytest.approx((1, 1, 1))


def test_threads_are_compared_with_one_thread():
    run = simulate(inference(), IdealDevice(1e9, max_threads=4), Threads(4))
    assert run.speedup == pytest.approx(4.0, rel=1e-12)
    assert run.efficiency == pytest.approx(1.0, rel=1e-12)
    assert run.baseline == "one thread of ideal"


def test_a_device_without_threads_is_the_whole_that_speedup_refers_to():
    run = simulate(inference(), IdealDevice(1e9), Single())
    assert run.baseline == "one ideal"


def test_data_parallel_on_a_star_is_compute_plus_ring_all_reduce():
    machine = Machine("star", [IdealDevice(1e9)] * 4, AlphaBetaStar(1e-3, 1e6))
    run = simulate(training(), machine, DataParallel(), steps=4)
    ring_s = 2 * 3 * (1e-3 + 1e6 / 4 / 1e6)
    assert run.step_time_s == pytest.approx(3.1 + ring_s, rel=1e-9)
    assert run.throughput == pytest.approx(32 / (3.1 + ring_s), rel=1e-9)
    assert run.speedup == pytest.approx(4 * 3.1 / (3.1 + ring_s), rel=1e-9)
    assert run.efficiency == pytest.approx(3.1 / (3.1 + ring_s), rel=1e-9)
    assert run.communication_share == pytest.approx(ring_s / (3.1 + ring_s), rel=1e-9)
    shares = run.compute_share + run.communication_share + run.idle_share
    assert shares == pytest.approx(1.0, rel=1e-12)


def test_energy_is_idle_power_over_all_time_and_active_power_over_the_busy_time():
    run = simulate(inference(), IdealDevice(1e9, power_w=3.0, idle_w=2.0), Single(), steps=2)
    assert run.energy.components == {"idle": 4.0, "compute": 6.0}
    assert run.energy_j == 10.0
    assert run.mean_power_w == pytest.approx(5.0)
    assert run.energy_per_sample_j == pytest.approx(10 / 16)


def test_unknown_is_none_and_never_zero():
    run = simulate(inference(), IdealDevice(1e9), Single())
    assert run.peak_power_w is None
    assert run.interval is None
    assert run.cost is None
    with pytest.raises(InputError, match="peak_power_w of toy on ideal is unknown"):
        need(run, "peak_power_w")


def test_a_bill_is_steps_times_time_and_prices():
    tariff = Tariff(steps=3600, price_per_hour=2.0, price_per_kwh=0.5)
    run = simulate(inference(), IdealDevice(1e9, power_w=1000.0), Single(), tariff=tariff)
    assert run.metric("job.hours") == pytest.approx(1.0)
    assert run.metric("job.kwh") == pytest.approx(1.0)
    assert run.cost == pytest.approx(2.5)


def test_metrics_are_asked_by_name():
    run = simulate(inference(), IdealDevice(1e9, idle_w=1.0), Single())
    assert run.metric("energy.idle_j") == pytest.approx(1.0)
    with pytest.raises(UnknownNameError, match="unknown metric 'step_time' in a run; did you mean"):
        run.metric("step_time")


def test_the_text_shows_every_figure_with_a_unit():
    text = str(simulate(inference(), IdealDevice(1e9), Single()))
    for part in ("toy on ideal", "step_time_s", "1 s", "unknown", "one ideal"):
        assert part in text


def test_what_needs_more_memory_than_there_is_is_refused():
    with pytest.raises(DoesNotFitError, match=r"toy needs .* MB on device 0, 'ideal', which has"):
        simulate(training(1e6), SmallDevice(1e9), Single())


def test_a_device_without_a_memory_size_is_not_said_to_fit():
    run = simulate(inference(), IdealDevice(1e9), Single())
    assert run.notes == ("whether it fits is not known: ideal has no memory size",)
    assert not simulate(inference(), SmallDevice(1e9), Single()).notes


@pytest.mark.parametrize(
    ("wrong", "name"),
    [({"steps": steps}, "steps") for steps in (0, -1, 2.5, math.nan, True, "3")]
    + [({"seed": seed}, "seed") for seed in (-1, 0.5, math.nan, None)],
)
def test_impossible_steps_and_seeds_are_refused(wrong, name):
    with pytest.raises(InputError, match=f"{name}: expected a whole number of at least"):
        simulate(inference(), IdealDevice(1e9), Single(), **wrong)


def test_more_steps_than_anyone_needs_are_refused():
    with pytest.raises(InputError, match=r"at most 1,000,000 are simulated, got 10,000,000,000"):
        simulate(inference(), IdealDevice(1e9), Single(), steps=10**10)


def test_steps_and_seeds_may_be_numpys():
    numpys: dict[str, Any] = {"steps": np.int64(2), "seed": np.uint8(7)}
    assert simulate(inference(), IdealDevice(1e9), Single(), **numpys).time_s == 2.0


@pytest.mark.parametrize(
    ("workload", "on", "message"),
    [
        ("resnet50", IdealDevice(), "workload: expected a Workload, got 'resnet50'; find_workload"),
        (inference(), "raspberry-pi-4", "on: expected a Machine or a Device, got 'raspberry-pi-4'"),
        (inference(), None, "on: expected a Machine or a Device, got None; find_device"),
        (inference(), [IdealDevice()], "on: expected a Machine or a Device, got"),
    ],
)
def test_what_is_no_workload_or_machine_is_refused(workload, on, message):
    with pytest.raises(InputError, match=message):
        simulate(workload, on, Single())


@pytest.mark.parametrize("ops", [[], [gemm(0.0)]])
def test_a_step_that_takes_no_time_cannot_be_predicted(ops):
    nothing = Workload(name="nothing", parameters={}, graph=Graph.of(ops), samples=1)
    with pytest.raises(InputError, match="'nothing' takes no time on 'ideal' under plan Single"):
        simulate(nothing, IdealDevice(), Single())


def test_beside_no_computing_there_is_no_speedup():
    """A workload that only communicates: one device alone would be done at once."""

    def program(rank, job):
        yield rank.all_reduce(Buffer("b", 1e6))

    idle = Workload(name="idle", parameters={}, graph=Graph.of([]), samples=1)
    run = simulate(idle, ideal_machine(2), By(program))
    assert run.communication_share == pytest.approx(1.0)
    assert run.speedup == 0.0


def test_a_rare_long_step_counts_by_the_mean():
    """Most steps take no time at all, so that their median says nothing."""

    def program(rank, job):
        for step in range(job.steps):
            yield rank.compute(job.step)
            yield rank.sleep(1.0 if step == 2 else 0.0)

    nothing = Workload(name="nothing", parameters={}, graph=Graph.of([]), samples=1)
    assert simulate(nothing, ideal_machine(1), By(program), steps=5).step_time_s == 0.2


def test_two_different_devices_are_compared_with_the_first():
    fast, slow = IdealDevice(2e9, name="fast"), IdealDevice(1e9, name="slow")
    machine = Machine("mixed", [fast, slow], AlphaBetaStar(0.0, 1e6))
    run = simulate(training(1e6), machine, DataParallel(), steps=3)
    # Both wait for the slow one (3 s forward and backward, 0.1 s update), then for the ring (1 s).
    assert run.step_time_s == pytest.approx(3.1 + 1.0)
    assert run.baseline == "one fast"
    assert run.speedup == pytest.approx(2 * 1.55 / 4.1)
    assert run.samples_per_step == 16


def test_thousands_of_steps_take_as_long_as_one_each():
    run = simulate(inference(), IdealDevice(1e9), Single(), steps=5000, record=False)
    assert run.time_s == pytest.approx(5000.0, rel=1e-9)
    assert run.step_time_s == pytest.approx(1.0, rel=1e-9)


def test_more_threads_than_the_device_has_are_refused():
    with pytest.raises(InputError, match="8 threads"):
        simulate(inference(), IdealDevice(1e9, max_threads=4), Threads(8))


def test_a_calibrated_device_gives_an_interval_sources_power_and_overhead():
    device = TwoResources(compute_s=0.6, memory_s=0.2, overhead_s=0.2)
    run = simulate(inference(), device, Single())
    assert run.interval == pytest.approx((0.8, 1.5))
    assert run.bounds("throughput") == pytest.approx((8 / 1.5, 8 / 0.8))
    assert run.overhead_share == pytest.approx(0.2)
    assert run.peak_power_w == 10.0
    assert [source.text for source in run.sources] == ["a datasheet"]
    assert "source (datasheet): a datasheet" in str(run)


def test_energy_errs_by_time_and_by_power():
    run = simulate(inference(), TwoResources(), Single())
    assert (run.power_ratio, run.bounds("energy_j")) == (None, None)
    known = replace(run, energy=Energy({"idle": 10.0}), interval=(0.8, 1.25), power_ratio=(0.5, 2))
    wide = math.exp(math.hypot(math.log(1.25), math.log(2)))
    assert known.bounds("energy_j") == pytest.approx((10 / wide, 10 * wide))
    assert known.bounds("energy_per_sample_j") == pytest.approx((10 / wide / 8, 10 * wide / 8))
    assert known.bounds("mean_power_w") == pytest.approx((5.0, 20.0))


def test_equal_seeds_give_equal_runs():
    machine = Machine("star", [IdealDevice(1e9)] * 4, AlphaBetaStar(1e-3, 1e6))
    first, second = (simulate(training(), machine, DataParallel(), seed=3) for _ in range(2))
    assert first.metrics == second.metrics
    assert first.timeline is not None
    assert second.timeline is not None
    assert np.array_equal(first.timeline.end_s, second.timeline.end_s)
