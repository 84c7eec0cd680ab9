"""Kernels that stream their operands: closed forms on a chip with round numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.gpu.streaming import (
    NORMALIZATION,
    SOFTMAX,
    STREAMING,
    row_amounts,
    row_parts,
    streaming_amounts,
    streaming_parts,
)
from tests.hwmodels.gpu.chips import chip

NUMBERS = {"memory_share": 0.5, "floor_s": 1e-5}


def arrays(**sizes):
    return {name: np.array([float(size)]) for name, size in sizes.items()}


def test_bytes_go_at_a_share_of_the_bandwidth_after_a_floor():
    sizes = arrays(read_bytes=3e8, written_bytes=2e8)
    parts = streaming_parts(chip(), "float32", NUMBERS, sizes)
    assert parts.time_s[0] == pytest.approx(1e-5 + 5e8 / 0.5e12)
    assert parts.compute_s[0] == 0.0
    assert streaming_amounts("float32", sizes)[1][0] == 5e8


@pytest.mark.parametrize(("dtype", "width"), [("float32", 4), ("bfloat16", 2)])
def test_rows_are_read_once_and_written_once(dtype, width):
    sizes = arrays(rows=1000, columns=512)
    assert row_amounts(dtype, sizes)[1][0] == 2 * width * 1000 * 512
    time = row_parts(chip(), dtype, NUMBERS, sizes).time_s[0]
    assert time == pytest.approx(1e-5 + 2 * width * 1000 * 512 / 0.5e12)


@pytest.mark.parametrize("family", [STREAMING, NORMALIZATION, SOFTMAX])
def test_what_a_family_begins_with_lies_within_its_bounds(family):
    for parameter in family.parameters.values():
        assert 0 < parameter.low < parameter.start < parameter.high


@given(st.floats(1e3, 1e11), st.floats(1.0, 10.0))
def test_more_bandwidth_is_never_slower_and_more_bytes_never_quicker(nbytes, factor):
    def time_s(moved, on):
        sizes = arrays(read_bytes=moved / 2, written_bytes=moved / 2)
        return streaming_parts(on, "float32", STREAMING.start, sizes).time_s[0]

    assert time_s(nbytes, chip().scaled("memory.bandwidth", factor)) <= time_s(nbytes, chip())
    assert time_s(nbytes * factor, chip()) >= time_s(nbytes, chip())
