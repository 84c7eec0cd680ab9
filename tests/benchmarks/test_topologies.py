"""How long a network of 131,072 devices takes to make and to route 262,144 flows."""

from __future__ import annotations

import numpy as np
import pytest

from hwmodels.network.composed_shapes import nodes, rail_optimised
from hwmodels.network.shapes import star, tapered_fat_tree, torus
from hwmodels.network.wires import Wire

pytestmark = pytest.mark.benchmark

WIRE = Wire(50e9, 1e-6)
FLOWS = 262_144


def fat_tree():
    return tapered_fat_tree(64, 64, 32, WIRE)


def nvswitch():
    return star(8, Wire(450e9, 1e-6), hub="nvswitch")


SHAPES = {
    "three-level fat tree": fat_tree,
    "nodes of 8 under a fat tree": lambda: nodes(nvswitch(), fat_tree(), WIRE, nics_per_node=8),
    "rails": lambda: rail_optimised(16384, nvswitch(), WIRE, WIRE, spines=16, nodes_per_unit=32),
    "torus": lambda: torus((64, 64, 32), WIRE),
}


def flows(network):
    rng = np.random.default_rng(0)
    return rng.integers(network.devices, size=(2, FLOWS))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_network_of_131072_devices(shape, cpu_s, report):
    make = SHAPES[shape]
    network = make()
    src, dst = flows(network)
    report(f"network: {shape} of {network.devices:,} made, s", cpu_s(make, 3), "<= 1")
    routing_s = cpu_s(lambda: network.routes(src, dst), 3)
    report(f"network: {shape}, {FLOWS:,} flows routed, s", routing_s, "<= 1")


def test_a_hundred_failed_links(cpu_s, report):
    whole = fat_tree()
    src, dst = flows(whole)
    above = np.flatnonzero((whole.tail >= whole.devices) & (whole.head >= whole.devices))
    gone = np.random.default_rng(1).choice(above, 100, replace=False)
    broken = whole.failed(gone)
    name = f"network: fat tree of {whole.devices:,}"
    report(f"{name}, 100 links failed, s", cpu_s(lambda: whole.failed(gone), 3), "<= 1")
    routing_s = cpu_s(lambda: broken.routes(src, dst), 3)
    report(f"{name}, {FLOWS:,} flows led round them, s", routing_s, "<= 1")
