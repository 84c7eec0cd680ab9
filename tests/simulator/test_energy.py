"""Energy adds up by component, and what is unknown stays unknown."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.energy import Energy, exact_sum

JOULES = st.one_of(st.none(), st.floats(0.0, 1e9))
ENERGIES = st.builds(Energy, st.dictionaries(st.sampled_from(["idle", "compute", "net"]), JOULES))


@given(st.lists(ENERGIES, max_size=5))
def test_parts_add_up_by_component(parts):
    whole = Energy.sum(parts)
    for name in ("idle", "compute", "net"):
        terms = [part.components[name] for part in parts if name in part.components]
        if not terms:
            assert name not in whole.components
        elif None in terms:
            assert whole.components[name] is None
        else:
            assert whole.components[name] == pytest.approx(sum(t for t in terms if t is not None))


@given(ENERGIES, st.floats(0.0, 1e3))
def test_equal_parts_have_so_many_times_the_energy(energy, factor):
    for name, joules in energy.times(factor).components.items():
        one = energy.components[name]
        assert joules == (None if one is None else one * factor)


def test_the_total_is_unknown_where_a_component_or_everything_is():
    assert Energy({"a": 1.0, "b": 2.0}).total_j == 3.0
    assert Energy({"a": 1.0, "b": None}).total_j is None
    assert Energy().total_j is None


@given(st.lists(st.tuples(st.floats(-1e12, 1e12), st.integers(0, 1000)), max_size=20), st.randoms())
def test_a_sum_is_rounded_once_in_whatever_order_and_grouping(terms, random):
    expected = float(sum((Fraction(value) * times for value, times in terms), Fraction(0)))
    assert exact_sum(terms) == expected
    one_by_one = [(value, 1) for value, times in terms for _ in range(times)]
    random.shuffle(one_by_one)
    assert exact_sum(one_by_one) == expected
