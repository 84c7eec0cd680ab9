"""Plans whose ranks are processes in tests; each process imports them by name."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from simulator.actions import COLLECTIVES, Group, Rank
from simulator.protocols import Machine, Placement, Plan, Program
from simulator.workload import Buffer, Job
from tests.simulator.plans import Spread

SOME = Buffer("some", 4.0 * 1000)
ODD = Buffer("odd", 4.0 * 1021)


class EveryCollective(Spread):
    """Call each collective with each reduction, over all ranks and over some."""

    def program(self, rank: Rank, job: Job) -> Program:
        for kind in COLLECTIVES:
            for op in ("sum", "mean", "max", "min"):
                yield rank.collective(kind, SOME, op=op, root=rank.size - 1)
                yield rank.collective(kind, ODD, op=op)
        yield rank.collective("all_reduce", SOME, group=Group.of([rank.id]))
        if rank.id:
            yield rank.all_reduce(ODD, group=Group.of(range(1, rank.size)))


class StartedCollectives(Spread):
    """Start collectives, also of no bytes, and wait for the first and for all."""

    def program(self, rank: Rank, job: Job) -> Program:
        handles = []
        for kind in ("all_gather", "all_to_all", "reduce_scatter", "all_reduce"):
            handle = yield rank.start(rank.collective(kind, Buffer(kind, 4.0 * 13)))
            handles.append(handle)
        handles.append((yield rank.start(rank.all_reduce(Buffer("nothing", 0.0)))))
        first = yield rank.wait(*handles, first=True)
        yield rank.wait(*(handle for handle in handles if handle is not first))


class Messages(Spread):
    """Send to the next rank, to oneself, smaller than the buffer, started and not."""

    def program(self, rank: Rank, job: Job) -> Program:
        right, left = (rank.id + 1) % rank.size, (rank.id - 1) % rank.size
        received = yield rank.start(rank.recv(ODD, source=left))
        sent = yield rank.start(rank.send(SOME, to=right))
        message, _ = yield rank.wait(received, sent)
        yield rank.send(ODD, to=rank.id)
        own = yield rank.recv(Buffer("own", ODD.nbytes), source=rank.id)
        heard = Buffer(f"{message.source} {message.buffer.name} {own.source}", 8.0)
        yield rank.all_reduce(heard, group=Group.of([rank.id]))
        yield rank.all_gather(Buffer("own", ODD.nbytes))
        for op in ("sum", "max", "min", None):
            yield rank.send(ODD.part(0, 3), to=right)
            yield rank.recv(ODD.part(0, 3), source=left, op=op)


class Impatient(Spread):
    """Give up a receive: the message comes later, and the next receive takes it."""

    def program(self, rank: Rank, job: Job) -> Program:
        if rank.id == 0:
            yield rank.barrier()
            yield rank.send(SOME, to=1)
            return
        if rank.id == 1:
            nothing = yield rank.recv(SOME, source=0, timeout_s=0.05)
            late = yield rank.start(rank.recv(SOME, source=0))
            not_yet = yield rank.wait(late, timeout_s=0.05)
            yield rank.barrier()
            message = yield rank.wait(late)
            yield rank.all_reduce(
                Buffer(f"{nothing} {not_yet} {message.source}", 4.0), group=Group.of([1])
            )
        else:
            yield rank.barrier()


class Sleeper(Spread):
    """Compute, sleep, and sleep beside a compute."""

    def program(self, rank: Rank, job: Job) -> Program:
        for _ in range(job.steps):
            yield rank.compute(job.step)
            yield rank.sleep(0.02)
            asleep = yield rank.start(rank.sleep(0.01))
            backward = yield rank.start(rank.compute(job.backward))
            for mark, _ in job.backward.marks:
                yield rank.wait(backward, mark=mark)
            yield rank.wait(backward, asleep)


class Deaf(Spread):
    """Simulated it is fine; as a process rank 1 waits for what rank 0 does not send."""

    def program(self, rank: Rank, job: Job) -> Program:
        sends = rank.id == 0 and _simulated()
        if sends:
            yield rank.send(SOME, to=1)
        if rank.id == 1:
            yield rank.recv(SOME, source=0)


class Different(Spread):
    """As a process it reduces something else than simulated."""

    def program(self, rank: Rank, job: Job) -> Program:
        yield rank.all_reduce(SOME, op="sum" if _simulated() else "max")


class Talkative(Spread):
    """As a process it sends more than simulated, and nobody receives it."""

    def program(self, rank: Rank, job: Job) -> Program:
        if rank.id == 0 and not _simulated():
            yield rank.send(SOME, to=rank.size - 1)
        yield rank.barrier()


class Failing(Spread):
    """As a process rank 1 raises."""

    def program(self, rank: Rank, job: Job) -> Program:
        if rank.id == 1 and not _simulated():
            raise ZeroDivisionError("as a process")
        yield rank.barrier()


class InTurn(Spread):
    """Run the programs of several plans one after the other."""

    def __init__(self, *plans: Plan) -> None:
        self.plans = plans

    def program(self, rank: Rank, job: Job) -> Program:
        for plan in self.plans:
            yield from plan.program(rank, job)


def _simulated() -> bool:
    """Say whether this is no rank of a measured run: only those have joined a process group."""
    import torch.distributed as dist

    return not dist.is_initialized()


@dataclass(frozen=True)
class Dying(Spread):
    """Be a plan of which one process is killed in its second step; simulated, nothing happens.

    Parameters
    ----------
    plan : which one
    victim : the rank
    """

    plan: Plan
    victim: int

    def place(self, machine: Machine) -> Placement:
        return self.plan.place(machine)

    def program(self, rank: Rank, job: Job) -> Program:
        yield from self.plan.program(rank, job)
        if rank.id == self.victim and not _simulated():
            os.kill(os.getpid(), signal.SIGKILL)
        yield from self.plan.program(rank, job)
