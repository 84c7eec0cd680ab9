"""Find routes by arithmetic, where a network's shape says them: no search, any number of flows.

A route is the ids of directed links in order, `NO_LINK` after the last. Where several routes are
equally good, a flow's *choice* (a number) says which one it takes: it is spent as a number is
written in digits, one digit at each switch that has several ways up. With the destination as the
choice this is D-mod-k routing (Zahavi, "Fat-trees routing and node ordering providing contention
free traffic for MPI global collectives", JPDC 72(11), 2012), which SimGrid has too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Protocol

import numpy as np

from simulator.ops import IntArray

NO_LINK = -1
"""Fills up the routes that are shorter than the longest."""


class Router(Protocol):
    """Know the route between any two devices."""

    @property
    def ways(self) -> int:
        """Return how many choices may lead to different routes."""

    def routes(self, src: IntArray, dst: IntArray, choice: IntArray | None) -> IntArray:
        """Return the links from each source to each destination (f, hops).

        The choice (f,) is at least 0; None: as the destination's number says.
        """


@dataclass(frozen=True, eq=False)
class UpDownRouter:
    """Route up to the lowest common switch and down again, in trees with several parents.

    These are the extended generalised fat trees of Öhring et al. (IPPS 1995): a star, a leaf-spine
    network, a fat tree. A node of level i is known by its subtree (device // devices below it) and
    by its index among the equal switches over that subtree.

    Parameters
    ----------
    devices : how many
    below : how many subtrees are under a switch, from the lowest level of switches up
    above : how many parents a node has, from the devices up
    """

    devices: int
    below: tuple[int, ...]
    above: tuple[int, ...]

    @cached_property
    def ways(self) -> int:
        """Return how many top switches a device can reach."""
        return prod(self.above)

    @cached_property
    def spans(self) -> IntArray:
        """Return how many devices are under a node, for each level (levels + 1,)."""
        return np.cumprod([1, *self.below])

    @cached_property
    def equals(self) -> IntArray:
        """Return how many equal nodes are over one subtree, for each level (levels + 1,)."""
        return np.cumprod([1, *self.above])

    @cached_property
    def cables(self) -> IntArray:
        """Return how many cables go up from each level (levels,)."""
        return self.devices // self.spans[:-1] * self.equals[1:]

    def ends(self, level: int) -> tuple[IntArray, IntArray]:
        """Return the lower and upper ends of cables above a level, numbered in their level."""
        cable = np.arange(self.cables[level])
        low, port = np.divmod(cable, self.above[level])
        subtree, index = np.divmod(low, self.equals[level])
        upper = subtree // self.below[level] * self.equals[level + 1]
        return low, upper + index * self.above[level] + port

    def routes(self, src: IntArray, dst: IntArray, choice: IntArray | None) -> IntArray:
        """Return the links from each source to each destination (f, 2 levels)."""
        left = dst if choice is None else choice
        levels = len(self.below)
        found = np.full((len(src), 2 * levels), NO_LINK)
        apart = src[:, None] // self.spans != dst[:, None] // self.spans
        turn = apart.sum(axis=1)
        index = np.zeros_like(src)
        first = 0
        for level, (span, parents) in enumerate(zip(self.spans, self.above, strict=False)):
            left, port = np.divmod(left, parents)
            rows = np.flatnonzero(apart[:, level])
            at = index[rows] * parents + port[rows]
            step = self.equals[level] * parents
            found[rows, level] = first + src[rows] // span * step + at
            down = first + self.cables[level] + dst[rows] // span * step + at
            found[rows, 2 * turn[rows] - 1 - level] = down
            index = index * parents + port
            first += 2 * self.cables[level]
        return found


@dataclass(frozen=True, eq=False)
class TorusRouter:
    """Route one dimension after the other, the shortest way round (where equal: forward).

    The links of a dimension are numbered by the node that they leave: all forward ones, then all
    backward ones. Of two nodes in a dimension, the forward links are both ways of one cable.

    Parameters
    ----------
    sizes : nodes along each dimension; the last one varies fastest in a node's number
    """

    sizes: tuple[int, ...]
    ways: int = 1

    def routes(self, src: IntArray, dst: IntArray, choice: IntArray | None) -> IntArray:
        """Return the links from each source to each destination."""
        count = prod(self.sizes)
        plan, first, stride = [], 0, count
        length = np.zeros_like(src)
        for size in self.sizes:
            stride //= size
            ahead = (dst // stride - src // stride) % size
            back = ahead > size // 2
            steps = np.where(back, size - ahead, ahead)
            plan.append((stride, size, np.where(back, -1, 1), steps, first + back * count, length))
            first += count * min(size - 1, 2)
            length = length + steps
        found = np.full((len(src), int(length.max(initial=0))), NO_LINK)
        for stride, size, sign, steps, base, column in plan:
            place = src // stride % size
            span = stride * size
            rest = base + dst // span * span + src % stride
            for step in range(int(steps.max(initial=0))):
                rows = np.flatnonzero(steps > step)
                there = (place[rows] + sign[rows] * step) % size
                found[rows, column[rows] + step] = rest[rows] + there * stride
        return found


@dataclass(frozen=True, eq=False)
class TreeRouter:
    """Route in a tree, of which any node may be a device.

    Parameters
    ----------
    parent : of each node but the root, which is the last (nodes - 1,)
    up, down : links to the parent and from it (nodes - 1,)
    """

    parent: IntArray
    up: IntArray
    down: IntArray
    ways: int = 1

    @cached_property
    def depth(self) -> IntArray:
        """Return how far each node is from the root (nodes,)."""
        root = len(self.parent)
        above, depth = np.append(self.parent, root), np.zeros(root + 1, int)
        at = np.arange(root + 1)
        while (at != root).any():
            depth += at != root
            at = above[at]
        return depth

    def routes(self, src: IntArray, dst: IntArray, choice: IntArray | None) -> IntArray:
        """Return the links from each source to each destination."""
        ups: list[IntArray] = []
        downs: list[IntArray] = []
        low, high = src.copy(), dst.copy()
        while (apart := low != high).any():
            further = self.depth[low] - self.depth[high]
            for at, rows, link, found in (
                (low, np.flatnonzero(apart & (further >= 0)), self.up, ups),
                (high, np.flatnonzero(apart & (further <= 0)), self.down, downs),
            ):
                column = np.full(len(src), NO_LINK)
                column[rows] = link[at[rows]]
                found.append(column)
                at[rows] = self.parent[at[rows]]
        return joined([column[:, None] for column in [*ups, *downs[::-1]]], len(src))


@dataclass(frozen=True, eq=False)
class NumberedRouter:
    """Route in a network whose devices have other numbers than its router knows.

    Parameters
    ----------
    router : of the network
    place : the number that the router knows, of each device (n,)
    """

    router: Router
    place: IntArray

    @property
    def ways(self) -> int:
        """Return how many choices may lead to different routes."""
        return self.router.ways

    def routes(self, src: IntArray, dst: IntArray, choice: IntArray | None) -> IntArray:
        """Return the links from each source to each destination."""
        return self.router.routes(self.place[src], self.place[dst], choice)


@dataclass(frozen=True, kw_only=True, eq=False)
class NodesRouter:
    """Route inside of a node by its own network, between nodes by way of their NICs.

    Links are numbered node by node, then those between devices and NICs (all up, all down), then
    those of the fabric.

    Parameters
    ----------
    inside : routes of one node
    fabric : routes between NICs
    size, nics : devices and NICs of a node
    count : nodes
    inside_links : of one node
    through_peer : whether a message goes first to the device of its node that has the same place
        as the destination, so that it leaves on that one's NIC
    """

    inside: Router
    fabric: Router
    size: int
    nics: int
    count: int
    inside_links: int
    through_peer: bool = False

    @property
    def ways(self) -> int:
        """Return how many choices may lead to different routes."""
        return max(self.inside.ways, self.fabric.ways)

    def routes(self, src: IntArray, dst: IntArray, choice: IntArray | None) -> IntArray:
        """Return the links from each source to each destination."""
        within = src // self.size == dst // self.size
        leaves = src
        if self.through_peer:
            leaves = np.where(self.nic(src) % self.nics == self.nic(dst) % self.nics, src,
                              src // self.size * self.size + dst % self.size)  # fmt: skip
        far = np.flatnonzero(~within)
        near = self._inside(src, np.where(within, dst, leaves), choice)
        ends = np.full((2, len(src), 1), NO_LINK)
        first = self.count * self.inside_links
        ends[0, far, 0] = first + leaves[far]
        ends[1, far, 0] = first + self.count * self.size + dst[far]
        between = self.fabric.routes(
            self.nic(leaves[far]), self.nic(dst[far]), None if choice is None else choice[far]
        )
        across = np.full((len(src), between.shape[1]), NO_LINK)
        start = first + 2 * self.count * self.size
        across[far] = np.where(between < 0, NO_LINK, between + start)
        return joined([near, ends[0], across, ends[1]], len(src))

    def nic(self, device: IntArray) -> IntArray:
        """Return the NIC of each device."""
        return device // self.size * self.nics + device % self.size * self.nics // self.size

    def _inside(self, src: IntArray, dst: IntArray, choice: IntArray | None) -> IntArray:
        found = self.inside.routes(src % self.size, dst % self.size, choice)
        node = (src // self.size * self.inside_links)[:, None]
        return np.where(found < 0, NO_LINK, found + node)


def joined(parts: Sequence[IntArray], flows: int) -> IntArray:
    """Return routes that follow each other as one (flows, hops), without gaps.

    >>> joined([np.array([[1], [-1]]), np.array([[2], [3]])], 2).tolist()
    [[1, 2], [3, -1]]
    """
    found = np.hstack(parts) if parts else np.empty((flows, 0), int)
    there = found >= 0
    width = int(there.sum(axis=1).max(initial=0))
    order = np.argsort(~there, axis=1, kind="stable")[:, :width]
    return np.take_along_axis(found, order, axis=1)
