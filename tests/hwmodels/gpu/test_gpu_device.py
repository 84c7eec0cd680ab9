"""An accelerator as a device: its times, what they are spent on, and what it runs by events."""

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.devices import with_fields
from hwmodels.gpu.device import RESOURCES, waiting_s
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
