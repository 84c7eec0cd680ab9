"""Be a rank that times collectives: what `measure_collectives` asks of each process.

A *call* is one collective, or the user's own program; a barrier goes before each, so that all ranks
begin together. Each rank notes when its calls began and ended, and how long its threads waited for
a core meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from simulator.actions import Action, Rank
from simulator.workload import Buffer, Job
from validation.clean import run_delay_s
from validation.cluster_table import SEND_RECV, Calls, Point, Sampling, Timing
from validation.measure_plan import communication_job
from validation.ranks import Made, Tell
from validation.torch_peers import Peers
from validation.torch_threads import settle_allocator
from validation.torch_values import TorchValues, sleeping
from validation.torch_wall import WallRank

Body = Callable[[Rank], Generator[Action, Any, None]]
TRIAL_CALLS = 2
"""Calls that tell how many are worth making, after one that warms up."""


def measure(peers: Peers, tell: Tell, asked: Timing) -> list[Calls]:
    """Return when the calls of each point began and ended on this rank."""
    torch.set_num_threads(1)
    settle_allocator()
    plan = asked.own.make() if isinstance(asked.own, Made) else asked.own
    found: list[Calls] = []
    for point in asked.points:
        if peers.rank == 0:
            tell(f"measuring {point.kind} of {point.nbytes:,.0f} B on {peers.size} ranks")
        body = _body(point, communication_job(point.nbytes), plan)
        with WallRank(peers, TorchValues(sleeping(lambda _: []), peers.device)) as rank:
            found.append(sampled(rank, body, asked.sampling))
    return found


def sampled(rank: WallRank, body: Body, sampling: Sampling) -> Calls:
    """Return the calls of one point, as many as all ranks agree to make."""
    trial = _Repeated(body, 1 + TRIAL_CALLS, rank.now)
    rank.play(trial.program(rank.rank))
    longest_s = torch.tensor([trial.calls.longest_s(warmup=1)], dtype=torch.float64)
    if rank.peers.size > 1:
        dist.all_reduce(longest_s, op=dist.ReduceOp.MAX)
    repeated = _Repeated(body, sampling.calls(float(longest_s)), rank.now)
    rank.play(repeated.program(rank.rank))
    return repeated.calls


def _body(point: Point, job: Job, plan: Any) -> Body:
    if point.own:

        def own(rank: Rank) -> Generator[Action, Any, None]:
            yield from plan.program(rank, job)

        return own
    buffer = Buffer("grad", point.nbytes)
    if point.kind == SEND_RECV:
        return lambda rank: _to_the_next(rank, buffer)

    def collective(rank: Rank) -> Generator[Action, Any, None]:
        yield rank.collective(point.kind, buffer)

    return collective


def _to_the_next(rank: Rank, buffer: Buffer) -> Generator[Action, Any, None]:
    """Send to the next rank and receive from the one before, as nccl-tests' sendrecv does."""
    incoming = Buffer("incoming", buffer.nbytes)
    received = yield rank.start(rank.recv(incoming, source=(rank.id - 1) % rank.size))
    yield rank.send(buffer, to=(rank.id + 1) % rank.size)
    yield rank.wait(received)


@dataclass(slots=True)
class _Repeated:
    """Be a program that does something so many times, each time after a barrier."""

    body: Body
    times: int
    now: Callable[[], float]
    calls: Calls

    def __init__(self, body: Body, times: int, now: Callable[[], float]) -> None:
        self.body, self.times, self.now = body, times, now
        self.calls = Calls([], [], [])

    def program(self, rank: Rank) -> Generator[Action, Any, None]:
        """Yield the actions of one rank."""
        for _ in range(self.times):
            before = run_delay_s()
            yield rank.barrier()
            begin_s = self.now()
            yield from self.body(rank)
            self.calls.begins_s.append(begin_s)
            self.calls.ends_s.append(self.now())
            after = run_delay_s()
            waited = None if before is None or after is None else after - before
            self.calls.delays_s.append(waited)
