"""Convolutions on GPUs: three algorithms, gradients; closed forms and what must hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.gpu.convolution import (
    CONV2D,
    CONVOLUTION,
    SIZES,
    WEIGHT_GRADIENT,
    convolution_amounts,
    convolution_parts,
    input_gradient,
    weight_gradient_parts,
)
from tests.hwmodels.gpu.chips import chip

PERFECT = {
    **CONVOLUTION.start, "peak_share": 1.0, "direct_share": 1.0, "fused_share": 1.0,
    "tile_half": 1e-12, "memory_share": 1.0, "floor_s": 1e-6, "l2_bytes_per_cycle": 1e9,
    "iteration_cycles": 1e-9, "prologue_cycles": 1e-9, "split_s": 1.0, "transform_share": 1.0,
    "transform_s": 1e-9, "fused_cycles": 1e-9,
}  # fmt: skip
"""Numbers of a chip that loses nothing but what tiles lose, and never splits."""
NO_WINOGRAD = {**PERFECT, "transform_s": 1.0}
LAYER = {"batch": 32, "in_channels": 256, "out_channels": 256, "out_h": 40, "out_w": 40,
         "kernel_h": 3, "kernel_w": 3, "stride": 1}  # fmt: skip


def sizes(**changes):
    return {name: np.array([float({**LAYER, **changes}[name])]) for name in SIZES}


def forward_s(numbers=CONVOLUTION.start, on=None, **changes):
    return convolution_parts(on or chip(), "float32", numbers, sizes(**changes)).time_s[0]


def weights_s(numbers=WEIGHT_GRADIENT.start, on=None, **changes):
    return weight_gradient_parts(on or chip(), "float32", numbers, sizes(**changes)).time_s[0]


def flops(**changes):
    return convolution_amounts("float32", sizes(**changes))[0][0]


def test_a_direct_convolution_of_whole_tiles_runs_at_the_peak():
    # 400 x 2 tiles of 128 x 128: 8 for each of 100 multiprocessors
    assert forward_s(NO_WINOGRAD) == pytest.approx(1e-6 + flops() / 10e12)


def test_winograd_in_steps_multiplies_a_quarter():
    best = forward_s({**PERFECT, "fused_share": 1e-3, "direct_share": 1e-3})
    squares = 32 * 10 * 10
    multiplied = 2.0 * 36 * squares * 256 * 256 / 10e12
    moved = 4.0 * ((32 * 1600 + 36 * squares) * 512 + (9 + 36) * 256 * 256) / 1e12
    assert best == pytest.approx(1e-6 + 3e-9 + multiplied + moved)
    assert multiplied == pytest.approx(flops() / 10e12 / 4)


FUSED = {**PERFECT, "peak_share": 0.1, "fused_share": 10.0}
"""Numbers of a chip that only the fused kernel uses well."""


def test_the_fused_kernel_multiplies_4_ninths():
    # 8 x 5 x 5 blocks of 32 channels and 8 x 16 results an image: 64 for each multiprocessor
    whole = {"out_h": 40, "out_w": 80}
    filters = 4.0 * (9 + 16) * 256 * 256 / 1e12
    expected = 1e-6 + 1e-9 + filters + flops(**whole) / 10e12 * 4 / 9
    assert forward_s(FUSED, **whole) == pytest.approx(expected)


@pytest.mark.parametrize(("size", "more"), [("out_h", 8), ("out_w", 16), ("out_channels", 32)])
def test_the_fused_kernel_computes_whole_blocks(size, more):
    whole = {"out_h": 40, "out_w": 80, "out_channels": 256}
    beyond, next_whole = (forward_s(FUSED, **{**whole, size: whole[size] + by}) for by in (1, more))
    assert beyond == pytest.approx(next_whole, rel=0.01)
    assert beyond > 1.05 * forward_s(FUSED, **whole)


@pytest.mark.parametrize("window", [{"kernel_h": 1, "kernel_w": 1}, {"kernel_w": 5},
                                    {"stride": 2}, {"kernel_h": 7, "kernel_w": 7}])  # fmt: skip
def test_winograd_is_for_small_square_windows_that_move_by_1(window):
    assert forward_s(PERFECT, **window) == forward_s(NO_WINOGRAD, **window)


def test_squares_at_the_border_are_transformed_whole():
    numbers = {**PERFECT, "fused_share": 1e-3, "direct_share": 1e-3}
    inside, beyond = (forward_s(numbers, out_h=side, out_w=side) for side in (40, 41))
    assert beyond > 1.05 * inside


def test_overlapping_windows_are_read_from_memory_once():
    thin = {"in_channels": 16, "out_channels": 16}
    pixels = 32 * 1600
    moved = 4.0 * (pixels * 16 + 9 * 16 * 16 + pixels * 16)
    numbers = {**NO_WINOGRAD, "peak_share": 1e3}
    assert forward_s(numbers, **thin) == pytest.approx(1e-6 + moved / 1e12)


def test_the_gradient_by_the_input_is_a_convolution_with_channels_changed():
    given = sizes(in_channels=64, out_channels=128)
    back = input_gradient(given)
    assert (back["in_channels"][0], back["out_channels"][0]) == (128, 64)
    assert input_gradient(back) == given


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_gradient_by_the_input_multiplies_as_much_as_the_convolution(stride):
    back = input_gradient(sizes(stride=stride, kernel_h=5, kernel_w=7))
    forward = flops(stride=stride, kernel_h=5, kernel_w=7)
    assert convolution_amounts("float32", back)[0][0] == pytest.approx(forward)


def test_the_sum_over_pixels_is_cut_into_parts():
    few = {"in_channels": 3, "out_channels": 32, "kernel_h": 1, "kernel_w": 1}
    assert weights_s({**NO_WINOGRAD, "split_s": 1e-7}, **few) < weights_s(NO_WINOGRAD, **few) / 5


def test_transforms_take_their_time_even_where_a_kernels_begin_is_hidden():
    # What is overhead passes on the host while other kernels run; streams of data do not.
    many = {**PERFECT, "fused_share": 1e-3, "direct_share": 1e-3, "transform_s": 1e-5}
    parts = convolution_parts(chip(), "float32", many, sizes())
    assert parts.overhead_s[0] == pytest.approx(1e-6 + 3e-5)
    quick = convolution_parts(chip(), "float32", {**many, "transform_share": 1e3}, sizes())
    assert quick.overhead_s[0] == parts.overhead_s[0]
    assert parts.compute_s[0] > quick.compute_s[0]


def test_a_call_of_a_framework_has_the_form_of_the_kernel():
    assert CONV2D.form is CONVOLUTION.form
    assert CONV2D.name != CONVOLUTION.name


SIDE = st.integers(1, 64)
SHAPES = st.fixed_dictionaries({
    "batch": SIDE, "in_channels": st.integers(1, 600), "out_channels": st.integers(1, 600),
    "out_h": SIDE, "out_w": SIDE, "kernel_h": st.integers(1, 7), "kernel_w": st.integers(1, 7),
    "stride": st.integers(1, 3),
})  # fmt: skip


@given(SHAPES)
def test_nothing_is_quicker_than_a_quarter_of_the_multiplications_at_the_peak(shape):
    # F(4x4, 5x5) multiplies 64 where a direct convolution multiplies 400, F(4x4, 3x3) 36 of 144.
    least = flops(**shape) / (10e12 * CONVOLUTION.start["peak_share"])
    assert forward_s(**shape) >= least * 64 / 400
    assert weights_s(**shape) >= least * 64 / 400


@given(SHAPES, st.sampled_from(["arithmetic", "memory.bandwidth"]), st.floats(1.0, 10.0))
def test_more_arithmetic_or_bandwidth_is_never_slower(shape, resource, factor):
    more = chip().scaled(resource, factor)
    assert forward_s(on=more, **shape) <= forward_s(**shape) * (1 + 1e-12)
    assert weights_s(on=more, **shape) <= weights_s(**shape) * (1 + 1e-12)


@given(st.lists(SHAPES, min_size=2, max_size=4))
def test_many_convolutions_at_once_take_what_each_takes_alone(shapes):
    columns = {name: np.array([float(shape[name]) for shape in shapes]) for name in SIZES}
    together = convolution_parts(chip(), "float32", CONVOLUTION.start, columns).time_s
    assert together.tolist() == pytest.approx([forward_s(**shape) for shape in shapes])
