"""How many times as fast one run is as another, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from simulator.against import against
from simulator.errors import InputError
from simulator.ideal import IdealDevice
from simulator.ops import Graph, Op
from simulator.simulate import simulate
from simulator.workload import Workload
from tests.simulator.devices import TwoResources
from workloads.plans import Single

DEVICE = TwoResources(spread=0.3)


def run_on(device, samples=1.0, name="step"):
    graph = Graph.of([Op(kind="copy", dims=(1,), flops=1e9)])
    workload = Workload(name=name, parameters={}, graph=graph, samples=samples)
    return simulate(workload, device, Single())


def sure(ratio):
    """Return the quantiles and P(faster), which must be known."""
    known = (ratio.low, ratio.high, ratio.p_faster)
    assert None not in known
    return known


def test_a_run_is_as_fast_as_itself_for_sure():
    ratio = against(run_on(DEVICE), run_on(DEVICE))
    assert (ratio.value, ratio.low, ratio.high, ratio.p_faster) == (1, 1, 1, 0.5)


def test_the_ratio_is_that_of_samples_per_second():
    slower = replace(DEVICE, compute_s=1.6)
    ratio = against(run_on(DEVICE, samples=3), run_on(slower, samples=1))
    assert ratio.value == pytest.approx(3 * 2.0)


def test_errors_that_both_share_cancel():
    twice = replace(DEVICE, compute_s=1.2, memory_s=0.4, overhead_s=0.4)
    ratio = against(run_on(DEVICE), run_on(twice))
    assert (ratio.low, ratio.high) == pytest.approx((2.0, 2.0))
    assert ratio.p_faster == 1.0


def test_what_only_one_machine_depends_on_does_not_cancel():
    unbound = replace(DEVICE, compute_s=0.0, memory_s=0.8)
    ratio = against(run_on(DEVICE), run_on(unbound))
    low, high, p_faster = sure(ratio)
    assert low < 0.9
    assert high > 1.1
    assert 0.2 < p_faster < 0.8


def test_errors_of_whole_runs_on_two_machines_are_drawn_apart():
    exact = replace(DEVICE, spread=0.0, ratio=(1 / 1.3, 1.3))
    ratio = against(run_on(exact), run_on(replace(exact, name="other")), draws=4000)
    expected = math.exp(math.sqrt(2) * math.log(1.3))
    assert ratio.high == pytest.approx(expected, rel=0.03)
    assert ratio.low == pytest.approx(1 / expected, rel=0.03)
    assert ratio.p_faster == pytest.approx(0.5, abs=0.03)


def test_another_workload_on_the_same_machine_has_an_error_of_its_own():
    exact = replace(DEVICE, spread=0.0)
    ratio = against(run_on(exact), run_on(exact, name="other"))
    low, high, _ = sure(ratio)
    assert low < 1 < high


def test_the_two_directions_agree():
    other = replace(DEVICE, name="other", compute_s=0.9)
    there, back = against(run_on(DEVICE), run_on(other)), against(run_on(other), run_on(DEVICE))
    assert there.value == pytest.approx(1 / back.value)
    assert sure(there)[2] + sure(back)[2] == pytest.approx(1.0, abs=0.1)


def test_the_same_seed_gives_the_same_answer_and_another_one_another():
    other = replace(DEVICE, name="other")
    first = against(run_on(DEVICE), run_on(other), seed=1)
    assert against(run_on(DEVICE), run_on(other), seed=1) == first
    assert against(run_on(DEVICE), run_on(other), seed=2) != first


def test_without_spreads_how_sure_it_is_is_unknown_and_not_certain():
    ratio = against(run_on(IdealDevice()), run_on(DEVICE))
    assert ratio.value == pytest.approx(1.0)
    assert (ratio.low, ratio.high, ratio.p_faster) == (None, None, None)
    assert "unknown" in str(ratio)


def test_a_ratio_is_said_in_one_line():
    text = str(against(run_on(DEVICE), run_on(replace(DEVICE, name="other", compute_s=9.0))))
    assert text.startswith("9.4 times as fast (90 %: ")
    assert "P(faster) = 100.0%" in text


def test_too_few_draws_are_an_error():
    with pytest.raises(InputError, match="at least 20, got 5"):
        against(run_on(DEVICE), run_on(DEVICE), draws=5)


def test_a_ratio_that_is_nearly_one_is_told_from_one():
    ratio = against(run_on(DEVICE), run_on(DEVICE))
    close = replace(ratio, value=1.00392, low=1.0, high=1.0048)
    assert str(close).startswith("1.0039 times as fast (90 %: 1 to 1.0048)")
