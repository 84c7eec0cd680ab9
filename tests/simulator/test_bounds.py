"""A bound demands that a metric stays on one side of a limit; what is unknown never passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.bounds import Bound, check_bounds, parse_bound
from simulator.errors import BoundError, InputError, UnitError, UnknownNameError


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("step_time_s<=0.1", Bound("step_time_s", "<=", 0.1)),
        ("step_time_s < 100 ms", Bound("step_time_s", "<", 0.1)),
        ("peak_memory_bytes<=4GiB", Bound("peak_memory_bytes", "<=", 2**32)),
        ("energy.idle_j >= 2 Wh", Bound("energy.idle_j", ">=", 7200)),
        ("speedup>1.9", Bound("speedup", ">", 1.9)),
        ("idle_share <= 5%", Bound("idle_share", "<=", 0.05)),
        ("job.money == 12", Bound("job.money", "==", 12)),
    ],
)
def test_a_bound_is_a_metric_a_relation_and_a_limit_with_or_without_unit(text, bound):
    assert parse_bound(text) == bound


@pytest.mark.parametrize(
    "text", ["", "step_time_s", "step_time_s=0.1", "step_time_s<=", "<=3", "a<=b<=c", "1<=2",
             "speedup<=nan", "speedup<=inf", "speedup<=2 apples", "step_time_s<=inf"],
)  # fmt: skip
def test_a_text_that_is_no_bound_is_an_error_that_names_the_flag(text):
    with pytest.raises(InputError, match="--assert"):
        parse_bound(text)


def test_a_bound_without_a_limit_is_no_bound():
    with pytest.raises(InputError, match="expected METRIC<=LIMIT"):
        parse_bound("step_time_s<=")


def test_a_limit_in_a_unit_of_another_dimension_is_an_error():
    with pytest.raises(UnitError, match="'4 GB' is not in a unit of s"):
        parse_bound("step_time_s<=4 GB")


def test_a_broken_bound_names_itself_the_value_and_by_how_much():
    with pytest.raises(BoundError) as caught:
        check_bounds({"step_time_s": 0.15}.get, [parse_bound("step_time_s<=100 ms")])
    assert str(caught.value) == (
        "step_time_s <= 100 ms does not hold: it is 150 ms, 50 % above the limit"
    )
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1, "exactly at the limit"), (0.2, "100 % above the limit"), (2.0, "20 times the limit")],
)
def test_by_how_much_a_bound_is_broken_is_said_in_a_fitting_form(value, text):
    with pytest.raises(BoundError, match=text):
        check_bounds({"step_time_s": value}.get, [parse_bound("step_time_s<100 ms")])


def test_all_broken_bounds_are_named_at_once():
    metrics = {"step_time_s": 0.15, "speedup": 1.5, "efficiency": 0.9}
    bounds = [parse_bound(t) for t in ("step_time_s<=0.1", "speedup>=1.8", "efficiency>0.5")]
    with pytest.raises(BoundError, match=r"step_time_s.*; speedup.*16.7 % below"):
        check_bounds(metrics.get, bounds)


def test_an_unknown_metric_never_passes():
    with pytest.raises(
        InputError, match=r"'energy_j <= 5 J' cannot be judged: energy_j is unknown"
    ):
        check_bounds({"energy_j": None}.get, [parse_bound("energy_j<=5")])
    with pytest.raises(InputError, match="cannot be judged"):
        check_bounds({"energy_j": float("nan")}.get, [parse_bound("energy_j<=5")])


def test_a_name_that_is_no_metric_is_the_error_of_whoever_knows_the_metrics():
    def metric(name):
        raise UnknownNameError("metric", name, ["step_time_s"])

    with pytest.raises(UnknownNameError, match="did you mean 'step_time_s'"):
        check_bounds(metric, [parse_bound("step_time<=5")])


def test_a_limit_of_zero_has_no_percentage():
    with pytest.raises(BoundError, match=r"it is 2$"):
        check_bounds({"x": 2.0}.get, [parse_bound("x<=0")])


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0.1, 10))
def test_of_two_opposite_bounds_exactly_one_holds(value, limit):
    assert Bound("x", "<=", limit).holds(value) != Bound("x", ">", limit).holds(value)
    assert Bound("x", "<", limit).holds(value) != Bound("x", ">=", limit).holds(value)


@pytest.mark.parametrize("relation", ["<=", "<", ">=", ">", "=="])
def test_nan_and_the_unknown_keep_no_bound(relation):
    assert not Bound("x", relation, 1.0).holds(float("nan"))
    assert not Bound("x", relation, 1.0).holds(None)
