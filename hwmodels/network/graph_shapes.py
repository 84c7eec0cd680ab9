"""Make a network of any graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hwmodels.network.graph_router import GraphRouter
from hwmodels.network.topology import Tier, Topology, check_connected
from hwmodels.network.wires import check_numbers, wire_of
from simulator.errors import InputError, UnknownNameError
from simulator.ops import FloatArray

FOLLOW = ("hops", "latency")
"""What a shortest path has least of."""
HOP_COST = 1e-6
"""What a hop costs beside the smallest latency, so that of equal latencies fewer hops win."""


def from_graph(graph: Any, *, follow: str = "hops") -> Topology:
    """Return the network of a networkx graph, routed by shortest paths with ECMP.

    Parameters
    ----------
    graph : nodes with `device=True` are devices, in their order; each edge has
        `bandwidth_bytes_per_s` and may have `latency_s`. An edge of an undirected graph is two
        links; directions that differ need a directed graph
    follow : "hops" or "latency": what a shortest path has least of

    Raises
    ------
    InputError : no devices, an edge without bandwidth, a number that no link can have, devices that
        are cut off

    >>> from networkx import Graph
    >>> graph = Graph()
    >>> graph.add_node("gpu a", device=True)
    >>> graph.add_node("gpu b", device=True)
    >>> graph.add_edge("gpu a", "gpu b", bandwidth_bytes_per_s=50e9, latency_s=1e-6)
    >>> from_graph(graph).routes([0, 1], [1, 0]).tolist()
    [[0], [1]]
    """
    if follow not in FOLLOW:
        raise UnknownNameError("length of paths", follow, FOLLOW)
    devices = [node for node, data in graph.nodes(data=True) if data.get("device")]
    others = [node for node, data in graph.nodes(data=True) if not data.get("device")]
    if not devices:
        raise InputError("graph: no node is a device; mark devices by the attribute device=True")
    number = {node: place for place, node in enumerate([*devices, *others])}
    links = [
        (number[a], number[b], _rate(a, b, data), _latency(a, b, data))
        for one, other, data in graph.edges(data=True)
        for a, b in ([(one, other)] if graph.is_directed() else [(one, other), (other, one)])
    ]
    tail, head = (np.array([link[end] for link in links], int) for end in (0, 1))
    rate, latency = (np.array([link[place] for link in links], float) for place in (2, 3))
    names = graph.nodes(data="name")
    switches = [Tier("switch", len(others), 1)] if others else []
    found = Topology(
        shape="graph",
        devices=len(devices),
        tiers=(Tier("device", len(devices), 0), *switches),
        tail=tail,
        head=head,
        bandwidth_bytes_per_s=rate,
        latency_s=latency,
        router=GraphRouter.of(len(number), tail, head, _cost(latency, follow)),
        labels=tuple(str(names[node] or node) for node in number),
    )
    check_connected(found, found.usable)
    return found


def graph(
    devices: Sequence[str], cables: Sequence[Mapping[str, Any]], *, follow: str = "hops"
) -> Topology:
    """Return the network that is described cable by cable, as a file can do.

    Parameters
    ----------
    devices : names; all other names that cables join are switches
    cables : each with the names it joins in `between`, and the parameters of a `Wire`; "up" is from
        the first to the second
    follow : "hops" or "latency": what a shortest path has least of

    Raises
    ------
    InputError : a cable without two ends, as `from_graph`

    >>> rate = {"bandwidth_bytes_per_s": 1.25e9, "latency_s": 1e-6}
    >>> graph(["a", "b"], [{"between": ["a", "s"], **rate}, {"between": ["s", "b"], **rate}]).names
    ('a', 'b', 's')
    """
    from networkx import MultiDiGraph

    found = MultiDiGraph()
    found.add_nodes_from(devices, device=True)
    for cable in cables:
        if not isinstance(cable, Mapping):
            raise InputError(f"graph: expected a table for each cable, got {cable!r}")
        ends = cable.get("between", ())
        if isinstance(ends, str) or len(ends) != 2:
            raise InputError(f"graph: a cable joins two names, such as between = ['a', 'b']; "
                             f"got {ends!r}")  # fmt: skip
        table = {key: value for key, value in cable.items() if key != "between"}
        wire = wire_of(table, f"graph: cable between {ends[0]} and {ends[1]}")
        down = wire.down_bandwidth_bytes_per_s
        back = wire.bandwidth_bytes_per_s if down is None else down
        for (a, b), rate in ((ends, wire.bandwidth_bytes_per_s), (ends[::-1], back)):
            found.add_edge(a, b, bandwidth_bytes_per_s=rate, latency_s=wire.latency_s)
    return from_graph(found, follow=follow)


def _rate(a: object, b: object, data: Mapping[str, Any]) -> float:
    if "bandwidth_bytes_per_s" not in data:
        raise InputError(f"graph: the edge from {a} to {b} has no bandwidth_bytes_per_s")
    check_numbers(f"graph: bandwidth_bytes_per_s from {a} to {b}",
                  data["bandwidth_bytes_per_s"], "above 0")  # fmt: skip
    return float(data["bandwidth_bytes_per_s"])


def _latency(a: object, b: object, data: Mapping[str, Any]) -> float:
    latency = data.get("latency_s", 0.0)
    check_numbers(f"graph: latency_s from {a} to {b}", latency, "0 or more")
    return float(latency)


def _cost(latency_s: FloatArray, follow: str) -> FloatArray:
    some = latency_s[latency_s > 0]
    if follow == "hops" or not len(some):
        return np.ones(len(latency_s))
    return latency_s + HOP_COST * float(some.min())
