"""Fixtures of the tests of hardware models."""

import pytest

from hwmodels import cpu
from tests.hwmodels.machines import round_costs


@pytest.fixture(scope="module")
def plain_costs():
    """Cost ops by the round numbers of `machines.rates`, whatever real kernels do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "op_costs", round_costs)
        yield
