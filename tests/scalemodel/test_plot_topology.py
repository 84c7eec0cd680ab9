"""A picture of a network shows its nodes and cables; of a large one, groups and their sums."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from hwmodels.network.graph_shapes import from_graph
from hwmodels.network.shapes import fat_tree, ring, star, torus
from hwmodels.network.wires import Wire
from scalemodel.plots.style import save_figure
from scalemodel.plots.topology import EQUAL, plot_topology
from scalemodel.plots.topology_layout import MOST_NODES, picture
from tests.hwmodels.network.networks import FAST, NETWORKS, WIRE
from tests.hwmodels.network.test_routes import every_network


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def written_in(figure):
    return [text.get_text().strip() for text in figure.axes[0].texts]


def line_widths(figure):
    return np.concatenate([lines.get_linewidths() for lines in figure.axes[0].collections
                           if lines.get_label() in legend_of(figure)])  # fmt: skip


# --- what is drawn where -------------------------------------------------------------------------


@every_network
def test_a_small_network_is_drawn_node_by_node_and_cable_by_cable(network):
    drawn = picture(network)
    assert len(drawn.position) == network.nodes
    assert len(np.unique(drawn.position.round(6), axis=0)) == network.nodes
    assert drawn.cables.sum() == network.links / 2
    assert not drawn.grouped


def test_tiers_are_rows_with_devices_below_switches_and_nodes_switches_below_devices():
    network = NETWORKS["rails, units and spines"]
    drawn = picture(network)
    height = dict(zip(drawn.tier.tolist(), drawn.position[:, 1], strict=True))
    rows = sorted(range(len(network.tiers)), key=height.__getitem__)
    assert [network.tiers[tier].name for tier in rows] == [
        "nvswitch", "device", "nic", "rail", "spine"
    ]  # fmt: skip


def test_neighbours_in_a_ring_and_a_torus_are_drawn_as_neighbours():
    drawn = picture(ring(12, WIRE))
    one, other = drawn.position[drawn.ends.T]
    assert np.ptp(np.hypot(*(one - other).T)) < 1e-9
    drawn = picture(torus((4, 5), WIRE))
    one, other = drawn.position[drawn.ends.T]
    assert np.hypot(*(one - other).T)[~drawn.around] == pytest.approx(1.0)
    assert drawn.around.sum() == 4 + 5


@pytest.mark.parametrize(
    "network",
    [fat_tree(32, WIRE), star(1021, WIRE), ring(1000, WIRE), torus((64, 64), WIRE),
     torus((16, 16, 16), WIRE), from_graph(fat_tree(12, WIRE).graph())],
    ids=lambda network: f"{network.shape} {network.devices}",
)  # fmt: skip
def test_a_large_network_is_drawn_as_groups_that_leave_no_node_out(network):
    drawn = picture(network)
    assert drawn.grouped
    assert len(drawn.position) <= MOST_NODES
    assert drawn.count.sum() == network.nodes
    for number, tier in enumerate(network.tiers):
        assert drawn.count[drawn.tier == number].sum() == tier.count


def test_cables_of_groups_add_up():
    network = fat_tree(32, WIRE)
    drawn = picture(network)
    assert drawn.cables.sum() == network.links / 2, "no cable is within a group of a tree"
    assert drawn.rate.sum() == pytest.approx(network.bandwidth_bytes_per_s.sum() / 2)


# --- what is said --------------------------------------------------------------------------------


def test_the_legend_says_which_cables_there_are():
    network = fat_tree(4, WIRE, uplink=FAST)
    assert legend_of(plot_topology(network)) == [
        "device – leaf: 16 × 1.25 GB/s, 1 us",
        "leaf – aggregation: 16 × 450 GB/s, 500 ns",
        "aggregation – core: 16 × 450 GB/s, 500 ns",
    ]


def test_the_legend_says_where_directions_or_cables_differ():
    [edge, cloud] = legend_of(plot_topology(NETWORKS["edge_cloud"]))
    assert edge == "client – edge: 12 × 2.5 MB/s up, 12.5 MB/s down, 20 ms"
    assert cloud == "edge – cloud: 3 × 125 MB/s, 5 ms"
    [mixed] = legend_of(plot_topology(star(2, Wire([1e9, 2e9], [1e-6, 3e-6]))))
    assert mixed == "device – switch: 2 × 1 GB/s to 2 GB/s, 1 us to 3 us"


def test_rows_and_nodes_are_named():
    texts = written_in(plot_topology(star(3, WIRE)))
    assert {"device × 3", "switch × 1", "0", "1", "2"} == {*texts}


def test_groups_say_how_many_they_are():
    texts = written_in(plot_topology(star(1024, WIRE)))
    assert texts.count("×64") == 16
    assert "device × 1,024" in texts


def test_nodes_of_a_graph_have_their_names():
    graph = nx.Graph()
    graph.add_nodes_from(["a long name", "$b_{"], device=True)
    graph.add_edge("a long name", "$b_{", bandwidth_bytes_per_s=1e9)
    assert written_in(plot_topology(from_graph(graph))) == ["a long name", "$b_{"]


def test_the_title_is_the_shape_or_what_is_wanted():
    assert plot_topology(star(3, WIRE)).axes[0].get_title(loc="left") == "star: 3 devices"
    assert plot_topology(star(3, WIRE), "$ x_{").axes[0].get_title(loc="left") == "$ x_{"


def test_faster_cables_are_wider_and_equal_ones_equal():
    widths = line_widths(plot_topology(star(3, Wire([1e9, 4e9, 2e9]))))
    assert widths[0] < widths[2] < widths[1]
    assert set(line_widths(plot_topology(star(3, WIRE)))) == {EQUAL}


def test_failed_cables_are_told_apart():
    whole = fat_tree(4, WIRE)
    figure = plot_topology(whole.failed(whole.between("leaf 0", "aggregation 1")))
    assert legend_of(figure)[-1] == "failed"
    [failed] = [c for c in figure.axes[0].collections if c.get_label() == "failed"]
    assert len(failed.get_paths()) == 1


def test_a_device_alone_is_a_picture_too(tmp_path):
    graph = nx.Graph()
    graph.add_node("alone", device=True)
    save_figure(plot_topology(from_graph(graph)), tmp_path / "alone.png")


@every_network
def test_every_shape_makes_a_file(network, tmp_path):
    assert save_figure(plot_topology(network), tmp_path / "network.png").stat().st_size > 1000
