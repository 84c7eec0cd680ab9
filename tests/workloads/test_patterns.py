"""Workloads that only communicate: time, bandwidth, bytes and algorithm of a pattern."""

import pytest

import scalemodel as sm
from hwmodels.network.closed_forms import Link, message_s, ring_all_reduce_s
from hwmodels.network.systems import cluster
from simulator.actions import COLLECTIVES
from simulator.errors import InputError, UnknownNameError
from simulator.ideal import ideal_machine
from simulator.simulate import simulate
from workloads.patterns import PATTERNS
from workloads.plans import Communicate, Threads
from workloads.registry import find_workload, list_workloads

STAR = {"devices": 8, "wire": {"bandwidth_bytes_per_s": 1.25e9, "latency_s": 1e-6}}


def on_star():
    return cluster(device="raspberry-pi-4", shape="star", parameters=STAR, library="textbook")


def run(name, machine=None, **parameters):
    return simulate(find_workload(name, **parameters), machine or on_star(), Communicate())


def test_there_is_a_pattern_of_each_collective_but_the_barrier():
    kinds = {one.kind for one in PATTERNS.values()}
    assert kinds == {*COLLECTIVES, "send_recv"} - {"barrier"}
    assert set(PATTERNS) <= {one.name for one in list_workloads()}


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_takes_time_and_has_bandwidths_instead_of_a_speedup(name):
    found = run(name, nbytes="1 MB")
    assert found.step_time_s > 0
    assert found.metric("bus_bandwidth_bytes_per_s") > 0
    assert found.metric("sent_bytes") > 0
    assert found.speedup is None
    assert "speedup" not in found.metrics
    assert found.communication_share == pytest.approx(1)


def test_an_all_reduce_equals_its_closed_form():
    found = run("all-reduce", nbytes=1e9)
    closed_s = ring_all_reduce_s(1e9, 8, Link(2e-6, 1.25e9))
    assert found.step_time_s == pytest.approx(closed_s, rel=1e-3)
    assert found.algorithm_bandwidth_bytes_per_s == pytest.approx(1e9 / found.step_time_s)
    assert found.bus_bandwidth_bytes_per_s == pytest.approx(1.75e9 / found.step_time_s)


def test_each_rank_sends_to_the_next():
    found = run("send-recv", nbytes=1e6)
    assert found.step_time_s == pytest.approx(message_s(1e6, Link(2e-6, 1.25e9)), rel=1e-9)
    assert found.sent_bytes == 8e6


def test_a_count_repeats_it():
    once, thrice = (run("all-gather", nbytes=1e6, count=n) for n in (1, 3))
    assert thrice.step_time_s == pytest.approx(3 * once.step_time_s)
    assert thrice.bus_bandwidth_bytes_per_s == pytest.approx(once.bus_bandwidth_bytes_per_s)


def test_the_run_says_by_which_algorithm():
    assert "all_reduce by textbook: halving doubling" in run("all-reduce", nbytes=1e9).notes
    on_dgx = run("all-reduce", cluster("dgx-h100-80gb"), nbytes="1 GB")
    assert "all_reduce by nccl: in-switch" in on_dgx.notes
    on_ethernet = run("all-reduce", cluster("gigabit-ethernet"), nbytes=1e6)
    assert "all_reduce by gloo: ring" in on_ethernet.notes


def test_eight_h100_reach_the_bus_bandwidth_that_is_reported_of_them():
    found = run("all-reduce", cluster("dgx-h100-80gb"), nbytes="8 GiB")
    assert 420e9 < found.bus_bandwidth_bytes_per_s < 490e9
    low, high = found.interval
    assert low < found.step_time_s < high


def test_bad_patterns_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'nbytes'"):
        sm.all_reduce(bytes=1)
    with pytest.raises(InputError, match="at least 0"):
        sm.all_reduce(nbytes=-1)
    with pytest.raises(InputError, match=r"whole number of at least 0; got 1\.5"):
        sm.all_reduce(nbytes=1.5)
    with pytest.raises(InputError, match="whole number"):
        sm.all_reduce(count=0)
    with pytest.raises(InputError, match="1 GX"):
        sm.all_reduce(nbytes="1 GX")
    with pytest.raises(InputError, match="needs 2 devices or more"):
        simulate(sm.all_reduce(), ideal_machine(1), Communicate())
    with pytest.raises(InputError, match="'mlp' computes"):
        simulate(sm.mlp(batch=1), ideal_machine(2), Communicate())
    with pytest.raises(InputError, match="take plan communicate"):
        simulate(sm.all_reduce(), ideal_machine(2), Threads())
    with pytest.raises(InputError, match=r"trains.*what only communicates takes plan communicate"):
        simulate(sm.all_reduce(), ideal_machine(2), sm.LocalSGD())
    with pytest.raises(InputError, match="computes nothing"):
        sm.complexity_card("all-reduce")
