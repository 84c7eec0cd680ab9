"""Numbers of a family recovered from timings that its own form made."""

from dataclasses import replace

import numpy as np
import pytest

from hwmodels.gpu.gemm import GEMM
from hwmodels.spec import FamilyFit
from simulator.errors import InputError
from tests.hwmodels.gpu.chips import chip
from validation.fit_gpu import FEWEST, Task, Timings, fit_common, fit_family

TRUE = {**GEMM.start, "peak_share": 0.7, "memory_share": 0.6, "floor_cycles": 5e3}
TASK = Task(family=GEMM, chip=chip(), dtype="bfloat16")


def timings(count, numbers=TRUE, noise=0.0, bend=0.0, seed=0):
    """Return products of random sizes; a bend is a smooth error of the form."""
    rng = np.random.default_rng(seed)
    sizes = {name: 2.0 ** rng.uniform(5, 14, count).round() for name in ("m", "n", "k")}
    sizes = {"batch": np.ones(count), **sizes}
    time_s = GEMM.form(chip(), "bfloat16", numbers, sizes).time_s
    smooth = bend * np.sin(np.log2(sizes["m"]) / 2)
    return Timings(sizes=sizes, time_s=time_s * np.exp(smooth + noise * rng.standard_normal(count)))


def error(fit, of):
    predicted = GEMM.parts(chip(), "bfloat16", fit, of.sizes).time_s
    return float(np.abs(predicted / of.time_s - 1).mean())


def test_numbers_that_the_timings_tell_are_found():
    fit = fit_family(TASK, timings(150, noise=0.02), data="made up")
    for name in ("peak_share", "memory_share", "floor_cycles"):
        assert fit.numbers[name] == pytest.approx(TRUE[name], rel=0.1)
        assert fit.spreads[name] < 0.1
    assert (fit.data, fit.device) == ("made up", "round")


def test_numbers_that_no_timing_tells_have_a_spread_of_one():
    fit = fit_family(TASK, timings(100, noise=0.02))
    assert fit.spreads["quantize_share"] == pytest.approx(1.0, rel=0.01)


def test_every_number_lies_within_its_bounds():
    fit = fit_family(TASK, timings(80, noise=0.5))
    for name, parameter in GEMM.parameters.items():
        assert parameter.low <= fit.numbers[name] <= parameter.high


def test_what_the_form_lacks_becomes_a_correction():
    seen, new = timings(200, bend=0.3), timings(100, bend=0.3, seed=1)
    fit = fit_family(TASK, seen)
    assert error(fit, new) < 0.5 * error(replace(fit, correction=()), new)


def test_the_interval_holds_nine_in_ten_timings_that_were_not_fitted():
    fit = fit_family(TASK, timings(200, noise=0.1))
    new = timings(1000, noise=0.1, seed=1)
    ratio = new.time_s / GEMM.parts(chip(), "bfloat16", fit, new.sizes).time_s
    low, high = fit.error_ratio or (1, 1)
    assert 0.8 < ((low <= ratio) & (ratio <= high)).mean() < 0.97


def test_twenty_timings_move_what_is_known_of_a_relative():
    prior = FamilyFit(numbers={**GEMM.start, "memory_share": 0.9, "floor_cycles": 2e3},
                      correction=(0.1,) * 891, device="relative")  # fmt: skip
    new = timings(200, seed=1)
    fit = fit_family(replace(TASK, prior=prior), timings(20))
    assert error(fit, new) < 0.5 * error(prior, new)
    assert fit.device == "round"


def test_a_few_wild_timings_change_little():
    wild = timings(120)
    time_s = wild.time_s.copy()
    time_s[:6] *= 100
    new = timings(100, seed=1)
    assert error(fit_family(TASK, replace(wild, time_s=time_s)), new) < 0.05


def test_too_few_timings_are_refused_by_number():
    with pytest.raises(InputError, match=f"3 timings; at least {FEWEST} are needed, 60 for a full"):
        fit_family(TASK, timings(3))


def test_the_same_timings_give_the_same_fit():
    first, second = (fit_family(TASK, timings(80, noise=0.1)) for _ in range(2))
    assert first.numbers == second.numbers
    assert first.correction == second.correction


def test_what_devices_have_in_common_lies_between_them_and_counts_each_once():
    sets = [(TASK, timings(count, {**TRUE, "memory_share": share}, noise=0.02, seed=count))
            for share, count in ((0.5, 400), (0.8, 100))]  # fmt: skip
    common = fit_common(sets, data="made up")
    assert 0.55 < common.numbers["memory_share"] < 0.75
    assert (common.correction, common.data) == ((), "made up")
    assert common.numbers["quantize_share"] == pytest.approx(GEMM.start["quantize_share"])


def test_the_level_of_a_device_is_not_in_the_interval_of_what_is_common():
    alike = [(TASK, timings(100, noise=0.05, seed=seed)) for seed in (0, 1)]
    slower = replace(alike[1][1], time_s=1.5 * alike[1][1].time_s)
    low, high = fit_common([alike[0], (TASK, slower)]).error_ratio or (0.0, 0.0)
    assert 1.05 < high / low < 1.45
