"""Draw the clients of a federated run: how quick they are, who takes part in which round."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.ops import BoolArray, FloatArray, IntArray
from simulator.streams import stream
from workloads.plans.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Task:
    """Be what a client does in a round.

    Parameters
    ----------
    peers : how many other clients report to the same server
    dropped : whether the client is gone before it reports
    luck_down, luck_up : how many times its usual rate its link has, each way
    """

    peers: int
    dropped: bool
    luck_down: float = 1.0
    luck_up: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Know the clients of a run.

    Parameters
    ----------
    slowdown : the time of each client's works over that of its device (clients,)
    download, upload : rates of each client's own link (clients,), B/s; None where it has none
    members : for each round, the clients of each server: of an edge, or of the cloud
    tasks : for each client, what it does in the rounds that it takes part in
    """

    slowdown: FloatArray
    download: FloatArray | None
    upload: FloatArray | None
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
    fleet: Fleet,
) -> Population:
    """Return the clients of a run; each draw depends on nothing but the seed and what it is for.

    Parameters
    ----------
    clients, rounds, seed : of the run
    selected : clients of a round, drawn anew for each
    edges : servers among which clients are dealt in order; 0: all are the cloud's
    dropout : probability that a client does not report
    fleet : of what kinds the clients are

    >>> clients = population(8, 2, 0, selected=3, edges=0, dropout=0.0, fleet=Fleet())
    >>> [len(members) for members, in clients.members], clients.slowdown.tolist()[:2]
    ([3, 3], [1.0, 1.0])
    """
    members: list[list[IntArray]] = []
    tasks: list[list[Task]] = [[] for _ in range(clients)]
    first = [math.ceil(clients * edge / (edges or 1)) for edge in range(1, edges or 1)]
    for number in range(rounds):
        draw = stream(seed, number, "clients of a round")
        chosen, dropped = _chosen(clients, selected, dropout, draw)
        cuts = np.searchsorted(chosen, first)
        groups = np.split(chosen, cuts)
        members.append(groups)
        peers = np.repeat([len(group) - 1 for group in groups], [len(group) for group in groups])
        columns = (chosen, peers, dropped, *fleet.luck(selected, draw))
        for client, *task in zip(*(one.tolist() for one in columns), strict=True):
            tasks[client].append(Task(*task))
    download, upload = fleet.rates(clients, seed)
    return Population(fleet.slowdown(clients, seed), download, upload, members, tasks)


def _chosen(
    clients: int, selected: int, dropout: float, draw: np.random.Generator
) -> tuple[IntArray, BoolArray]:
    """Return the clients of a round, in order, and which of them drop out."""
    chosen = np.sort(draw.choice(clients, selected, replace=False, shuffle=False))
    return chosen, draw.random(selected) < dropout
