"""Shapes are made of what is asked, link by link, and refuse what cannot be."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from hwmodels.network.composed_shapes import edge_cloud, nodes, rail_optimised
from hwmodels.network.graph_shapes import from_graph, graph
from hwmodels.network.named_shapes import (
    NEEDED,
    SHAPES,
    parameters_of,
    read_topology,
    topology,
)
from hwmodels.network.shapes import fat_tree, leaf_spine, ring, star, tapered_fat_tree, torus
from hwmodels.network.wires import MOST_DEVICES, Wire, wire_of
from simulator.errors import FileError, InputError, UnitError, UnknownNameError
from tests.hwmodels.network.networks import NETWORKS, PCIE, WIRE, nvswitch

RATE = {"bandwidth_bytes_per_s": 1.25e9, "latency_s": 1e-6}


def rates(network, one, other):
    """Return the bandwidth from one node to the other and back."""
    return [network.bandwidth_bytes_per_s[
        np.flatnonzero((network.tail == a) & (network.head == b))[0]
    ] for a, b in ((network.names.index(one), network.names.index(other)),
                   (network.names.index(other), network.names.index(one)))]  # fmt: skip


# --- links that differ ---------------------------------------------------------------------------


def test_the_way_up_and_the_way_down_may_differ():
    network = star(3, Wire(1e9, 1e-6, down_bandwidth_bytes_per_s=4e9))
    assert rates(network, "device 1", "switch 0") == [1e9, 4e9]


def test_each_device_may_have_a_link_of_its_own():
    network = star(3, Wire([1e9, 2e9, 3e9], [1e-6, 2e-6, 3e-6]))
    assert rates(network, "device 2", "switch 0") == [3e9, 3e9]
    assert network.latency_s_of([0, 1], [2, 0]) == pytest.approx([4e-6, 3e-6])


def test_each_level_of_a_tree_may_have_a_wire_of_its_own():
    network = fat_tree(4, WIRE, uplink=Wire(2e9), core=Wire(3e9))
    assert rates(network, "device 0", "leaf 0") == [1.25e9, 1.25e9]
    assert rates(network, "leaf 0", "aggregation 1") == [2e9, 2e9]
    assert rates(network, "aggregation 0", "core 0") == [3e9, 3e9]


def test_a_level_without_a_wire_has_that_of_the_level_below():
    network = tapered_fat_tree(2, 2, 2, WIRE, uplink=Wire(2e9))
    assert rates(network, "aggregation 0", "core 0") == [2e9, 2e9]


def test_a_torus_may_have_a_wire_for_each_dimension_and_a_rate_for_each_direction():
    network = torus((3, 4), [Wire(1e9), Wire(2e9, 0, 3e9)])
    assert rates(network, "device 0", "device 4") == [1e9, 1e9]
    assert rates(network, "device 0", "device 1") == [2e9, 3e9]
    assert rates(network, "device 3", "device 0") == [2e9, 3e9], "forward leads round"


def test_clients_send_slower_than_they_receive():
    network = NETWORKS["edge_cloud"]
    assert rates(network, "client 5", "edge 1") == [2.5e6, 12.5e6]
    assert rates(network, "edge 2", "cloud 0") == [125e6, 125e6]


def test_the_links_of_nodes_are_those_of_their_parts():
    network = NETWORKS["nodes under a fat tree"]
    assert rates(network, "device 5", "nvswitch 1") == [450e9, 450e9]
    assert rates(network, "device 5", "nic 1") == [55e9, 55e9]
    assert rates(network, "nic 1", "leaf 0") == [1.25e9, 1.25e9]


def test_several_tiers_of_switches_in_nodes_keep_their_places():
    network = NETWORKS["fat trees in nodes"]
    graph = network.graph()
    for name, ports in (("leaf 9", 4), ("aggregation 15", 4), ("core 5", 4)):
        assert graph.out_degree(network.names.index(name)) == ports
    assert [tier.level for tier in network.tiers] == [0, -1, -2, -3, 1, 2]


def test_nodes_have_different_names_even_where_a_part_names_them_alike():
    network = nodes(star(2, WIRE), star(2, WIRE), PCIE)
    assert network.names[4:] == ("node switch 0", "node switch 1", "nic 0", "nic 1", "switch 0")


def test_the_way_to_choose_of_a_fabric_is_that_of_the_whole():
    network = nodes(nvswitch(), fat_tree(4, WIRE).with_ecmp("hash", 7), PCIE)
    assert (network.ecmp, network.seed) == ("hash", 7)


def test_the_graph_tells_all_about_nodes_and_links():
    graph = star(2, WIRE).graph()
    assert graph.nodes[0] == {"name": "device 0", "tier": "device", "device": True}
    assert graph.nodes[2] == {"name": "switch 0", "tier": "switch", "device": False}
    assert graph.edges[0, 2, 0] == RATE


# --- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Wire(0), "link's bandwidth_bytes_per_s: expected a finite number above 0, got 0"),
        (lambda: Wire(-1e9), "expected a finite number above 0, got -1e"),
        (lambda: Wire([1e9, -2]), "expected a finite number above 0, got -2"),
        (lambda: Wire(float("inf")), "expected a finite number above 0, got inf"),
        (lambda: Wire("fast"), "expected a number, got 'fast'"),
        (lambda: Wire(1e9, -1e-6), "latency_s: expected a finite number 0 or more, got -1e-06"),
        (lambda: Wire(1e9, 0, 0), "down_bandwidth_bytes_per_s: expected a finite number above 0"),
        (lambda: star(3, Wire([1e9, 2e9])), "one for each of 3, got 2"),
        (lambda: star(0, WIRE), "devices: expected a whole number of at least 1, got 0"),
        (lambda: topology("star", {"devices": 2.5, "wire": RATE}), r"whole number .* got 2\.5"),
        (lambda: star(10**9, WIRE), f"at most {MOST_DEVICES:,} devices, got 1,000,000,000"),
        (lambda: torus((10**4, 10**4), WIRE), "torus: expected at most"),
        (lambda: edge_cloud(10**4, 10**4, WIRE, WIRE), "edge_cloud: expected at most"),
        (lambda: ring(1, WIRE), "devices: expected a whole number of at least 2, got 1"),
        (lambda: torus((4,), WIRE), "2 or 3 sizes, got .4,.; for one use a ring"),
        (lambda: torus((4, 1), WIRE), "a size: expected a whole number of at least 2, got 1"),
        (lambda: torus((4, 4), [WIRE]), "one for each of 2 dimensions, got 1"),
        (lambda: fat_tree(5, WIRE), "fat_tree: expected an even number of ports k, got 5"),
        (lambda: fat_tree(0, WIRE), "k: expected a whole number of at least 2, got 0"),
        (lambda: leaf_spine(2, 2, 0, WIRE), "spines: expected a whole number of at least 1"),
        (lambda: leaf_spine(2, 2, 2, WIRE, oversubscription=0), "oversubscription: expected a"),
        (lambda: leaf_spine(2, 2, 2, WIRE, uplink=WIRE, oversubscription=2), "not both"),
        (
            lambda: leaf_spine(2, 1, 2, Wire([1e9, 2e9]), oversubscription=2),
            "an oversubscription needs one bandwidth for all devices",
        ),
        (
            lambda: tapered_fat_tree(2, 2, 4, WIRE, taper=3),
            "taper 3 of 4 ports down leaves 1.33333 ports up; expected a whole number",
        ),
        (lambda: tapered_fat_tree(2, 2, 4, WIRE, core_taper=4), "core_taper 4 of 2 ports down"),
        (lambda: tapered_fat_tree(2, 0, 4, WIRE), "leaves_per_pod: expected a whole number"),
        (
            lambda: nodes(nvswitch(8), star(6, WIRE), PCIE, nics_per_node=3),
            "8 devices of a node do not share 3 NICs evenly",
        ),
        (
            lambda: nodes(nvswitch(8), star(6, WIRE), PCIE, nics_per_node=4),
            "a fabric of 6 NICs does not fill nodes of 4",
        ),
        (lambda: nodes(nvswitch(8), star(6, WIRE), PCIE, nics_per_node=0), "nics_per_node: exp"),
        (
            lambda: rail_optimised(6, nvswitch(), WIRE, PCIE, nodes_per_unit=4, spines=2),
            "6 nodes do not fill units of 4",
        ),
        (
            lambda: rail_optimised(6, nvswitch(), WIRE, PCIE, nodes_per_unit=3),
            "traffic between units, .* needs at least one spine",
        ),
        (
            lambda: rail_optimised(6, nvswitch(), WIRE, PCIE, through_peer=False),
            "needs at least one spine",
        ),
        (lambda: edge_cloud(0, 3, WIRE, WIRE), "edges: expected a whole number of at least 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


# --- graphs --------------------------------------------------------------------------------------


def line(**changed):
    """Return two devices joined by a switch, as a networkx graph."""
    made = nx.Graph()
    made.add_nodes_from("ab", device=True)
    made.add_edge("a", "s", **RATE)
    made.add_edge("s", "b", **{**RATE, **changed})
    return made


def test_devices_come_in_the_order_of_the_graph_and_keep_their_names():
    network = from_graph(line())
    assert network.devices == 2
    assert network.names == ("a", "b", "s")
    assert network.name_of_link(int(network.routes(0, 1)[0, 0])) == "a -> s"


def test_a_directed_graph_may_have_other_rates_back():
    made = line().to_directed()
    made["b"]["s"]["bandwidth_bytes_per_s"] = 5e9
    assert rates(from_graph(made), "s", "b") == [1.25e9, 5e9]


def test_parallel_cables_are_shared_by_hash():
    made = nx.MultiGraph(line())
    made.add_edge("a", "s", **RATE)
    network = from_graph(made)
    used = {network.with_ecmp("hash", seed).routes(0, 1)[0, 0] for seed in range(20)}
    assert len(used) == 2


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (nx.path_graph(3), "no node is a device; mark devices by the attribute device=True"),
        (line(bandwidth_bytes_per_s=0), "bandwidth_bytes_per_s from b to s: .* above 0, got 0"),
        (line(latency_s=-1), "latency_s from b to s: .* 0 or more, got -1"),
        (nx.Graph([("a", "b")]), "no node is a device"),
    ],
)
def test_graphs_that_are_no_network_are_refused(made, message):
    with pytest.raises(InputError, match=message):
        from_graph(made)


def test_an_edge_without_a_bandwidth_is_named():
    made = line()
    made.add_edge("b", "t")
    with pytest.raises(InputError, match="the edge from b to t has no bandwidth_bytes_per_s"):
        from_graph(made)


def test_devices_that_are_not_joined_are_named():
    made = line()
    made.add_node("c", device=True)
    with pytest.raises(InputError, match="graph: cut off from the other devices: c"):
        from_graph(made)


def test_a_way_to_measure_paths_that_nobody_knows_is_refused():
    with pytest.raises(UnknownNameError, match="unknown length of paths 'miles'"):
        from_graph(line(), follow="miles")


# --- by name -------------------------------------------------------------------------------------

SMALLEST = {
    "star": {"devices": 2, "wire": RATE},
    "ring": {"devices": 2, "wire": RATE},
    "torus": {"sizes": [2, 2], "wire": [RATE, RATE]},
    "leaf_spine": {"leaves": 2, "hosts_per_leaf": 1, "spines": 1, "wire": RATE},
    "fat_tree": {"k": 2, "wire": RATE},
    "tapered_fat_tree": {"pods": 1, "leaves_per_pod": 1, "hosts_per_leaf": 2, "wire": RATE},
    "nodes": {
        "inside": {"shape": "star", "devices": 1, "wire": RATE},
        "fabric": {"shape": "star", "devices": 2, "wire": RATE},
        "pcie": RATE,
    },
    "rail_optimised": {
        "count": 2,
        "inside": {"shape": "star", "devices": 1, "wire": RATE},
        "wire": RATE,
        "pcie": RATE,
    },
    "edge_cloud": {"edges": 1, "clients_per_edge": 1, "access": RATE, "backhaul": RATE},
    "graph": {"devices": ["a", "b"], "cables": [{"between": ["a", "b"], **RATE}]},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_can_be_made_of_plain_parameters(shape):
    assert topology(shape, SMALLEST[shape]).routes([0], [1]).size >= 1


def test_quantities_may_have_units():
    network = topology("star", {"devices": 2, "wire": {"bandwidth_bytes_per_s": "10 Gbit/s",
                                                       "latency_s": "2 us"}})  # fmt: skip
    assert network.bandwidth_bytes_per_s == pytest.approx(1.25e9)
    assert network.latency_s_of(0, 1) == pytest.approx(4e-6)


def test_lists_of_quantities_may_have_units():
    network = topology("star", {"devices": 2, "wire.bandwidth_bytes_per_s": ["8 Gbit/s", "2 GB/s"]})
    assert network.bandwidth_bytes_per_s[:2].tolist() == [1e9, 2e9]


def test_dotted_names_go_over_tables():
    given = {**SMALLEST["nodes"], "fabric.wire.bandwidth_bytes_per_s": 5e9}
    assert rates(topology("nodes", given), "nic 0", "switch 0") == [5e9, 5e9]


def test_ecmp_is_a_parameter_of_every_shape():
    network = topology("fat_tree", {**SMALLEST["fat_tree"], "ecmp": "hash", "seed": 4})
    assert (network.ecmp, network.seed) == ("hash", 4)


def test_failed_and_degraded_links_are_parameters_of_every_shape():
    given = {"k": 4, "wire": RATE}
    gone, slow = ("leaf 0", "aggregation 1"), ("leaf 1", "aggregation 0")
    network = topology("fat_tree", {**given, "failed": [gone], "degraded": [[*slow, 0.5]]})
    assert not network.usable[network.between(*gone)].any()
    assert rates(network, *slow) == [0.625e9, 0.625e9]
    assert topology("fat_tree", {**given, "failed": []}).usable.all()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_parameters_of_a_shape_say_which_are_needed(shape):
    needed = [name for name, default in parameters_of(shape).items() if default == NEEDED]
    roots = {name.partition(".")[0] for name in needed}
    assert roots == {*SMALLEST[shape]}, "these are the fewest that are enough"


@pytest.mark.parametrize(
    ("shape", "parameters", "message"),
    [
        ("fattree", {}, "unknown shape of a network 'fattree'; did you mean 'fat_tree'"),
        ("fat_tree", {"kk": 4}, "unknown parameter of fat_tree 'kk'; did you mean 'k'|known:"),
        ("fat_tree", {}, "fat_tree: needs k, wire.bandwidth_bytes_per_s"),
        ("fat_tree", {"k": 4, "wire": 7}, "fat_tree: wire: expected a table with bandwidth_byt"),
        ("fat_tree", {"k": 4, "wire": {"latency_s": 1}}, "wire: needs bandwidth_bytes_per_s"),
        ("star", {"devices": 2, "wire": {**RATE, "speed": 1}}, "parameter of a wire 'speed' in"),
        ("star", {"devices": "two", "wire": RATE}, "devices: expected a whole number"),
        ("star", {"devices": 2, "wire": RATE, "wire.latency_s.x": 1}, "as a value and as a table"),
        ("torus", {"sizes": 4, "wire": RATE}, "torus: expected 2 or 3 sizes, got 4"),
        ("nodes", {**SMALLEST["nodes"], "fabric": {"devices": 2}}, "fabric: needs the shape of"),
        ("nodes", {**SMALLEST["nodes"], "fabric": "star"}, "fabric: expected a table with shape"),
        ("graph", {"devices": ["a"], "cables": [{"between": "ab"}]}, "a cable joins two names"),
        ("graph", {"devices": ["a"], "cables": ["a", "b"]}, "graph: expected a table for each"),
        ("graph", {"devices": ["a"], "cables": [{"between": ["a", "b"]}]},
         "graph: cable between a and b: needs bandwidth_bytes_per_s"),
        ("star", {**SMALLEST["star"], "ecmp": "best"}, "choose among equal routes 'best'"),
        ("star", {**SMALLEST["star"], "failed": ["ab"]}, "failed: expected a list of .node, node."),
        ("star", {**SMALLEST["star"], "failed": [[0, 9]]}, "expected nodes 0 to 2, got 9"),
        ("star", {**SMALLEST["star"], "degraded": [[0, 2]]}, "degraded: expected a list of "),
        ("star", {**SMALLEST["star"], "degraded": [[0, 2, 0]]}, "a factor above 0, at most 1"),
        ("star", {**SMALLEST["star"], "failed": [[0, 2]]}, "cut off from the other devices"),
        ("star", {**SMALLEST["star"], "seed": -1}, "seed: expected a whole number"),
    ],
)  # fmt: skip
def test_parameters_that_make_no_network_are_refused(shape, parameters, message):
    with pytest.raises(InputError, match=message):
        topology(shape, parameters)


def test_a_unit_of_another_dimension_is_refused():
    with pytest.raises(UnitError, match=r"uplink.latency_s: '2 GB' is not in a unit of s"):
        wire_of({**RATE, "latency_s": "2 GB"}, "uplink")


def test_a_cable_may_be_slower_back():
    cable = {"between": ["a", "b"], **RATE, "down_bandwidth_bytes_per_s": 1e6}
    assert rates(graph(["a", "b"], [cable]), "a", "b") == [1.25e9, 1e6]


def test_a_file_may_describe_a_network(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('shape = "fat_tree"\nk = 4\nwire.bandwidth_bytes_per_s = "10 Gbit/s"\n')
    assert read_topology(path).devices == 16
    assert read_topology(path, {"k": 6}).devices == 54


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("k = 4", "mine.toml: needs the shape of a network; known: star, "),
        ('shape = "fat_tree"\nk = 4', r"mine.toml: fat_tree: needs wire"),
        ('shape = "circle"', "mine.toml: unknown shape of a network 'circle'"),
        ("shape = ", "mine.toml: expected a TOML file"),
    ],
)
def test_a_file_that_describes_no_network_is_named(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(FileError, match=message):
        read_topology(path)
