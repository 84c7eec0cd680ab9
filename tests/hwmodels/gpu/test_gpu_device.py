"""An accelerator as a device: its times, what they are spent on, and what it runs by events."""

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.devices import with_fields
from hwmodels.gpu.device import RESOURCES, Gpu, parts_of, waiting_s
from hwmodels.gpu.power import power_of
from hwmodels.profile import Used
from simulator.errors import InputError
from simulator.ops import Graph, Op
from simulator.protocols import Calibrated, Device
from simulator.workload import Work
from tests.hwmodels.gpu.chips import gpu
from tests.hwmodels.test_catalog import CATALOG, STEP

GPUS = tuple(sorted(path.stem for path in (CATALOG / "gpu").glob("*.toml")))
TIMES = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=20)


@pytest.mark.parametrize("name", GPUS)
def test_every_accelerator_meets_the_contract_of_a_device(name):
    device = gpu(name)
    assert isinstance(device, Device)
    assert isinstance(device, Calibrated)
    times = device.times_s(STEP, 1)
    assert np.isfinite(times).all()
    assert (times > 0).all()
    clock = simpy.Environment()
    clock.run(device.open(clock).run(Work("step", STEP), 1).done)
    assert clock.now == pytest.approx(times.sum(), rel=1e-9)
    spent = device.breakdown_s(STEP, 1)
    assert np.sum(list(spent.values()), axis=0).tolist() == pytest.approx(times.tolist())


@pytest.mark.parametrize("name", GPUS)
def test_no_accelerator_beats_its_datasheet(name):
    device = gpu(name)
    assert (device.times_s(STEP, 1) >= STEP.flops / device.chip.peaks["float32"] / 1.3).all()


def by_hand(kernel_s, launch_s):
    launched = ended = 0.0
    waits = []
    for kernel, launch in zip(kernel_s, launch_s, strict=True):
        launched += launch
        waits.append(max(launched - ended, 0.0))
        ended = max(ended, launched) + kernel
    return waits


@given(TIMES)
def test_a_kernel_starts_when_it_is_launched_and_the_one_before_has_ended(times):
    kernel_s, launch_s = (np.array(column) for column in zip(*times, strict=True))
    assert waiting_s(kernel_s, launch_s).tolist() == pytest.approx(by_hand(kernel_s, launch_s))


def small(count=100):
    op = Op(kind="elementwise", dims=(10,), flops=10, bytes_read=80, bytes_written=40)
    return Graph.of([op] * count)


def test_small_kernels_wait_for_the_host_unless_a_recorded_graph_is_replayed():
    eager = gpu("nvidia-a100-sxm-80gb")
    slow, replayed = (with_fields(eager, {"model.launch_s": launch}) for launch in ("8 us", 0))
    assert slow.times_s(small(), 1).sum() == pytest.approx(800e-6, rel=0.05)
    assert replayed.times_s(small(), 1).sum() < 0.8 * slow.times_s(small(), 1).sum()


@pytest.mark.parametrize("resource", RESOURCES)
def test_more_of_any_resource_is_never_slower(resource):
    device = gpu("nvidia-h100-sxm-80gb")
    before = device.times_s(STEP, 1).sum()
    assert device.scaled(resource, 2.0).times_s(STEP, 1).sum() <= before * (1 + 1e-12)
    assert device.scaled(resource, 0.5).times_s(STEP, 1).sum() >= before * (1 - 1e-12)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf"), float("nan")])
def test_factors_that_no_device_can_have_are_refused(factor):
    with pytest.raises(InputError, match="expected a positive factor"):
        gpu("nvidia-t4").scaled("arithmetic", factor)


def test_a_rank_has_an_accelerator_for_itself():
    with pytest.raises(InputError, match="runs 1 thread a rank; got 2"):
        gpu("nvidia-t4").times_s(STEP, 2)


def test_the_sources_are_those_of_fits_that_were_used():
    device = gpu("nvidia-h100-sxm-80gb")
    assert not any(source.kind == "calibrated" for source in device.sources)
    half = Op(kind="gemm", dims=(1, 64, 64, 64), dtype="bfloat16", flops=2 * 64**3)
    device.times_s(Graph.of([half]), 1)
    assert any("gemm, bfloat16" in source.text for source in device.sources)


def test_energy_is_what_a_ready_device_draws_and_what_kernels_add_by_their_units():
    device = gpu("nvidia-v100-pcie-16gb")
    used = device.energy(10.0, Used(core_s=4.0, matrix_s=2.0, moved_bytes=1e9))
    ordinary_w, matrix_w = (power_of(device.spec).power_w(matrix=units) for units in (False, True))
    assert ordinary_w is not None
    assert matrix_w is not None
    assert used.components["idle"] == pytest.approx(35.0 * 10)
    assert used.total_j == pytest.approx(35.0 * 4 + ordinary_w * 4 + matrix_w * 2)
    assert device.power_w() == max(ordinary_w, matrix_w)
    assert 35 < ordinary_w < 250


def joules(device, graph):
    """Return what a graph that runs alone draws by events, and its time."""
    clock = simpy.Environment()
    used = device.open(clock)
    clock.run(used.run(Work("step", graph), 1).done)
    return used.energy(clock.now).total_j, clock.now


def product(dtype):
    """Return a product that takes much arithmetic."""
    size = 4096
    return Graph.of([Op(kind="gemm", dims=(1, size, size, size), dtype=dtype, flops=2 * size**3,
                        bytes_read=8 * size**2, bytes_written=4 * size**2)])  # fmt: skip


@pytest.mark.parametrize("name", GPUS)
def test_every_accelerator_draws_from_ready_to_all_it_can(name):
    device = gpu(name)
    used_j, time_s = joules(device, STEP)
    ready_w, most_w = power_of(device.spec).ready_w, device.power_w()
    assert ready_w is not None
    assert most_w is not None
    assert ready_w * time_s <= used_j <= most_w * time_s * (1 + 1e-9)


def test_a_device_that_waits_for_its_host_draws_little_more_than_a_ready_one():
    device = gpu("nvidia-a100-sxm-80gb")
    ready_w = power_of(device.spec).ready_w
    waiting, time_s = joules(with_fields(device, {"model.launch_s": "1 ms"}), small())
    assert ready_w is not None
    assert ready_w * time_s <= waiting < 1.05 * ready_w * time_s
    replayed, quick_s = joules(with_fields(device, {"model.launch_s": 0}), product("float32"))
    assert replayed > 1.5 * ready_w * quick_s


def test_kernels_on_matrix_units_draw_what_these_draw():
    device = gpu("nvidia-v100-pcie-16gb")
    for dtype, matrix in (("float16", True), ("float32", False)):
        parts = parts_of(device, product(dtype))
        used_j, time_s = joules(device, product(dtype))
        busy_s = time_s - parts.overhead_s.sum()
        busy_w = power_of(device.spec).power_w(matrix=matrix)
        assert parts.matrix_share.tolist() == [float(matrix)]
        assert used_j == pytest.approx(35.0 * parts.overhead_s.sum() + busy_w * busy_s, rel=1e-6)


def test_a_power_limit_slows_kernels_by_what_their_units_draw():
    sold = gpu("nvidia-v100-pcie-16gb")
    capped = with_fields(sold, {"power.limit_w": "150 W", "model.launch_s": 0})
    assert isinstance(capped, Gpu)
    for dtype, matrix in (("float16", True), ("float32", False)):
        at_full = parts_of(sold, product(dtype)).compute_s
        longer = parts_of(capped, product(dtype)).compute_s / at_full
        assert longer == pytest.approx(power_of(sold.spec).slowdown(150.0, matrix))


def test_under_a_lower_power_limit_steps_take_longer_and_draw_less():
    sold = gpu("nvidia-v100-pcie-16gb")
    capped = with_fields(sold, {"power.limit_w": "150 W"})
    longer = capped.times_s(STEP, 1).sum() / sold.times_s(STEP, 1).sum()
    assert 1.05 < longer < 2
    assert isinstance(capped, Gpu)
    assert capped.power_w() == pytest.approx(150, rel=0.05)
    assert with_fields(sold, {"power.limit_w": 250}).times_s(STEP, 1).sum() == pytest.approx(
        sold.times_s(STEP, 1).sum()
    )


def test_a_limit_below_what_a_device_draws_without_work_is_refused():
    with pytest.raises(InputError, match="expected a power limit from"):
        with_fields(gpu("nvidia-v100-pcie-16gb"), {"power.limit_w": 20}).times_s(STEP, 1)
