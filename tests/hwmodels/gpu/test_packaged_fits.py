"""Every packaged fit has all that its family is timed by, within the bounds of its numbers."""

import math

import pytest

from hwmodels.device_file import read_family_fit
from hwmodels.devices import device_names
from hwmodels.gpu.families import FAMILIES
from hwmodels.gpu.fits import COMMON, PACKAGED
from simulator.ops import DTYPE_BYTES

FILES = sorted(PACKAGED.glob("*/*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_packaged_fit_has_the_numbers_and_the_correction_of_its_family(path):
    name, dtype = path.stem.split(".")
    family, fit = FAMILIES[name], read_family_fit(path)
    assert dtype in DTYPE_BYTES
    assert path.parent.name in (*device_names(), COMMON)
    assert fit.numbers.keys() == family.parameters.keys()
    assert len(fit.correction) in (0, math.prod(axis.count for axis in family.axes))
    for one, value in fit.numbers.items():
        bounds = family.parameters[one]
        assert 0.99 * bounds.low <= value <= 1.01 * bounds.high, one
    assert fit.error_ratio is not None
