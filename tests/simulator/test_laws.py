"""Specify the laws of parallel speed by their closed forms and by what must always hold."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import laws
from simulator.errors import InputError

processors = st.integers(1, 100_000)
fractions = st.floats(0, 1)
seconds = st.floats(1e-6, 1e6)
ORACLES = Path("../shared/measured/oracle_formulas.csv")


def test_amdahl_speedup_equals_its_closed_form():
    assert laws.amdahl_speedup(8, 0.1) == pytest.approx(1 / (0.1 + 0.9 / 8), abs=1e-12)


def test_amdahl_is_ideal_without_a_serial_part_and_flat_when_all_is_serial():
    assert laws.amdahl_speedup(64, 0.0) == 64
    assert laws.amdahl_speedup(64, 1.0) == 1


@given(processors, fractions)
def test_amdahl_never_exceeds_p_nor_its_limit(p, serial_fraction):
    speedup = laws.amdahl_speedup(p, serial_fraction)
    assert 1 - 1e-12 <= speedup <= min(p, laws.amdahl_limit(serial_fraction)) * (1 + 1e-12)


@given(processors, fractions, seconds)
def test_amdahl_time_and_speedup_agree(p, serial_fraction, time_1_s):
    time_s = laws.amdahl_time_s(p, time_1_s, serial_fraction)
    assert laws.speedup(time_1_s, time_s) == pytest.approx(laws.amdahl_speedup(p, serial_fraction))


def test_amdahl_has_no_limit_without_a_serial_part():
    assert laws.amdahl_limit(0.0) == np.inf


@given(st.integers(2, 100_000), fractions)
def test_karp_flatt_inverts_amdahl(p, serial_fraction):
    speedup = laws.amdahl_speedup(p, serial_fraction)
    found = laws.karp_flatt_serial_fraction(p, speedup)
    assert found == pytest.approx(serial_fraction, abs=1e-9)


def test_karp_flatt_is_negative_for_a_speedup_above_p():
    assert laws.karp_flatt_serial_fraction(4, 5.0) < 0


def test_karp_flatt_grows_with_p_where_coherency_costs():
    p = np.array([2, 4, 8, 16])
    found = laws.karp_flatt_serial_fraction(p, laws.usl_throughput(p, 0.02, 0.001))
    assert np.all(np.diff(found) > 0)


@given(processors, fractions)
def test_gustafson_equals_amdahl_with_the_serial_share_of_the_parallel_run(p, share):
    scaled = laws.gustafson_speedup(p, share)
    serial_fraction = share / scaled
    assert laws.amdahl_speedup(p, serial_fraction) == pytest.approx(scaled, rel=1e-9)


@given(processors, fractions)
def test_usl_without_coherency_cost_is_amdahl(p, contention):
    expected = laws.amdahl_speedup(p, contention)
    assert laws.usl_throughput(p, contention, 0.0) == pytest.approx(expected, rel=1e-9)


@given(processors, fractions, st.floats(0, 1), seconds)
def test_usl_time_is_the_reciprocal_of_its_throughput(p, contention, coherency, time_1_s):
    time_s = laws.usl_time_s(p, time_1_s, contention, coherency)
    spelled_out = (1 - contention) / p + contention + coherency * (p - 1)
    assert time_s == pytest.approx(time_1_s * spelled_out, rel=1e-9)


@given(st.floats(0, 0.99), st.floats(1e-8, 1))
def test_usl_throughput_falls_on_both_sides_of_its_peak(contention, coherency):
    peak_p = laws.usl_peak_p(contention, coherency)
    best = laws.usl_throughput(peak_p, contention, coherency)
    around = [max(1.0, peak_p * 0.9), peak_p * 1.1]
    assert np.all(laws.usl_throughput(around, contention, coherency) <= best * (1 + 1e-12))


def test_usl_peak_is_infinite_without_coherency_cost_and_never_below_one():
    assert laws.usl_peak_p(0.1, 0.0) == np.inf
    assert laws.usl_peak_p(0.5, 100.0) == 1


@given(processors, seconds, seconds)
def test_strong_efficiency_is_speedup_over_p(p, time_1_s, time_p_s):
    speedup = laws.speedup(time_1_s, time_p_s)
    assert laws.strong_efficiency(p, time_1_s, time_p_s) == pytest.approx(speedup / p)


def test_weak_efficiency_is_one_when_time_stays():
    assert laws.weak_efficiency(3.0, 3.0) == 1


def test_isoefficiency_of_adding_numbers_is_eight_p_log_p_at_80_percent():
    """Grama, Gupta & Kumar 1993: overhead 2 p log2 p."""
    p = np.array([4, 64, 1024])
    work_s = laws.isoefficiency_work_s(p, 0.8, lambda _, count: 2 * count * np.log2(count))
    np.testing.assert_allclose(work_s, 8 * p * np.log2(p), rtol=1e-9)


def test_isoefficiency_is_ruled_by_the_term_that_asks_for_most_work():
    """Grama, Gupta & Kumar 1993: p^(3/2) + p^(3/4) W^(3/4) asks for work like p^3."""
    work_s = laws.isoefficiency_work_s(
        [1e4, 1e5], 0.5, lambda work, p: p**1.5 + p**0.75 * work**0.75
    )
    assert np.log10(work_s[1] / work_s[0]) == pytest.approx(3, abs=0.01)


@given(st.integers(2, 1000), st.floats(0.05, 0.95))
def test_isoefficient_work_has_that_efficiency(p, efficiency):
    def overhead_s(work_s, count):
        return count * np.log2(count) + np.sqrt(work_s * count)

    work_s = laws.isoefficiency_work_s(p, efficiency, overhead_s)
    assert work_s / (work_s + overhead_s(work_s, p)) == pytest.approx(efficiency, rel=1e-9)


def test_no_work_is_needed_where_there_is_no_overhead():
    assert laws.isoefficiency_work_s(8, 0.9, lambda *_: 0.0) == 0


def test_isoefficiency_says_when_no_work_is_enough():
    with pytest.raises(InputError, match=r"grows slower than the work.*p = 8"):
        laws.isoefficiency_work_s(8, 0.9, lambda work_s, _: work_s)


@given(st.floats(1e-3, 1e6), seconds, seconds)
def test_roofline_is_the_lower_of_two_roofs(intensity, peak, bandwidth):
    rate = laws.roofline_flop_per_s(intensity, peak, bandwidth)
    assert rate == min(peak, bandwidth * intensity)


def test_the_roofs_meet_at_the_ridge():
    ridge = laws.ridge_intensity(19.5e12, 1.555e12)
    assert ridge * 1.555e12 == pytest.approx(19.5e12)
    assert laws.roofline_flop_per_s(ridge, 19.5e12, 1.555e12) == pytest.approx(19.5e12)


@given(seconds, fractions, processors)
def test_bounds_of_a_schedule_are_in_order(work_s, span_share, p):
    span_s = span_share * work_s
    least = laws.work_span_bound_s(work_s, span_s, p)
    graham, brent = laws.graham_bound_s(work_s, span_s, p), laws.brent_bound_s(work_s, span_s, p)
    assert least <= graham * (1 + 1e-12)
    assert graham <= brent * (1 + 1e-12)
    assert graham <= (2 - 1 / p) * least * (1 + 1e-12)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30), st.integers(1, 8))
def test_list_schedules_of_independent_tasks_stay_within_the_bounds(tasks_s, p):
    busy_until = [0.0] * p
    for task_s in tasks_s:
        first_free = busy_until.index(min(busy_until))
        busy_until[first_free] += task_s
    work_s, span_s = sum(tasks_s), max(tasks_s)
    assert max(busy_until) >= laws.work_span_bound_s(work_s, span_s, p) * (1 - 1e-12)
    assert max(busy_until) <= laws.graham_bound_s(work_s, span_s, p) * (1 + 1e-12)


def test_formulas_take_arrays_and_broadcast():
    table = laws.amdahl_speedup(np.array([[1], [10]]), [0.0, 0.5, 1.0])
    np.testing.assert_allclose(table, np.array([[1, 1, 1], [10, 20 / 11, 1]]))


def test_formulas_return_a_float_for_scalars():
    assert type(laws.amdahl_speedup(4, 0.1)) is float


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: laws.amdahl_speedup(0, 0.1), r"p: expected .* at least 1, got 0"),
        (lambda: laws.amdahl_speedup([1, 2, -4], 0.1), r"p: .*got -4 at position 2"),
        (lambda: laws.amdahl_speedup(4, 1.5), r"serial_fraction: .*from 0 to 1, got 1.5"),
        (lambda: laws.amdahl_speedup(4, float("nan")), "serial_fraction: .*got nan"),
        (lambda: laws.amdahl_speedup("four", 0.1), "p: .*got 'four'"),
        (lambda: laws.karp_flatt_serial_fraction(1, 1.0), "p: .*above 1, got 1"),
        (lambda: laws.usl_throughput(4, 0.1, -0.1), "coherency: .*got -0.1"),
        (lambda: laws.speedup(1.0, 0.0), "time_p_s: .*above 0, got 0"),
        (lambda: laws.isoefficiency_work_s(4, 1.0, lambda *_: 1.0), "efficiency: .*below 1"),
        (lambda: laws.graham_bound_s(10.0, 20.0, 2), "span_s: expected at most work_s"),
        (lambda: laws.roofline_flop_per_s(1.0, np.inf, 1.0), "peak_flop_per_s: .*got inf"),
    ],
)
def test_nonsense_is_one_clear_error(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.skipif(not ORACLES.exists(), reason="the shared tables are not here")
@pytest.mark.parametrize(
    ("oracle", "ours", "theirs"),
    [
        ("Roofline", laws.roofline_flop_per_s(3.0, 10.0, 2.0), min(10.0, 2.0 * 3.0)),
        ("Amdahl", laws.amdahl_speedup(7, 0.3), 1 / (0.3 + (1 - 0.3) / 7)),
        ("Gustafson", laws.gustafson_speedup(7, 0.3), 7 - 0.3 * (7 - 1)),
        (
            "Karp-Flatt serial fraction",
            laws.karp_flatt_serial_fraction(7, 3.0),
            (1 / 3.0 - 1 / 7) / (1 - 1 / 7),
        ),
        ("Graham list scheduling", laws.graham_bound_s(9.0, 4.0, 3), 9 / 3 + (1 - 1 / 3) * 4),
        ("Critical path / work law", laws.work_span_bound_s(9.0, 4.0, 3), max(4.0, 9 / 3)),
    ],
)
def test_formulas_equal_the_table_of_oracles(oracle, ours, theirs):
    with ORACLES.open(newline="") as file:
        assert oracle in {row["oracle"] for row in csv.DictReader(file)}
    assert ours == pytest.approx(theirs, abs=1e-9)
