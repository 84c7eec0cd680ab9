"""Run a plan on a machine by discrete events.

`execute` is the reference for every closed form: each rank's program is driven on a SimPy clock,
the machine's devices and network say how long things take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.actions import Collective, Compute, Rank, Recv, Send, Sleep, Start, Wait
from simulator.energy import Energy, exact_sum
from simulator.engine.actor import Actor, Handler, Totals
from simulator.engine.collectives import Communicators, collective
from simulator.engine.computing import compute, sleep
from simulator.engine.deadlocks import explain_deadlock
from simulator.engine.folding import Folding, choose_ranks, unfolded
from simulator.engine.mailbox import Mailbox, Sorting
from simulator.engine.messages import recv, send
from simulator.engine.outcome import Outcome, step_ends_s
from simulator.engine.scene import Scene, UnfoldableError, ValuesByRank
from simulator.engine.waiting import start, wait
from simulator.errors import DeadlockError, InputError, ProgramError, UnreceivedMessageError
from simulator.protocols import Machine, Placement, Plan
from simulator.timeline import Timeline
from simulator.workload import Job

HANDLERS: dict[type, Handler] = {
    Compute: compute,
    Collective: collective,
    Send: send,
    Recv: recv,
    Sleep: sleep,
    Start: start,
    Wait: wait,
}
"""What carries out each kind of action."""


def execute(
    job: Job,
    machine: Machine,
    plan: Plan,
    *,
    record: bool = True,
    fold: bool = True,
    values: ValuesByRank | None = None,
) -> Outcome:
    """Run a job as a plan says on a machine, on the simulated clock.

    Parameters
    ----------
    job : the works and buffers, and how many steps
    machine : devices and network
    plan : who does what in which order
    record : whether to keep a timeline
    fold : whether to simulate equal copies once; never done with values, nor where a program
        receives from any rank
    values : tensors by rank, for co-simulation: works are done on them when they start, messages
        carry them

    Raises
    ------
    InputError : if the plan places ranks on devices or threads that do not exist
    ProgramError : DeadlockError, CollectiveMismatchError, BufferRaceError, UnreceivedMessageError,
        or a program that yields what is no action, or never ends (`MOST_ACTIONS`)
    """
    cast = _Cast(job, machine, plan, place(plan, machine), record, values)
    folding = cast.folding(fold)
    try:
        return cast.play(folding)
    except UnfoldableError as why:
        return cast.play(unfolded(folding.size, str(why)))
    except ProgramError as error:
        if folding.table is not None:
            error.add_note(f"{folding.told}; the others are their equals")
        raise


def place(plan: Plan, machine: Machine) -> Placement:
    """Return where a plan puts its ranks, once it is checked that the machine has these places."""
    if isinstance(plan, type):
        raise InputError(f"plan: expected a plan, got the class {plan.__name__}; "
                         f"{plan.__name__}() makes one")  # fmt: skip
    for name in ("place", "program", "copies"):
        if not callable(getattr(plan, name, None)):
            raise InputError(f"a plan needs the methods place, program and copies; "
                             f"{type(plan).__name__} has no {name}")  # fmt: skip
    placement = plan.place(machine)
    if not isinstance(placement, Placement):
        raise InputError(f"{type(plan).__name__}.place must give a Placement; got {placement!r}")
    count = len(machine.devices)
    for rank, (device, threads) in enumerate(
        zip(placement.devices, placement.threads, strict=True)
    ):
        if not 0 <= device < count or device % 1:
            raise InputError(f"rank {rank} is placed on device {device}; machine '{machine.name}' "
                             f"has devices 0 to {count - 1}")  # fmt: skip
        if not 1 <= threads <= machine.devices[device].max_threads or threads % 1:
            raise InputError(f"rank {rank} wants {threads} threads on a device with "
                             f"{machine.devices[device].max_threads}: "
                             f"'{machine.devices[device].name}'")  # fmt: skip
    return placement


MOST_ACTIONS = 1_000_000
"""A rank that does more than this in one step is taken for one that never ends. (A server of a
hundred thousand clients does a fifth of it.)"""


@dataclass(frozen=True, slots=True)
class _Cast:
    """Know what is played, by whom and where; play it with all ranks or with one of each kind."""

    job: Job
    machine: Machine
    plan: Plan
    placement: Placement
    record: bool
    values: ValuesByRank | None

    def folding(self, wanted: bool) -> Folding:
        """Return which ranks are simulated."""
        size = self.placement.size
        if size == 1:
            return Folding([[0]], [1], None, 1, "1 rank")
        if self.values is not None:
            return unfolded(size, "they hold values")
        if not wanted:
            return unfolded(size, "folding is off")
        return choose_ranks(self.plan.copies(size), self.machine, self.placement)

    def play(self, folding: Folding) -> Outcome:
        """Return what comes out when these ranks are simulated."""
        scene = Scene(self.machine, self.placement, self.record, self.values)
        scene.keeps_ends = self.job.steps > 1
        scene.most_actions = MOST_ACTIONS * self.job.steps
        scene.folded = folding.table is not None
        scene.communicators = Communicators(scene, folding.members(), self.placement.devices)
        actors = self._actors(scene, folding)
        scene.alone = len(actors) == 1
        for actor in actors:
            actor.begin(self.plan.program(actor.me, self.job), HANDLERS)
        scene.alone = False
        scene.clock.play(scene)
        if scene.live:
            raise DeadlockError(explain_deadlock(actors))
        return self._outcome(scene, actors, folding)

    def _actors(self, scene: Scene, folding: Folding) -> list[Actor]:
        actors: list[Actor] = []
        sorting, placement = Sorting(scene.clock), self.placement
        for column, copies in zip(folding.columns, folding.copies, strict=True):
            peers: dict[int, Actor] = {}
            for rank in column:
                device, threads = placement.devices[rank], placement.threads[rank]
                actor = Actor(Rank(rank, placement.size), scene, copies, device, threads)
                actor.mailbox, actor.peers = Mailbox(actor, sorting), peers
                peers[rank] = actor
            actors += peers.values()
        return actors

    def _outcome(self, scene: Scene, actors: Sequence[Actor], folding: Folding) -> Outcome:
        time_s = scene.clock.now
        return Outcome(
            time_s=time_s,
            step_ends_s=_step_ends(actors, self.job.steps, time_s),
            ranks=tuple(_closed(actor.totals, time_s) for actor in actors),
            size=folding.size,
            collectives=scene.collectives(),
            energy=_energy(scene, time_s),
            timeline=None if scene.rows is None else Timeline.from_rows(scene.rows),
            dropped_messages=_dropped(actors),
            folding=folding.told,
        )


def _closed(totals: Totals, time_s: float) -> Totals:
    busy = totals.compute_s + totals.communication_s + totals.waiting_s + totals.sleep_s
    totals.idle_s = max(0.0, time_s - busy)
    return totals


def _step_ends(actors: Sequence[Actor], steps: int, time_s: float) -> tuple[float, ...]:
    """Return when the steps ended: see `Outcome.step_ends_s`."""
    last = max(actors, key=lambda actor: actor.totals.end_s)
    return step_ends_s(last.ends or (), steps, time_s)


def _energy(scene: Scene, time_s: float) -> Energy:
    parts = [(scene.devices[i].energy(time_s), scene.copies[i]) for i in scene.devices]
    if scene.fabric is not None:
        parts.append((scene.fabric.energy(time_s), 1))
    by_component: dict[str, list[tuple[float | None, int]]] = {}
    for energy, copies in parts:
        for name, joules in energy.components.items():
            by_component.setdefault(name, []).append((joules, copies))
    return Energy({name: _known_sum(terms) for name, terms in by_component.items()})


def _known_sum(terms: Sequence[tuple[float | None, int]]) -> float | None:
    known = [(joules, copies) for joules, copies in terms if joules is not None]
    return exact_sum(known) if len(known) == len(terms) else None


def _dropped(actors: Sequence[Actor]) -> int:
    """Return how many messages came too late; raise if one came that nobody gave up on."""
    dropped = 0
    for actor in actors:
        for source, channel in actor.mailbox.channels.items():
            left = [*channel.waiting, *channel.flying]
            if left and not actor.mailbox.timed_out:
                first = left[0]
                raise UnreceivedMessageError(
                    f"rank {source} sent '{first.buffer.name}' to rank {actor.rank} at "
                    f"{first.sent_s} s, and it was never received ({len(left)} such)"
                )
            dropped += len(left) * actor.copies
    return dropped
