"""Which kernels ops run, and what whole graphs cost."""

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


def products(op):
    """Return (times, batch, m, n, k) of each product that an op runs."""
    one = graph(op)
    return [
        (float(kernel.times[0]), *(float(size[0]) for size in kernel.sizes.values()))
        for kernel in KERNELS[op.kind](one, np.array([0]))
        if kernel.family == "gemm"
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_ops_of_every_kind_take_some_time(kind):
    op = Op(kind=kind, dims=(2,) * len(DIMS[kind]), bytes_read=8.0, bytes_written=8.0)
    parts = costs_of(graph(op, op), chip(), {})
    assert (parts.time_s > 0).all()
    assert parts.time_s[0] == parts.time_s[1]


def test_a_recurrent_layer_multiplies_the_inputs_at_once_and_the_state_step_by_step():
    op = Op(kind="rnn", dims=(10, 4, 32, 16, 4))
    assert products(op) == [(1, 1, 40, 64, 32), (10, 1, 4, 64, 16)]


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


def test_a_dtype_that_the_device_lacks_is_an_error():
    with pytest.raises(InputError, match="does not compute on float64"):
        costs_of(graph(gemm(dtype="float64")), chip(), {})


def test_equal_seeds_draw_equal_errors_and_without_a_seed_there_are_none():
    one = graph(gemm())
    plain, first, again, other = (
        costs_of(one, chip(), FITS, seed).time_s[0] for seed in (None, 1, 1, 2)
    )
    assert first == again
    assert len({plain, first, other}) == 3


class _Known(dict):
    """Be fits of which each key is known."""

    def get(self, key, default=None):
        from hwmodels.gpu.families import FAMILIES
        from hwmodels.spec import FamilyFit

        return FamilyFit(numbers=FAMILIES[key[0]].start, error_ratio=(0.8, 1.25), device="x")


FITS = _Known()


def test_float32_products_are_those_of_ordinary_units_single_or_in_a_batch():
    single, batch = gemm(dtype="float32"), Op(kind="gemm", dims=(8, 64, 64, 64), flops=4e6)
    for op, family in ((single, "linear"), (batch, "bmm")):
        kernels = KERNELS["gemm"](graph(op), np.array([0]))
        assert {one.family: one.times[0] for one in kernels if one.times[0]} == {family: 1.0}
    (tiles,) = KERNELS["gemm"](graph(gemm()), np.array([0]))
    assert tiles.family == "gemm"


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
