"""Keep the parameters on servers: workers push gradients and pull parameters.

Ranks are workers first, then servers. Each server keeps an equal shard of the parameters. Where a
server answers whoever comes, the first server decides when a worker goes on, and when to stop; all
are asked for their shards after that (one alone sends its parameters at once).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from math import inf
from typing import Any

from simulator.actions import Action, Count, Group, Rank
from simulator.errors import InputError
from simulator.ops import IntArray
from simulator.protocols import Machine, Placement, Program
from simulator.workload import Buffer, Job, Work
from workloads.plans.checks import at_least, one_of, only_with, training, whole
from workloads.plans.works import accumulate, another, part_of, shard

MODES = ("synchronous", "asynchronous", "stale-synchronous")
GO, STOP, PULL = Buffer("go", 0.0), Buffer("stop", 0.0), Buffer("pull", 0.0)
"""Empty messages: a worker may go on; a worker is to stop; a worker asks for parameters."""
NAME = "parameter-server"


@dataclass(frozen=True, slots=True)
class ParameterServer:
    """Let workers push gradients to servers, which update the parameters and send them back.

    Synchronous: an update takes a gradient of each worker. With `backup` workers it takes the
    first gradients of all but so many; those that come later are dropped and their workers go on
    with the newest parameters (Chen et al., "Revisiting Distributed Synchronous SGD", 2016).
    Asynchronous: each gradient is an update, and only its worker waits. Stale-synchronous: the
    same, but no worker is more than `staleness` steps ahead of the slowest (Ho et al., NIPS 2013).

    A step is as many updates by single gradients as there are workers, or one by all of them.

    Parameters
    ----------
    servers : each keeps an equal shard of the parameters
    mode : "synchronous", "asynchronous" or "stale-synchronous"
    staleness : how many steps a worker may be ahead of the slowest, where stale-synchronous
    backup : how many workers' gradients an update does not wait for, where synchronous
    colocated : servers share the devices of the first workers; else they have their own, the last
    overlap : gradients leave bucket by bucket during the backward pass, where synchronous
    barrier : parameters come back when all of them are updated, not bucket by bucket, as where each
        step is a call of its own (TensorFlow's sessions); where gradients overlap
    group : so many workers in a row, as the devices of a node, add up their gradients; one of
        them, for each bucket the next, exchanges the sum with the servers and gives the others
        what it pulled (as MXNet's dist_device_sync does), where synchronous
    """

    servers: int = 1
    mode: str = "synchronous"
    staleness: int = 0
    backup: int = 0
    colocated: bool = False
    overlap: bool = False
    barrier: bool = False
    group: int = 1

    def __post_init__(self) -> None:
        whole(NAME, 1, servers=self.servers, group=self.group)
        whole(NAME, 0, staleness=self.staleness, backup=self.backup)
        one_of(NAME, "mode", self.mode, MODES)
        in_step = self.mode == "synchronous"
        only_with(NAME, "staleness", self.staleness > 0, "mode stale-synchronous",
                  self.mode == "stale-synchronous")  # fmt: skip
        only_with(NAME, "backup", self.backup > 0, "mode synchronous", in_step)
        for name, given in (("overlap", self.overlap), ("group", self.group > 1)):
            only_with(NAME, name, given, "mode synchronous and no backup",
                      in_step and not self.backup)  # fmt: skip
        only_with(NAME, "barrier", self.barrier, "overlap and no group",
                  self.overlap and self.group == 1)  # fmt: skip

    def place(self, machine: Machine) -> Placement:
        """Return one worker on each device but the servers', then the servers."""
        count = len(machine.devices)
        own = 0 if self.colocated else self.servers
        needed = max(own + self.backup + 1, self.servers)
        at_least(NAME, machine, needed, f"{self.servers} servers, {self.backup} backup workers")
        workers = range(count - own)
        if len(workers) % min(self.group, len(workers)):
            raise InputError(f"plan {NAME}: {len(workers)} workers do not make groups of "
                             f"{self.group}")  # fmt: skip
        servers = range(self.servers) if self.colocated else range(count - own, count)
        devices = [*workers, *servers]
        return Placement(devices, [machine.devices[index].max_threads for index in devices])

    def copies(self, ranks: int) -> IntArray | None:
        """Return None: servers take what comes first."""
        return None

    def learners(self, ranks: int) -> int:
        """Return how many of so many ranks learn from data: the workers."""
        return ranks - self.servers

    def keepers(self, ranks: int) -> range:
        """Return the ranks that keep the model: the servers."""
        return range(ranks - self.servers, ranks)

    def program(self, rank: Rank, job: Job) -> Program:
        """Be a worker or a server."""
        training(NAME, job)
        workers = rank.size - self.servers
        in_step = self.mode == "synchronous" and not self.backup
        if rank.id < workers:
            servers = range(workers, rank.size)
            if self.group > 1:
                return _in_groups(rank, job, servers, self)
            return _in_step(rank, job, servers, self) if in_step else _pushing(rank, job, servers)
        index = rank.id - workers
        if in_step:
            return _serve_in_step(rank, job, index, self)
        kept = _Shard.of(job, job.grad, index, self.servers)
        group = workers - self.backup if self.mode == "synchronous" else 1
        if index:
            return _follow(rank, kept, workers, group)
        if self.mode == "synchronous":
            return _lead_with_backup(rank, job, kept, workers, self.backup)
        bound = self.staleness if self.mode == "stale-synchronous" else inf
        return _lead(rank, job, kept, _Clocks(workers, bound))


@dataclass(frozen=True, slots=True)
class _Shard:
    """Be what a server keeps: of all parameters, or of those whose gradients make a bucket.

    `answer` is what the first server says when a worker may go on: a lone one sends parameters.
    """

    grad: Buffer
    params: Buffer
    answer: Buffer
    accumulate: Work
    apply_sum: Work
    apply_one: Work

    @classmethod
    def of(cls, job: Job, piece: Buffer, index: int, servers: int) -> _Shard:
        """Return the shard of one server, of the whole gradient or a bucket of it."""
        grad = shard(piece, index, servers)
        params = shard(_params_of(job, piece), index, servers)
        total = another(grad, f"{grad.name}.sum")
        share = grad.nbytes / job.grad.nbytes if job.grad.nbytes else 1.0 / servers
        apply_sum, apply_one = (
            part_of(job.apply, share, (read.name,), (params.name,)) for read in (total, grad)
        )
        answer = params if servers == 1 else GO
        return cls(grad, params, answer, accumulate(grad, total), apply_sum, apply_one)


def _params_of(job: Job, piece: Buffer) -> Buffer:
    params: Buffer = job.params
    return params if piece is job.grad else another(piece, f"params.{piece.name}")


def _pieces(job: Job, plan: ParameterServer) -> tuple[Buffer, ...]:
    """Return what is sent at a time: the whole gradient, or its buckets."""
    return job.buckets if plan.overlap and job.buckets else (job.grad,)


# --- all in step -----------------------------------------------------------------------------


def _in_step(rank: Rank, job: Job, servers: range, plan: ParameterServer) -> Program:
    """Be a worker that waits in each step for what all workers' gradients make."""
    pieces = _pieces(job, plan)
    for _ in range(job.steps):
        if plan.overlap:
            yield from _push_buckets(rank, job, servers)
        else:
            yield rank.compute(job.gradient)
            yield from _push(rank, job.grad, servers)
        for piece in pieces:
            yield from _receive(rank, _params_of(job, piece), servers)


def _push(rank: Rank, piece: Buffer, servers: range) -> Program:
    for index, server in enumerate(servers):
        yield rank.send(shard(piece, index, len(servers)), to=server)


def _push_buckets(rank: Rank, job: Job, servers: range) -> Program:
    yield rank.compute(job.forward)
    backward = yield rank.start(rank.compute(job.backward))
    for bucket in job.buckets:
        yield rank.wait(backward, mark=bucket.name)
        yield from _push(rank, bucket, servers)
    yield rank.wait(backward)
    if not job.buckets:
        yield from _push(rank, job.grad, servers)


def _in_groups(rank: Rank, job: Job, servers: range, plan: ParameterServer) -> Program:
    """Be a worker whose group adds up a bucket before one of it exchanges the sum with servers.

    While servers have a bucket the group adds up the next one.
    """
    size = min(plan.group, servers.start)
    group = Group.of(range(rank.id - rank.id % size, rank.id - rank.id % size + size))
    pieces = _pieces(job, plan)
    roots = [group.ranks[at % size] for at in range(len(pieces))]
    marked = pieces is job.buckets
    for _ in range(job.steps):
        backward = None
        if marked:
            yield rank.compute(job.forward)
            backward = yield rank.start(rank.compute(job.backward))
        else:
            yield rank.compute(job.gradient)
        for at, (piece, root) in enumerate(zip(pieces, roots, strict=True)):
            if backward is not None:
                yield rank.wait(backward, mark=piece.name)
            yield rank.reduce(piece, group, "mean", root)
            if rank.id == root:
                yield from _push(rank, piece, servers)
            if at:
                yield from _share(rank, _params_of(job, pieces[at - 1]), servers, group,
                                  roots[at - 1])  # fmt: skip
        if backward is not None:
            yield rank.wait(backward)
        yield from _share(rank, _params_of(job, pieces[-1]), servers, group, roots[-1])


def _share(rank: Rank, params: Buffer, servers: range, group: Group, root: int) -> Program:
    """Get parameters from the servers, or from the one of the group that does."""
    if rank.id == root:
        yield from _receive(rank, params, servers)
    yield rank.broadcast(params, group, root)


def _receive(rank: Rank, params: Buffer, servers: range) -> Program:
    for index, server in enumerate(servers):
        yield rank.recv(shard(params, index, len(servers)), source=server)


def _serve_in_step(rank: Rank, job: Job, index: int, plan: ParameterServer) -> Program:
    """Be a server that takes a gradient of each worker, or group of them, in the order of ranks."""
    workers = range(rank.size - plan.servers)
    size = min(plan.group, len(workers))
    shards = [(_Shard.of(job, piece, index, plan.servers), workers[at % size :: size])
              for at, piece in enumerate(_pieces(job, plan))]  # fmt: skip
    for _ in range(job.steps):
        for kept, roots in shards:
            for worker in roots:
                yield rank.recv(kept.grad, source=worker)
                yield rank.compute(kept.accumulate)
            yield rank.compute(kept.apply_sum)
            if not plan.barrier:
                yield from _answer(rank, kept, roots)
        if plan.barrier:
            for kept, roots in shards:
                yield from _answer(rank, kept, roots)
        if index == 0:
            yield from _count_step(rank, job, len(workers))


def _answer(rank: Rank, kept: _Shard, workers: range) -> Program:
    for worker in workers:
        yield rank.send(kept.params, to=worker)


def _count_step(rank: Rank, job: Job, gradients: int) -> Program:
    yield Count("samples", gradients * job.workload.samples)
    yield Count("steps")


# --- whoever comes ---------------------------------------------------------------------------


def _pushing(rank: Rank, job: Job, servers: range) -> Program:
    """Be a worker that goes on as soon as the first server answers, until that says stop."""
    while True:
        yield rank.compute(job.gradient)
        yield from _push(rank, job.grad, servers)
        answer = yield rank.recv(shard(job.params, 0, len(servers)), source=servers[0])
        if answer.buffer == STOP:
            break
        if answer.buffer == GO:
            for server in servers:
                yield rank.send(PULL, to=server)
            yield from _receive(rank, job.params, servers)
    for server in servers[1:]:
        yield rank.send(STOP, to=server)


def _follow(rank: Rank, kept: _Shard, workers: int, group: int) -> Program:
    """Be a server that updates with each group of gradients and sends parameters when asked."""
    come = 0
    while workers:
        message = yield rank.recv(kept.grad)
        if message.buffer == STOP:
            workers -= 1
        elif message.buffer == PULL:
            yield rank.send(kept.params, to=message.source)
        elif group == 1:
            yield rank.compute(kept.apply_one)
        else:
            yield rank.compute(kept.accumulate)
            come += 1
            if come % group == 0:
                yield rank.compute(kept.apply_sum)


@dataclass(slots=True)
class _Clocks:
    """Count the steps of each worker; hold those that are too far ahead of the slowest.

    Parameters
    ----------
    workers : how many
    bound : how many steps a worker may be ahead
    """

    workers: int
    bound: float
    slowest: int = 0
    done: list[int] = field(init=False)
    held: dict[int, list[int]] = field(default_factory=dict)
    at: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.done = [0] * self.workers
        self.at[0] = self.workers

    def step(self, worker: int) -> list[int]:
        """Note a step of a worker; return the workers that may go on now."""
        self.at[self.done[worker]] -= 1
        self.done[worker] += 1
        clock = self.done[worker]
        self.at[clock] += 1
        self.held.setdefault(clock, []).append(worker)
        while not self.at[self.slowest]:
            del self.at[self.slowest]
            self.slowest += 1
        return self.freed(self.slowest + self.bound)

    def freed(self, up_to: float = inf) -> list[int]:
        """Hold those with at most so many steps no longer; return them."""
        ready = [clock for clock in self.held if clock <= up_to]
        return [worker for clock in ready for worker in self.held.pop(clock)]


def _next_gradient(rank: Rank, kept: _Shard) -> Generator[Action, Any, int]:
    """Send parameters to whoever asks until a gradient comes; return whose it is."""
    while True:
        message = yield rank.recv(kept.grad)
        if message.buffer != PULL:
            return int(message.source)
        yield rank.send(kept.params, to=message.source)


def _lead(rank: Rank, job: Job, kept: _Shard, clocks: _Clocks) -> Program:
    """Be the first server: update with each gradient, answer those who are not too far ahead."""
    applied, stale, running = 0, 0, clocks.workers
    updates = job.steps * clocks.workers
    read = [0] * clocks.workers
    while running:
        worker = yield from _next_gradient(rank, kept)
        if applied < updates:
            yield rank.compute(kept.apply_one)
            stale += applied - read[worker]
            applied += 1
            free = clocks.step(worker)
            if applied % clocks.workers == 0:
                yield from _count_step(rank, job, clocks.workers)
        else:
            free = [worker]
        ended = applied == updates
        for other in [*free, *clocks.freed()] if ended else free:
            read[other] = applied
            yield rank.send(STOP if ended else kept.answer, to=other)
            running -= ended
    yield Count("mean staleness", stale / updates)


def _lead_with_backup(rank: Rank, job: Job, kept: _Shard, workers: int, backup: int) -> Program:
    """Be the first server: update with the first gradients of each step and drop the others."""
    step, late, running = 0, 0, workers
    fresh: list[int] = []
    read = [0] * workers
    while running:
        worker = yield from _next_gradient(rank, kept)
        answered = [worker]
        if step < job.steps:
            if read[worker] < step:
                late += 1
            else:
                yield rank.compute(kept.accumulate)
                fresh.append(worker)
                answered = []
            if len(fresh) == workers - backup:
                yield rank.compute(kept.apply_sum)
                step += 1
                yield from _count_step(rank, job, len(fresh))
                answered, fresh = fresh, []
        ended = step == job.steps
        for other in answered:
            read[other] = step
            yield rank.send(STOP if ended else kept.answer, to=other)
            running -= ended
    yield Count("late gradients", late)
