"""Say where the nodes of a network are drawn, and which of many are drawn as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from hwmodels.network.graph_router import DetourRouter
from hwmodels.network.routers import TorusRouter
from hwmodels.network.topology import Topology
from simulator.ops import BoolArray, FloatArray, IntArray

MOST_NODES = 400
"""More nodes than this are drawn as groups."""
MOST_GROUPS, FEWEST_GROUPS = 16, 8
"""Groups of a tier that are drawn at most; fewer, down to this, where they come out equal."""
MOST_ALONG = {1: 40, 2: 16, 3: 4}
"""Groups that are drawn along a dimension of a ring, of a 2D and of a 3D torus."""
SLANT = np.array([0.31, 0.19])
"""How far the first of three dimensions goes right and up, in steps of the other two."""
MOST_SPRINGS = 120
"""Nodes up to which the better, slower of two layouts of graphs is quick enough."""

CROWDED = 0.3
"""Share of nodes that may be nearer to each other than is reckoned with."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Picture:
    """Hold what is drawn: nodes of one tier, alone or in groups, and cables between them.

    Parameters
    ----------
    position : of each group (g, 2)
    count : nodes in each group (g,)
    tier : of each group (g,)
    ends : the two groups of each cable, or of several that are drawn as one (c, 2)
    cables : how many they are (c,)
    rate : all their bandwidth, in the direction that has more of it (c,), B/s
    failed : whether any of their links has failed (c,)
    around : whether it leads round a torus, so that its ends are far from each other (c,)
    layered : whether a row stands for a tier
    """

    position: FloatArray
    count: IntArray
    tier: IntArray
    ends: IntArray
    cables: FloatArray
    rate: FloatArray
    failed: BoolArray
    around: BoolArray
    layered: bool

    @property
    def gap(self) -> float:
        """Return how far most nodes are at least from their nearest neighbour."""
        if len(self.position) < 2:
            return 1.0
        point = self.position @ [1, 1j]
        far = np.abs(point[:, None] - point) + np.diag(np.full(len(point), np.inf))
        return float(np.quantile(far.min(axis=1), CROWDED))

    @property
    def grouped(self) -> bool:
        """Return whether some nodes are drawn as one."""
        return bool((self.count > 1).any())


def picture(topology: Topology) -> Picture:
    """Return how a network is drawn: trees in layers, rings and tori as such, graphs by springs."""
    sizes = _grid_of(topology)
    layered = not sizes and (topology.shape != "graph" or topology.nodes > MOST_NODES)
    group = _blocks(topology, sizes) if sizes else _parts(topology)
    tier = topology.tier_of(np.unique(group, return_index=True)[1])
    ends, cables, rate, failed = _cables(topology, group)
    around = np.zeros(len(ends), bool)
    if sizes:
        along = _along(topology.devices, sizes)
        place = np.stack(np.unravel_index(np.arange(prod(along)), along), axis=1)
        if len(along) > 1:
            around = (np.abs(place[ends[:, 0]] - place[ends[:, 1]]) > 1).any(axis=1)
        position = _circle(along[0]) if len(along) == 1 else _grid(place)
    elif layered:
        position = _layers([topology.tiers[t].level for t in tier])
    else:
        position = _springs(len(tier), ends)
    return Picture(position=position, count=np.bincount(group), tier=tier, ends=ends,
                   cables=cables, rate=rate, failed=failed, around=around,
                   layered=layered)  # fmt: skip


# --- groups --------------------------------------------------------------------------------------


def _grid_of(topology: Topology) -> tuple[int, ...]:
    """Return the sizes of a ring or torus, nothing for other shapes."""
    router = topology.router
    whole = router.router if isinstance(router, DetourRouter) else router
    return whole.sizes if isinstance(whole, TorusRouter) else ()


def _along(devices: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """Return how many groups are drawn along each dimension."""
    most = max(sizes) if devices <= MOST_NODES else MOST_ALONG[len(sizes)]
    return tuple(min(size, most) for size in sizes)


def _blocks(topology: Topology, sizes: Sequence[int]) -> IntArray:
    """Return the block of a grid that each node is drawn in."""
    places = np.unravel_index(np.arange(topology.nodes), sizes)
    along = _along(topology.devices, sizes)
    blocks = [p * groups // size for p, groups, size in zip(places, along, sizes, strict=True)]
    return np.asarray(np.ravel_multi_index(blocks, along))


def _parts(topology: Topology) -> IntArray:
    """Return the group of each node; nodes with numbers in a row are under the same switches."""
    if topology.nodes <= MOST_NODES:
        return np.arange(topology.nodes)
    parts, first = [], 0
    for tier in topology.tiers:
        groups = _groups(tier.count)
        parts.append(first + np.arange(tier.count) * groups // tier.count)
        first += groups
    return np.concatenate(parts)


def _groups(count: int) -> int:
    if count <= MOST_GROUPS:
        return count
    equal = range(MOST_GROUPS, FEWEST_GROUPS - 1, -1)
    return next((groups for groups in equal if count % groups == 0), MOST_GROUPS)


def _cables(
    topology: Topology, group: IntArray
) -> tuple[IntArray, FloatArray, FloatArray, BoolArray]:
    """Return between which groups cables are, how many, with which bandwidth, and whether whole."""
    pair = np.sort(np.stack([group[topology.tail], group[topology.head]], axis=1), axis=1)
    apart = pair[:, 0] != pair[:, 1]
    ends, line = np.unique(pair[apart], axis=0, return_inverse=True)
    line = line.ravel()
    up = group[topology.tail[apart]] < group[topology.head[apart]]
    rate = topology.bandwidth_bytes_per_s[apart]
    many = [np.bincount(line, way, len(ends)) for way in (up, ~up)]
    rates = [np.bincount(line, rate * way, len(ends)) for way in (up, ~up)]
    failed = np.bincount(line, ~topology.usable[apart], len(ends)) > 0
    return ends, np.maximum(*many), np.maximum(*rates), failed


# --- positions -----------------------------------------------------------------------------------


def _layers(level: Sequence[int]) -> FloatArray:
    """Return rows, one for each level, each spread over the width 0 to 1."""
    rows, row, size = np.unique(level, return_inverse=True, return_counts=True)
    place = np.zeros(len(level))
    for number in range(len(rows)):
        place[row == number] = (np.arange(size[number]) + 0.5) / size[number]
    return np.stack([place, row.astype(float)], axis=1)


def _circle(count: int) -> FloatArray:
    angle = np.pi / 2 - 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _grid(place: IntArray) -> FloatArray:
    """Return a grid, the last dimension to the right, the one before it down."""
    flat = np.stack([place[:, -1], -place[:, -2]], axis=1).astype(float)
    return flat if place.shape[1] == 2 else flat + place[:, :1] * SLANT


def _springs(count: int, ends: IntArray) -> FloatArray:
    """Return a layout where nodes that are joined are near."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from(ends.tolist())
    kind = nx.kamada_kawai_layout if count <= MOST_SPRINGS else nx.spring_layout
    found = kind(graph) if count <= MOST_SPRINGS else kind(graph, seed=0)
    return np.array([found[node] for node in range(count)])
