"""Be a network: devices and switches, directed links between them, and the routes.

Nodes are numbered: the devices first, then switches and NICs, tier by tier. A cable is two links,
one for each direction, each with its own bandwidth and latency. All are arrays, so that a network
of 131,072 devices is made and routed in a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hwmodels.network.graph_router import DetourRouter, GraphRouter, flow_hash
from hwmodels.network.routers import Router
from simulator.errors import InputError, UnknownNameError
from simulator.formula import check_whole
from simulator.ops import BoolArray, FloatArray, IntArray

ECMP = ("destination", "hash")
"""How a flow chooses among equal routes: by its destination's number (D-mod-k), or by a hash."""
MOST_NAMED = 8
"""Nodes that an error names."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Be nodes of one sort, with numbers in a row.

    Parameters
    ----------
    name : of the sort
    count : how many
    level : 0 for devices, above them 1, 2 ...; below 0 for switches inside of a node
    """

    name: str
    count: int
    level: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Topology:
    """Be a network.

    Parameters
    ----------
    shape : its name
    devices : how many; they are nodes 0 to devices - 1
    tiers : sorts of nodes, in the order of their numbers
    tail, head : the nodes where each directed link begins and ends (l,)
    bandwidth_bytes_per_s : of each link (l,), B/s
    latency_s : of each link (l,), seconds
    router : knows the routes
    ecmp : how a flow chooses among equal routes: by "destination" (D-mod-k), or by a "hash" of
        source, destination and seed
    seed : of the hash
    labels : names of all nodes, where they have names of their own
    is_failed : which links have failed (l,); None: none

    >>> from hwmodels.network.shapes import star
    >>> from hwmodels.network.wires import Wire
    >>> network = star(3, Wire(1.25e9, 1e-6))
    >>> network.routes([0, 1], [2, 0])
    array([[0, 5],
           [1, 3]])
    >>> [network.name_of_link(link) for link in (0, 5)]
    ['device 0 -> switch 0', 'switch 0 -> device 2']
    """

    shape: str
    devices: int
    tiers: tuple[Tier, ...]
    tail: IntArray
    head: IntArray
    bandwidth_bytes_per_s: FloatArray
    latency_s: FloatArray
    router: Router
    ecmp: str = "destination"
    seed: int = 0
    labels: tuple[str, ...] | None = None
    is_failed: BoolArray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.ecmp not in ECMP:
            raise UnknownNameError("way to choose among equal routes", self.ecmp, ECMP)

    @property
    def links(self) -> int:
        """Return the number of directed links."""
        return len(self.tail)

    @cached_property
    def nodes(self) -> int:
        """Return the number of devices and switches."""
        return sum(tier.count for tier in self.tiers)

    @cached_property
    def usable(self) -> BoolArray:
        """Return which links have not failed (l,)."""
        return np.ones(self.links, bool) if self.is_failed is None else ~self.is_failed

    # --- routes --------------------------------------------------------------------------------

    def routes(self, src: ArrayLike, dst: ArrayLike) -> IntArray:
        """Return the links that each flow crosses, in order.

        Parameters
        ----------
        src, dst : devices (f,)

        Returns
        -------
        array : ids of links (f, hops), -1 after the last; a flow to itself crosses none

        Raises
        ------
        InputError : a number that no device has
        """
        source, target = _ids("device", src, self.devices), _ids("device", dst, self.devices)
        if source.shape != target.shape:
            raise InputError(f"routes need a destination for each source; got {len(source)} "
                             f"sources and {len(target)} destinations")  # fmt: skip
        choice = flow_hash(source, target, self.seed) if self.ecmp == "hash" else None
        return self.router.routes(source, target, choice)

    def latency_s_of(self, src: ArrayLike, dst: ArrayLike) -> FloatArray:
        """Return the sum of latencies along the route of each flow (f,), seconds."""
        latency = np.append(self.latency_s, 0.0)
        return np.asarray(latency[self.routes(src, dst)].sum(axis=1))

    def with_ecmp(self, ecmp: str, seed: int = 0) -> Topology:
        """Return the network where flows choose among equal routes in another way.

        Parameters
        ----------
        ecmp : "destination" or "hash"
        seed : of the hash, at least 0
        """
        check_whole("seed", seed, 0)
        return replace(self, ecmp=ecmp, seed=seed)

    # --- changes -------------------------------------------------------------------------------

    def degraded(self, links: ArrayLike, factor: ArrayLike) -> Topology:
        """Return the network where some links carry only a part of their bandwidth.

        Parameters
        ----------
        links : ids of directed links (m,), as `between` finds them
        factor : what is left of the bandwidth, above 0, at most 1; one for all or (m,)

        Raises
        ------
        InputError : no such link, or a factor out of its range
        """
        ids, left = _ids("link", links, self.links), np.asarray(factor, float)
        if not ((left > 0) & (left <= 1)).all():
            raise InputError(f"expected a factor above 0, at most 1, got {factor!r}; "
                             f"a link that carries nothing has `failed`")  # fmt: skip
        if left.ndim and left.shape != ids.shape:
            raise InputError(f"expected one factor, or one for each of {len(ids)} links, "
                             f"got {left.size}")  # fmt: skip
        bandwidth = self.bandwidth_bytes_per_s.copy()
        bandwidth[ids] *= left
        return replace(self, bandwidth_bytes_per_s=bandwidth)

    def failed(self, links: ArrayLike) -> Topology:
        """Return the network without some links; routes over them are led round.

        An equal alternative of the shape is taken where there is one, else a shortest path of what
        is left (fewest hops, or least latency where routes follow latency).

        Parameters
        ----------
        links : ids of directed links (m,), as `between` finds them; other links keep their ids

        Raises
        ------
        InputError : no such link, or devices are cut off (which are named)
        """
        gone = ~self.usable
        gone[_ids("link", links, self.links)] = True
        if not gone.any():
            return self
        check_connected(self, ~gone)
        whole = self.router.router if isinstance(self.router, DetourRouter) else self.router
        cost = np.ones(self.links)
        if isinstance(whole, GraphRouter):
            cost[whole.links] = whole.cost
        graph = GraphRouter.of(self.nodes, self.tail, self.head, cost, ~gone)
        router = DetourRouter(router=whole, graph=graph, failed=gone)
        return replace(self, router=router, is_failed=gone)

    # --- names ---------------------------------------------------------------------------------

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the names of all nodes."""
        if self.labels is not None:
            return self.labels
        return tuple(f"{tier.name} {i}" for tier in self.tiers for i in range(tier.count))

    def name_of_link(self, link: int) -> str:
        """Return between which nodes a link is."""
        return f"{self.names[self.tail[link]]} -> {self.names[self.head[link]]}"

    def between(self, one: int | str, other: int | str) -> IntArray:
        """Return the links between two nodes, in both directions.

        Parameters
        ----------
        one, other : numbers or names of nodes

        Raises
        ------
        UnknownNameError : no node has this name
        InputError : there is no link between the two
        """
        a, b = _number(self, one), _number(self, other)
        found = np.flatnonzero(((self.tail == a) & (self.head == b))
                               | ((self.tail == b) & (self.head == a)))  # fmt: skip
        if not len(found):
            raise InputError(f"there is no link between {self.names[a]} and {self.names[b]}")
        return found

    def tier_of(self, nodes: ArrayLike) -> IntArray:
        """Return the index of the tier that each node belongs to."""
        ends = np.cumsum([tier.count for tier in self.tiers])
        return np.searchsorted(ends, np.asarray(nodes), side="right")

    def graph(self) -> Any:
        """Return the network as a networkx.MultiDiGraph.

        Nodes have `name`, `tier` and `device`; links have their id as key, `bandwidth_bytes_per_s`
        and `latency_s`. Failed links are left out.
        """
        return _graph(self)


def _graph(topology: Topology) -> Any:
    from networkx import MultiDiGraph

    graph = MultiDiGraph(name=topology.shape)
    for node, (name, tier) in enumerate(
        zip(topology.names, topology.tier_of(np.arange(topology.nodes)), strict=True)
    ):
        graph.add_node(
            node, name=name, tier=topology.tiers[tier].name, device=node < topology.devices
        )
    for link in np.flatnonzero(topology.usable).tolist():
        graph.add_edge(
            int(topology.tail[link]), int(topology.head[link]), key=link,
            bandwidth_bytes_per_s=float(topology.bandwidth_bytes_per_s[link]),
            latency_s=float(topology.latency_s[link]),
        )  # fmt: skip
    return graph


def _number(topology: Topology, node: int | str) -> int:
    """Return the number of a node that may be given by name."""
    if isinstance(node, str):
        if node not in topology.names:
            raise UnknownNameError("node of the network", node, topology.names)
        return topology.names.index(node)
    if not 0 <= node < topology.nodes:
        raise InputError(f"expected nodes 0 to {topology.nodes - 1}, got {node}")
    return int(node)


def _ids(what: str, numbers: ArrayLike, count: int) -> IntArray:
    """Return numbers of devices or links as an array, if there are such."""
    found = np.atleast_1d(np.asarray(numbers))
    if found.size == 0:
        return found.astype(np.int64)
    whole = found.dtype.kind in "iu" and found.ndim == 1
    wrong = (found < 0) | (found >= count) if whole else np.ones(found.shape, bool)
    if wrong.any():
        raise InputError(f"expected numbers of {what}s, 0 to {count - 1}, got {found[wrong][0]}")
    return found.astype(np.int64, copy=False)


def check_connected(topology: Topology, usable: BoolArray) -> None:
    """Raise unless every device reaches every other one over the usable links.

    Raises
    ------
    InputError : names the devices that are cut off from most others
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    ends = (topology.tail[usable], topology.head[usable])
    matrix = csr_array((np.ones(len(ends[0])), ends), shape=(topology.nodes, topology.nodes))
    part = connected_components(matrix, connection="strong")[1][: topology.devices]
    cut = np.flatnonzero(part != np.bincount(part).argmax())
    if len(cut):
        raise InputError(f"{topology.shape}: cut off from the other devices: "
                         f"{_named(topology.names, cut)}")  # fmt: skip


def _named(names: Sequence[str], nodes: IntArray) -> str:
    left = len(nodes) - MOST_NAMED
    shown = ", ".join(names[node] for node in nodes[:MOST_NAMED])
    return f"{shown} and {left} more" if left > 0 else shown
