"""Which kernels ops run, and what whole graphs cost."""

from dataclasses import replace

import numpy as np
import pytest

from hwmodels.gpu.families import costs_of
from hwmodels.gpu.kernels import KERNELS
from simulator.errors import InputError
from simulator.ops import DIMS, KINDS, Graph, Op
from tests.hwmodels.gpu.chips import chip


def graph(*ops):
    return Graph.of(list(ops), [[] for _ in ops])


def gemm(m=64, n=64, k=64, dtype="bfloat16", **more):
    return Op(kind=more.pop("kind", "gemm"), dims=(1, m, n, k), dtype=dtype, flops=2.0 * m * n * k,
              bytes_read=1.0, **more)  # fmt: skip


def kernels(op):
    """Return (times, family, sizes) of each kernel that an op runs."""
    return [
        (float(one.times[0]), one.family, tuple(float(size[0]) for size in one.sizes.values()))
        for one in KERNELS[op.kind](graph(op), np.array([0]))
        if one.times[0] > 0
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_ops_of_every_kind_take_some_time(kind):
    op = Op(kind=kind, dims=(2,) * len(DIMS[kind]), bytes_read=8.0, bytes_written=8.0)
    parts = costs_of(graph(op, op), chip(), {})
    assert (parts.time_s > 0).all()
    assert parts.time_s[0] == parts.time_s[1]


PRODUCTS = pytest.mark.parametrize(("dtype", "single", "batched"), [
    ("bfloat16", "gemm", "gemm"), ("float32", "linear", "bmm"), ("float64", "linear", "bmm"),
])  # fmt: skip


@PRODUCTS
def test_a_recurrent_layer_multiplies_the_inputs_at_once_and_the_state_step_by_step(
    dtype, single, batched
):
    op = Op(kind="rnn", dims=(10, 4, 32, 16, 4), dtype=dtype)
    assert kernels(op) == [(1, single, (1, 40, 64, 32)), (10, single, (1, 4, 64, 16))]


def attention(dtype, **more):
    return Op(kind="attention", dims=(2, 12, 64, 128, 32, 0), dtype=dtype, **more)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_attention_in_32_and_64_bits_keeps_its_scores(dtype):
    assert kernels(attention(dtype)) == [
        (1, "bmm", (24, 64, 128, 32)), (1, "softmax", (24 * 64, 128)),
        (1, "bmm", (24, 64, 32, 128)),
    ]  # fmt: skip


def test_attention_in_16_bits_is_one_kernel_for_many_queries_or_one():
    (many,) = kernels(attention("float16"))
    assert many[1] == "prefill_flash_attention"
    (one,) = kernels(Op(kind="attention", dims=(2, 12, 1, 128, 32, 0), dtype="float16"))
    assert one[1] == "decode_flash_attention"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_gradient_of_attention_counts_as_often_as_it_multiplies(dtype):
    flops = 4.0 * 24 * 64 * 128 * 32
    back = attention(dtype, phase="backward", flops=2.5 * flops)
    assert {times for times, _, _ in kernels(back)} == {2.5}


@PRODUCTS
def test_an_encoder_layer_is_attention_four_products_and_two_normalizations(dtype, single, batched):
    op = Op(kind="encoder_layer", dims=(2, 128, 768, 12, 3072), dtype=dtype)
    inside = Op(kind="attention", dims=(2, 12, 128, 128, 64, 0), dtype=dtype)
    assert kernels(op) == [
        *kernels(inside),
        *((1, single, (1, 256, *sides))
          for sides in ((2304, 768), (768, 768), (3072, 768), (768, 3072))),
        (2, "normalization", (256, 768)),
    ]  # fmt: skip


def convolution(window=3, passes=1, groups=1, dtype="float32", **more):
    dims = (8, 64, 28, 28, 128, 28, 28, window, window, groups)
    flops = passes * 2.0 * 8 * 28 * 28 * 128 * 64 / groups * window**2
    return Op(kind="conv2d", dims=dims, dtype=dtype, flops=flops, bytes_read=1.0, **more)


def families(op):
    return [(times, family) for times, family, _ in kernels(op)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_convolution_in_32_and_64_bits_takes_the_algorithms_of_a_library(dtype):
    assert families(convolution(dtype=dtype)) == [(1, "conv2d")]
    back = convolution(passes=2, phase="backward", dtype=dtype)
    assert families(back) == [(1, "conv2d"), (1, "convolution_weights")]
    first = convolution(passes=1, phase="backward", dtype=dtype)
    assert families(first) == [(1, "convolution_weights")]


def test_a_convolution_in_16_bits_is_the_product_of_all_windows():
    assert kernels(convolution(dtype="float16")) == [(1, "gemm", (1, 8 * 28 * 28, 128, 64 * 9))]


def test_a_window_of_one_pixel_is_a_product():
    pixels = 8 * 28 * 28
    assert kernels(convolution(window=1)) == [(1, "linear", (1, pixels, 128, 64))]
    back = convolution(window=1, passes=2, phase="backward")
    assert kernels(back)[0] == (1, "linear", (1, pixels, 64, 128))
    assert families(back)[1:] == [(1, "convolution_weights")]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_where_each_channel_has_its_own_filter_a_kernel_streams(dtype):
    assert families(convolution(groups=64, dtype=dtype)) == [(1, "streaming")]


def test_groups_of_channels_are_a_batch_of_products():
    sides = (16, 8 * 28 * 28, 8, 4 * 9)
    assert kernels(convolution(groups=16, dtype="float16")) == [(1, "gemm", sides)]
    back = convolution(groups=16, passes=2, phase="backward")
    assert kernels(back) == [(2, "bmm", sides)]


def test_the_order_of_ops_does_not_matter():
    ops = [gemm(), Op(kind="elementwise", dims=(9,), bytes_read=9e6), gemm(m=4096),
           gemm(dtype="float32")]  # fmt: skip
    forth, back = (costs_of(graph(*some), chip(), {}).time_s for some in (ops, ops[::-1]))
    assert forth.tolist() == back[::-1].tolist()


def test_sparse_products_are_quicker_where_half_of_the_weights_is_zero():
    size = {"m": 8192, "n": 8192, "k": 8192}
    dense, sparse = gemm(**size), gemm(**size, kind="sparse_gemm", density=0.5)
    hardly = gemm(**size, kind="sparse_gemm", density=0.9)
    times = [costs_of(graph(op), chip(), {}).time_s[0] for op in (dense, sparse, hardly)]
    assert times[1] == pytest.approx(times[0] / 2, rel=0.3)
    assert times[2] == times[0]
    together = costs_of(graph(dense, sparse, hardly), chip(), {}).time_s
    assert together.tolist() == times


def test_a_family_takes_as_many_times_as_long_as_its_error_says():
    one = graph(gemm())
    plain = costs_of(one, chip(), FITS).time_s[0]
    twice = costs_of(one, chip(), FITS, lambda family, _: {"gemm": 2.0}[family]).time_s[0]
    assert twice == pytest.approx(2.0 * plain)


class _Known(dict):
    """Be fits of which each key is known."""

    def get(self, key, default=None):
        from hwmodels.gpu.families import FAMILIES
        from hwmodels.spec import FamilyFit

        return FamilyFit(numbers=FAMILIES[key[0]].start, error_ratio=(0.8, 1.25), device="x")


FITS = _Known()


def test_float32_products_are_those_of_ordinary_units_single_or_in_a_batch():
    single, batch = gemm(dtype="float32"), Op(kind="gemm", dims=(8, 64, 64, 64), flops=4e6)
    assert families(single) == [(1, "linear")]
    assert families(batch) == [(1, "bmm")]
    assert families(gemm()) == [(1, "gemm")]


@pytest.mark.parametrize("kind", ["softmax", "normalization"])
def test_what_reads_its_rows_twice_takes_twice_as_long_as_what_reads_and_writes_them(kind):
    rows, columns = 4096, 1024
    once = 4.0 * rows * columns
    forth = Op(kind=kind, dims=(rows, columns), bytes_read=once, bytes_written=once)
    back = Op(kind=kind, dims=(rows, columns), bytes_read=3 * once, bytes_written=once)
    times = costs_of(graph(forth, back), chip(), {}).time_s
    assert times[1] == pytest.approx(2 * times[0])


def test_what_a_call_takes_to_be_launched_is_not_the_devices_own_time():
    ops = graph(gemm(dtype="float32"), Op(kind="rnn", dims=(10, 4, 32, 16, 4)))
    waited, queued = (costs_of(ops, chip(), {}, start_s=start_s) for start_s in (np.inf, 2e-6))
    assert queued.overhead_s[0] == 2e-6
    assert queued.overhead_s[0] < waited.overhead_s[0]
    assert (queued.compute_s == waited.compute_s).all()
    # Eleven kernels are started one after the other.
    assert queued.overhead_s[1] <= 11 * 2e-6


def test_what_moves_nothing_runs_no_kernel():
    empty = Op(kind="copy", name="empty", dims=(0,))
    fill = Op(kind="copy", name="fill_", dims=(1,), bytes_written=4.0)
    assert (costs_of(graph(empty, fill), chip(), {}).time_s > 0).tolist() == [False, True]


LACKED = "float64"


@pytest.mark.parametrize("op", [
    gemm(dtype=LACKED), attention(LACKED), convolution(dtype=LACKED),
    convolution(window=1, dtype=LACKED), Op(kind="rnn", dims=(10, 4, 32, 16, 4), dtype=LACKED),
    Op(kind="encoder_layer", dims=(2, 128, 768, 12, 3072), dtype=LACKED),
], ids=lambda op: op.kind)  # fmt: skip
def test_a_dtype_that_the_device_lacks_is_an_error(op):
    with pytest.raises(InputError, match="does not compute on float64"):
        costs_of(graph(op), chip(), {})


def test_tfloat32_is_for_matrix_units_and_where_these_lack_it_is_float32():
    ordinary = gemm(m=4096, n=4096, k=4096, dtype="float32")
    short = replace(ordinary, dtype="tfloat32")
    ampere = chip(peaks={**chip().peaks, "tfloat32": 50e12})

    def time_s(op, on):
        return costs_of(graph(op), on, {}).time_s[0]

    assert time_s(short, chip()) == time_s(ordinary, chip())
    assert time_s(short, ampere) < 0.5 * time_s(ordinary, ampere)
