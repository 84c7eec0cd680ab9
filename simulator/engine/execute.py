"""Run a plan on a machine by discrete events.

`execute` is the reference for every closed form: each rank's program is driven on a SimPy clock,
the machine's devices and network say how long things take.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulator.actions import Collective, Compute, Count, Now, Rank, Recv, Send, Sleep, Start, Wait
from simulator.energy import Energy, exact_sum
from simulator.engine.actor import Actor, Handler, Totals
from simulator.engine.clock import Alarm
from simulator.engine.collectives import Communicators, collective
from simulator.engine.computing import compute, sleep
from simulator.engine.counting import count, now
from simulator.engine.deadlocks import explain_deadlock
from simulator.engine.folding import Folding, choose_ranks, unfolded
from simulator.engine.mailbox import Mailbox, Sorting
from simulator.engine.messages import recv, send
from simulator.engine.outcome import Outcome, step_ends_s
from simulator.engine.scene import Scene, UnfoldableError, ValuesByRank
from simulator.engine.stage import Stage
from simulator.engine.waiting import start, wait
from simulator.errors import DeadlockError, InputError, ProgramError, UnreceivedMessageError
from simulator.protocols import Counting, Fabric, Machine, Placement, Plan
from simulator.timeline import Timeline
from simulator.workload import Job

HANDLERS: dict[type, Handler] = {
    Compute: compute,
    Collective: collective,
    Send: send,
    Recv: recv,
    Sleep: sleep,
    Now: now,
    Count: count,
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
    return _perform([_Cast(job, machine, plan, place(plan, machine), record, values)], fold)[0]


def execute_jobs(
    parts: Sequence[Part], machine: Machine, *, record: bool = True, fold: bool = True
) -> tuple[Outcome, ...]:
    """Run several jobs on a machine, on one simulated clock; each outcome counts from its start.

    Jobs compete for what they share of devices and network, and exchange nothing. What the network
    draws is in no job's energy, and that of a device that several use is unknown.

    Parameters
    ----------
    parts : the jobs, with their plans and starts
    machine, record, fold : as of `execute`; a device of two jobs keeps all from folding, unless all
        have the same equal copies at the same places

    Raises
    ------
    InputError, ProgramError : as of `execute`, of any of the jobs
    """
    casts = [
        _Cast(part.job, machine, part.plan, place(part.plan, machine), record, None, part.start_s)
        for part in parts
    ]
    users = Counter(device for cast in casts for device in set(cast.placement.devices))
    shared = frozenset(device for device, jobs in users.items() if jobs > 1)
    foldable = bool(shared) and _alike(casts)
    return _perform([replace(cast, shared=shared, foldable=foldable) for cast in casts], fold)


def _alike(casts: Sequence[_Cast]) -> bool:
    """Tell whether all jobs have the same equal copies at the same places.

    Then what a device does of all jobs is what each of its equals does.
    """
    tables = [cast.plan.copies(cast.placement.size) for cast in casts]
    places = [(cast.placement.devices, cast.placement.threads) for cast in casts]
    return all(
        table is not None
        and tables[0] is not None
        and np.array_equal(table, tables[0])
        and np.array_equal(place, places[0])
        for table, place in zip(tables, places, strict=True)
    )


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
class Part:
    """Be a job among others.

    Parameters
    ----------
    job, plan : as of `execute`
    start_s : when it begins, seconds
    """

    job: Job
    plan: Plan
    start_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Cast:
    """Know what is played, by whom, where and from when on.

    `shared` devices have other jobs; where these are `foldable`, equal devices do so of all jobs.
    """

    job: Job
    machine: Machine
    plan: Plan
    placement: Placement
    record: bool
    values: ValuesByRank | None
    start_s: float = 0.0
    shared: frozenset[int] = frozenset()
    foldable: bool = False

    def folding(self, wanted: bool) -> Folding:
        """Return which ranks are simulated."""
        size = self.placement.size
        if size == 1:
            return Folding([[0]], [1], None, 1, "1 rank")
        if self.values is not None:
            return unfolded(size, "they hold values")
        if not wanted:
            return unfolded(size, "folding is off")
        if not self.foldable and not self.shared.isdisjoint(self.placement.devices):
            return unfolded(size, "other jobs use their devices")
        return choose_ranks(self.plan.copies(size), self.machine, self.placement)


def _perform(casts: Sequence[_Cast], fold: bool) -> tuple[Outcome, ...]:
    """Return what comes of jobs; with one of each kind of ranks, or all where that cannot be."""
    foldings = [cast.folding(fold) for cast in casts]
    try:
        return _play(casts, foldings)
    except UnfoldableError as why:
        return _play(casts, [unfolded(folding.size, str(why)) for folding in foldings])
    except ProgramError as error:
        for folding in foldings:
            if folding.table is not None:
                error.add_note(f"{folding.told}; the others are their equals")
        raise


def _play(casts: Sequence[_Cast], foldings: Sequence[Folding]) -> tuple[Outcome, ...]:
    stage = Stage(casts[0].machine, [cast.placement for cast in casts])
    acts: list[_Act] = []
    first = 0
    for cast, folding in zip(casts, foldings, strict=True):
        acts.append(_Act(cast, folding, stage, first))
        first += folding.size
    alone = len(acts) == 1
    acts[0].scene.alone = alone and len(acts[0].actors) == 1
    for act in acts:
        act.raise_curtain(stage)
    acts[0].scene.alone = False
    stage.clock.play(acts[0].scene if alone else _Several(acts))
    for number, act in enumerate(acts):
        if act.scene.live:
            error = DeadlockError(explain_deadlock(act.actors))
            if not alone:
                error.add_note(f"in job {number} of {len(acts)}")
            raise error
    return tuple(act.outcome(alone) for act in acts)


class _Act:
    """Be a job that is played: its scene and its actors."""

    def __init__(self, cast: _Cast, folding: Folding, stage: Stage, first: int) -> None:
        self.cast, self.folding = cast, folding
        self.scene = scene = Scene(stage, first, cast.record, cast.values)
        self.end_s: float | None = None
        scene.start_s = cast.start_s
        scene.keeps_ends = cast.job.steps > 1
        scene.most_actions = MOST_ACTIONS * cast.job.steps
        scene.folded = folding.table is not None
        scene.communicators = Communicators(scene, folding.members(), cast.placement.devices)
        self.actors = self._actors()

    def _actors(self) -> list[Actor]:
        actors: list[Actor] = []
        sorting, placement = Sorting(self.scene.clock), self.cast.placement
        for column, copies in zip(self.folding.columns, self.folding.copies, strict=True):
            peers: dict[int, Actor] = {}
            for rank in column:
                device, threads = placement.devices[rank], placement.threads[rank]
                actor = Actor(Rank(rank, placement.size), self.scene, copies, device, threads)
                actor.mailbox, actor.peers = Mailbox(actor, sorting), peers
                peers[rank] = actor
            actors += peers.values()
        return actors

    def raise_curtain(self, stage: Stage) -> None:
        """Have the job begin when it starts: at once, where that is now."""
        if self.cast.start_s > stage.clock.now:
            self.scene.live = 1  # the job itself, until it has begun
            stage.clock.put_at(Alarm(self._begin_late), self.cast.start_s)
        else:
            self._begin()

    def _begin_late(self, _: object) -> None:
        for actor in self.actors:
            actor.since_s = self.scene.clock.now
        self._begin()
        self.scene.live -= 1

    def _begin(self) -> None:
        for actor in self.actors:
            actor.begin(self.cast.plan.program(actor.me, self.cast.job), HANDLERS)

    def outcome(self, alone: bool) -> Outcome:
        """Return what came of the job."""
        cast, scene, actors = self.cast, self.scene, self.actors
        time_s = (scene.clock.now if self.end_s is None else self.end_s) - cast.start_s
        timeline = None if scene.rows is None else Timeline.from_rows(scene.rows)
        return Outcome(
            time_s=time_s,
            step_ends_s=tuple(scene.step_ends_s) or _step_ends(actors, cast, time_s),
            ranks=tuple(_closed(actor.totals, cast.start_s, time_s) for actor in actors),
            size=self.folding.size,
            collectives=scene.collectives(),
            energy=_energy(scene, time_s, cast.shared, alone),
            counts=dict(scene.counts),
            timeline=None if timeline is None else timeline.earlier(cast.start_s),
            dropped_messages=_dropped(actors),
            folding=self.folding.told,
            sent_bytes=_sent_bytes(scene.fabric) if alone else None,
        )


class _Several:
    """Be jobs beside each other: say whether any goes on, and note when each has ended."""

    def __init__(self, acts: Sequence[_Act]) -> None:
        self._clock, self._going = acts[0].scene.clock, list(acts)

    @property
    def live(self) -> int:
        """Return how many jobs go on."""
        for act in self._going:
            if not act.scene.live:
                act.end_s = self._clock.now
        self._going = [act for act in self._going if act.end_s is None]
        return len(self._going)


def _closed(totals: Totals, start_s: float, time_s: float) -> Totals:
    busy = totals.compute_s + totals.communication_s + totals.waiting_s + totals.sleep_s
    totals.idle_s = max(0.0, time_s - busy)
    totals.end_s -= start_s
    return totals


def _step_ends(actors: Sequence[Actor], cast: _Cast, time_s: float) -> tuple[float, ...]:
    """Return when the steps ended: see `Outcome.step_ends_s`."""
    last = max(actors, key=lambda actor: actor.totals.end_s)
    ends = [(what, end_s - cast.start_s) for what, end_s in last.ends or ()]
    return step_ends_s(ends, cast.job.steps, time_s)


def _energy(scene: Scene, time_s: float, shared: Container[int], alone: bool) -> Energy:
    """Return the energy by component.

    Of devices that other jobs use as well it is unknown; a network that they use is left out.
    """
    parts: list[tuple[Energy, int]] = []
    for index, copies in scene.copies.items():
        energy = scene.device(index, copies).energy(time_s)
        parts.append((_unknown(energy) if index in shared else energy, copies))
    if scene.fabric is not None and alone:
        parts.append((scene.fabric.energy(time_s), 1))
    by_component: dict[str, list[tuple[float | None, int]]] = {}
    for energy, copies in parts:
        for name, joules in energy.components.items():
            by_component.setdefault(name, []).append((joules, copies))
    return Energy({name: _known_sum(terms) for name, terms in by_component.items()})


def _unknown(energy: Energy) -> Energy:
    return Energy(dict.fromkeys(energy.components))


def _sent_bytes(fabric: Fabric | None) -> float | None:
    # Asking whether None meets a protocol costs as much as a third of a small run.
    return fabric.sent_bytes if fabric is not None and isinstance(fabric, Counting) else None


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
