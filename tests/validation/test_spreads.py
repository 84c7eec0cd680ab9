"""How well a fit knows its numbers: as ordinary least squares has it, and never above a bound."""

import numpy as np
import pytest

from validation.spreads import LARGEST, spreads


def test_spreads_are_the_standard_errors_of_ordinary_least_squares():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 10, 40)
    y = 0.5 + 0.02 * x + rng.normal(0, 0.05, 40)
    (slope, offset), covariance = np.polyfit(x, y, 1, cov=True)
    jacobian = np.column_stack([x, np.ones_like(x)])
    found = spreads(jacobian, slope * x + offset - y, freedom=38)
    assert found == pytest.approx(np.sqrt(np.diag(covariance)))


def test_what_the_data_tell_nothing_of_has_the_largest_spread():
    jacobian = np.array([[1.0, 1e-6], [1.0, -1e-6], [1.0, 0.0]])
    found = spreads(jacobian, np.array([0.1, -0.1, 0.0]), freedom=1)
    assert found[0] < 0.2
    assert found[1] == LARGEST


def test_as_many_numbers_as_timings_count_one_degree_of_freedom():
    jacobian, residuals = np.eye(2), np.array([0.3, 0.4])
    assert spreads(jacobian, residuals, freedom=0) == pytest.approx([0.5, 0.5])
