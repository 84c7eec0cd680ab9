"""Train on clients that come and go: federated averaging, under a deadline or not.

Ranks are clients, then edge servers if there are any, then the cloud: the order of devices in a
network of shape `edge_cloud`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any

from simulator.actions import NOW, Action, Count, Rank
from simulator.errors import InputError
from simulator.ops import IntArray
from simulator.protocols import Machine, Placement, Program
from simulator.source import Source
from simulator.workload import Buffer, Job, Work
from workloads.plans.checks import (
    at_least,
    check_local_steps,
    not_negative,
    number,
    only_with,
    positive,
    spread,
    training,
)
from workloads.plans.checks import whole as check_whole
from workloads.plans.fleet import Fleet, Link, find_fleet
from workloads.plans.population import Population, Task, population
from workloads.plans.works import accumulate, another, elementwise

GONE = Buffer("gone", 0.0)
"""An empty message: a client's connection is lost, or an edge has no update."""
NAME = "federated"


@dataclass(frozen=True, slots=True)
class Federated:
    """Send the model to some clients, let each train for a while, average what they report.

    A step of the job is a round (McMahan et al., AISTATS 2017). More clients are selected than
    updates are wanted, as some drop out or are slow; a round ends with the last update wanted, or
    when all have reported or are gone, or at the deadline. What comes later is dropped; its client
    works on until it has reported (Bonawitz et al., "Towards Federated Learning at Scale", 2019).
    With edge servers, each collects what its clients report and sends one update to the cloud.

    Parameters
    ----------
    wanted : updates of a round
    over_selection : clients selected for each update wanted, at least 1
    local_steps : of each client in a round
    deadline_s : how long a server waits for its clients in a round, seconds; None: as long as it
        takes
    dropout : probability that a client is gone after its work, before it reports
    device_spread : of clients' speeds: the logarithm of how many times as long a work takes as on
        the machine's device is so many times the absolute value of a normal number
    link_bytes_per_s : median rate of each client's own link, B/s, which the network of the machine
        does not have; None: no such link
    link_spread : of clients' links: standard deviation of the logarithm of the rate
    fleet : name of a fleet, or path of its file: of what kinds the clients are and how quick their
        links, in place of the three numbers above; "" is none
    edges : edge servers between clients and cloud, 0 or more
    secure_bytes : of keys and shares that a client sends for each other client of its server in
        secure aggregation (Bonawitz et al., CCS 2017), bytes
    """

    wanted: int = 10
    over_selection: float = 1.0
    local_steps: int = 1
    deadline_s: float | None = None
    dropout: float = 0.0
    device_spread: float = 0.0
    link_bytes_per_s: float | None = None
    link_spread: float = 0.0
    fleet: str = ""
    edges: int = 0
    secure_bytes: float = 0.0

    def __post_init__(self) -> None:
        check_whole(NAME, 1, wanted=self.wanted)
        check_local_steps(NAME, "local_steps", self.local_steps)
        check_whole(NAME, 0, edges=self.edges)
        number(NAME, "over_selection", self.over_selection, low=1.0)
        number(NAME, "dropout", self.dropout, high=1.0)
        not_negative(NAME, device_spread=self.device_spread, link_spread=self.link_spread,
                     secure_bytes=self.secure_bytes)  # fmt: skip
        given = {"deadline_s": self.deadline_s, "link_bytes_per_s": self.link_bytes_per_s}
        positive(NAME, **{name: value for name, value in given.items() if value is not None})
        only_with(NAME, "link_spread", self.link_spread > 0, "link_bytes_per_s",
                  self.link_bytes_per_s is not None)  # fmt: skip
        own = self.device_spread > 0 or self.link_bytes_per_s is not None
        if self.fleet and own:
            raise InputError(f"plan {NAME}: a fleet says what device_spread and link_bytes_per_s "
                             "say; give one or the other")  # fmt: skip
        _ = self.clients

    @property
    def selected(self) -> int:
        """Return how many clients are selected for a round, if there are so many."""
        return math.ceil(self.wanted * self.over_selection)

    @property
    def clients(self) -> Fleet:
        """Return of what kinds the clients are."""
        if self.fleet:
            return find_fleet(self.fleet)
        median = self.link_bytes_per_s
        link = None if median is None else Link(median, self.link_spread)
        return Fleet(device_spread=self.device_spread, download=link, upload=link)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return where the numbers of the fleet come from."""
        return self.clients.sources

    def place(self, machine: Machine) -> Placement:
        """Return one rank on each device: clients, edge servers, the cloud."""
        servers = self.edges + 1
        at_least(NAME, machine, servers + self.wanted,
                 f"{servers} servers, {self.wanted} clients of a round")  # fmt: skip
        return spread(machine)

    def copies(self, ranks: int) -> IntArray | None:
        """Return None: clients differ."""
        return None

    def learners(self, ranks: int) -> int:
        """Return how many of so many ranks learn from data: the clients."""
        return ranks - 1 - self.edges

    def keepers(self, ranks: int) -> range:
        """Return the rank that keeps the model: the cloud."""
        return range(ranks - 1, ranks)

    def program(self, rank: Rank, job: Job) -> Program:
        """Be a client, an edge server or the cloud."""
        training(NAME, job)
        clients = rank.size - 1 - self.edges
        selected = min(self.selected, clients)
        people = population(
            clients, job.steps, job.seed, selected=selected, edges=self.edges, dropout=self.dropout,
            fleet=self.clients,
        )  # fmt: skip
        if rank.id < clients:
            edge = rank.id * self.edges // clients if self.edges else 0
            return self._client(rank, job, people, clients + edge)
        if rank.id == rank.size - 1 and self.edges:
            return _cloud_of_edges(rank, job, people, clients)
        collector = _Collector(rank, job, self, selected)
        if not self.edges:
            return _cloud(rank, collector, people)
        return _edge(rank, job, collector, [group[rank.id - clients] for group in people.members])

    def _client(self, rank: Rank, job: Job, people: Population, server: int) -> Program:
        """Be a client: train on what the server sends, whenever it does."""
        slowdown = float(people.slowdown[rank.id])
        down, up = (None if rates is None else float(rates[rank.id])
                    for rates in (people.download, people.upload))  # fmt: skip
        for task in people.tasks[rank.id]:
            update = _update(job, self, task)
            yield rank.recv(job.params, source=server)
            if down is not None:
                yield rank.sleep(job.params.nbytes / (down * task.luck_down))
            for _ in range(self.local_steps):
                yield rank.compute(job.local_step, slowdown)
            if task.dropped:
                yield rank.send(GONE, to=server)
                continue
            if up is not None:
                yield rank.sleep(update.nbytes / (up * task.luck_up))
            yield rank.send(update, to=server)


def _update(job: Job, plan: Federated, task: Task) -> Buffer:
    return Buffer("update", job.params.nbytes + plan.secure_bytes * task.peers)


# --- servers ---------------------------------------------------------------------------------


class _Collector:
    """Collect the updates of a server's clients, round by round; `selected` are those of all."""

    def __init__(self, rank: Rank, job: Job, plan: Federated, selected: int) -> None:
        self.rank, self.job, self.plan, self.selected = rank, job, plan, selected
        self.works = _Averaging.of(job)
        # As large as any update may be: one that comes late had other peers.
        self.incoming = Buffer("update", job.params.nbytes + plan.secure_bytes * rank.size)
        self.owed: Counter[int] = Counter()
        self.late = 0

    def round(self, members: IntArray) -> Generator[Action, Any, int]:
        """Send the model to the clients of a round; return how many updates have come in time."""
        rank, plan = self.rank, self.plan
        waiting = set(members.tolist())
        for client in members.tolist():
            yield rank.send(self.job.params, to=client)
        wanted, come = math.ceil(len(members) * plan.wanted / self.selected), 0
        began_s = yield NOW
        while waiting and come < wanted:
            left_s = None
            if plan.deadline_s is not None:
                left_s = max(0.0, began_s + plan.deadline_s - (yield NOW))
            message = yield rank.recv(self.incoming, timeout_s=left_s)
            if message is None:
                break
            if self._is_old(message.source):
                continue
            waiting.discard(message.source)
            if message.buffer == GONE:
                yield Count("dropouts")
                continue
            yield rank.compute(self.works.accumulate)
            come += 1
        self.owed.update(waiting)
        yield Count("samples", come * plan.local_steps * self.job.workload.samples)
        return come

    def _is_old(self, client: int) -> bool:
        """Say whether a message answers an earlier round, and if so note that it has come."""
        if not self.owed[client]:
            return False
        self.owed[client] -= 1
        self.late += 1
        return True

    def drain(self) -> Program:
        """Take what clients still send after the last round, and count what came late."""
        self.late += self.owed.total()
        for _ in range(self.owed.total()):
            yield self.rank.recv(self.incoming)
        if self.late:
            yield Count("late reports", self.late)


@dataclass(frozen=True, slots=True)
class _Averaging:
    """Be the works of a server: add an update to the sum, take the mean into the model."""

    accumulate: Work
    apply: Work

    @classmethod
    def of(cls, job: Job) -> _Averaging:
        """Return the works on parameters of a job."""
        incoming, total = another(job.params, "update"), another(job.params, "update.sum")
        mean = elementwise("average", job.params.nbytes, reads=(total.name,), writes=("params",))
        return cls(accumulate(incoming, total), mean)


def _ended(rank: Rank, updates: int, works: _Averaging) -> Program:
    """End a round: take the mean, if there is anything to take it of."""
    if updates:
        yield rank.compute(works.apply)
    else:
        yield Count("rounds without updates")
    yield Count("steps")


def _cloud(rank: Rank, collector: _Collector, people: Population) -> Program:
    """Be the cloud: the server of all clients."""
    for (members,) in people.members:
        updates = yield from collector.round(members)
        yield from _ended(rank, updates, collector.works)
    yield from collector.drain()


def _edge(rank: Rank, job: Job, collector: _Collector, rounds: Iterable[IntArray]) -> Program:
    """Be an edge server: pass the model on, and one update for all its clients back."""
    cloud = rank.size - 1
    update = another(job.params, "update.sum")
    for members in rounds:
        if not len(members):
            continue
        yield rank.recv(job.params, source=cloud)
        updates = yield from collector.round(members)
        yield rank.send(update if updates else GONE, to=cloud)
    yield from collector.drain()


def _cloud_of_edges(rank: Rank, job: Job, people: Population, clients: int) -> Program:
    """Be the cloud over edge servers: wait for each that has clients in a round."""
    works, incoming = _Averaging.of(job), another(job.params, "update")
    for groups in people.members:
        edges = [clients + edge for edge, members in enumerate(groups) if len(members)]
        for edge in edges:
            yield rank.send(job.params, to=edge)
        updates = 0
        for edge in edges:
            message = yield rank.recv(incoming, source=edge)
            if message.buffer != GONE:
                yield rank.compute(works.accumulate)
                updates += 1
        yield from _ended(rank, updates, works)
