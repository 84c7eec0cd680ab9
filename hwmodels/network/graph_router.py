"""Find routes in any graph by its shortest paths, and round links that have failed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hwmodels.network.routers import NO_LINK, Router, joined
from simulator.errors import InputError
from simulator.ops import BoolArray, FloatArray, IntArray

SAME_COST = 1e-9
"""Paths whose costs differ by less, relatively, are equally short."""
MOST_DISTANCES = 1 << 22
"""Distances that are in memory at once."""
MOST_TRIED = 1 << 16
"""Alternative routes that are tried at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphRouter:
    """Route by shortest paths; a flow's choice says which of equally short ones it takes.

    Parameters
    ----------
    nodes : how many
    links : ids of the links that may be used, sorted by where they begin and end (l,)
    tail, head : where each of them begins and ends (l,)
    cost : of each of them, above 0 (l,)
    """

    nodes: int
    links: IntArray
    tail: IntArray
    head: IntArray
    cost: FloatArray
    ways: int = 1

    @classmethod
    def of(cls, nodes: int, tail: IntArray, head: IntArray, cost: FloatArray,
           usable: BoolArray | None = None) -> GraphRouter:  # fmt: skip
        """Return the router of a graph, of which only some links may be usable."""
        links = np.lexsort((head, tail))
        links = links if usable is None else links[usable[links]]
        return cls(nodes=nodes, links=links, tail=tail[links], head=head[links], cost=cost[links])

    @cached_property
    def backwards(self) -> Any:
        """Return the sparse matrix of costs from a link's head to its tail."""
        from scipy.sparse import csr_array

        new = np.append(True, (np.diff(self.tail) != 0) | (np.diff(self.head) != 0))[
            : len(self.tail)
        ]
        first = np.flatnonzero(new)
        least = np.minimum.reduceat(self.cost, first) if len(first) else self.cost
        shape = (self.nodes, self.nodes)
        return csr_array((least, (self.head[first], self.tail[first])), shape=shape)

    def routes(self, src: IntArray, dst: IntArray, choice: IntArray | None) -> IntArray:
        """Return the links from each source to each destination.

        Raises
        ------
        InputError : no path leads from a source to its destination
        """
        from scipy.sparse.csgraph import dijkstra

        targets, which = np.unique(dst, return_inverse=True)
        order = np.argsort(which, kind="stable")
        ends = np.searchsorted(which[order], np.arange(len(targets) + 1))
        left = dst if choice is None else choice
        found = np.full((len(src), 1), NO_LINK)
        batch = max(MOST_DISTANCES // self.nodes, 1)
        for start in range(0, len(targets), batch):
            some = targets[start : start + batch]
            distance = np.atleast_2d(dijkstra(self.backwards, indices=some))
            for place, to in enumerate(some, start):
                rows = order[ends[place] : ends[place + 1]]
                paths = self._walk(src[rows], int(to), left[rows], distance[place - start])
                found = widened(found, paths.shape[1])
                found[rows, : paths.shape[1]] = paths
        return joined([found], len(src))

    def _walk(self, src: IntArray, to: int, left: IntArray, distance: FloatArray) -> IntArray:
        """Return the links on shortest paths from sources to one destination."""
        if np.isinf(distance[src]).any():
            lost = int(src[np.isinf(distance[src])][0])
            raise InputError(f"no path leads from node {lost} to node {to}")
        rest = self.cost + distance[self.head]
        nearer = np.flatnonzero(rest <= distance[self.tail] * (1 + SAME_COST))
        count = np.bincount(self.tail[nearer], minlength=self.nodes)
        first = np.cumsum(count) - count
        at, hops = src.copy(), []
        while (rows := np.flatnonzero(at != to)).size:
            here = at[rows]
            left = left.copy()
            left[rows], pick = np.divmod(left[rows], count[here])
            link = nearer[first[here] + pick]
            hop = np.full(len(src), NO_LINK)
            hop[rows] = self.links[link]
            hops.append(hop)
            at[rows] = self.head[link]
        return np.stack(hops, axis=1) if hops else np.empty((len(src), 0), int)


@dataclass(frozen=True, kw_only=True, eq=False)
class DetourRouter:
    """Route as another router does, but round links that have failed.

    A route over a failed link is replaced by an equal alternative, where the shape has one that is
    whole (picked by a hash of the flow, so that all of them share its load); else by a shortest
    path.

    Parameters
    ----------
    router : of the network without failures
    graph : of what is left of it
    failed : whether a link has failed (l,)
    """

    router: Router
    graph: GraphRouter
    failed: BoolArray

    @property
    def ways(self) -> int:
        """Return how many choices may lead to different routes."""
        return self.router.ways

    def routes(self, src: IntArray, dst: IntArray, choice: IntArray | None) -> IntArray:
        """Return the links from each source to each destination."""
        found = self.router.routes(src, dst, choice)
        rows = np.flatnonzero(self._broken(found))
        start, way = flow_hash(src[rows], dst[rows]) % self.ways, 0
        while len(rows) and way < self.ways:
            many = min(max(MOST_TRIED // len(rows), 1), self.ways - way)
            choice = (start[:, None] + way + np.arange(many)).ravel()
            other = self.router.routes(src[rows].repeat(many), dst[rows].repeat(many), choice)
            broken = self._broken(other).reshape(len(rows), many)
            whole = ~broken.all(axis=1)
            first = np.arange(len(rows)) * many + broken.argmin(axis=1)
            found = _replaced(found, rows[whole], other[first[whole]])
            rows, start, way = rows[~whole], start[~whole], way + many
        if len(rows):
            found = _replaced(found, rows, self.graph.routes(src[rows], dst[rows], start))
        return found

    def _broken(self, routes: IntArray) -> BoolArray:
        return np.asarray(np.append(self.failed, False)[routes].any(axis=1))


def widened(routes: IntArray, hops: int) -> IntArray:
    """Return routes with room for at least so many hops."""
    more = max(hops - routes.shape[1], 0)
    return np.pad(routes, ((0, 0), (0, more)), constant_values=NO_LINK)


def flow_hash(src: IntArray, dst: IntArray, seed: int = 0) -> IntArray:
    """Return a number for each flow (f,), at least 0, that looks random and is always the same.

    The mixing function of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
    """
    with np.errstate(over="ignore"):
        mixed = np.full(np.shape(src), seed, np.uint64)
        for part in (src, dst):
            mixed = (mixed ^ np.asarray(part).astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(1)).astype(np.int64)


def _replaced(routes: IntArray, rows: IntArray, others: IntArray) -> IntArray:
    found = widened(routes, others.shape[1])
    found[rows] = widened(others, found.shape[1])
    return found
