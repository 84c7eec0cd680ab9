"""A family: a form with bounded numbers, and a correction that is smooth in the sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.gpu.families import FAMILIES
from hwmodels.gpu.family import Axis, Family, Parameter, Parts
from hwmodels.spec import FamilyFit
from tests.hwmodels.gpu.chips import chip


def form(chip, dtype, numbers, sizes):
    """Take a cycle for each element."""
    count = len(sizes["x"])
    return Parts(np.full(count, numbers["floor_s"]), sizes["x"] * sizes["y"] / chip.clock_hz,
                 np.zeros(count))  # fmt: skip


TOY = Family(
    name="toy",
    sizes=("x", "y"),
    parameters={"floor_s": Parameter(1e-9, 1e-6, 1e-3, "seconds")},
    form=form,
    amounts=lambda dtype, sizes: (sizes["x"], sizes["y"]),
    axes=(Axis("x", 0.0, 2.0, 3), Axis("y", 0.0, 1.0, 2)),
)
GRID = (0.0, 0.0, 0.2, 0.4, 0.4, 0.8)
"""By x = 1, 4, 16 and y = 1, 2."""


def corrected(x, y):
    fit = FamilyFit(numbers={"floor_s": 0.0}, correction=GRID)
    sizes = {"x": np.array([float(x)]), "y": np.array([float(y)])}
    return float(TOY.parts(chip(), "float32", fit, sizes).time_s[0] / (x * y / 1e9))


@pytest.mark.parametrize(("x", "y", "log"), [(1, 1, 0.0), (4, 1, 0.2), (4, 2, 0.4), (16, 2, 0.8)])
def test_at_the_points_of_its_grid_a_correction_is_what_stands_there(x, y, log):
    assert corrected(x, y) == pytest.approx(np.exp(log))


def test_between_points_it_is_interpolated_in_the_logarithm_of_each_size():
    assert corrected(2, 1) == pytest.approx(np.exp(0.1))
    assert corrected(2, 2**0.5) == pytest.approx(np.exp((0.0 + 0.0 + 0.2 + 0.4) / 4))


@given(st.floats(16, 1e6), st.floats(2, 1e6))
def test_beyond_the_grid_it_stays_as_at_the_border(x, y):
    assert corrected(x, y) == pytest.approx(np.exp(0.8))


def test_without_a_correction_the_form_stands_alone():
    fit = FamilyFit(numbers={"floor_s": 2.0})
    found = TOY.parts(chip(), "float32", fit, {"x": np.array([1e9]), "y": np.array([1.0])})
    assert found.time_s.tolist() == [3.0]


def test_memory_hides_behind_arithmetic_and_overhead_behind_nothing():
    parts = Parts(np.array([1.0, 1.0]), np.array([2.0, 0.5]), np.array([1.0, 4.0]))
    assert parts.time_s.tolist() == [3.0, 5.0]
    assert parts.times(np.array([2.0, 3.0])).time_s.tolist() == [6.0, 15.0]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_fit_of_any_family_begins_within_its_bounds(name):
    family = FAMILIES[name]
    assert family.name == name
    for parameter in family.parameters.values():
        assert 0 < parameter.low <= parameter.start <= parameter.high
        assert parameter.doc
    assert {axis.size for axis in family.axes} <= set(family.sizes)
