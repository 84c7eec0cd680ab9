"""Intervals from ratios of measured over predicted cover new cases as often as they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError
from validation.conformal import cross_ratios, group_factor, ratio_interval


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


def clustered(rng, groups, size):
    """Ratios of cases that share most of their error with their group."""
    shared = np.repeat(rng.normal(0, 0.3, groups), size)
    return np.exp(shared + rng.normal(0, 0.05, groups * size)), np.repeat(range(groups), size)


@pytest.mark.parametrize("count", [12, 30])
def test_nine_of_ten_cases_of_new_groups_lie_within_the_factor(count):
    rng = np.random.default_rng(3)
    inside = []
    for _ in range(300):
        factor = group_factor(*clustered(rng, count, 6))
        new, _ = clustered(rng, 50, 6)
        inside.append(np.mean((1 / factor <= new) & (new <= factor)))
    assert 0.9 <= np.mean(inside) < 0.97


def test_a_group_counts_the_same_however_many_cases_it_has():
    rng = np.random.default_rng(5)
    ratios, groups = clustered(rng, 15, 4)
    of_first = groups == 0
    more = np.concatenate([ratios, np.tile(ratios[of_first], 9)])
    many = np.concatenate([groups, np.zeros(9 * of_first.sum())])
    assert group_factor(more, many.tolist()) == group_factor(ratios, groups.tolist())


def test_with_too_few_groups_the_factor_is_the_largest_ratio():
    assert group_factor([1.1, 0.5, 1.2], ["a", "b", "c"]) == pytest.approx(2.0)


@pytest.mark.parametrize("ratios", [[], [1.0], [1.0, -1.0]])
def test_a_factor_needs_at_least_two_possible_ratios(ratios):
    with pytest.raises(InputError, match="at least 2 finite, positive ratios"):
        group_factor(ratios, range(len(ratios)))


def test_a_factor_refuses_a_coverage_outside_zero_to_one():
    with pytest.raises(InputError, match="coverage must lie between"):
        group_factor([1.0, 2.0], "ab", coverage=90)


def test_a_group_is_never_judged_by_a_model_that_saw_it():
    items, groups = [1.0, 3.0, 10.0], ["a", "a", "b"]
    ratios = cross_ratios(
        items, groups, fit=lambda seen: float(np.mean(seen)), ratio=lambda item, mean: item / mean
    )
    assert ratios == pytest.approx([1 / 10, 3 / 10, 10 / 2])
