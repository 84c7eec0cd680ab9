"""Draw the clients of a federated run: how quick they are, who takes part in which round."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.ops import BoolArray, FloatArray, IntArray
from simulator.streams import stream


@dataclass(frozen=True, slots=True)
class Task:
    """Be what a client does in a round.

    Parameters
    ----------
    peers : how many other clients report to the same server
    dropped : whether the client is gone before it reports
    """

    peers: int
    dropped: bool


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Know the clients of a run.

    Parameters
    ----------
    slowdown : the time of each client's works over that of its device (clients,)
    link_bytes_per_s : rate of each client's own link (clients,), B/s; None where it has none
    members : for each round, the clients of each server: of an edge, or of the cloud
    tasks : for each client, what it does in the rounds that it takes part in
    """

    slowdown: FloatArray
    link_bytes_per_s: FloatArray | None
    members: Sequence[Sequence[IntArray]]
    tasks: Sequence[Sequence[Task]]


@functools.lru_cache(maxsize=8)
def population(
    clients: int,
    rounds: int,
    seed: int,
    *,
    selected: int,
    edges: int,
    dropout: float,
    spreads: tuple[float, float],
    link_bytes_per_s: float | None,
) -> Population:
    """Return the clients of a run; each draw depends on nothing but the seed and what it is for.

    Parameters
    ----------
    clients, rounds, seed : of the run
    selected : clients of a round, drawn anew for each
    edges : servers among which clients are dealt in order; 0: all are the cloud's
    dropout : probability that a client does not report
    spreads : of the logarithms of slowdown and of link rate: the first is that much times the
        absolute value of a normal number, so that no client is quicker than its device, the second
        a normal number around the median `link_bytes_per_s`

    >>> clients = population(8, 2, 0, selected=3, edges=0, dropout=0.0, spreads=(0.0, 0.0),
    ...                      link_bytes_per_s=None)
    >>> [len(members) for members, in clients.members], clients.slowdown.tolist()[:2]
    ([3, 3], [1.0, 1.0])
    """
    members: list[list[IntArray]] = []
    tasks: list[list[Task]] = [[] for _ in range(clients)]
    first = [math.ceil(clients * edge / (edges or 1)) for edge in range(1, edges or 1)]
    for number in range(rounds):
        chosen, dropped = _chosen(clients, selected, dropout, seed, number)
        cuts = np.searchsorted(chosen, first)
        groups = np.split(chosen, cuts)
        members.append(groups)
        for group, gone in zip(groups, np.split(dropped, cuts), strict=True):
            kept, lost = Task(len(group) - 1, False), Task(len(group) - 1, True)
            for client, is_gone in zip(group.tolist(), gone.tolist(), strict=True):
                tasks[client].append(lost if is_gone else kept)
    slowdown = np.exp(spreads[0] * np.abs(_normal(clients, seed, "speed of clients")))
    links = None
    if link_bytes_per_s is not None:
        links = link_bytes_per_s * np.exp(spreads[1] * _normal(clients, seed, "links of clients"))
    return Population(slowdown, links, members, tasks)


def _chosen(
    clients: int, selected: int, dropout: float, seed: int, number: int
) -> tuple[IntArray, BoolArray]:
    """Return the clients of a round, in order, and which of them drop out."""
    draw = stream(seed, number, "clients of a round")
    chosen = np.sort(draw.choice(clients, selected, replace=False, shuffle=False))
    return chosen, draw.random(selected) < dropout


def _normal(count: int, seed: int, name: str) -> FloatArray:
    return stream(seed, 0, name).standard_normal(count)
