"""Products on GPUs: tiles, waves, split-k; closed forms on a chip with round numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.gpu.gemm import GEMM, gemm_amounts, gemm_parts
from tests.hwmodels.gpu.chips import chip

PERFECT = {
    **{name: one.start for name, one in GEMM.parameters.items()},
    "peak_share": 1.0, "tile_half": 1e-9, "memory_share": 1.0, "l2_ratio": 1e9, "floor_s": 1e-6,
    "iteration_cycles": 1e-9, "prologue_cycles": 1e-9, "store_bytes_per_cycle": 1e12,
    "load_bytes_per_cycle": 1e12,
}  # fmt: skip
"""Numbers of a chip that loses nothing but what tiles and waves lose."""
START = GEMM.start


def sizes(m, n, k, batch=1):
    given = {"batch": batch, "m": m, "n": n, "k": k}
    return {name: np.atleast_1d(np.asarray(value, float)) for name, value in given.items()}


def time_s(m, n, k, batch=1, dtype="bfloat16", numbers=START, on=None):
    return gemm_parts(on or chip(), dtype, numbers, sizes(m, n, k, batch)).time_s


def test_a_product_of_whole_waves_runs_at_the_peak():
    # 10 x 10 tiles of 256 x 128 on 100 multiprocessors: one wave, nothing empty.
    m, n, k = 2560, 1280, 6400
    assert time_s(m, n, k, numbers=PERFECT)[0] == pytest.approx(1e-6 + 2 * m * n * k / 100e12)


def test_one_more_row_of_tiles_than_a_wave_holds_takes_longer():
    numbers = {**PERFECT, "tile_half": 100.0}  # small tiles do not pay
    whole, more = time_s([2560, 2561], [1280] * 2, [6400] * 2, [1] * 2, numbers=numbers)
    assert more > 1.2 * whole


def test_a_thin_product_waits_for_memory():
    m, n, k = 1, 32768, 32768
    moved = 2.0 * (m * k + k * n + m * n)
    assert time_s(m, n, k, numbers=PERFECT)[0] == pytest.approx(1e-6 + moved / 1e12, rel=0.05)


def test_a_product_with_one_tile_and_long_k_is_split_along_k():
    numbers = {**PERFECT, "split_s": 1e-7}
    one = 2.0 * 64 * 64 * (1 << 20) / (100e12 / 100)
    assert time_s(64, 64, 1 << 20, numbers=numbers)[0] < one / 10


def test_amounts_count_each_operand_once():
    flops, nbytes = gemm_amounts("bfloat16", sizes(2, 3, 4, batch=5))
    assert flops.tolist() == [5 * 2 * 2 * 3 * 4]
    assert nbytes.tolist() == [5 * 2 * (2 * 4 + 4 * 3 + 2 * 3)]
    assert gemm_amounts("float8", sizes(2, 3, 4))[1].tolist() == [2 * 4 + 4 * 3 + 2 * 2 * 3]


def test_8_bit_products_first_make_their_left_operand_short():
    half, short = (time_s(4096, 16, 16, dtype=dtype)[0] for dtype in ("bfloat16", "float8"))
    assert short > half + START["quantize_s"] / 2


SIZE = st.integers(1, 20_000)


@given(SIZE, SIZE, SIZE, st.sampled_from(["bfloat16", "float8", "float32"]))
def test_no_product_is_quicker_than_peak_and_bandwidth_allow(m, n, k, dtype):
    flops, nbytes = gemm_amounts(dtype, sizes(m, n, k))
    best = chip().peak_flop_per_s(dtype) * START["peak_share"]
    bound = max(flops[0] / best, nbytes[0] / 1e12)
    assert time_s(m, n, k, dtype=dtype)[0] >= bound


@given(SIZE, SIZE, SIZE, st.sampled_from(["arithmetic", "memory.bandwidth"]),
       st.floats(1.0, 10.0))  # fmt: skip
def test_more_arithmetic_or_bandwidth_is_never_slower(m, n, k, resource, factor):
    more = chip().scaled(resource, factor)
    assert time_s(m, n, k, on=more)[0] <= time_s(m, n, k)[0] * (1 + 1e-12)


@given(SIZE, SIZE, SIZE, st.integers(2, 8))
def test_a_batch_is_no_slower_than_its_products_one_by_one(m, n, k, batch):
    # Parts of a split product cannot always be dealt to the multiprocessors as evenly.
    assert time_s(m, n, k, batch)[0] <= batch * time_s(m, n, k)[0] * 1.5


def test_many_products_at_once_take_what_each_takes_alone():
    m, n, k = [1, 100, 4096], [64, 100, 4096], [512, 7, 4096]
    alone = [time_s(*one)[0] for one in zip(m, n, k, strict=True)]
    assert time_s(m, n, k, [1, 1, 1]).tolist() == pytest.approx(alone)
