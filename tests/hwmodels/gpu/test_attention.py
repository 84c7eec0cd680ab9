"""Fused attention on GPUs: tiles, groups, splits; closed forms on a chip with round numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.gpu.attention import (
    ATTENTION,
    DECODE,
    LIBRARIES,
    PREFILL,
    attention_amounts,
    decode_parts,
    prefill_parts,
)
from hwmodels.gpu.families import FAMILIES
from simulator.errors import InputError
from tests.hwmodels.gpu.chips import chip

START = {form: {name: one.start for name, one in numbers.items()}
         for form, numbers in ((prefill_parts, PREFILL), (decode_parts, DECODE))}  # fmt: skip
NO_LOSS = {
    "peak_share": 1.0, "memory_share": 1.0, "l2_bytes_per_cycle": 100.0, "l2_share": 1.0,
    "serial_share": 1e-9, "floor_s": 1e-6, "tail": 1e-9, "scores_per_cycle": 1e12,
    "fed_flop_per_cycle": 1e12,
    "tile_rows": 128.0, "tile_elements": 128.0 * 128.0, "least_rows": 16.0, "packing": 1e-9,
    "tile_cycles": 1e-9, "iteration_cycles": 1e-9, "rows_bytes_per_cycle": 1e12,
    "cache_moves": 1.0,
    "load_bytes_per_cycle": 1e12, "residents": 1.0, "most_splits": 1024.0, "head_cycles": 1e-9,
    "width_cycles": 1e-9, "matrix_group": 1.0, "split_s": 1e-12,
}  # fmt: skip
"""Numbers of kernels that lose nothing but what tiles lose."""


ONLY_ARITHMETIC = chip(bandwidth_bytes_per_s=1e18)
ONLY_MEMORY = chip().scaled("arithmetic", 1e6)


def sizes(batch=1, heads=1, kv_heads=1, q_len=1, kv_len=1, head_dim=128, causal=1):
    given = {"batch": batch, "heads": heads, "kv_heads": kv_heads, "q_len": q_len,
             "kv_len": kv_len, "head_dim": head_dim, "causal": causal}  # fmt: skip
    return {name: np.atleast_1d(np.asarray(value, float)) for name, value in given.items()}


def prefill_s(numbers=NO_LOSS, on=None, dtype="bfloat16", **given):
    return prefill_parts(on or chip(), dtype, numbers, sizes(**given)).time_s[0]


def decode_s(numbers=NO_LOSS, on=None, dtype="bfloat16", **given):
    return decode_parts(on or chip(), dtype, numbers, sizes(**given)).time_s[0]


def test_long_sequences_compute_the_visible_half_of_the_scores_at_the_peak():
    given = {"batch": 8, "heads": 32, "kv_heads": 32, "q_len": 16384, "kv_len": 16384}
    pairs = 8 * 32 * 16384 * 16384 / 2
    assert prefill_s(**given) == pytest.approx(1e-6 + 4 * 128 * pairs / 100e12, rel=0.01)
    assert prefill_s(**given, causal=0) == pytest.approx(2 * prefill_s(**given), rel=0.01)


def test_quicker_matrix_units_do_not_feed_themselves():
    given = {"batch": 8, "heads": 32, "kv_heads": 32, "q_len": 4096, "kv_len": 4096}
    quick = ONLY_ARITHMETIC.scaled("arithmetic", 1e6)
    flop = 4 * 128 * 8 * 32 * 4096 * 4096 / 2
    fed = 2048.0 * quick.sms * quick.clock_hz
    taken = prefill_s({**NO_LOSS, "fed_flop_per_cycle": 2048.0}, quick, **given)
    assert taken == pytest.approx(1e-6 + flop / fed, rel=0.04)


def test_queries_see_all_keys_that_are_in_the_cache():
    given = {"batch": 8, "heads": 32, "kv_heads": 32, "q_len": 1024}
    pairs = 8 * 32 * 1024 * (7168 + 1024 / 2)
    assert prefill_s(kv_len=8192, **given) == pytest.approx(
        1e-6 + 4 * 128 * pairs / 100e12, rel=0.02
    )


def test_a_kernel_of_few_tiles_takes_as_long_as_its_longest_tile():
    # One tile of 128 queries on one of 100 multiprocessors: a hundredth of the peak.
    expected = 1e-6 + 4 * 128 * 128 * 128 / 1e12
    assert prefill_s(q_len=128, kv_len=128) == pytest.approx(expected)
    assert prefill_s(q_len=128, kv_len=128, heads=100, kv_heads=100) == pytest.approx(
        expected, rel=1e-6
    )


def test_wide_heads_have_smaller_tiles():
    # Of 256 queries, tiles of 128 x 128 elements see three quarters of the keys, smaller ones less.
    given = {"on": ONLY_ARITHMETIC, "q_len": 256, "kv_len": 256, "heads": 4000, "kv_heads": 4000}
    wide, narrow = (prefill_s(head_dim=width, **given) - 1e-6 for width in (512, 128))
    assert wide / narrow == pytest.approx(4 * (256 + 32) / (256 + 128))


def test_short_sequences_of_one_group_share_a_tile_where_the_library_packs_them():
    given = {"batch": 1000, "heads": 8, "kv_heads": 1, "q_len": 16, "kv_len": 16,
             "on": ONLY_ARITHMETIC}  # fmt: skip
    slow = {**NO_LOSS, "tile_cycles": 1e6}
    alone, packed = (prefill_s({**slow, "packing": part}, **given) for part in (1e-9, 1.0))
    assert (alone - 1e-6) / (packed - 1e-6) == pytest.approx(8, rel=0.1)


def test_prefill_moves_keys_and_values_as_often_as_its_library_writes_them_to_a_cache():
    given = {"batch": 1000, "heads": 8, "kv_heads": 8, "q_len": 32, "kv_len": 32,
             "on": ONLY_MEMORY}  # fmt: skip
    once, thrice = (prefill_s({**NO_LOSS, "cache_moves": times}, **given) for times in (1.0, 3.0))
    moved = 2 * 2 * 1000 * 8 * 32 * 128
    assert [once, thrice] == pytest.approx(
        [1e-6 + 2 * moved / 1e12, 1e-6 + 4 * moved / 1e12], rel=0.01
    )


def test_decode_reads_keys_and_values_once_at_the_bandwidth_of_the_memory():
    given = {"batch": 64, "kv_heads": 8, "kv_len": 8192}
    moved = 2 * 2 * 64 * 8 * 8192 * 128
    times = [decode_s(heads=heads, **given) for heads in (8, 64)]
    assert times == pytest.approx([1e-6 + moved / 1e12] * 2, rel=0.01)


def test_what_fits_into_the_l2_cache_is_read_at_its_rate():
    given = {"batch": 8, "kv_heads": 8, "heads": 8, "kv_len": 512}
    moved = 2 * 2 * 8 * 8 * 513 * 128
    assert decode_s(on=ONLY_MEMORY, **given) == pytest.approx(
        1e-6 + moved / (100 * 100e9), rel=0.01
    )


def test_one_long_sequence_is_split_over_the_multiprocessors():
    slow = {**NO_LOSS, "load_bytes_per_cycle": 10.0}
    given = {"heads": 1, "kv_heads": 1, "kv_len": 64000, "on": ONLY_MEMORY}
    whole = decode_s({**slow, "most_splits": 1.0}, **given) - 1e-6
    split = decode_s(slow, **given) - 1e-6
    loaded = 2 * 2 * 64000 * 128 / 10 / 1e9
    assert whole == pytest.approx(loaded, rel=0.01)
    assert split == pytest.approx(loaded / 100, rel=0.02)


def test_no_sequence_is_split_where_merging_takes_longer_than_it_saves():
    dear = {**NO_LOSS, "load_bytes_per_cycle": 1000.0, "split_s": 1.0}
    one = decode_s(dear, heads=1, kv_heads=1, kv_len=64000)
    assert one == pytest.approx(decode_s({**dear, "most_splits": 1.0},
                                         heads=1, kv_heads=1, kv_len=64000))  # fmt: skip


def test_large_groups_use_matrix_units_which_cost_for_each_element_of_a_head():
    given = {"batch": 10_000, "heads": 8, "kv_len": 1}
    dear = {**NO_LOSS, "width_cycles": 1000.0, "matrix_group": 2.0}
    tiles, tile_s = 10_000 / 100, 128 * 1000 / 1e9
    group_of_8 = decode_s(dear, kv_heads=1, **given)
    assert group_of_8 == pytest.approx(1e-6 + tiles * tile_s, rel=0.01)
    alone = decode_s(dear, kv_heads=8, **given)
    assert alone < 1e-6 + 8 * tiles * tile_s / 50


def test_amounts_count_visible_pairs_and_move_keys_once_for_a_group():
    flops, nbytes = attention_amounts(
        "bfloat16", sizes(batch=2, heads=4, kv_heads=2, q_len=3, kv_len=5, head_dim=8)
    )
    assert flops.tolist() == [4 * 8 * 2 * 4 * (3 + 4 + 5)]
    assert nbytes.tolist() == [2 * 2 * 8 * 2 * (4 * 3 + 2 * 5)]


def test_each_phase_of_each_library_is_a_family():
    assert {one.name for one in ATTENTION} == {
        f"{phase}_{library}" for phase in ("prefill", "decode") for library in LIBRARIES
    }
    assert {one.name for one in ATTENTION} <= set(FAMILIES)


def test_a_dtype_that_the_chip_lacks_is_named():
    with pytest.raises(InputError, match="does not compute on int8"):
        decode_s(dtype="int8")


FORMS = st.sampled_from([prefill_parts, decode_parts])


@st.composite
def kernels(draw):
    shared, queries = draw(st.integers(1, 128)), draw(st.integers(1, 5000))
    return {
        "batch": draw(st.integers(1, 2048)), "kv_heads": shared,
        "heads": shared * draw(st.integers(1, 128)), "q_len": queries,
        "kv_len": queries + draw(st.integers(0, 100_000)),
        "head_dim": draw(st.sampled_from([64, 128, 192, 256, 512])),
    }  # fmt: skip


def form_s(form, on=None, **given):
    one = sizes(**given if form is prefill_parts else {**given, "q_len": 1})
    return form(on or chip(), "bfloat16", START[form], one).time_s[0]


@given(FORMS, kernels())
def test_no_kernel_is_quicker_than_its_shares_of_peak_and_bandwidths_allow(form, given):
    one = sizes(**given if form is prefill_parts else {**given, "q_len": 1})
    flops, nbytes = attention_amounts("bfloat16", one)
    quickest = max(1e12, START[form]["l2_bytes_per_cycle"] * 100e9)
    bound = max(flops[0] / (100e12 * START[form]["peak_share"]), nbytes[0] / quickest)
    assert form_s(form, **given) >= bound


@given(FORMS, kernels(), st.sampled_from(["arithmetic", "memory.bandwidth"]), st.floats(1, 10))
def test_more_arithmetic_or_bandwidth_is_never_slower(form, given, resource, factor):
    more = form_s(form, chip().scaled(resource, factor), **given)
    assert more <= form_s(form, **given) * (1 + 1e-9)


@given(FORMS, kernels(), st.sampled_from(["batch", "kv_len", "head_dim"]), st.floats(1, 4))
def test_more_of_a_size_is_never_much_quicker(form, given, name, factor):
    # Another way to split may be a little quicker: a library does not search all of them.
    more = {**given, name: given[name] * factor}
    assert form_s(form, **more) >= 0.95 * form_s(form, **given)
