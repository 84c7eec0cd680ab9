"""Average with neighbours only: decentralised training on a graph."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from simulator.actions import Rank
from simulator.errors import InputError
from simulator.ops import FloatArray, IntArray
from simulator.protocols import Machine, Placement, Program
from simulator.streams import stream
from simulator.workload import Job
from workloads.plans.checks import at_least, one_of, only_with, spread, training, whole
from workloads.plans.works import another, average

TOPOLOGIES = ("ring", "exponential", "one-peer-exponential", "random")
Rounds: TypeAlias = tuple[tuple[IntArray, ...], ...]
"""For each of the steps that recur, to whom each rank sends, one array (ranks,) an exchange."""


@dataclass(frozen=True, slots=True)
class Gossip:
    """Take a step on each device, then the mean of one's own parameters and one's neighbours'.

    In each step a rank sends its parameters to as many ranks as the graph's degree says and
    receives as many, one after the other; all weigh the same in the mean. Ring: both neighbours
    (D-PSGD, Lian et al., NIPS 2017). Exponential: those 1, 2, 4 ... ranks ahead; one-peer: one of
    them in turn (SGP, Assran et al., ICML 2019). Random: the next ones on `degree` random cycles.

    Parameters
    ----------
    topology : "ring", "exponential", "one-peer-exponential" or "random"
    degree : of a random graph
    graph_seed : of a random graph
    """

    topology: str = "ring"
    degree: int = 2
    graph_seed: int = 0

    def __post_init__(self) -> None:
        one_of("gossip", "topology", self.topology, TOPOLOGIES)
        whole("gossip", 1, degree=self.degree)
        whole("gossip", 0, graph_seed=self.graph_seed)
        changed = (self.degree, self.graph_seed) != (2, 0)
        only_with("gossip", "degree or graph_seed", changed, "topology random",
                  self.topology == "random")  # fmt: skip

    def place(self, machine: Machine) -> Placement:
        """Return one rank on each device."""
        at_least("gossip", machine, 2, "neighbours")
        if self.topology == "random" and self.degree >= len(machine.devices):
            raise InputError(f"plan gossip: a random graph of degree {self.degree} needs more "
                             f"than {self.degree} devices; got {len(machine.devices)}")  # fmt: skip
        return spread(machine)

    def copies(self, ranks: int) -> IntArray | None:
        """Return None: messages reach all ranks."""
        return None

    def exchanges(self, ranks: int) -> Rounds:
        """Return to whom each rank sends, in each of the steps that recur.

        >>> [to.tolist() for to in Gossip().exchanges(4)[0]]
        [[1, 2, 3, 0], [3, 0, 1, 2]]
        """
        return _exchanges(self, ranks)

    def mixing_matrix(self, ranks: int, step: int = 0) -> FloatArray:
        """Return how much of whose parameters (columns) is in the mean of each rank (rows).

        >>> Gossip().mixing_matrix(3).sum(axis=0).tolist()
        [1.0, 1.0, 1.0]
        """
        rounds = self.exchanges(ranks)
        found = rounds[step % len(rounds)]
        matrix = np.eye(ranks)
        for to in found:
            matrix[to, np.arange(ranks)] += 1.0
        mixed: FloatArray = matrix / (1 + len(found))
        return mixed

    def program(self, rank: Rank, job: Job) -> Program:
        """Take a step, exchange parameters with the neighbours, take the mean; so many times."""
        training("gossip", job)
        rounds = [
            [(int(to[rank.id]), int(np.flatnonzero(to == rank.id)[0])) for to in found]
            for found in self.exchanges(rank.size)
        ]
        most = max(map(len, rounds))
        incoming = [another(job.params, f"params.neighbour{i}") for i in range(most)]
        for neighbours in itertools.islice(itertools.cycle(rounds), job.steps):
            yield rank.compute(job.local_step)
            for buffer, (to, source) in zip(incoming, neighbours, strict=False):
                sent = yield rank.start(rank.send(job.params, to=to))
                yield rank.recv(buffer, source=source)
                yield rank.wait(sent)
            yield rank.compute(average(job.params, tuple(incoming[: len(neighbours)])))


@functools.lru_cache(maxsize=64)
def _exchanges(plan: Gossip, ranks: int) -> Rounds:
    everyone = np.arange(ranks)
    if plan.topology == "random":
        return (tuple(_cycle(plan.graph_seed, number, ranks) for number in range(plan.degree)),)
    if plan.topology == "ring":
        ahead = [1, ranks - 1] if ranks > 2 else [1]
    else:
        ahead = [2**i for i in range((ranks - 1).bit_length())]
    found = [(everyone + distance) % ranks for distance in ahead]
    if plan.topology == "one-peer-exponential":
        return tuple((to,) for to in found)
    return (tuple(found),)


def _cycle(seed: int, number: int, ranks: int) -> IntArray:
    """Return the next rank of each one on a random cycle through all."""
    order = stream(seed, number, "gossip cycle").permutation(ranks)
    after = np.empty(ranks, np.int64)
    after[order] = np.roll(order, -1)
    return after
