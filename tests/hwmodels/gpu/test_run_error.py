"""The interval of a whole run: from what is known of its kernels, by their shares of the time."""

import math

import numpy as np
import pytest

from hwmodels.device_writer import write_device
from hwmodels.devices import find_spec, with_fields
from hwmodels.gpu.device import Gpu, judge
from hwmodels.gpu.families import FAMILIES, Timed
from hwmodels.gpu.run_error import drawn_error, run_spreads
from hwmodels.relatives import completed
from hwmodels.spec import NINETY_PERCENT, Calibration, FamilyFit
from simulator.ops import Graph, Op
from tests.hwmodels.gpu.chips import gpu

SPEC = completed(find_spec("nvidia-h100-sxm-80gb"), find_spec)
RUN, LEFT = SPEC.known("model.run_spread"), SPEC.known("model.run_share")
SIGMA = 0.1
FIT = FamilyFit(numbers={}, error_ratio=(math.exp(-NINETY_PERCENT * SIGMA),
                                         math.exp(NINETY_PERCENT * SIGMA)))  # fmt: skip


def spread(*kernels, waits_s=0.0):
    """Return the spread of kernels, as if nothing cancelled, beyond that of all runs."""
    timed = [Timed(family, "float32", fit, np.zeros(len(times), int), np.array(times))
             for family, fit, times in kernels]  # fmt: skip
    time_s = np.array([waits_s + sum(sum(times) for *_, times in kernels)])
    (found,) = run_spreads(timed, np.zeros(1, int), time_s, SPEC)
    return math.sqrt(found**2 - RUN**2) / LEFT


def product(size=4096, dtype="bfloat16"):
    return Op(kind="gemm", dims=(1, size, size, size), dtype=dtype, flops=2.0 * size**3,
              bytes_read=8.0 * size**2, bytes_written=4.0 * size**2)  # fmt: skip


def width(name, *ops):
    low, high = gpu(name).error_ratio(Graph.of(ops)) or (1, 1)
    return math.log(high / low) / 2


def test_kernels_of_one_family_are_wrong_alike():
    assert spread(("gemm", FIT, [1.0])) == pytest.approx(SIGMA)
    assert spread(("gemm", FIT, [3.0, 4.0])) == pytest.approx(SIGMA)
    assert spread(("gemm", FIT, [3.0]), ("gemm", FIT, [4.0])) == pytest.approx(SIGMA)


def test_families_count_by_their_share_of_the_time_and_cancel_in_part():
    exact = FamilyFit(numbers={}, error_ratio=(1.0, 1.0))
    assert spread(("gemm", FIT, [1.0]), ("softmax", exact, [3.0])) == pytest.approx(SIGMA / 4)
    alike = spread(("gemm", FIT, [1.0]), ("softmax", FIT, [1.0]))
    assert alike == pytest.approx(SIGMA / math.sqrt(2))


def test_what_borrowing_adds_counts_by_its_share_of_the_time():
    assert spread(("gemm", FIT.widened(0.2), [1.0])) == pytest.approx(SIGMA + 0.2)


def test_launches_that_the_device_waits_for_are_known_to_their_own_spread():
    launched = SPEC.known("model.launch_spread")
    assert spread(("gemm", FIT, [1.0]), waits_s=3.0) == pytest.approx(
        math.hypot(SIGMA, 3 * launched / LEFT) / 4
    )


def test_a_family_of_which_no_error_is_known_is_as_one_of_another_maker():
    unknown = FamilyFit(numbers={})
    assert spread(("gemm", unknown, [1.0])) == pytest.approx(SPEC.known("model.foreign_spread"))


def test_errors_of_what_is_taken_over_from_another_maker_do_not_cancel():
    kernels = [Timed("gemm", "bfloat16", FIT, np.zeros(1, int), np.ones(1))]
    given = (kernels, np.zeros(1, int), np.ones(1), SPEC)
    own, foreign = (run_spreads(*given, known)[0] for known in ((), {("gemm", FIT.device)}))
    assert own == pytest.approx(math.hypot(RUN, LEFT * SIGMA))
    assert foreign == pytest.approx(math.hypot(RUN, SIGMA))


def test_a_run_of_nothing_has_the_spread_of_all_runs():
    assert run_spreads([], np.zeros(0, int), np.zeros(1), SPEC).tolist() == [RUN]


def test_the_further_the_relative_the_wider_the_interval():
    measured, sibling, other, foreign = (width(name, product()) for name in (
        "nvidia-h100-sxm-80gb", "nvidia-h200-sxm-141gb", "nvidia-l40s", "amd-mi300x"))  # fmt: skip
    assert measured < sibling < other < foreign
    assert foreign > NINETY_PERCENT * LEFT * SPEC.known("model.foreign_spread")


@pytest.mark.parametrize("name", ["google-tpu-v5e", "intel-gaudi3", "intel-arc-pro-b60"])
def test_devices_of_makers_that_no_run_judges_say_so_and_have_a_wide_interval(name):
    device = gpu(name)
    graph = Graph.of([product()])
    low, high = device.error_ratio(graph) or (1, 1)
    assert high / low > 2
    notes = [source.note for source in device.sources if source.kind == "calibrated"]
    assert any("no measured run judges this maker's devices" in note for note in notes)


def calibrated(tmp_path, sigma):
    """Return an AMD MI300X whose products a user timed, with errors of such a spread."""
    base = find_spec("amd-mi300x")
    fit = FamilyFit(numbers=FAMILIES["gemm"].start, data="20 kernels", device="mine",
                    error_ratio=(math.exp(-sigma), math.exp(sigma)))  # fmt: skip
    own = Calibration(numbers={}, data="mine", date="2026-01-31",
                      families={("gemm", "bfloat16"): fit})  # fmt: skip
    path = tmp_path / "mine.toml"
    write_device(path, base.replaced(name="mine", calibration=own), like=base)
    return path


def test_a_users_calibration_narrows_the_interval_as_far_as_it_fits(tmp_path):
    before = width("amd-mi300x", product())
    good = width(calibrated(tmp_path, 0.1), product())
    poor = width(calibrated(tmp_path, 0.4), product())
    assert good < poor < before
    assert good == pytest.approx(math.hypot(NINETY_PERCENT * RUN, LEFT * 0.1), rel=0.05)


def test_what_the_calibration_does_not_cover_stays_borrowed(tmp_path):
    path = calibrated(tmp_path, 0.1)
    streamed = Op(kind="elementwise", dims=(10**9,), bytes_read=8e9, bytes_written=4e9)
    assert width(path, streamed) > 2 * width(path, product())


def test_changed_fields_keep_the_interval_of_a_measured_device():
    graph = Graph.of([product()])
    device = gpu("nvidia-h100-sxm-80gb")
    more = with_fields(device, {"memory.bandwidth_bytes_per_s": "4 TB/s"})
    assert isinstance(more, Gpu)
    assert more.error_ratio(graph) == pytest.approx(device.error_ratio(graph), rel=1e-3)


def test_graphs_that_are_joined_are_judged_each_as_if_alone():
    graphs = [Graph.of([product(size)]) for size in (64, 512, 4096)]
    alone = [gpu("amd-mi300x").error_ratio(graph) for graph in graphs]
    device = gpu("amd-mi300x")
    judge(device, Graph.joined(graphs))
    assert [device.error_ratio(graph) for graph in graphs] == [pytest.approx(one) for one in alone]


def test_equal_seeds_draw_equal_errors_and_without_a_seed_there_are_none():
    graph, device = Graph.of([product()]), gpu("nvidia-h100-sxm-80gb")
    plain, first, again, other = (
        one.times_s(graph)[0] for one in (device, *(device.drawn(seed) for seed in (1, 1, 2)))
    )
    assert first == again
    assert len({plain, first, other}) == 3


@pytest.mark.parametrize(("name", "share"), [("nvidia-h100-sxm-80gb", LEFT), ("amd-mi300x", 1.0)])
def test_draws_are_as_wide_as_what_is_left_of_a_familys_error_in_runs(name, share):
    graph, device = Graph.of([product()]), gpu(name)
    (time_s,) = device.times_s(graph)
    fit = device.fits["gemm", "bfloat16"]
    drawn = [device.drawn(seed).times_s(graph)[0] / time_s for seed in range(5)]
    told = [drawn_error("gemm", fit, seed, share) for seed in range(5)]
    assert drawn == pytest.approx(told, rel=5e-2)  # launches are not drawn


def test_many_draws_have_the_spread_of_the_interval():
    drawn = np.log([drawn_error("gemm", FIT, seed, 0.5) for seed in range(2000)])
    assert drawn.std() == pytest.approx(0.5 * SIGMA, rel=0.1)
    assert abs(drawn.mean()) < 0.01
