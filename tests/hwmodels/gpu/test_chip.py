"""What kernels depend on of a datasheet."""

import numpy as np
import pytest

from hwmodels.devices import find_device, find_spec
from hwmodels.gpu.chip import chip_of
from simulator.errors import InputError
from simulator.ops import Graph, Op
from tests.hwmodels.gpu.chips import chip, gpu


def test_matrix_units_go_before_ordinary_ones():
    v100 = chip_of(find_spec("nvidia-v100-sxm2-16gb"))
    assert v100.peak_flop_per_s("float16") == pytest.approx(125e12, rel=0.01)
    assert v100.peak_flop_per_s("float32") == pytest.approx(15.7e12, rel=0.01)
    assert v100.vector_flop_per_s == v100.peak_flop_per_s("float32")


def test_a_peak_holds_at_its_own_clock():
    h100 = chip_of(find_spec("nvidia-h100-sxm-80gb"))
    assert h100.clock_hz == 1.83e9
    assert h100.peak_flop_per_s("bfloat16") == pytest.approx(132 * 4096 * 1.83e9, rel=0.001)


def test_of_a_card_with_two_dies_programs_see_one():
    card, die = find_spec("amd-mi250"), chip_of(find_spec("amd-mi250"))
    assert (card.known("sms"), die.sms) == (208, 104)
    assert die.bandwidth_bytes_per_s == card.known("memory.bandwidth_bytes_per_s") / 2
    # The MI210 has one such die.
    assert die.peaks == pytest.approx(chip_of(find_spec("amd-mi210")).peaks, rel=0.01)
    assert (find_device("amd-mi250").memory_bytes or np.inf) < 64 * 2**30


def test_matrix_units_that_multiply_float32_go_before_ordinary_ones_too():
    mi100 = chip_of(find_spec("amd-mi100"))
    assert mi100.peak_flop_per_s("float32") == pytest.approx(2 * mi100.vector_flop_per_s, rel=0.01)


def test_a_dtype_that_the_chip_lacks_is_one_error_that_names_those_it_has():
    with pytest.raises(InputError, match="'round' does not compute on int4; it has bfloat16, flo"):
        chip().peak_flop_per_s("int4")


def test_short_mantissas_fall_back_to_float32_which_is_exact():
    assert chip().peak_flop_per_s("tfloat32") == chip().peak_flop_per_s("float32")


def test_a_sparse_peak_replaces_the_dense_one_where_there_is_one():
    assert chip().with_sparse("bfloat16").peak_flop_per_s("bfloat16") == 200e12
    assert chip().with_sparse("float32") == chip()


FIELDS = {"arithmetic": "vector_flop_per_s", "memory.bandwidth": "bandwidth_bytes_per_s"}


@pytest.mark.parametrize(("resource", "field"), FIELDS.items())
def test_more_of_one_resource_leaves_the_other_as_it_is(resource, field):
    more = chip().scaled(resource, 3.0)
    assert getattr(more, field) == 3 * getattr(chip(), field)
    assert (more.peaks == chip().peaks) == (resource == "memory.bandwidth")
    assert (more.bandwidth_bytes_per_s == 1e12) == (resource == "arithmetic")


def test_kernels_run_at_the_clock_at_which_the_peak_of_their_units_holds():
    h100 = chip_of(find_spec("nvidia-h100-sxm-80gb"))
    assert h100.computing_on("bfloat16").clock_hz == 1.83e9
    assert h100.computing_on("float32").clock_hz == 1.98e9
    per_cycle = h100.vector_flop_per_s / h100.computing_on("float32").clock_hz / h100.sms
    assert per_cycle == pytest.approx(128 * 2, rel=1e-3)


@pytest.mark.parametrize("name", [
    "google-tpu-v3", "google-tpu-v4", "google-tpu-v5e", "google-tpu-v5p", "google-tpu-v6e",
    "intel-gaudi2", "intel-gaudi3",
])  # fmt: skip
def test_few_large_cores_come_as_near_their_peak_as_many_small_ones(name):
    device, size = gpu(name), 8192
    per_cycle = device.chip.peak_flop_per_s("bfloat16") / device.chip.clock_hz
    assert device.chip.sms == pytest.approx(per_cycle / 2048, rel=0.01)
    product = Op(kind="gemm", dims=(1, size, size, size), dtype="bfloat16", flops=2.0 * size**3)
    least_s = product.flops / device.chip.peak_flop_per_s("bfloat16")
    assert least_s < device.times_s(Graph.of([product]))[0] < 3 * least_s
