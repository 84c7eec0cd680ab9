"""Timings that were taken elsewhere: what a table means, and what is wrong with it."""

import numpy as np
import pytest

from hwmodels.cpu import cpu_of
from hwmodels.devices import find_device, find_spec
from simulator.errors import FileError, UnknownNameError
from simulator.ops import Graph
from validation.calibrate import calibrate
from validation.fit_cpu import ENOUGH
from validation.timings_file import (
    KERNEL_KINDS,
    calibrated_from,
    op_of,
    read_timings,
    told_levels,
)
from workloads.kernels import FORMULAS
from workloads.tape import FORMULA_MODULES

DEVICE = "raspberry-pi-4"
RATE, DISPATCH_S = 1e10, 2e-5


@pytest.fixture
def table(tmp_path):
    """Write a table and return its path."""

    def write(*lines, header="op,dtype,m,n,k,time_s"):
        path = tmp_path / "timings.csv"
        path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return path

    return write


def products(count, threads=1, seed=0):
    """Return rows of products that take 20 us and a nanosecond for 10 operations."""
    rng = np.random.default_rng(seed)
    for m, n, k in np.exp(rng.uniform(np.log(8), np.log(600), (count, 3))).round().astype(int):
        time_s = DISPATCH_S + 2.0 * m * n * k / RATE / threads
        yield f"mm,float32,{m},{n},{k},{time_s},{threads}"


HEADER = "op,dtype,m,n,k,time_s,threads"


@pytest.mark.parametrize("unit", [1e-3, 1e-6])
def test_what_no_thread_of_the_device_can_compute_so_fast_is_refused(table, unit):
    row = f"mm,float32,2000,2000,2000,{1.6 * unit:g}"
    with pytest.raises(FileError, match=r"row 2, column time_s.* times as fast as the peak of"):
        calibrated_from(table(row), DEVICE)


def test_a_row_is_a_graph_of_one_op_with_its_time_and_threads(table):
    ((timing, threads),) = read_timings(table("addmm,bfloat16,2,3,4,1e-6,2", header=HEADER))
    (op,) = timing.graph
    assert (op.kind, op.name, op.dtype, op.dims) == ("gemm", "addmm", "bfloat16", (1, 2, 3, 4))
    assert (timing.times_s.tolist(), threads) == ([1e-6], 2)


def test_a_kind_may_stand_for_a_kernel_and_threads_may_be_left_out(table):
    ((timing, threads),) = read_timings(table("gemm,float32,2,3,4,1e-6"))
    assert (timing.graph[0].label, threads) == ("gemm", 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("mm,float32,2,3,4,soon", "row 2.*time_s must be a number; got 'soon'"),
        ("mm,float32,2,3,4,0", "row 2.*time_s must be positive; got 0"),
        ("mm,float32,2,3,4,nan", "row 2.*time_s must be finite; got nan"),
        ("mm,float32,2,3,,1e-6", "row 2.*needs batch, m, n, k; k is missing"),
        ("mm,float32,2,3,0,1e-6", "row 2.*k must be at least 1; got 0"),
        ("mm,float32,2,3,1.5,1e-6", "row 2.*k must be a whole number; got 1.5"),
        ("mm,float32,2,3,4", "row 2.*has 5 cells where the header has 6"),
    ],
)
def test_a_row_that_makes_no_sense_is_named(table, row, message):
    with pytest.raises(FileError, match=message):
        read_timings(table(row))


@pytest.mark.parametrize(
    ("row", "near"), [("adddmm,float32,2,3,4,1", "addmm"), ("mm,float23,2,3,4,1", "float32")]
)
def test_an_unknown_name_is_named_with_the_nearest_one(table, row, near):
    with pytest.raises(UnknownNameError, match=f"row 2.*did you mean '{near}'"):
        read_timings(table(row))


def test_a_table_without_a_needed_column_says_which(table):
    with pytest.raises(FileError, match=r"op, dtype, time_s and sizes; it lacks time_s"):
        read_timings(table("mm,float32,2", header="op,dtype,m"))


def test_what_a_spreadsheet_adds_to_a_table_is_no_part_of_it(tmp_path):
    path = tmp_path / "exported.csv"
    text = "op,dtype,m,n,k,time_s\r\nmm,float32,2,3,4,1e-6\r\n\r\n"
    path.write_bytes(text.encode("utf-8-sig"))
    assert len(read_timings(path)) == 1


def test_every_kernel_that_a_table_may_name_is_one_that_workloads_have():
    assert FORMULA_MODULES
    known = {name.rstrip("_") for name in FORMULAS}
    assert {name.rstrip("_") for name in KERNEL_KINDS} <= known


def test_arithmetic_is_what_torch_counts():
    counter = pytest.importorskip("torch.utils.flop_counter")
    assert op_of("gemm", "bmm", "float32", (5, 2, 3, 4)).flops == counter.bmm_flop(
        (5, 2, 4), (5, 4, 3)
    )
    conv = op_of("conv2d", "convolution", "float32", (2, 8, 9, 9, 16, 7, 7, 3, 3, 2))
    assert conv.flops == counter.conv_flop_count((2, 8, 9, 9), (16, 4, 3, 3), (2, 16, 7, 7))
    attention = op_of("attention", "attention", "float32", (2, 3, 5, 7, 4, 0))
    assert attention.flops == counter.sdpa_flop_count((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4))


def test_traffic_is_that_of_the_operands():
    conv = op_of("conv2d", "convolution", "bfloat16", (2, 8, 9, 9, 16, 7, 7, 3, 3, 1))
    weights = 16 * 8 * 3 * 3
    assert conv.bytes_read == 2 * (2 * 8 * 9 * 9 + weights)
    assert conv.weight_bytes == 2 * weights
    assert conv.bytes_written == 2 * (2 * 16 * 7 * 7)
    gather = op_of("gather", "embedding", "float32", (100, 8, 50_000))
    assert gather.bytes_read == 4 * 100 * 8


def test_a_device_is_calibrated_by_a_table_and_says_by_which(table):
    path = table(*products(100), *products(100, threads=4), header=HEADER)
    spec = calibrated_from(path, DEVICE)
    assert spec.calibration is not None
    assert spec.calibration.data == "200 timings of timings.csv"
    assert spec.calibration.reference_name == spec.name == find_spec(DEVICE).name
    assert spec.calibration.error_ratio is None
    fresh = Graph.of([op_of("gemm", "mm", "float32", (1, 400, 300, 500))])
    work_s = 2.0 * 400 * 300 * 500 / RATE
    cpu = cpu_of(spec)
    assert cpu.times_s(fresh, 1)[0] == pytest.approx(DISPATCH_S + work_s, rel=0.05)
    assert cpu.times_s(fresh, 4)[0] == pytest.approx(DISPATCH_S + work_s / 4, rel=0.1)


def test_a_device_file_made_of_a_table_predicts_what_the_table_says(table, tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEMODEL_HOME", str(tmp_path / "home"))
    path = calibrate(timings=table(*products(60), header=HEADER), like=DEVICE, name="my-board")
    fresh = Graph.of([op_of("gemm", "mm", "float32", (1, 400, 300, 500))])
    expected = DISPATCH_S + 2.0 * 400 * 300 * 500 / RATE
    assert find_device(path).times_s(fresh, 1)[0] == pytest.approx(expected, rel=0.05)


def test_too_few_timings_of_a_kernel_are_refused(table):
    path = table(*products(ENOUGH - 1), header=HEADER)
    with pytest.raises(FileError, match=f"at least {ENOUGH} rows on one thread; mm has"):
        calibrated_from(path, DEVICE)
    with pytest.raises(FileError, match="there are none"):
        calibrated_from(table(*products(20, threads=2), header=HEADER), DEVICE)


def test_the_levels_of_a_datasheet_are_its_caches_and_its_memory():
    *caches, memory = told_levels(find_spec(DEVICE))
    assert [one.name for one in caches] == ["L1", "L2"]
    # Two 128-bit operations a cycle (a multiply-add counts two) at 1.5 GHz, 4 bytes for each.
    assert [one.bandwidth_bytes_per_s for one in caches] == [8 * 1.5e9 * 4] * 2
    assert memory.capacity_bytes == np.inf
    assert 0 < memory.bandwidth_bytes_per_s < np.inf
