"""Specify the fitters: they find the truth in exact data and know how far to trust themselves."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import laws
from simulator.errors import FileError, InputError, UnknownNameError
from simulator.fit_laws import (
    FewPointsWarning,
    fit_amdahl,
    fit_ernest,
    fit_law,
    fit_usl,
    read_points,
)

P = np.array([1, 2, 3, 4, 6, 8, 12])


def interval(fit, name):
    """Return an interval that must be known."""
    assert fit.intervals[name] is not None
    return fit.intervals[name]


def noisy_usl_s(seed, p=P, spread=0.03):
    rng = np.random.default_rng(seed)
    return laws.usl_time_s(p, 10.0, 0.05, 0.003) * rng.normal(1, spread, len(p))


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-3, 1e4), st.floats(0, 1))
def test_amdahl_fit_recovers_the_parameters_of_exact_data(time_1_s, serial_fraction):
    fit = fit_amdahl(P, laws.amdahl_time_s(P, time_1_s, serial_fraction), draws=2)
    assert fit.parameters["time_1_s"] == pytest.approx(time_1_s, rel=1e-6)
    assert fit.parameters["serial_fraction"] == pytest.approx(serial_fraction, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-3, 1e4), st.floats(0, 1), st.floats(0, 0.1))
def test_usl_fit_recovers_the_parameters_of_exact_data(time_1_s, contention, coherency):
    fit = fit_usl(P, laws.usl_time_s(P, time_1_s, contention, coherency), draws=2)
    assert fit.parameters["time_1_s"] == pytest.approx(time_1_s, rel=1e-6)
    assert fit.parameters["contention"] == pytest.approx(contention, abs=1e-6)
    assert fit.parameters["coherency"] == pytest.approx(coherency, abs=1e-6)


def test_ernest_fit_recovers_the_coefficients_of_exact_data():
    fit = fit_ernest(P, 3.0 + 20.0 / P + 0.5 * np.log(P) + 0.1 * P)
    expected = {"serial_s": 3.0, "parallel_s": 20.0, "tree_s": 0.5, "per_processor_s": 0.1}
    assert fit.parameters == pytest.approx(expected, abs=1e-6)


def test_exact_data_have_tight_intervals_and_no_residuals():
    fit = fit_amdahl(P, laws.amdahl_time_s(P, 5.0, 0.1))
    low, high = interval(fit, "serial_fraction")
    assert high - low < 1e-9
    assert np.abs(fit.residuals).max() < 1e-9
    assert fit.mape_pct < 1e-9


def test_parameters_never_leave_their_bounds():
    superlinear_s = 10.0 / P**1.2
    fit = fit_usl(P, superlinear_s)
    assert fit.parameters["contention"] == 0
    assert fit.parameters["coherency"] == 0
    assert all(interval(fit, name).low >= 0 for name in fit.parameters)


def test_repeats_at_one_p_weigh_as_points_of_their_own():
    fit = fit_amdahl([1, 1, 1, 2, 4, 8], [9.0, 10.0, 11.0, 6.0, 4.0, 3.0])
    assert fit.parameters["time_1_s"] == pytest.approx(10.0, rel=0.02)
    assert len(fit.residuals) == 6


def test_fit_does_not_depend_on_the_order_of_points_or_the_unit_of_time():
    time_s = noisy_usl_s(1)
    fit = fit_usl(P, time_s)
    backwards = fit_usl(P[::-1], time_s[::-1])
    in_ms = fit_usl(P, time_s * 1000)
    assert backwards.parameters == pytest.approx(fit.parameters)
    assert in_ms.parameters["contention"] == pytest.approx(fit.parameters["contention"])
    assert in_ms.time_s(20) == pytest.approx(1000 * fit.time_s(20))


def test_time_and_speedup_take_one_p_or_many():
    fit = fit_usl(P, laws.usl_time_s(P, 10.0, 0.05, 0.003))
    assert type(fit.time_s(24)) is float
    np.testing.assert_allclose(fit.time_s([24, 48]), laws.usl_time_s([24, 48], 10.0, 0.05, 0.003))
    np.testing.assert_allclose(fit.speedup([24, 48]), laws.usl_throughput([24, 48], 0.05, 0.003))


def test_prediction_lies_in_its_interval_which_widens_away_from_the_points():
    value, low, high = fit_usl(P, noisy_usl_s(2)).predict([8, 96])
    assert np.all((low <= value) & (value <= high))
    near, far = (np.asarray(high) - np.asarray(low)) / value
    assert far > near


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say():
    runs, truth = 150, {"time_1_s": 10.0, "contention": 0.05, "coherency": 0.003}
    held = dict.fromkeys(truth, 0)
    predicted = 0
    for seed in range(runs):
        fit = fit_usl(P, noisy_usl_s(seed), draws=200, seed=seed)
        for name, value in truth.items():
            held[name] += interval(fit, name).low <= value <= interval(fit, name).high
        new_s = noisy_usl_s(seed + 10_000, p=np.array([24]))[0]
        predicted += fit.predict(24).low <= new_s <= fit.predict(24).high
    assert all(0.82 <= count / runs <= 0.98 for count in held.values())
    assert 0.82 <= predicted / runs <= 0.98


def test_same_seed_same_intervals():
    time_s = noisy_usl_s(3)
    again = [fit_usl(P, time_s, seed=np.random.default_rng(5)).intervals for _ in range(2)]
    assert again[0] == again[1]
    assert fit_usl(P, time_s, seed=6).intervals != again[0]


def test_higher_confidence_means_wider_intervals():
    time_s = noisy_usl_s(4)
    wide = interval(fit_usl(P, time_s, confidence=0.99), "time_1_s")
    narrow = interval(fit_usl(P, time_s, confidence=0.5), "time_1_s")
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("fit", [fit_amdahl, fit_usl, fit_ernest])
def test_fewer_than_four_distinct_p_warn_and_the_result_remembers(fit):
    with pytest.warns(FewPointsWarning, match="only 3 distinct p"):
        result = fit([1, 2, 2, 4], [10.0, 6.0, 6.1, 4.0])
    assert "only 3 distinct p" in result.warnings[0]
    assert "warning: only 3 distinct p" in str(result)


def test_four_distinct_p_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit_usl([1, 2, 4, 8], [10.0, 6.0, 4.0, 3.0]).warnings == ()


def test_terms_that_two_p_cannot_tell_apart_are_taken_as_zero_and_said():
    with pytest.warns(FewPointsWarning, match="cannot tell coherency"):
        fit = fit_usl([1, 4], [10.0, 4.0])
    assert fit.parameters["contention"] == pytest.approx(0.2)
    assert fit.parameters["coherency"] == 0


def test_without_spare_points_the_intervals_are_unknown_not_zero():
    with pytest.warns(FewPointsWarning, match="intervals are unknown"):
        fit = fit_amdahl([1, 4], [10.0, 4.0])
    assert fit.intervals == {"time_1_s": None, "serial_fraction": None}
    assert fit.predict(8).value == pytest.approx(3.0)
    assert fit.predict(8)[1:] == (None, None)
    assert "interval unknown" in str(fit)


def test_a_person_can_read_the_result():
    text = str(fit_usl(P, laws.usl_time_s(P, 10.0, 0.05, 0.003)))
    assert text.splitlines()[0] == "usl: T(p) = T(1) ((1 - sigma)/p + sigma + kappa (p - 1))"
    assert "contention       0.05       90% interval 0.05 .. 0.05" in text
    assert "fitted to 7 points at 7 distinct p" in text


@pytest.mark.parametrize(
    ("p", "time_s", "message"),
    [
        ([1, 2, 0, 4], [1.0, 1.0, 1.0, 1.0], "p: .*at least 1, got 0 at position 2"),
        ([1, 2, -3], [1.0, 1.0, 1.0], "p: .*got -3 at position 2"),
        ([1, 2], [1.0, np.nan], "time_s: .*above 0, got nan at position 1"),
        ([1, 2], [0.0, 1.0], "time_s: .*above 0, got 0 at position 0"),
        ([1, 2], [1.0, -2.0], "time_s: .*got -2 at position 1"),
        ([1, 2, 4], [1.0, 2.0], "one time for each p, got 2 times for 3 p"),
        ([[1, 2]], [[1.0, 2.0]], "one time for each p"),
        ([4], [1.0], "two or more distinct p, got only p = 4"),
        ([4, 4, 4], [1.0, 1.1, 1.0], "two or more distinct p, got only p = 4"),
        ([], [], "two or more distinct p, got no points"),
        (["one", "two"], [1.0, 2.0], "p: expected .*got"),
        ([1, 1e300], [2.0, 1.0], r"p: expected a number from 1 to 1e\+100, got 1e\+300"),
        ([1, 2], [1e308, 1e307], r"time_s: .* to 1e\+100, got 1e\+308 at position 0"),
        ([1, 2], [1e-200, 1e-310], "time_s: expected a number from 1e-100"),
    ],
)
def test_nonsense_points_are_one_clear_error(p, time_s, message):
    with pytest.raises(InputError, match=message):
        fit_amdahl(p, time_s)


def test_nonsense_options_are_one_clear_error():
    with pytest.raises(InputError, match=r"confidence: .*got 90"):
        fit_amdahl([1, 2, 4, 8], [4.0, 3.0, 2.0, 1.0], confidence=90)
    with pytest.raises(UnknownNameError, match="unknown law 'amdal'; did you mean 'amdahl'"):
        fit_law("amdal", [1, 2], [2.0, 1.0])
    with pytest.raises(InputError, match=r"p: .*got 0"):
        fit_amdahl(P, laws.amdahl_time_s(P, 1.0, 0.1), draws=2).time_s(0)


def test_a_law_that_misses_its_points_widely_still_has_a_plausible_interval():
    """Times that rise again, which Amdahl's law cannot follow, must not draw times of zero."""
    times_s = np.repeat(laws.usl_time_s([1, 2, 4, 8, 16, 48], 20.0, 0.05, 0.01), 3)
    fit = fit_amdahl(np.repeat([1, 2, 4, 8, 16, 48], 3), times_s)
    low, high = interval(fit, "time_1_s")
    assert 0.2 * fit.parameters["time_1_s"] < low < high < 5 * fit.parameters["time_1_s"]


@pytest.mark.parametrize("law", ["amdahl", "usl", "ernest"])
def test_times_that_fall_faster_than_any_law_are_fitted_without_overflow(law):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", FewPointsWarning)
        fit = fit_law(law, [1, 2, 4, 8], [10.0, 4.0, 1.0, 0.1])
        assert np.isfinite([fit.time_s(1e100), fit.predict(1e6).value]).all()
    with pytest.raises(InputError, match=r"p: expected a number from 1 to 1e\+100"):
        fit.predict(1e300)


def test_points_are_read_from_a_csv_file_whatever_else_it_holds(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("machine,time_s,p\na,10.5,1\na,6.25,2\n", encoding="utf-8-sig")
    points = read_points(path)
    np.testing.assert_array_equal(points.p, [1, 2])
    np.testing.assert_array_equal(points.time_s, [10.5, 6.25])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p: expected columns p and time_s, got an empty file"),
        ("cores,time_s\n1,2\n", "p: expected columns p and time_s, got cores, time_s"),
        ("p,seconds\n1,2\n", "time_s: expected columns p and time_s"),
        ("p,time_s\n", "at least one row"),
        ("p,time_s\n1,2.0\n2,fast\n", "line 3, column time_s: expected a number, got 'fast'"),
        ("p,time_s\n1,2.0\n\n2\n", "line 4, column time_s: expected a number, got 'nothing'"),
        ("p,time_s\n0,2.0\n", "line 2, column p: expected .* at least 1, got 0"),
        ("p,time_s\n1,2.0\n2,1.5,3\n", "line 3: more cells than the 2 columns"),
        ("p,p,time_s\n1,2,2.0\n", "p: two columns have this name"),
        ("p,time_s\n1,nan\n", "line 2, column time_s: expected .* above 0, got nan"),
    ],
)
def test_a_bad_file_is_named_with_line_and_column(tmp_path, text, message):
    path = tmp_path / "times.csv"
    path.write_text(text)
    with pytest.raises(FileError, match=message) as caught:
        read_points(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_or_binary_file_is_a_clear_error(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        read_points(tmp_path / "nowhere.csv")
    binary = tmp_path / "times.csv"
    binary.write_bytes(b"\xff\xfe\x00p,time_s")
    with pytest.raises(FileError, match="expected a CSV text file"):
        read_points(binary)
