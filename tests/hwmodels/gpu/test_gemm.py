"""Products on GPUs: tiles, waves, split-k; closed forms on a chip with round numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.gpu.gemm import GEMM, gemm_amounts, gemm_parts
from tests.hwmodels.gpu.chips import chip

PERFECT = {
    **{name: one.start for name, one in GEMM.parameters.items()},
    "peak_share": 1.0, "tile_half": 1e-9, "memory_share": 1.0, "l2_ratio": 1e9, "l2_share": 1e-9,
    "floor_cycles": 1e3, "iteration_cycles": 1e-9, "prologue_cycles": 1e-9,
    "store_bytes_per_cycle": 1e12, "load_flop_per_byte": 1e-9,
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


def test_small_operands_come_from_the_l2_cache():
    m, n, k = 1, 4096, 4096  # 34 MB
    numbers = {**PERFECT, "l2_ratio": 4.0}
    nbytes = gemm_amounts("bfloat16", sizes(m, n, k))[1][0]
    cold, warm = (time_s(m, n, k, numbers={**numbers, "l2_share": share})[0] - 1e-6
                  for share in (1e-9, 10.0))  # fmt: skip
    assert cold == pytest.approx(nbytes / 1e12, rel=0.01)
    assert nbytes / 4e12 <= warm < 0.5 * cold


def test_large_products_slow_down_with_the_third_root_of_the_power_that_they_lack():
    m, n, k = 2560, 1280, 6400
    numbers = {**PERFECT, "flop_per_joule": 1e12}  # 100 W at the peak
    full, half, eighth = (time_s(m, n, k, numbers=numbers, on=chip(power_w=watt))[0] - 1e-6
                          for watt in (100.0, 50.0, 12.5))  # fmt: skip
    assert half == pytest.approx(2 ** (1 / 3) * full)
    assert eighth == pytest.approx(2 * full)


def test_power_does_not_matter_where_it_is_unknown_or_little_is_computed():
    numbers = {**PERFECT, "flop_per_joule": 1.0}
    assert time_s(2560, 1280, 6400, numbers=numbers) == time_s(2560, 1280, 6400, numbers=PERFECT)
    small = chip(power_w=10.0)
    given = {"m": 1, "n": 8192, "k": 8192}
    assert time_s(**given, numbers=PERFECT, on=small) == time_s(**given, numbers=PERFECT)


def test_operands_are_loaded_as_quickly_as_matrix_units_need_them():
    numbers = {**PERFECT, "load_flop_per_byte": 1e3}
    slow, quick = (time_s(2560, 1280, 6400, numbers=numbers, on=chip().scaled("arithmetic", factor))
                   for factor in (1.0, 2.0))  # fmt: skip
    assert quick[0] - 1e-6 == pytest.approx((slow[0] - 1e-6) / 2)


def test_a_product_with_one_tile_and_long_k_is_split_along_k():
    numbers = {**PERFECT, "split_cycles": 100.0}
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
    bound = max(flops[0] / best, nbytes[0] / 1e12 / START["l2_ratio"])
    assert time_s(m, n, k, dtype=dtype)[0] >= bound


@given(SIZE, SIZE, SIZE, st.sampled_from(["arithmetic", "memory.bandwidth"]),
       st.floats(1.0, 10.0))  # fmt: skip
def test_more_arithmetic_or_bandwidth_is_never_slower(m, n, k, resource, factor):
    more = chip().scaled(resource, factor)
    assert time_s(m, n, k, on=more)[0] <= time_s(m, n, k)[0] * (1 + 1e-12)


@given(SIZE, SIZE, SIZE, st.integers(2, 8))
def test_a_batch_is_no_slower_than_its_products_one_by_one(m, n, k, batch):
    # Parts of a split product cannot always be dealt to the multiprocessors as evenly.
    assert time_s(m, n, k, batch)[0] <= batch * time_s(m, n, k)[0] * 2


def test_many_products_at_once_take_what_each_takes_alone():
    m, n, k = [1, 100, 4096], [64, 100, 4096], [512, 7, 4096]
    alone = [time_s(*one)[0] for one in zip(m, n, k, strict=True)]
    assert time_s(m, n, k, [1, 1, 1]).tolist() == pytest.approx(alone)
