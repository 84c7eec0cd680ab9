"""Products on ordinary units: closed forms on a chip with round numbers, and what must hold."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.gpu.products import BMM, LINEAR, product_amounts, product_parts
from tests.hwmodels.gpu.chips import chip

PERFECT = {
    **LINEAR.start, "peak_share": 1.0, "tile_half": 1e-12, "memory_share": 1.0, "floor_s": 1e-6,
    "l2_bytes_per_cycle": 1e9, "iteration_cycles": 1e-9, "prologue_cycles": 1e-9,
    "unaligned_loads": 1.0, "unaligned_work": 1.0, "split_s": 1.0,
}  # fmt: skip
"""Numbers of a chip that loses nothing but what tiles lose, and never splits."""


def sizes(batch, m, n, k):
    given = {"batch": batch, "m": m, "n": n, "k": k}
    return {name: np.atleast_1d(np.asarray(value, float)) for name, value in given.items()}


def linear_s(m, n, k, numbers=LINEAR.start, on=None):
    return product_parts(on or chip(), "float32", numbers, sizes(1, m, n, k)).time_s[0]


def bmm_s(batch, m, n, k, on=None, **numbers):
    return product_parts(
        on or chip(), "float32", {**BMM.start, **numbers}, sizes(batch, m, n, k)
    ).time_s[0]


def test_a_product_of_whole_tiles_on_all_multiprocessors_runs_at_the_peak():
    m, n, k = 1280, 1280, 8000  # 100 tiles of 128 x 128 on 100 multiprocessors
    assert linear_s(m, n, k, PERFECT) == pytest.approx(1e-6 + 2 * m * n * k / 10e12)


def test_a_thin_product_waits_for_memory():
    m, n, k = 1, 32768, 32768
    moved = 4.0 * (m * k + k * n + m * n)
    numbers = {**PERFECT, "peak_share": 1e3}  # the tiles of one row are mostly empty
    assert linear_s(m, n, k, numbers) == pytest.approx(1e-6 + moved / 1e12)


def test_a_product_with_one_tile_and_long_k_is_split_along_k():
    whole = linear_s(32, 32, 1 << 20, PERFECT)
    assert linear_s(32, 32, 1 << 20, {**PERFECT, "split_s": 1e-6}) < whole / 10


def test_a_batch_of_small_products_costs_as_much_as_the_smallest_tile_in_use():
    few = {"prologue_cycles": 1.0, "iteration_cycles": 1.0, "l2_bytes_per_cycle": 1e9}
    small, large = (bmm_s(10_000, 32, 32, 512, least_tile=least, **few)
                    for least in (1024.0, 16384.0))  # fmt: skip
    assert large > 4 * small


def test_power_that_does_not_suffice_lowers_the_rate_of_float32_only():
    weak = replace(chip(), sustained_share=0.5)
    m, n, k = 1280, 1280, 8000
    full, half = linear_s(m, n, k, PERFECT), linear_s(m, n, k, PERFECT, weak)
    assert half - 1e-6 == pytest.approx(2 * (full - 1e-6))
    other = [product_parts(on, "bfloat16", PERFECT, sizes(1, m, n, k)).time_s[0]
             for on in (chip(), weak)]  # fmt: skip
    assert other[0] == other[1]


@pytest.mark.parametrize(("n", "k"), [(1281, 8000), (1280, 8001), (1281, 8001)])
def test_rows_that_are_not_aligned_cost_more(n, k):
    unaligned = {**PERFECT, "unaligned_work": 1.3}
    assert linear_s(1280, n, k, unaligned) > linear_s(1280, n, k, PERFECT) * 1.1
    assert linear_s(1280, 1280, 8000, unaligned) == linear_s(1280, 1280, 8000, PERFECT)


def test_amounts_count_each_operand_once():
    flops, nbytes = product_amounts("float32", sizes(5, 2, 3, 4))
    assert flops.tolist() == [5 * 2 * 2 * 3 * 4]
    assert nbytes.tolist() == [5 * 4 * (2 * 4 + 4 * 3 + 2 * 3)]


SIZE = st.integers(1, 20_000)


@given(st.integers(1, 500), SIZE, SIZE, SIZE)
def test_no_product_is_quicker_than_peak_and_bandwidth_allow(batch, m, n, k):
    flops, nbytes = product_amounts("float32", sizes(batch, m, n, k))
    peak = 10e12 * BMM.start["peak_share"]
    assert bmm_s(batch, m, n, k) >= max(flops[0] / peak, nbytes[0] / 1e12)


@given(SIZE, SIZE, SIZE, st.sampled_from(["arithmetic", "memory.bandwidth"]), st.floats(1.0, 10.0))
def test_more_arithmetic_or_bandwidth_is_never_slower(m, n, k, resource, factor):
    more = chip().scaled(resource, factor)
    assert linear_s(m, n, k, on=more) <= linear_s(m, n, k) * (1 + 1e-12)


def test_many_products_at_once_take_what_each_takes_alone():
    shapes = [(1, 64, 512), (100, 100, 7), (4096, 4096, 4096)]
    together = product_parts(chip(), "float32", LINEAR.start, sizes(
        [1] * 3, *(list(side) for side in zip(*shapes, strict=True))
    )).time_s  # fmt: skip
    assert together.tolist() == pytest.approx([linear_s(*shape) for shape in shapes])
