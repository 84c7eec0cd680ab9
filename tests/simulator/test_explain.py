"""What binds is what the step time follows most, until something else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.explain import explain
from simulator.ideal import IdealDevice
from simulator.simulate import simulate
from tests.simulator.devices import TwoResources
from tests.simulator.test_simulate import inference
from workloads.plans import Single


def explained(**seconds):
    return explain(simulate(inference(), TwoResources(**seconds), Single()))


def test_elasticities_are_the_shares_of_the_time_that_follow_a_resource():
    explanation = explained(compute_s=0.6, memory_s=0.2, overhead_s=0.2)
    by_name = {resource.name: resource for resource in explanation.resources}
    assert by_name["clock"].elasticity == pytest.approx(0.6, abs=1e-3)
    assert by_name["memory"].elasticity == pytest.approx(0.2, abs=1e-3)
    assert by_name["clock"].doubled_s == pytest.approx(0.7)
    assert by_name["clock"].endless_s == pytest.approx(0.4, abs=1e-3)


@given(st.floats(0.1, 10), st.floats(0.1, 10))
def test_the_binding_resource_binds_until_both_parts_take_the_same_time(compute_s, memory_s):
    explanation = explained(compute_s=compute_s, memory_s=memory_s)
    large, small = max(compute_s, memory_s), min(compute_s, memory_s)
    if large / small > 1.05:
        assert explanation.binds == ("clock" if compute_s > memory_s else "memory")
        assert explanation.until == pytest.approx(large / small, rel=0.03)
        assert explanation.then == ("memory" if compute_s > memory_s else "clock")


def test_what_nothing_else_overtakes_binds_for_ever():
    explanation = explained(compute_s=1.0, memory_s=0.0)
    assert (explanation.binds, explanation.until, explanation.then) == ("clock", None, None)
    assert "nothing else binds" in str(explanation)


def test_the_text_says_what_binds_and_until_when():
    text = str(explained(compute_s=0.6, memory_s=0.2))
    assert "clock binds: 60 % of the step time follows it" in text
    assert "then memory binds" in text


def test_a_device_that_names_no_resource_cannot_be_explained():
    run = simulate(inference(), IdealDevice(1e9), Single())
    with pytest.raises(InputError, match="names no resource"):
        explain(run)
