"""Find messages that are alike, so that one row stands for many.

Colour refinement (Weisfeiler & Leman, 1968; Berkholz, Bonsma & Grohe, Theory of Computing Systems
60, 2017) splits messages and links until any two messages of one colour cross as many links of each
colour, and any two links of one colour carry as many messages of each. Then the max-min rates of
colours are those of their messages, whichever colours flow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simulator.ops import FloatArray, IntArray

Column: TypeAlias = NDArray[Any]
HASH_BITS = 35
"""Of the random number of a colour: sums over 2**18 messages stay exact in a float."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Be messages, the equal ones in one row.

    Parameters
    ----------
    first : a message of each row (r,)
    row : the row of each message (m,)
    routes : links, or colours of links, of each row (r, hops), each once, -1 for none
    counts : messages of the row on each link of that colour (r, hops); None where rows are messages
    capacity : of each colour of links, B/s; None where they are links
    """

    first: IntArray
    row: IntArray
    routes: IntArray
    counts: FloatArray | None = None
    capacity: FloatArray | None = None


def plain_rows(routes: IntArray) -> Rows:
    """Return a row for each message."""
    every = np.arange(len(routes))
    return Rows(every, every, routes)


def needed_links(routes: IntArray, bandwidth: FloatArray) -> IntArray:
    """Return routes without the links that cannot be a bottleneck, whichever messages flow.

    Where all messages on link A also cross link B, which is no wider, B is full before A is. In a
    fat tree of full bisection whose routes go by destination, only the links of devices are left
    where devices exchange with few others.

    Parameters
    ----------
    routes : links of each message (m, hops), -1 after the last
    bandwidth : of each link (l,)

    >>> needed_links(np.array([[0, 2], [1, 2]]), np.array([1.0, 1.0, 1.0]))
    array([[-1,  2],
           [-1,  2]])
    """
    links = len(bandwidth)
    crossing = np.bincount(routes[routes >= 0], minlength=links)
    example = np.zeros(links, np.int64)
    example[routes] = np.arange(len(routes))[:, None]
    gone = np.zeros(links, bool)
    here = np.arange(links)
    for other in routes[example].T:
        also = (routes[:, None, :] == other[routes][:, :, None]).any(axis=2)
        shared = np.bincount(routes[routes >= 0], also[routes >= 0], links)
        inside = (shared == crossing) & (crossing > 0) & (other >= 0) & (other != here)
        wider = bandwidth > bandwidth[other]
        same = bandwidth == bandwidth[other]
        fewer = crossing < crossing[other]
        later = (crossing == crossing[other]) & (here > other)
        gone |= inside & (wider | (same & (fewer | later)))
    return np.where((routes < 0) | gone[routes], -1, routes)


def fold_rows(
    routes: IntArray, columns: Sequence[Column], before: IntArray, bandwidth: FloatArray
) -> Rows:
    """Return a row for each kind of message.

    Costs a few rounds of sorting messages and links.

    Parameters
    ----------
    routes : links of each message (m, hops), -1 after the last
    columns : what equal messages have in common, each (m,)
    before : the message after whose arrival each may be followed by the next (m,), -1 for none
    bandwidth : of each link (l,), B/s
    """
    routes = needed_links(routes, bandwidth)
    used, links = np.unique(routes, return_inverse=True)
    links = links.reshape(routes.shape)
    none = int(used[0] == -1)
    widths = np.concatenate([np.full(none, -1.0), bandwidth[used[none:]]])
    message = _colours(columns)
    link = _colours([widths])
    after = np.full(len(before), -1)
    chained = before >= 0
    after[before[chained]] = np.flatnonzero(chained)
    kinds = 0
    while (found := int(message.max()) + int(link.max())) > kinds:
        kinds = found
        sums = _sums_on_links(links, message, len(used))
        link = _colours([link, *sums])
        sums = _sums_along(links, link)
        message = _colours([message, *sums])
        if chained.any():
            ahead = np.where(chained, message[before], -1)
            behind = np.where(after >= 0, message[after], -1)
            message = _colours([message, ahead, behind])
    return _quotient(links, message, link, widths, none)


def _colours(columns: Sequence[Column]) -> IntArray:
    """Return a number for each different row of some columns, in no order that matters."""
    codes = [np.unique(column, return_inverse=True)[1] for column in columns]
    together = codes[0].astype(np.int64)
    for code in codes[1:]:
        together = together * (int(code.max()) + 1) + code
        together = np.unique(together, return_inverse=True)[1]
    return np.asarray(together)


def _random(colours: IntArray, stream: int) -> FloatArray:
    rng = np.random.default_rng(stream)
    table = rng.integers(1, 1 << HASH_BITS, int(colours.max()) + 1)
    return table[colours].astype(float)


def _sums_on_links(links: IntArray, message: IntArray, count: int) -> list[Column]:
    """Return numbers that tell apart which messages cross each link."""
    flat = links.ravel()
    return [
        np.bincount(flat, np.repeat(_random(message, stream), links.shape[1]), count)
        for stream in (0, 1)
    ]


def _sums_along(links: IntArray, link: IntArray) -> list[Column]:
    """Return numbers that tell apart which links each message crosses."""
    return [_random(link, stream)[links].sum(axis=1) for stream in (2, 3)]


def _quotient(
    links: IntArray, message: IntArray, link: IntArray, widths: FloatArray, none: int
) -> Rows:
    _, first, sizes = np.unique(message, return_index=True, return_counts=True)
    _, one, members = np.unique(link, return_index=True, return_counts=True)
    routes = link[links[first]]
    times = (routes[:, :, None] == routes[:, None, :]).sum(axis=2)
    counts = sizes[:, None] * times / members[routes]
    hops = routes.shape[1]
    repeated = (routes[:, :, None] == routes[:, None, :]) & np.tri(hops, k=-1, dtype=bool)
    gone = repeated.any(axis=2) | (widths[one][routes] < 0 if none else False)
    return Rows(first, message, np.where(gone, -1, routes), counts, widths[one])
