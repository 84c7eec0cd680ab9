"""The loss of fits forgives what is far off; correlation falls from 1 to nothing."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from validation.fit_functions import matern_3_2, soft_l1


def test_small_errors_count_fully_and_large_ones_like_their_roots():
    assert soft_l1(np.array([-1e-3, 0.0, 1e-3])) == pytest.approx([-1e-3, 0.0, 1e-3], rel=1e-4)
    assert soft_l1(np.array([1e6])) ** 2 == pytest.approx([2e6], rel=1e-4)


def test_the_loss_is_that_of_scipy():
    values = np.array([1.0, 1.1, 0.9, 30.0])
    named = least_squares(lambda x: values - x, [0.0], loss="soft_l1").x
    ours = least_squares(lambda x: soft_l1(values - x), [0.0]).x
    assert ours == pytest.approx(named, rel=1e-5)


def test_correlations_of_places_on_a_line_are_positive_definite():
    places = np.linspace(0.0, 3.0, 8)
    found = matern_3_2(np.abs(places[:, None] - places))
    assert np.diag(found) == pytest.approx(1.0)
    assert (np.diff(found[0]) < 0).all()
    assert np.linalg.eigvalsh(found).min() > 0
