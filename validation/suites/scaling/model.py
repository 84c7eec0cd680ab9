"""Say how long a step of data-parallel training takes on devices in nodes.

A step computes, and averages gradients by a ring over all devices while its backward pass goes on:

    step = (1 + jitter largest(nodes)) max(compute, (1 - overlap) compute + exchange)
    compute = of_batch (start + sample batch^growth) (1 + host (most - 1))
    exchange = 2 (p-1)/p bytes / bandwidth + 2 (nodes-1) hop + lg(nodes) small

The ring's bandwidth is that between nodes, or within one where there is one. That between nodes is
the slowest link's, is lower between just two nodes, as both directions join the same pair, and
lower where many devices of a node pass data on by the host. A chunk that travels round the ring
passes `nodes` links between nodes twice, whose latency is all that counts; buckets of gradients
follow each other closely, so it counts once. Collectives of few bytes beside the gradients (buffers
of normalizations, statistics) go by trees. `most` devices share a host, which feeds them. Each step
waits for the slowest node: `largest(n)` is the mean of the
largest of n standard normal numbers (Blom, "Statistical Estimates and Transformed
Beta-Variables", 1958).

This is the closed form of what the simulation does (`simulated.py`), for fits of thousands of runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from simulator.ops import FloatArray
from validation.suites.scaling.runs import Runs

Numbers: TypeAlias = Mapping[str, FloatArray]
"""Each parameter's value for each run (n,)."""


def step_s(numbers: Numbers, runs: Runs, sharpness: float | None = None) -> FloatArray:
    """Return the time of each step (n,), seconds.

    Parameters
    ----------
    numbers : of each run
    runs : where and what
    sharpness : of a smooth maximum, for the first round of a fit; None: the maximum itself
    """
    compute, exchange = compute_s(numbers, runs), exchange_s(numbers, runs)
    ahead = (1 - numbers["overlap"]) * compute
    hidden = np.maximum(compute - ahead, 1e-12)
    if sharpness is None:
        longest = np.maximum(hidden, exchange)
    else:
        large, small = np.maximum(hidden, exchange), np.minimum(hidden, exchange)
        longest = large * (1 + (small / large) ** sharpness) ** (1 / sharpness)
    return (ahead + longest) * slowest(numbers, runs)


def compute_s(numbers: Numbers, runs: Runs) -> FloatArray:
    """Return what the step of one device takes (n,) beside others of its node, seconds."""
    alone = numbers["start_s"] + numbers["sample_s"] * runs.batch ** numbers["growth"]
    alone = alone * numbers["of_batch"]
    crowded: FloatArray = alone * (1 + numbers["host_share"] * (runs.most - 1))
    return crowded


def exchange_s(numbers: Numbers, runs: Runs) -> FloatArray:
    """Return what the all-reduce of a step takes (n,), seconds."""
    passes = 2 * (runs.devices - 1) / runs.devices
    sent = passes * numbers["gradient_bytes"] / bandwidth(numbers, runs)
    return sent + latency_s(numbers, runs)


def bandwidth(numbers: Numbers, runs: Runs) -> FloatArray:
    """Return what the slowest link of the ring carries (n,), bytes per second."""
    between = numbers["between_bytes_per_s"] / np.where(runs.nodes == 2, numbers["pair_factor"], 1)
    crowd = 1 + numbers["crowding"] * (runs.most - 1)
    between = between / crowd / (1 + numbers["link_jitter"] * largest(runs.nodes))
    return np.where(runs.nodes == 1, numbers["within_bytes_per_s"], between)


def latency_s(numbers: Numbers, runs: Runs) -> FloatArray:
    """Return the latency of the exchange of a step (n,), seconds."""
    found: FloatArray = 2 * (runs.nodes - 1) * numbers["hop_s"]
    return found + np.log2(runs.nodes) * numbers["small_s"]


def slowest(numbers: Numbers, runs: Runs) -> FloatArray:
    """Return how many times as long the slowest of all nodes takes (n,)."""
    found: FloatArray = 1 + numbers["jitter"] * largest(runs.nodes)
    return found


def largest(count: FloatArray) -> FloatArray:
    """Return the mean of the largest of so many standard normal numbers (n,), by Blom's formula.

    >>> largest(np.array([1.0, 2.0, 16.0])).round(2)
    array([0.  , 0.59, 1.77])
    """
    from scipy.special import ndtri

    found: FloatArray = np.where(count > 1, ndtri((count - 0.375) / (count + 0.25)), 0.0)
    return found
