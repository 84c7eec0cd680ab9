"""Small networks of every shape, for tests."""

from __future__ import annotations

import networkx as nx
import numpy as np

from hwmodels.network.composed_shapes import edge_cloud, nodes, rail_optimised
from hwmodels.network.graph_shapes import from_graph
from hwmodels.network.shapes import fat_tree, leaf_spine, ring, star, tapered_fat_tree, torus
from hwmodels.network.wires import Wire

WIRE = Wire(1.25e9, 1e-6)
FAST = Wire(450e9, 5e-7)
PCIE = Wire(55e9, 2e-7)


def nvswitch(devices=4):
    return star(devices, FAST, hub="nvswitch")


def mesh():
    """Return four devices, each joined to each, as within a node without a switch."""
    graph = nx.complete_graph(4)
    nx.set_node_attributes(graph, values=True, name="device")
    for *_, data in graph.edges(data=True):
        data.update(bandwidth_bytes_per_s=50e9, latency_s=5e-7)
    return from_graph(graph)


NETWORKS = {
    "star": star(5, WIRE),
    "star of one": star(1, WIRE),
    "ring": ring(7, WIRE),
    "ring of two": ring(2, WIRE),
    "torus 2D": torus((3, 4), WIRE),
    "torus 3D": torus((2, 3, 5), WIRE),
    "leaf_spine": leaf_spine(3, 4, 2, WIRE, oversubscription=2),
    "fat_tree 2": fat_tree(2, WIRE),
    "fat_tree 4": fat_tree(4, WIRE),
    "fat_tree 6": fat_tree(6, WIRE),
    "tapered": tapered_fat_tree(3, 4, 6, WIRE, taper=2, core_taper=2),
    "nodes under a star": nodes(nvswitch(), star(6, WIRE), PCIE, nics_per_node=2),
    "nodes under a fat tree": nodes(nvswitch(), fat_tree(4, WIRE), PCIE),
    "meshes in a torus": nodes(mesh(), torus((3, 4), WIRE), PCIE, nics_per_node=4),
    "fat trees in nodes": nodes(fat_tree(4, FAST), star(4, WIRE), PCIE, nics_per_node=2),
    "rails": rail_optimised(3, nvswitch(), WIRE, PCIE),
    "rails, units and spines": rail_optimised(
        6, nvswitch(), WIRE, PCIE, spines=2, nodes_per_unit=2
    ),
    "rails crossed over spines": rail_optimised(
        3, nvswitch(), WIRE, PCIE, spines=2, through_peer=False
    ),
    "edge_cloud": edge_cloud(3, 4, Wire(2.5e6, 20e-3, 12.5e6), Wire(125e6, 5e-3)),
    "graph": from_graph(star(5, WIRE).graph()),
}


def pairs(network):
    """Return all pairs of different devices: sources, destinations."""
    src, dst = np.divmod(np.arange(network.devices**2), network.devices)
    return src[src != dst], dst[src != dst]


def hops(network, src, dst):
    """Return how many links each route crosses."""
    return (network.routes(src, dst) >= 0).sum(axis=1)
