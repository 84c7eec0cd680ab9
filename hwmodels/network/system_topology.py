"""Make the network of a system for so many devices, on whole nodes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwmodels.network.composed_shapes import nodes, rail_optimised
from hwmodels.network.graph_shapes import from_graph
from hwmodels.network.shapes import leaf_spine, ring, star, tapered_fat_tree, torus
from hwmodels.network.system_cables import Cable, cable_of, host_cable
from hwmodels.network.topology import Topology
from hwmodels.network.wires import Wire
from hwmodels.system_files import System
from simulator.errors import InputError
from simulator.ops import FloatArray
from simulator.protocols import Device
from simulator.source import Source

USUAL_RADIX = 64
"""Ports of a switch where a system does not say how many."""
_HUBS = {"switch": "nvswitch", "host": "host"}
"""What the switch of a node is called, by its shape."""


@dataclass(frozen=True, slots=True)
class Built:
    """Hold a network with what its links cost.

    Parameters
    ----------
    topology : devices, switches, links
    parts : cables, and how many links are such, in the order of the links
    nic_bytes_per_s : of all NICs of a node; None: there is one node
    fabric : measured network whose numbers NCCL takes; None: nothing says
    """

    topology: Topology
    parts: Sequence[tuple[Cable, int]]
    nic_bytes_per_s: float | None = None
    fabric: str | None = None

    @property
    def sources(self) -> list[Source]:
        """Return where the links' numbers come from."""
        links = [cable.link for cable, _ in self.parts if cable.link is not None]
        return [source for link in links for source in link.sources.values()]

    @property
    def joules_per_byte(self) -> FloatArray | None:
        """Return the energy of a byte over each link (l,), J/B, as far as it is known."""
        values = [cable.joules_per_byte for cable, _ in self.parts]
        if all(value is None for value in values):
            return None
        return np.repeat([value or 0.0 for value in values], [count for _, count in self.parts])

    @property
    def idle_w(self) -> float | None:
        """Return what the ends of all links draw at all times, watts, as far as it is known."""
        known = [cable.port_w * count for cable, count in self.parts if cable.port_w is not None]
        return sum(known) if known else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Return which links' energy is not counted."""
        dark = dict.fromkeys(cable.name for cable, count in self.parts if count and cable.is_dark)
        if not dark:
            return ()
        return (f"energy leaves out the network's {', '.join(dark)}, of which no figure is known, "
                "and all switches",)  # fmt: skip


@dataclass(frozen=True)
class Builder:
    """Build the networks of a system.

    Parameters
    ----------
    system : as found
    device : one of its devices
    library : software that communicates. NCCL lays rings over all links of a mesh, so that what
        counts is the sum of a device's links: for it a mesh becomes a switch
    """

    system: System
    device: Device
    library: str

    @cached_property
    def size(self) -> int:
        """Return the devices of a node."""
        return self.system.count("node.devices", 1)

    def built(self, devices: int) -> Built:
        """Return the network of so many devices.

        Raises
        ------
        InputError : a shape that they do not fit, or that lacks something
        """
        count = -(-devices // self.size)
        if self.size == 1:
            cable = cable_of(self.system, "network", self.system.count("network.nics", 1))
            fabric = self._fabric(count, cable.wire)
            return Built(fabric, [(cable, fabric.links)], cable.rate, cable.fabric)
        within = cable_of(self.system, "node")
        inside = self._inside(within)
        if count == 1:
            return Built(inside, [(within, inside.links)])
        return self._nodes(count, inside, within)

    def _nodes(self, count: int, inside: Topology, within: Cable) -> Built:
        nics = self.system.count("network.nics", 1)
        cable = cable_of(self.system, "network", max(1.0, nics / self.size))
        nics = min(nics, self.size)
        host = host_cable(self.system, self.device, cable)
        if self.system.text("network.shape") == "rail_optimised":
            self._check_rails(nics)
            made = self._rails(count, inside, (cable.wire, host.wire))
        else:
            fabric = self._fabric(count * nics, cable.wire, nics)
            made = nodes(inside, fabric, host.wire, nics_per_node=nics)
        parts = [(within, inside.links * made.devices // self.size), (host, 2 * made.devices)]
        rest = made.links - sum(links for _, links in parts)
        return Built(made, [*parts, (cable, rest)], cable.rate * nics, cable.fabric)

    # --- inside of a node ----------------------------------------------------------------------

    def _inside(self, cable: Cable) -> Topology:
        shape = self.system.text("node.shape")
        if shape == "ring":
            return ring(self.size, cable.wire)
        if shape in _HUBS:
            return star(self.size, cable.wire, hub=_HUBS[shape])
        places = range(self.size)
        edges = {(a, b): 1 for a in places for b in places if a < b}
        if shape == "graph":
            edges = self._edges()
        if self.library != "nccl":
            return _of_edges(edges, self.size, cable)
        links = sum(count for pair, count in edges.items() if 0 in pair)
        return star(self.size, Wire(cable.rate * links, cable.wire.latency_s), hub="mesh")

    def _edges(self) -> dict[tuple[int, int], int]:
        """Return how many links join which devices of a node."""
        text, where = self.system.text("node.edges"), f"{self.system.spec.called}: node.edges"
        if text is None:
            raise InputError(f"{where}: needed by node.shape 'graph'")
        edges: dict[tuple[int, int], int] = {}
        for entry in text.split():
            match = re.fullmatch(r"(\d+)-(\d+)(?:x(\d+))?", entry)
            if match is None or not max(int(match[1]), int(match[2])) < self.size:
                raise InputError(f"{where}: expected joined devices of 0 to {self.size - 1}, such "
                                 f"as 0-1 or 0-3x2, got '{entry}'")  # fmt: skip
            edges[int(match[1]), int(match[2])] = int(match[3] or 1)
        return edges

    # --- between nodes -------------------------------------------------------------------------

    def _fabric(self, ports: int, wire: Wire, unit: int = 1) -> Topology:
        """Return the network between so many NICs (or devices), or a few more in whole units."""
        shape = self.system.text("network.shape") or "star"
        if shape == "ring" and ports > 1:
            return ring(ports, wire)
        if shape == "torus" and ports > 1:
            return self._grid(ports, wire)
        if shape in ("fat_tree", "rail_optimised"):
            return self._fat_tree(ports, wire, unit)
        return star(ports, wire)

    @property
    def _half(self) -> int:
        return self.system.count("network.radix", USUAL_RADIX) // 2

    @property
    def _oversubscription(self) -> float:
        return self.system.spec.number("network.oversubscription") or 1.0

    def _fat_tree(self, ports: int, wire: Wire, unit: int) -> Topology:
        """Return a fat tree of as many levels as it takes; the third has as many pods as needed.

        Leaves that cannot be full without cutting a unit are all as full as they can be evenly.
        """
        half = self._half
        if ports <= 2 * half:
            return star(ports, wire)
        hosts = half
        if -(-ports // half) * half % unit:
            hosts = max(count for count in range(1, half + 1) if ports % count == 0)
        leaves = -(-ports // hosts)
        if leaves <= 2 * half:
            return leaf_spine(leaves, hosts, half, wire, oversubscription=self._oversubscription)
        pods = -(-ports // half**2)
        pods += -pods % (unit // math.gcd(unit, half**2))
        return tapered_fat_tree(pods, half, half, wire, taper=self._oversubscription)

    def _check_rails(self, nics: int) -> None:
        if nics != self.size:
            raise InputError(f"{self.system.spec.called}: rail_optimised needs a NIC for each of "
                             f"the {self.size} devices of a node; got {nics}")  # fmt: skip

    def _rails(self, count: int, inside: Topology, wires: tuple[Wire, Wire]) -> Topology:
        unit = self.system.count("network.unit", count)
        if count <= unit:
            return rail_optimised(count, inside, *wires)
        spines = self._half
        rate = np.asarray(wires[0].bandwidth_bytes_per_s) * unit / spines / self._oversubscription
        whole = -(-count // unit) * unit
        return rail_optimised(whole, inside, *wires, spines=spines, nodes_per_unit=unit,
                              uplink=Wire(rate, wires[0].latency_s))  # fmt: skip

    def _grid(self, devices: int, wire: Wire) -> Topology:
        """Return the torus of the most equal sides; a ring where there are few devices."""
        dimensions = self.system.count("network.dimensions", 2)
        sides = equal_sides(devices, dimensions)
        if len(sides) == 1:
            return ring(devices, wire)
        if min(sides) < 2:
            raise InputError(f"{self.system.spec.called}: {devices} devices do not make a grid of "
                             f"{dimensions} dimensions")  # fmt: skip
        return torus(sides, wire)


def equal_sides(devices: int, dimensions: int) -> tuple[int, ...]:
    """Return the most equal whole sides of a grid, the smallest first; fewer for few devices.

    >>> equal_sides(64, 3), equal_sides(32, 2), equal_sides(2, 3)
    ((4, 4, 4), (4, 8), (2,))
    """
    if devices < 2**dimensions:
        return (devices,) if dimensions == 2 or devices < 4 else equal_sides(devices, 2)
    start = round(devices ** (1 / dimensions))
    side = next(one for one in range(start, 0, -1) if devices % one == 0)
    if dimensions == 2:
        return tuple(sorted((side, devices // side)))
    return tuple(sorted((side, *equal_sides(devices // side, dimensions - 1))))


def _of_edges(edges: Mapping[tuple[int, int], int], size: int, cable: Cable) -> Topology:
    from networkx import Graph

    graph = Graph()
    for device in range(size):
        graph.add_node(device, device=True, name=f"device {device}")
    for (a, b), links in edges.items():
        graph.add_edge(a, b, bandwidth_bytes_per_s=cable.rate * links,
                       latency_s=cable.wire.latency_s)  # fmt: skip
    return from_graph(graph)
