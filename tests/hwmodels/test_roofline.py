"""The roofline baseline knows the datasheet and nothing else."""

import pytest

from hwmodels.cpu import cpu_of
from hwmodels.devices import find_device
from hwmodels.roofline import bandwidth_bytes_per_s, peak_flop_per_s, peaks_of, roofline_s
from hwmodels.spec import spec_of
from simulator.errors import InputError
from simulator.ideal import IdealDevice
from simulator.ops import Graph, Op
from tests.hwmodels.machines import graph, product, spec

ROUND = cpu_of(spec(flops_per_cycle__bfloat16=64.0, sockets=2, clock__all_core_hz=1.5e9))


def test_an_op_takes_the_longer_of_computing_and_moving_data():
    ops = graph(product(32e9, moved=1e9), product(1e9, moved=40e9))
    assert roofline_s(ops, ROUND, 1) == pytest.approx([1.0, 1.0])


def test_each_dtype_has_its_own_peak():
    half = Op(kind="gemm", dims=(1, 1, 1, 1), dtype="bfloat16", flops=128e9)
    assert roofline_s(Graph.of([half]), ROUND, 1) == pytest.approx([1.0])


def test_the_peak_grows_with_cores_and_follows_the_clock():
    assert peak_flop_per_s(ROUND.spec, "float32", 8) == pytest.approx(8 * 16 * 1.5e9)
    assert peak_flop_per_s(ROUND.spec, "float32", 32) == pytest.approx(16 * 16 * 1.5e9)


def test_one_thread_has_the_memory_of_its_whole_socket():
    assert bandwidth_bytes_per_s(ROUND.spec, 1) == 40e9
    assert bandwidth_bytes_per_s(ROUND.spec, 9) == 80e9


def test_threads_out_of_range_and_devices_without_datasheet_are_errors():
    with pytest.raises(InputError, match="from 1 to 32, got 33"):
        roofline_s(graph(product(1.0)), ROUND, 33)
    with pytest.raises(InputError, match="no datasheet"):
        roofline_s(graph(product(1.0)), IdealDevice(), 1)


# --- accelerators

GPU = find_device("nvidia-h100-sxm-80gb")


def half(flops=0.0, moved=0.0, dtype="bfloat16"):
    return Op(kind="gemm", dims=(1, 1, 1, 1), dtype=dtype, flops=flops, bytes_read=moved)


def test_an_accelerator_has_the_peaks_and_the_bandwidth_of_its_datasheet():
    spec = spec_of(GPU)
    peak = spec.known("tensor.bfloat16_flop_per_s")
    assert peak_flop_per_s(spec, "bfloat16", 1) == peak
    bandwidth = spec.known("memory.bandwidth_bytes_per_s")
    ops = Graph.of([half(peak), half(moved=3 * bandwidth)])
    assert roofline_s(ops, GPU, 1) == pytest.approx([1.0, 3.0])


def test_peaks_are_of_the_dtypes_that_compute_and_of_ordinary_units():
    spec = spec_of(GPU)
    ops = Graph.of([half(1.0, dtype="float32"), half(2.0), half(moved=1.0, dtype="int64")])
    assert peaks_of(ops, GPU, 1) == {
        "bfloat16": spec.known("tensor.bfloat16_flop_per_s"),
        "float32": spec.known("vector.float32_flop_per_s"),
    }
    assert [*peaks_of(Graph.of([half(1.0)]), GPU, 1)] == ["bfloat16", "float32, ordinary units"]
    assert peaks_of(graph(product(1.0)), ROUND, 1) == {"float32": 32e9}


def test_a_dtype_that_an_accelerator_lacks_has_no_roof():
    with pytest.raises(InputError, match="does not compute on float4"):
        roofline_s(Graph.of([half(1.0, dtype="float4")]), GPU, 1)
