"""Tables of timed GPU kernels: which they are, what is read from them, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from hwmodels.devices import find_spec
from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.families import FAMILIES
from hwmodels.relatives import completed
from simulator.errors import FileError, UnknownNameError
from validation.fit_gpu import Timings
from validation.gpu_table import Limits, Timed, check, device_of, joined, read_kernels

A100 = "nvidia-a100-sxm-80gb"
HEAD = "op,dtype,m,n,k,time_s"
GEMM = "gemm,bfloat16,512,512,512,2e-5"
MEASURED = "gpu,dtype,m,n,k,time_us,source,source_kind,licence"


def row_of(gpu="a100_sxm", time="20"):
    return f"{gpu},bf16,512,512,512,{time},somewhere,read,MIT"


@pytest.fixture
def table(tmp_path):
    def write(*lines):
        path = tmp_path / "timings.csv"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


def read(path, device=A100):
    return read_kernels(path, device, chip_of(completed(find_spec(device), find_spec)))


def timed(time_s, m=512):
    sizes = {"batch": [1.0], "m": [float(m)], "n": [512.0], "k": [512.0]}
    arrays = {name: np.array(size) for name, size in sizes.items()}
    timings = Timings(sizes=arrays, time_s=np.array([time_s]))
    return Timed(FAMILIES["gemm"], "bfloat16", timings, lambda place: f"row {place + 2}")


def limits(nbytes=1.0, memory=None):
    """Return those of a kernel that is expected to take 20 us, and takes 10 at least."""
    return Limits(expected_s=np.array([2e-5]), bound_s=np.array([1e-5]),
                  nbytes=np.array([nbytes]), memory_bytes=memory)  # fmt: skip


# --- what is read --------------------------------------------------------------------------------


def test_a_row_is_a_kernel_with_the_sizes_of_its_family_and_batch_1_where_none_is_given(table):
    found = read(table(HEAD, GEMM, "gemm,float16,1,2,3,1e-5", GEMM))
    first, second = found.sets
    assert (first.family.name, first.dtype, len(first)) == ("gemm", "bfloat16", 2)
    assert (second.dtype, second.timings.sizes["k"].tolist()) == ("float16", [3.0])
    assert first.timings.sizes["batch"].tolist() == [1.0, 1.0]
    assert first.timings.time_s.tolist() == [2e-5, 2e-5]
    assert first.where(1) == "row 4"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_be_an_op(name, table):
    family = FAMILIES[name]
    sizes = ",".join("1" if size == "causal" else "8" for size in family.sizes)
    path = table(f"op,dtype,{','.join(family.sizes)},time_s", f"{name},float16,{sizes},1e-4")
    [one] = read(path).sets
    assert one.family is family


def test_a_table_that_a_suite_converts_is_known_by_its_columns(table):
    found = read(table(MEASURED, row_of(), row_of("h100_sxm", "30")))
    [one] = found.sets
    assert (one.family.name, one.dtype) == ("gemm", "bfloat16")
    assert one.timings.time_s.tolist() == pytest.approx([2e-5])
    assert found.notes == ("1 rows of other devices left out",)
    assert one.where(0) == "row 2"


def test_kernels_of_attention_are_of_the_family_of_their_phase_and_library(table):
    head = (
        "gpu,phase,dtype,batch,isl,step,n_heads,n_kv_heads,head_dim,kernel,time_us,source,licence"
    )
    prefill = "a100_sxm,prefill,bf16,1,64,0,8,8,128,flash_attention,14,somewhere,MIT"
    found = read(table(head, prefill, prefill.replace("flash_attention", "secret")))
    [one] = found.sets
    assert one.family.name == "prefill_flash_attention"
    assert one.timings.sizes["q_len"].tolist() == [64.0]
    assert found.notes == ("1 rows left out: kernels that no family describes",)


def test_a_table_of_one_gpu_that_nobody_knows_is_taken_for_the_one_that_it_is_like(table):
    [one] = read(table(MEASURED, row_of("my-gpu"))).sets
    assert len(one) == 1
    [one] = read(table(f"gpu,{HEAD}", f"my-gpu,{GEMM}")).sets
    assert len(one) == 1


def test_a_kernel_that_was_timed_repeatedly_counts_once_by_the_median_of_its_times():
    sizes = {name: np.array([1.0, 2.0, 1.0, 1.0]) for name in ("batch", "m", "n", "k")}
    times = Timings(sizes=sizes, time_s=np.array([1.0, 5.0, 3.0, 2.0]))
    one = joined(Timed(FAMILIES["gemm"], "bfloat16", times))
    assert one.timings.time_s.tolist() == [2.0, 5.0]
    assert one.timings.sizes["m"].tolist() == [1.0, 2.0]


# --- of which device -----------------------------------------------------------------------------


def test_the_device_is_what_the_user_says_if_it_is_a_gpu(tmp_path):
    assert device_of(tmp_path / "missing.csv", A100) == A100
    assert device_of(tmp_path / "missing.csv", "aws-graviton3") is None


def test_without_a_word_of_the_user_a_table_of_one_gpu_tells_it(table):
    assert device_of(table(MEASURED, row_of()), None) == "a100_sxm"
    assert device_of(table(f"gpu,{HEAD}", f"h100,{GEMM}"), None) == "h100"


def test_a_table_of_products_without_a_device_is_one_of_this_cpu(table):
    assert device_of(table(HEAD, GEMM), None) is None


@pytest.mark.parametrize(
    ("lines", "like", "problem"),
    [
        ((MEASURED, row_of(), row_of("h100_sxm")), None, "2 GPUs; choose one by --like"),
        (("op,dtype,read_bytes,written_bytes,time_s", "streaming,float32,8,8,1e-5"), None,
         "kernels of GPUs .streaming.; name the GPU"),
        (("op,dtype,read_bytes,written_bytes,time_s", "streaming,float32,8,8,1e-5"),
         "aws-graviton3", "row 2, column op: 'streaming' is a kernel of GPUs; --like aws"),
        ((MEASURED, row_of()), "aws-graviton3", "timings of GPUs .a100_sxm.; --like aws-g"),
    ],
)  # fmt: skip
def test_a_table_and_a_device_that_do_not_go_together_are_refused(table, lines, like, problem):
    with pytest.raises(FileError, match=problem):
        device_of(table(*lines), like)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("gemm,bfloat16,512,512,512,-1", "row 3, column time_s: expected a number above 0"),
        ("gemm,bfloat16,512,512,512,nan", "row 3, column time_s: .* got 'nan'"),
        ("gemm,bfloat16,512,512,512,0", "row 3, column time_s: .* got '0'"),
        ("gemm,bfloat16,512,512,512,fast", "row 3, column time_s: .* got 'fast'"),
        ("gemm,bfloat16,512,512,,1e-5", "row 3, column k: missing; gemm needs batch, m, n, k"),
        ("gemm,bfloat16,512,0,512,1e-5", "row 3, column n: expected at least 1, got 0"),
        ("gemm,bfloat16,512,-3,512,1e-5", "row 3, column n: expected a whole number"),
        ("gemm,bfloat16,512,2.5,512,1e-5", "row 3, column n: expected a whole number"),
        ("gemm,float4,512,512,512,1e-5", "row 3, column dtype: .* does not compute on float4"),
        ("relu,bfloat16,512,512,512,1e-5", "row 3, column op: 'relu' is timed on CPUs"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_with_its_column(table, row, problem):
    with pytest.raises(FileError, match=problem):
        read(table(HEAD, GEMM, row))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("gem,bfloat16,8,8,8,1e-5", "unknown op 'gem' in .*row 2, column op; did you mean 'gemm'"),
        ("gemm,bf16,8,8,8,1e-5", "unknown dtype 'bf16' in .*row 2, column dtype"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest_one(table, row, problem):
    with pytest.raises(UnknownNameError, match=problem):
        read(table(HEAD, row))


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (("op,dtype,m,n,k,time_us", GEMM), "lacks time_s .turn time_us into seconds"),
        (("a,b", "1,2"), "lacks op, dtype, time_s"),
        ((MEASURED, row_of("h100_sxm")), "no timings of 'nvidia-a100-sxm-80gb'; it has h100_sxm"),
        ((f"gpu,{HEAD}", f"h100,{GEMM}"), "no timings of 'nvidia-a100-sxm-80gb'; it has h100"),
        ((MEASURED, row_of("h100_sxm"), row_of(), row_of(time="-3")), "row 4, column time_us"),
        ((HEAD,), "no rows below its header"),
    ],
)
def test_a_table_that_does_not_do_says_what_is_missing(table, lines, problem):
    with pytest.raises(FileError, match=problem):
        read(table(*lines))


@pytest.mark.parametrize(
    ("factor", "problem"),
    [
        (1e3, "row 2, column time_s: 0.02 s is 3 orders above .* are these milliseconds"),
        (1e6, "6 orders above .* are these microseconds"),
        (1e9, "9 orders above .* are these nanoseconds"),
        (1e-3, "below what it takes at least .* by the datasheet"),
    ],
)
def test_times_in_a_wrong_unit_are_refused(table, factor, problem):
    one, whole = timed(2e-5 * factor), read(table(HEAD, GEMM))
    with pytest.raises(FileError, match=problem):
        check(whole, one, limits())


def test_times_in_seconds_pass_though_a_kernel_is_slow_or_its_operands_were_cached(table):
    whole = read(table(HEAD, GEMM))
    for time_s in (4e-6, 2e-5, 2e-3):
        check(whole, timed(time_s), limits())


def test_operands_that_the_memory_cannot_hold_are_refused(table):
    whole = read(table(HEAD, GEMM))
    check(whole, timed(2e-5), limits(8e10, 8e10))
    check(whole, timed(2e-5), limits(8e10, None))
    with pytest.raises(FileError, match=r"row 2, column batch, m, n, k: .*sizes out of range"):
        check(whole, timed(2e-5), limits(9e10, 8e10))
