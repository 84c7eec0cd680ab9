"""Plans for one machine: one thread, many threads within and between ops, input from a host."""

from __future__ import annotations

import heapq
from collections.abc import Generator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from simulator.actions import Action, Handle, Rank
from simulator.errors import InputError
from simulator.ops import COLUMNS, Graph, IntArray
from simulator.protocols import Machine, Placement
from simulator.workload import Job, Work


@dataclass(frozen=True, slots=True)
class Single:
    """Do the step on one thread of one device."""

    def place(self, machine: Machine) -> Placement:
        """Return one rank on the machine's first device."""
        return Placement((0,), (1,))

    def program(self, rank: Rank, job: Job) -> Generator[Action, Any, None]:
        """Do the whole step, so many times."""
        for _ in range(job.steps):
            yield rank.compute(job.works["step"])

    def copies(self, ranks: int) -> IntArray | None:
        """Return None: one rank has nothing to be folded with."""
        return None


@dataclass(frozen=True, slots=True)
class Threads:
    """Do the step on several threads of one device.

    Parameters
    ----------
    threads : share the work of each op (intra-op)
    inter_op : ops that may run at a time, each with its own threads; ops that do not wait for one
        another are started in program order as lanes become free
    """

    threads: int = 1
    inter_op: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"plan threads: {field.name} must be a whole number of at least "
                                 f"1; got {value!r}")  # fmt: skip

    def place(self, machine: Machine) -> Placement:
        """Return one rank with all threads on the machine's first device.

        Raises
        ------
        InputError : the device has fewer threads
        """
        device = machine.devices[0]
        if self.threads > device.max_threads == 1:
            raise InputError(f"plan threads: {self.threads} threads on '{device.name}', which is "
                             "driven by one; leave threads out")  # fmt: skip
        if self.threads > device.max_threads:
            raise InputError(f"plan threads: {self.threads} threads on '{device.name}', which "
                             f"allows 1 to {device.max_threads}")  # fmt: skip
        return Placement((0,), (self.threads,))

    def program(self, rank: Rank, job: Job) -> Generator[Action, Any, None]:
        """Do the whole step, so many times: op after op, or chains of ops in lanes."""
        step = job.works["step"]
        chains = chains_of(step.graph) if self.inter_op > 1 else None
        for _ in range(job.steps):
            if chains is None:
                yield rank.compute(step)
            else:
                yield from _in_lanes(rank, chains, self.inter_op)

    def copies(self, ranks: int) -> IntArray | None:
        """Return None: one rank has nothing to be folded with."""
        return None


@dataclass(frozen=True, slots=True)
class Prefetch:
    """Do the step on one device while the next step's input is copied from the host's memory.

    A step takes as long as the longer of both: as in a training loop that loads ahead from pinned
    memory, in its steady state. On an accelerator the copy has an engine of its own.
    """

    def place(self, machine: Machine) -> Placement:
        """Return one rank on the machine's first device."""
        return Placement((0,), (1,))

    def program(self, rank: Rank, job: Job) -> Generator[Action, Any, None]:
        """Do the whole step beside a copy, so many times."""
        for _ in range(job.steps):
            if "input" not in job.works:
                yield rank.compute(job.works["step"])
                continue
            copy = yield rank.start(rank.compute(job.works["input"]))
            yield rank.compute(job.works["step"])
            yield rank.wait(copy)

    def copies(self, ranks: int) -> IntArray | None:
        """Return None: one rank has nothing to be folded with."""
        return None


@dataclass(frozen=True, slots=True)
class Chains:
    """Hold a graph cut into chains, which are ordered by their first op.

    Parameters
    ----------
    works : a chain each: ops of which each waits only for the one before
    waits_for : how many chains each one waits for
    before : the chains that wait for each one
    """

    works: tuple[Work, ...]
    waits_for: tuple[int, ...]
    before: tuple[tuple[int, ...], ...]


def chains_of(graph: Graph) -> Chains:
    """Cut a graph into the longest chains whose ops cannot run at the same time as each other.

    >>> from simulator.ops import Op
    >>> op = Op(kind="copy", dims=(1,))
    >>> len(chains_of(Graph.of([op] * 4, [[], [0], [0], [1, 2]])).works)
    4
    """
    count = len(graph)
    owner = np.repeat(np.arange(count), np.diff(graph.dep_start))
    successors = np.bincount(graph.dep, minlength=count)
    predecessors = np.diff(graph.dep_start)
    chain = np.arange(count)
    joined = (predecessors[owner] == 1) & (successors[graph.dep] == 1)
    for later, earlier in zip(owner[joined], graph.dep[joined], strict=True):
        chain[later] = chain[earlier]
    firsts, chain = np.unique(chain, return_inverse=True)
    edges = sorted(set(zip(chain[graph.dep].tolist(), chain[owner].tolist(), strict=True)))
    between = [(a, b) for a, b in edges if a != b]
    before: list[list[int]] = [[] for _ in firsts]
    waits = [0] * len(firsts)
    for earlier, later in between:
        before[earlier].append(later)
        waits[later] += 1
    order = np.argsort(chain, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(chain[order])) + 1)
    works = tuple([_part(graph, ops) for ops in members])
    return Chains(works, tuple(waits), tuple(tuple(later) for later in before))


def _part(graph: Graph, members: IntArray) -> Work:
    """Return the work of a chain: each op but the first waits for the one before it."""
    inside = np.arange(len(members) - 1)
    part = Graph(
        **{column: getattr(graph, column)[members] for column in COLUMNS},
        names=graph.names,
        dep_start=np.concatenate(([0, 0], inside + 1)),
        dep=inside,
        dep_bytes=graph.dep_bytes[graph.dep_start[members[1:]]],
        origin=graph.origin_of(members),
    )
    return Work(graph.names[graph.name[members[0]]], part)


def _in_lanes(rank: Rank, chains: Chains, lanes: int) -> Generator[Action, Any, None]:
    """Start chains as lanes become free, of those that may start the first in program order."""
    waits = list(chains.waits_for)
    ready = [at for at, count in enumerate(waits) if not count]
    running: dict[Handle, int] = {}
    while ready or running:
        while ready and len(running) < lanes:
            at = heapq.heappop(ready)
            running[(yield rank.start(rank.compute(chains.works[at])))] = at
        done = yield rank.wait(*running, first=True)
        for later in chains.before[running.pop(done)]:
            waits[later] -= 1
            if not waits[later]:
                heapq.heappush(ready, later)
