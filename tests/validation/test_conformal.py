"""Intervals from ratios of measured over predicted cover new cases as often as they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError
from validation.conformal import cross_ratios, ratio_interval


@pytest.mark.parametrize("count", [19, 40, 200])
def test_nine_of_ten_new_cases_lie_inside(count):
    rng = np.random.default_rng(7)
    inside = []
    for _ in range(400):
        low, high = ratio_interval(np.exp(rng.normal(0.1, 0.3, count)))
        new = np.exp(rng.normal(0.1, 0.3, 200))
        inside.append(np.mean((low <= new) & (new <= high)))
    assert 0.88 < np.mean(inside) < 0.97


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=60), st.floats(0.01, 100))
def test_the_interval_scales_with_the_ratios(ratios, factor):
    low, high = ratio_interval(ratios)
    scaled = ratio_interval(np.array(ratios) * factor)
    assert scaled == pytest.approx((low * factor, high * factor))


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=60))
def test_few_cases_never_give_a_narrower_interval_than_their_extremes_below_nineteen(ratios):
    low, high = ratio_interval(ratios[:18])
    assert low <= min(ratios[:18]) * (1 + 1e-12)
    assert high >= max(ratios[:18]) * (1 - 1e-12)


@pytest.mark.parametrize("ratios", [[], [1.0], [1.0, -1.0], [1.0, float("nan")]])
def test_too_few_or_impossible_ratios_are_refused(ratios):
    with pytest.raises(InputError, match="at least 2 finite, positive ratios"):
        ratio_interval(ratios)


def test_a_coverage_outside_zero_to_one_is_refused():
    with pytest.raises(InputError, match="coverage must lie between"):
        ratio_interval([1.0, 2.0], coverage=90)


def test_a_group_is_never_judged_by_a_model_that_saw_it():
    items, groups = [1.0, 3.0, 10.0], ["a", "a", "b"]
    ratios = cross_ratios(
        items, groups, fit=lambda seen: float(np.mean(seen)), ratio=lambda item, mean: item / mean
    )
    assert ratios == pytest.approx([1 / 10, 3 / 10, 10 / 2])
