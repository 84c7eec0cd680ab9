"""Everything that is listed has a kind of its own, and is found by its name."""

import pytest

from scalemodel.names import RECORDS, kind_of
from simulator.errors import UnknownNameError


@pytest.mark.parametrize("kind", RECORDS)
def test_what_is_listed_is_found_as_what_it_is_listed(kind):
    records = RECORDS[kind]()
    assert records
    for record in records:
        assert record["kind"] == kind
        assert record["about"]
        assert kind_of(record["name"]) == kind


def test_no_name_stands_for_two_things():
    names = [record["name"] for records in RECORDS.values() for record in records()]
    assert len(set(names)) == len(names)


def test_the_nearest_name_of_any_kind_is_offered():
    for wrong, near in (("resnet5", "resnet50"), ("multicores", "multicore"), ("amdah", "amdahl")):
        with pytest.raises(UnknownNameError, match=f"did you mean '{near}'"):
            kind_of(wrong)
