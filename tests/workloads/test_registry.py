"""Workloads and plans are found by name; what is no name is told so."""

import pytest

from simulator.errors import InputError
from workloads.plans import find_plan
from workloads.registry import find_workload


@pytest.mark.parametrize("name", [None, 3, [], {}])
@pytest.mark.parametrize("find", [find_workload, find_plan])
def test_what_is_no_name_is_bad_input(find, name):
    with pytest.raises(InputError, match=r"unknown plan|expected a name"):
        find(name)
