"""Links fail or carry less: routes lead round what has failed, and errors name who is cut off."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hwmodels.network.composed_shapes import nodes
from hwmodels.network.graph_shapes import from_graph
from hwmodels.network.shapes import fat_tree, leaf_spine, ring, star, torus
from hwmodels.network.wires import Wire
from simulator.errors import InputError, UnknownNameError
from tests.hwmodels.network.networks import NETWORKS, PCIE, WIRE, hops, nvswitch, pairs
from tests.hwmodels.network.test_routes import check_paths, every_network


def test_a_degraded_link_carries_less_in_this_network_only():
    whole = star(4, WIRE)
    links = whole.between("device 1", "switch 0")
    network = whole.degraded(links, 0.25)
    assert network.bandwidth_bytes_per_s[links] == pytest.approx(0.25 * 1.25e9)
    assert np.delete(network.bandwidth_bytes_per_s, links) == pytest.approx(1.25e9)
    assert whole.bandwidth_bytes_per_s == pytest.approx(1.25e9)


def test_each_degraded_link_may_have_a_factor_of_its_own():
    network = star(4, WIRE).degraded([0, 4], [0.5, 0.1])
    assert network.bandwidth_bytes_per_s[[0, 4]] == pytest.approx([0.625e9, 0.125e9])


@pytest.mark.parametrize("factor", [0, -0.5, 1.5, float("nan")])
def test_a_factor_is_above_0_and_at_most_1(factor):
    with pytest.raises(InputError, match="expected a factor above 0, at most 1, got"):
        star(4, WIRE).degraded([0], factor)


def test_factors_come_for_all_links_or_for_each():
    with pytest.raises(InputError, match="one factor, or one for each of 2 links, got 3"):
        star(4, WIRE).degraded([0, 1], [0.5, 0.5, 0.5])


@every_network
def test_any_failed_cable_is_led_round_unless_it_cuts_devices_off(network):
    src, dst = pairs(network)
    for link in range(0, network.links, max(network.links // 12, 1)):
        cable = network.between(int(network.tail[link]), int(network.head[link]))
        try:
            broken = network.failed(cable)
        except InputError:
            assert is_cut(network, cable)
            continue
        assert not is_cut(network, cable)
        assert not np.isin(broken.routes(src, dst), cable).any()
        check_paths(broken, src, dst)


def is_cut(network, cable):
    """Return whether some device does not reach all others without a cable."""
    graph = network.graph()
    graph.remove_edges_from([edge for edge in graph.edges(keys=True) if edge[2] in cable])
    return any(
        not {*range(network.devices)} <= {device, *nx.descendants(graph, device)}
        for device in range(network.devices)
    )


@given(st.integers(0, 50))
def test_many_failures_of_a_fat_tree_are_led_round(seed):
    whole = fat_tree(6, WIRE)
    above = np.flatnonzero((whole.tail >= whole.devices) & (whole.head >= whole.devices))
    gone = np.random.default_rng(seed).choice(above, 12, replace=False)
    try:
        network = whole.failed(gone)
    except InputError:
        assume(False)
    src, dst = pairs(network)
    assert not np.isin(network.routes(src, dst), gone).any()
    check_paths(network, src[::5], dst[::5])


def test_equal_alternatives_take_the_routes_over_a_failed_link_evenly():
    whole = fat_tree(8, WIRE)
    gone = whole.between("leaf 0", "aggregation 0")
    network = whole.failed(gone)
    src, dst = pairs(network)
    assert (hops(network, src, dst) == hops(whole, src, dst)).all(), "no detour is needed"
    up = np.concatenate([whole.between("leaf 0", f"aggregation {i}")[:1] for i in range(4)])
    use = [int((network.routes(src, dst) == link).sum()) for link in up]
    before = [int((whole.routes(src, dst) == link).sum()) for link in up]
    assert use[0] == 0
    assert sum(use) == sum(before)
    assert max(use[1:]) < 1.25 * min(use[1:])


def test_flows_that_do_not_cross_a_failed_link_keep_their_routes():
    whole = fat_tree(4, WIRE)
    gone = whole.between("aggregation 0", "core 0")
    src, dst = pairs(whole)
    before, after = whole.routes(src, dst), whole.failed(gone).routes(src, dst)
    kept = ~np.isin(before, gone).any(axis=1)
    assert (before[kept] == after[kept]).all()
    assert (~kept).any()


def test_a_ring_goes_the_other_way_round():
    whole = ring(6, WIRE)
    network = whole.failed(whole.between("device 0", "device 1"))
    assert hops(network, [0, 1, 5, 0], [1, 0, 1, 5]).tolist() == [5, 5, 4, 1]


def test_one_direction_of_a_cable_may_fail_alone():
    whole = ring(6, WIRE)
    network = whole.failed(whole.between(0, 1)[:1])
    assert hops(network, [0, 1], [1, 0]).tolist() == [5, 1]


def test_a_torus_leads_round_a_failure_in_two_more_hops():
    whole = torus((4, 4), WIRE)
    network = whole.failed(whole.between(0, 1))
    assert hops(network, [0, 4], [1, 5]).tolist() == [3, 1]


def test_a_device_whose_nic_has_failed_leaves_by_another_one():
    whole = nodes(nvswitch(4), fat_tree(4, WIRE), PCIE)
    network = whole.failed(whole.between("device 0", "nic 0"))
    passed = [network.names[node] for node in network.head[network.routes([0], [4])[0]]]
    assert passed[0] == "nvswitch 0"
    assert passed[2].startswith("nic")


def test_failures_add_up():
    whole = leaf_spine(2, 4, 3, WIRE)
    once = whole.failed(whole.between("leaf 0", "spine 0"))
    twice = once.failed(whole.between("leaf 0", "spine 1"))
    assert (twice.names[twice.head[twice.routes(0, 4)[0, 1]]]) == "spine 2"
    with pytest.raises(InputError, match="leaf_spine: cut off from the other devices"):
        twice.failed(whole.between("leaf 0", "spine 2"))


def test_a_graph_of_least_latency_keeps_to_latency_round_a_failure():
    graph = NETWORKS["torus 2D"].graph()
    for *_, key, data in graph.edges(keys=True, data=True):
        data["latency_s"] = 1e-6 * (1 + key % 7)
    whole = from_graph(graph, follow="latency")
    gone = whole.between(0, 1)
    graph.remove_edges_from([(0, 1), (1, 0)])
    less = from_graph(graph, follow="latency")
    src, dst = pairs(whole)
    assert whole.failed(gone).latency_s_of(src, dst) == pytest.approx(less.latency_s_of(src, dst))


def test_who_is_cut_off_is_named():
    network = star(4, WIRE)
    with pytest.raises(InputError, match=r"star: cut off from the other devices: device 2$"):
        network.failed(network.between("device 2", "switch 0")[:1])


def test_many_who_are_cut_off_are_counted():
    network = leaf_spine(3, 20, 1, WIRE)
    with pytest.raises(InputError, match=r"device 20, device 21, .*, device 27 and 12 more"):
        network.failed(network.between("leaf 1", "spine 0"))


def test_failed_links_are_not_in_the_graph():
    whole = ring(4, WIRE)
    network = whole.failed(whole.between(0, 1))
    assert network.graph().number_of_edges() == 6
    assert not network.graph().has_edge(0, 1)


def test_nothing_failed_changes_nothing():
    network = star(4, WIRE)
    assert network.failed([]) is network


def test_failures_of_a_part_stay_in_the_whole():
    fabric = leaf_spine(2, 2, 2, WIRE)
    fabric = fabric.failed(fabric.between("leaf 0", "spine 0"))
    whole = nodes(nvswitch(4), fabric, PCIE)
    gone = whole.between("leaf 0", "spine 0")
    src, dst = pairs(whole)
    assert not np.isin(whole.routes(src, dst), gone).any()
    assert not whole.usable[gone].any()


@pytest.mark.parametrize("links", [[8], [-1], [0.5]])
def test_links_that_do_not_exist_cannot_fail(links):
    with pytest.raises(InputError, match="expected numbers of links, 0 to 7, got"):
        star(4, WIRE).failed(links)


def test_a_name_that_no_node_has_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'device 3'"):
        star(4, WIRE).between("device3", "switch 0")


def test_nodes_without_a_cable_are_named():
    with pytest.raises(InputError, match="no link between device 0 and device 1"):
        star(4, Wire(1e9)).between(0, 1)
    with pytest.raises(InputError, match="expected nodes 0 to 4, got 9"):
        star(4, Wire(1e9)).between(0, 9)
