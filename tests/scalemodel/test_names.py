"""Everything that is listed has a kind of its own, and is found by its name."""

import pytest

from scalemodel.names import RECORDS, kind_and_name, kind_of
from simulator.errors import UnknownNameError


@pytest.mark.parametrize("kind", RECORDS)
def test_what_is_listed_is_found_as_what_it_is_listed(kind):
    records = RECORDS[kind]()
    assert records
    for record in records:
        assert record["kind"] == kind
        assert record["about"]
        assert kind_and_name(f"{kind}:{record['name']}") == (kind, record["name"])
        assert kind_of(record["name"]) in (kind, "plan")


def test_no_name_stands_for_two_things_but_for_a_plan_and_the_suite_that_judges_it():
    names = [record["name"] for records in RECORDS.values() for record in records()]
    twice = {name for name in names if names.count(name) > 1}
    assert twice <= {record["name"] for record in RECORDS["plan"]()}
    assert twice <= {record["name"] for record in RECORDS["suite"]()}


def test_the_nearest_name_of_any_kind_is_offered():
    for wrong, near in (("resnet5", "resnet50"), ("multicores", "multicore"), ("amdah", "amdahl")):
        with pytest.raises(UnknownNameError, match=f"did you mean '{near}'"):
            kind_of(wrong)
