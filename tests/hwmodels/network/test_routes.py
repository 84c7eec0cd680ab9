"""A route is a path of links from the source to the destination, as short as the shape allows."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.network.composed_shapes import edge_cloud, nodes, rail_optimised
from hwmodels.network.graph_shapes import from_graph
from hwmodels.network.shapes import fat_tree, leaf_spine, ring, star, tapered_fat_tree, torus
from simulator.errors import InputError
from tests.hwmodels.network.networks import FAST, NETWORKS, PCIE, WIRE, hops, nvswitch, pairs

every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def check_paths(network, src, dst):
    """Follow every route link by link."""
    routes = network.routes(src, dst)
    for start, end, route in zip(src, dst, routes.tolist(), strict=True):
        links = [link for link in route if link >= 0]
        assert route == links + [-1] * (len(route) - len(links)), "gaps come last"
        at = start
        for link in links:
            assert network.usable[link]
            assert network.tail[link] == at, "each link begins where the one before ends"
            at = network.head[link]
        assert at == end
        visited = [start, *network.head[links]]
        assert len(set(visited)) == len(visited), "no node is visited twice"


# --- all shapes ----------------------------------------------------------------------------------


@every_network
@pytest.mark.parametrize("ecmp", ["destination", "hash"])
def test_every_route_is_a_path(network, ecmp):
    check_paths(network.with_ecmp(ecmp, seed=3), *pairs(network))


@every_network
def test_a_flow_to_itself_crosses_no_link(network):
    device = np.arange(network.devices)
    assert (network.routes(device, device) < 0).all()


@every_network
def test_the_links_of_a_route_do_not_depend_on_the_other_flows(network):
    src, dst = pairs(network)
    routes = network.routes(src, dst)
    for flow in range(0, len(src), 17):
        alone = network.routes(src[flow], dst[flow])[0]
        assert routes[flow][routes[flow] >= 0].tolist() == alone[alone >= 0].tolist()


@every_network
def test_a_cable_is_two_links_in_opposite_directions(network):
    there = sorted(zip(network.tail, network.head, strict=True))
    back = sorted(zip(network.head, network.tail, strict=True))
    assert there == back
    assert (network.tail != network.head).all()


@every_network
def test_latency_of_a_route_is_the_sum_over_its_links(network):
    src, dst = pairs(network)
    for found, route in zip(network.latency_s_of(src, dst), network.routes(src, dst), strict=True):
        assert found == pytest.approx(network.latency_s[route[route >= 0]].sum(), rel=1e-12)


SHAPES = st.one_of(
    st.builds(star, st.integers(1, 40), st.just(WIRE)),
    st.builds(ring, st.integers(2, 40), st.just(WIRE)),
    st.builds(torus, st.lists(st.integers(2, 5), min_size=2, max_size=3), st.just(WIRE)),
    st.builds(leaf_spine, st.integers(1, 6), st.integers(1, 6), st.integers(1, 5), st.just(WIRE)),
    st.builds(fat_tree, st.integers(1, 4).map(lambda half: 2 * half), st.just(WIRE)),
    st.builds(tapered_fat_tree, st.integers(1, 4), st.just(4), st.just(6), st.just(WIRE),
              taper=st.sampled_from([0.5, 1, 1.5, 2, 3]), core_taper=st.sampled_from([1, 2, 4])),
    st.builds(edge_cloud, st.integers(1, 6), st.integers(1, 6), st.just(WIRE), st.just(WIRE)),
)  # fmt: skip


@st.composite
def composed(draw):
    """Return nodes under a random fabric."""
    nics = draw(st.integers(1, 3))
    fabric = draw(SHAPES.filter(lambda fabric: fabric.devices % nics == 0))
    return nodes(nvswitch(nics * draw(st.integers(1, 3))), fabric, PCIE, nics_per_node=nics)


@given(st.one_of(SHAPES, composed()), st.data())
def test_routes_of_any_size_are_paths(network, data):
    device = st.integers(0, network.devices - 1)
    flows = data.draw(st.lists(st.tuples(device, device), min_size=1, max_size=20))
    src, dst = zip(*flows, strict=True)
    check_paths(network.with_ecmp("hash", seed=data.draw(st.integers(0, 9))), src, dst)


# --- hop counts ----------------------------------------------------------------------------------


def test_a_route_over_a_star_crosses_two_links():
    network = star(5, WIRE)
    assert set(hops(network, *pairs(network))) == {2}


@pytest.mark.parametrize("k", [4, 6, 8])
def test_a_route_in_a_fat_tree_crosses_2_links_in_a_leaf_4_in_a_pod_else_6(k):
    network, half = fat_tree(k, WIRE), k // 2
    assert network.devices == k**3 // 4
    src, dst = pairs(network)
    same_leaf, same_pod = src // half == dst // half, src // half**2 == dst // half**2
    expected = np.where(same_leaf, 2, np.where(same_pod, 4, 6))
    assert (hops(network, src, dst) == expected).all()


def test_a_fat_tree_has_the_switches_and_cables_of_its_definition():
    network = fat_tree(8, WIRE)
    assert [tier.count for tier in network.tiers] == [128, 32, 32, 16]
    assert network.links == 2 * 3 * 128


def test_each_switch_of_a_fat_tree_has_k_ports():
    network = fat_tree(6, WIRE)
    ports = np.bincount(network.tail, minlength=network.nodes)
    assert (ports[: network.devices] == 1).all()
    assert (ports[network.devices :] == 6).all()


def test_a_fat_tree_routes_d_mod_k():
    k = 4
    network, half = fat_tree(k, WIRE), k // 2
    src, dst = pairs(network)
    far = src // half**2 != dst // half**2
    routes = network.routes(src[far], dst[far])
    aggregation = network.head[routes[:, 1]] - network.devices - k * half
    core = network.head[routes[:, 2]] - network.devices - 2 * k * half
    assert (aggregation % half == dst[far] % half).all()
    assert (core % half == dst[far] // half % half).all()


@pytest.mark.parametrize("sizes", [(4, 5), (3, 4, 5), (2, 2, 6)])
def test_a_torus_goes_the_shortest_way_round_in_each_dimension(sizes):
    network = torus(sizes, WIRE)
    src, dst = pairs(network)
    apart = [
        np.minimum((a - b) % size, (b - a) % size)
        for size, a, b in zip(
            sizes, np.unravel_index(src, sizes), np.unravel_index(dst, sizes), strict=True
        )
    ]
    assert (hops(network, src, dst) == np.sum(apart, axis=0)).all()


def test_a_torus_finishes_a_dimension_before_the_next_and_goes_forward_where_both_ways_are_equal():
    network = torus((4, 4), WIRE)
    route = network.routes([0], [2 * 4 + 2])[0]
    assert [0, *network.head[route]] == [0, 4, 8, 9, 10]


def test_a_ring_is_a_torus_of_one_dimension():
    network = ring(6, WIRE)
    assert hops(network, [0, 0, 0, 0, 0], [1, 2, 3, 4, 5]).tolist() == [1, 2, 3, 2, 1]


def test_two_nodes_in_a_dimension_have_one_cable():
    assert ring(2, WIRE).links == 2
    assert torus((2, 3), WIRE).links == 2 * (3 + 6)


def test_devices_of_one_node_talk_over_its_switch_and_others_over_their_nics():
    network = NETWORKS["nodes under a star"]
    names = [
        [network.names[network.head[link]] for link in route if link >= 0]
        for route in network.routes([0, 0], [3, 5]).tolist()
    ]
    assert names == [["nvswitch 0", "device 3"], ["nic 0", "switch 0", "nic 2", "device 5"]]


def test_devices_share_the_nics_of_their_node_evenly():
    network = nodes(nvswitch(8), star(8, WIRE), PCIE, nics_per_node=4)
    nics = [network.names[network.head[network.routes(d, 8)[0, 0]]] for d in range(8)]
    assert nics == [f"nic {d // 2}" for d in range(8)]


def test_equal_places_of_nodes_meet_on_their_rail():
    network = NETWORKS["rails"]
    for device in range(4):
        route = network.routes(device, 4 + device)[0]
        assert network.names[network.head[route[1]]] == f"rail {device}"
        assert len(route) == 4


def test_traffic_between_rails_changes_rails_in_its_own_node():
    network = NETWORKS["rails"]
    route = network.routes([0], [6])[0]
    passed = [network.names[node] for node in network.head[route]]
    assert passed == ["nvswitch 0", "device 2", "nic 2", "rail 2", "nic 6", "device 6"]


def test_traffic_between_rails_may_cross_the_spine_instead():
    network = NETWORKS["rails crossed over spines"]
    route = network.routes([0], [6])[0]
    passed = [network.names[node] for node in network.head[route]]
    assert passed == ["nic 0", "rail 0", "spine 1", "rail 2", "nic 6", "device 6"]


def test_units_have_rails_of_their_own():
    network = NETWORKS["rails, units and spines"]
    assert hops(network, [0, 0], [4, 8]).tolist() == [4, 6]


def test_clients_meet_at_the_lowest_common_server():
    network = NETWORKS["edge_cloud"]
    src, dst = [0, 0, 0, 0, 14, 12], [1, 5, 12, 15, 0, 13]
    assert hops(network, src, dst).tolist() == [2, 4, 1, 2, 3, 2]


# --- equal routes --------------------------------------------------------------------------------


def test_d_mod_k_gives_each_destination_a_core_switch_and_shares_them_evenly():
    network = fat_tree(4, WIRE)
    routes = network.routes(*np.divmod(np.arange(4 * 12), 12) + np.array([[0], [4]]))
    cores = network.head[routes[:, 2]]
    assert np.bincount(cores)[-4:].tolist() == [12, 12, 12, 12]


def test_hashing_uses_all_ways_and_the_seed_changes_them():
    network = fat_tree(8, WIRE)
    src, dst = np.arange(64), np.arange(64) + 64
    cores = [network.with_ecmp("hash", seed).routes(src, dst)[:, 2] for seed in (0, 0, 1)]
    assert (cores[0] == cores[1]).all()
    assert (cores[0] != cores[2]).any()
    assert len(np.unique(network.head[cores[0]])) > 12


# --- against graph search ------------------------------------------------------------------------


@every_network
def test_no_shape_but_one_that_says_so_takes_more_hops_than_the_shortest_path(network):
    src, dst = pairs(network)
    shortest = dict(nx.all_pairs_shortest_path_length(network.graph()))
    least = np.array([shortest[a][b] for a, b in zip(src, dst, strict=True)])
    more = hops(network, src, dst) - least
    assert (more >= 0).all()
    if network.shape not in ("nodes", "rail_optimised"):  # these have paths through other devices
        assert (more == 0).all()


TREES = [name for name, n in NETWORKS.items() if n.shape in
         ("star", "leaf_spine", "fat_tree", "tapered_fat_tree", "edge_cloud", "ring")]  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_a_graph_of_the_same_cables_has_the_same_routes_as_the_shape(name):
    network = NETWORKS[name]
    src, dst = pairs(network)
    found = from_graph(network.graph())
    assert found.devices == network.devices
    for a, b in zip(network.routes(src, dst), found.routes(src, dst), strict=True):
        nodes_passed = network.head[a[a >= 0]], found.head[b[b >= 0]]
        if network.shape != "ring":  # half way round, a graph knows no forward
            assert nodes_passed[0].tolist() == nodes_passed[1].tolist()
        assert len(nodes_passed[0]) == len(nodes_passed[1])


def test_a_path_of_least_latency_may_have_more_hops():
    graph = nx.Graph()
    graph.add_nodes_from("abc", device=True)
    for one, other, latency in (("a", "b", 9e-6), ("a", "c", 1e-6), ("c", "b", 1e-6)):
        graph.add_edge(one, other, bandwidth_bytes_per_s=1e9, latency_s=latency)
    assert hops(from_graph(graph), [0], [1]) == [1]
    assert hops(from_graph(graph, follow="latency"), [0], [1]) == [2]
    assert from_graph(graph, follow="latency").latency_s_of([0], [1]) == pytest.approx([2e-6])


def test_links_without_latency_are_links_all_the_same():
    graph = nx.path_graph(4)
    nx.set_node_attributes(graph, values=True, name="device")
    nx.set_edge_attributes(graph, 1e9, "bandwidth_bytes_per_s")
    assert hops(from_graph(graph, follow="latency"), [0, 3], [3, 1]).tolist() == [3, 2]


@given(st.integers(4, 12), st.integers(0, 99), st.sampled_from(["hops", "latency"]))
def test_routes_of_a_random_graph_are_paths(count, seed, follow):
    rng = np.random.default_rng(seed)
    graph = nx.connected_watts_strogatz_graph(count, 3, 0.4, seed=seed)
    nx.set_node_attributes(graph, values=True, name="device")
    for *_, data in graph.edges(data=True):
        data.update(bandwidth_bytes_per_s=1e9, latency_s=rng.choice([0.0, 1e-6, 3e-6]))
    network = from_graph(graph, follow=follow).with_ecmp("hash", seed)
    check_paths(network, *pairs(network))


# --- bisection -----------------------------------------------------------------------------------


def cut_bytes_per_s(network):
    """Return the maximal flow from the first half of the devices to the second."""
    graph = nx.DiGraph()
    for tail, head, rate in zip(
        network.tail, network.head, network.bandwidth_bytes_per_s, strict=True
    ):
        graph.add_edge(int(tail), int(head), capacity=float(rate))
    half = network.devices // 2
    for device in range(network.devices):
        graph.add_edge(*(("from", device) if device < half else (device, "to")))
    return nx.maximum_flow_value(graph, "from", "to")


@pytest.mark.parametrize(
    ("network", "wires"),
    [
        (star(8, WIRE), 4),
        (ring(8, WIRE), 2),
        (torus((4, 4), WIRE), 8),
        (fat_tree(4, WIRE), 8),
        (leaf_spine(4, 4, 4, WIRE), 8),
        (leaf_spine(4, 4, 2, WIRE), 4),
        (leaf_spine(4, 4, 2, WIRE, oversubscription=1), 8),
        (leaf_spine(4, 4, 2, WIRE, oversubscription=4), 2),
        (tapered_fat_tree(4, 2, 4, WIRE, taper=2), 8),
        (tapered_fat_tree(4, 2, 4, WIRE, taper=2, core_taper=2), 4),
        (nodes(nvswitch(4), star(4, WIRE), PCIE), 2),
        (rail_optimised(4, nvswitch(4), WIRE, PCIE), 8),
    ],
    ids=lambda value: getattr(value, "shape", None),
)
def test_the_bisection_is_that_of_the_shape(network, wires):
    assert cut_bytes_per_s(network) == pytest.approx(wires * WIRE.bandwidth_bytes_per_s)


# --- wrong questions -----------------------------------------------------------------------------


@pytest.mark.parametrize("device", [5, -1, 1.0, True])
def test_a_number_that_no_device_has_is_named(device):
    with pytest.raises(InputError, match="expected numbers of devices, 0 to 4, got"):
        star(5, WIRE).routes([0], [device])


def test_sources_and_destinations_come_in_pairs():
    with pytest.raises(InputError, match="got 1 sources and 2 destinations"):
        star(5, WIRE).routes([0], [1, 2])


def test_no_flows_have_no_routes():
    assert NETWORKS["nodes under a fat tree"].routes([], []).shape[0] == 0
    assert NETWORKS["graph"].routes([], []).shape[0] == 0


def test_a_way_to_choose_that_nobody_knows_is_refused():
    with pytest.raises(InputError, match="unknown way to choose among equal routes 'random'"):
        fat_tree(4, FAST).with_ecmp("random")
