"""Quantities are parsed once, at the edge, into floats of one inside unit."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import UnitError
from simulator.units import UNITS, dimension_of, format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("3.35 TB/s", "bytes_per_s", 3.35e12),
        ("400 Gbit/s", "bytes_per_s", 50e9),
        ("400 Gbps", "bytes_per_s", 50e9),
        ("80 GiB", "bytes", 80 * 2**30),
        ("80GB", "bytes", 80e9),
        ("2 us", "s", 2e-6),
        ("2 µs", "s", 2e-6),
        ("1.5 h", "s", 5400.0),
        ("989.4 TFLOP/s", "flop_per_s", 989.4e12),
        ("280 W", "w", 280.0),
        ("1 kWh", "j", 3.6e6),
        ("3.4 GHz", "hz", 3.4e9),
        ("4 pJ/bit", "j_per_byte", 32e-12),
        ("1e3", "s", 1000.0),
        (2, "bytes", 2.0),
    ],
)
def test_a_quantity_is_its_number_times_its_unit(text, dimension, value):
    assert parse_quantity(text, dimension) == pytest.approx(value, rel=1e-12)


def test_bits_and_bytes_decimal_and_binary_are_not_mixed_up():
    assert parse_quantity("1 Gbit", "bytes") * 8 == parse_quantity("1 GB", "bytes")
    assert parse_quantity("1 KiB", "bytes") == 1024 != parse_quantity("1 kB", "bytes")


@pytest.mark.parametrize("text", ["fast", "", "1 2", "nan", "inf", True, None, "1e999 s", "--1 s"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(UnitError, match="link latency"):
        parse_quantity(text, "s", "link latency")


def test_a_unit_of_another_dimension_is_refused_and_right_ones_are_named():
    with pytest.raises(UnitError, match=r"bandwidth: '3 GB' is not in a unit of bytes_per_s; such"):
        parse_quantity("3 GB", "bytes_per_s", "bandwidth")


def test_the_suffix_of_a_name_tells_its_dimension_and_the_longest_one_counts():
    assert dimension_of("memory.bandwidth_bytes_per_s") == "bytes_per_s"
    assert dimension_of("energy_per_byte_j_per_byte") == "j_per_byte"
    assert dimension_of("threads") is None


@given(st.floats(1e-12, 1e17), st.sampled_from(sorted(UNITS)))
def test_what_is_printed_parses_back_to_four_digits(value, dimension):
    text = format_quantity(value, dimension).replace(",", "")
    assert math.isclose(parse_quantity(text, dimension), value, rel_tol=1e-3)


@given(st.integers(1, 1023), st.sampled_from([1, 2, 3]))
def test_whole_binary_sizes_are_shown_as_such(count, power):
    assert format_quantity(count * 1024.0**power, "bytes").split()[0] == str(count)


def test_unknown_is_not_zero():
    assert format_quantity(None, "j") == "unknown"
    assert format_quantity(0.0, "j") == "0 J"
