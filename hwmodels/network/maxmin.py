"""Share links among flows: weighted max-min fairness.

Rates are max-min fair when no flow can get more unless another one, that has no more, gets less. So
each flow crosses a *bottleneck*: a full link on which no flow has a larger rate over its weight
(Bertsekas & Gallager, Data Networks, 1992, section 6.5).
"""

from __future__ import annotations

import numpy as np

from simulator.ops import FloatArray, IntArray

TIE = 1e-12
"""Shares that differ by less, relatively, count as equal."""


def max_min_rates(
    routes: IntArray,
    capacity: FloatArray,
    weights: FloatArray | None = None,
    counts: FloatArray | None = None,
) -> FloatArray:
    """Return the max-min fair rates of flows that share links.

    All links that are the tightest for each of their flows settle at once, then the rest again
    (progressive filling by local minima); a round costs O(flows x hops) array operations.

    Parameters
    ----------
    routes : links of each flow (f, hops), -1 after the last
    capacity : of each link (l,), B/s
    weights : the share of a flow in a link is in proportion to this (f,); None: all equal
    counts : how many such flows cross each of these links (f, hops), where a flow stands for
        several; None: 1

    Returns
    -------
    array : rates (f,), B/s; infinite for a flow without links

    >>> max_min_rates(np.array([[0, -1], [0, 1], [1, -1]]), np.array([10.0, 4.0]))
    array([8., 2., 2.])
    """
    flows, links = len(routes), len(capacity)
    rates = np.full(flows, np.inf)
    left = np.append(np.asarray(capacity, float), np.inf)
    routes = np.where(routes < 0, links, routes)
    weight = np.ones(flows) if weights is None else np.asarray(weights, float)
    use = np.broadcast_to(weight[:, None], routes.shape)
    use = use if counts is None else use * counts
    open_ = np.flatnonzero((routes < links).any(axis=1))
    routes, weight, use = routes[open_], weight[open_], use[open_]
    while len(open_):
        demand = np.bincount(routes.ravel(), use.ravel(), links + 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            level = left / demand
        level[links] = np.inf
        along = level[routes]
        lowest = along.min(axis=1)
        loose = along > lowest[:, None] * (1 + TIE)
        waits = np.zeros(links + 1, bool)
        waits[routes[loose]] = True
        settled = (~waits[routes] & ~loose).any(axis=1)
        rates[open_[settled]] = (weight * lowest)[settled]
        taken = (use * lowest[:, None])[settled]
        left -= np.bincount(routes[settled].ravel(), taken.ravel(), links + 1)
        np.maximum(left, 0.0, out=left)
        left[links] = np.inf
        keep = ~settled
        open_, routes, weight, use = open_[keep], routes[keep], weight[keep], use[keep]
    return rates
