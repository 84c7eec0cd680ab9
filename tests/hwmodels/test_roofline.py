"""The roofline baseline knows the datasheet and nothing else."""

import pytest

from hwmodels.cpu import cpu_of
from hwmodels.roofline import bandwidth_bytes_per_s, peak_flop_per_s, roofline_s
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
