"""Carry out collectives: match the n-th call of every member of a group, then begin.

A *communicator* belongs to a group, a *member* is a rank in it, and a *rendezvous* is one
collective. An arriving rank costs O(1), whatever the size of the group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from simulator.actions import Collective, Group
from simulator.engine.actor import BLOCKED, Actor, Pending
from simulator.engine.clock import when
from simulator.engine.cosimulation import Exchange
from simulator.engine.races import check, claim
from simulator.engine.scene import Scene
from simulator.errors import CollectiveMismatchError, ProgramError
from simulator.protocols import Delay, Footprint, Occupiable
from simulator.timeline import SPAN_CODES

ROOTED = ("broadcast", "reduce")


class Communicator:
    """Be where a group meets; `open` holds the collectives that have not begun, by number.

    Parameters
    ----------
    group : who meets
    scene : what all ranks share
    members : how many of the group's ranks are simulated
    copies : how many equal groups meet at the same time
    local : whether all members run on one device
    """

    __slots__ = ("copies", "group", "local", "members", "open", "scene")

    def __init__(self, group: Group, scene: Scene, members: int, copies: int, local: bool) -> None:
        self.group, self.scene = group, scene
        self.members, self.copies, self.local = members, copies, local
        self.open: dict[int, Rendezvous] = {}


class Member:
    """Be a rank in a communicator: count the collectives that it has called there."""

    __slots__ = ("calls", "communicator")

    def __init__(self, communicator: Communicator) -> None:
        self.communicator = communicator
        self.calls = 0


class Rendezvous:
    """Be one collective, from the first rank's arrival to the end; it may stand in the queue.

    Parameters
    ----------
    comm : the communicator in which
    number : how many collectives the group had before
    first : the action of the rank that came first
    caller : that rank
    """

    __slots__ = ("action", "callbacks", "caller", "communicator", "number", "present", "releases")
    _ok = True

    def __init__(self, comm: Communicator, number: int, first: Collective, caller: int) -> None:
        self.communicator, self.number, self.action, self.caller = comm, number, first, caller
        self.present: list[Pending] = []
        self.releases: Sequence[Callable[[], None]] = ()
        self.callbacks: Sequence[Callable[[Rendezvous], None]] = _END
        if first.kind in ROOTED and first.root not in comm.group:
            raise ProgramError(f"rank {caller} calls {first.kind} '{first.buffer.name}' with root "
                               f"{first.root}, which is not in {comm.group}")  # fmt: skip

    def begin(self) -> None:
        """Begin: all have come."""
        comm, action, scene = self.communicator, self.action, self.communicator.scene
        del comm.open[self.number]
        scene.count_collective(action.kind, action.buffer.nbytes, comm.copies)
        now = scene.clock.now
        for pending in self.present:
            pending.moved_s = now
        delay = self._delay()
        if scene.footprint is not None and not comm.local:
            self._occupy(scene.footprint(action.kind, action.buffer.nbytes, comm.group))
        if scene.values is not None:
            exchange = Exchange(action, scene.values)
            when(delay, lambda _: self._end(exchange), scene.clock)
        elif delay.__class__ is float:
            scene.clock.put(self, delay)
        else:
            when(delay, lambda _: self._end(), scene.clock)

    def _occupy(self, footprint: Footprint | None) -> None:
        """Take of the members' devices what the collective takes."""
        if footprint is not None:
            devices = [pending.actor.device for pending in self.present]
            self.releases = [
                device.occupy(footprint) for device in devices if isinstance(device, Occupiable)
            ]

    def mismatch(self, rank: int, action: Collective) -> CollectiveMismatchError:
        """Return the error of a rank that calls something else than the first."""
        return CollectiveMismatchError(
            f"collective {self.number} of {self.communicator.group} differs: "
            f"rank {self.caller} calls {_in_full(self.action)}, "
            f"rank {rank} calls {_in_full(action)}"
        )

    def _delay(self) -> Delay:
        comm, action, fabric = self.communicator, self.action, self.communicator.scene.fabric
        if comm.local:
            return 0.0
        if fabric is None:
            raise comm.scene.no_network(f"{comm.group} has ranks")
        return fabric.collective(action.kind, action.buffer.nbytes, comm.group, comm.copies)

    def _end(self, exchange: Exchange | None = None) -> None:
        scene = self.communicator.scene
        for release in self.releases:
            release()
        if exchange is not None:
            exchange.end()
        if scene.rows is not None or scene.keeps_ends:
            self._note()
        for pending in self.present:
            if pending is not pending.actor.foreground:
                scene.live -= 1
            pending.finish(None)

    def _note(self) -> None:
        kind, name = SPAN_CODES[self.action.kind], self.action.buffer.name
        for pending in self.present:
            actor = pending.actor
            actor.record(pending, kind, name)
            if actor.ends is not None:
                actor.ends.append((name, actor.clock.now))


def _in_full(action: Collective) -> str:
    size = f"{action.kind} '{action.buffer.name}' ({action.buffer.nbytes:g} B, op {action.op}"
    return f"{size}, root {action.root})" if action.kind in ROOTED else f"{size})"


def _end(rendezvous: Rendezvous) -> None:
    rendezvous._end()


_END = (_end,)


class Communicators:
    """Find the communicator of a group; `fold` tells how many of its members are simulated.

    Parameters
    ----------
    scene : what all ranks share
    fold : from a group to (simulated members, equal groups)
    devices : by rank, the index of its device
    """

    __slots__ = ("_communicators", "_devices", "_fold", "_scene")

    def __init__(
        self,
        scene: Scene,
        fold: Callable[[Group], tuple[int, int]],
        devices: Sequence[int],
    ) -> None:
        self._scene, self._fold, self._devices = scene, fold, devices
        self._communicators: dict[Group, Communicator] = {}

    def member(self, actor: Actor, group: Group) -> Member:
        """Return a rank as a member of the communicator of a group."""
        if actor.rank not in group:
            raise _not_a_member(actor, group)
        comm = self._communicators.get(group)
        if comm is None:
            comm = self._communicators[group] = self._open(group)
        member = actor.memberships[group] = Member(comm)
        return member

    def unfinished(self) -> Iterator[Pending]:
        """Yield the collectives that wait for ranks that have not come."""
        for comm in self._communicators.values():
            for rendezvous in comm.open.values():
                yield from rendezvous.present

    def _open(self, group: Group) -> Communicator:
        members, copies = self._fold(group)
        local = self._scene.fabric is None and len({self._devices[r] for r in group.ranks}) == 1
        return Communicator(group, self._scene, members, copies, local)


def collective(actor: Actor, action: Collective) -> object:
    """Communicate with a group and wait for the end."""
    if actor.uses:
        check(actor, action)
    if action.group.size == 1:
        _alone(actor, action)
        return None
    pending = actor.foreground
    pending.action = action
    pending.start_s = actor.clock.now
    pending.awaited = True
    _enter(pending, action)
    return BLOCKED


def start_collective(pending: Pending) -> None:
    """Communicate with a group; the program may wait for the end later."""
    claim(pending)
    if pending.action.group.size == 1:
        _alone(pending.actor, pending.action)
        pending.finish(None)
        return
    pending.actor.scene.live += 1
    _enter(pending, pending.action)


def _alone(actor: Actor, action: Collective) -> None:
    """Note a collective of one rank, which moves nothing and takes no time."""
    if actor.rank not in action.group:
        raise _not_a_member(actor, action.group)
    actor.scene.count_collective(action.kind, action.buffer.nbytes, actor.copies)


def _not_a_member(actor: Actor, group: Group) -> ProgramError:
    return ProgramError(f"rank {actor.rank} calls a collective over a group without it: {group}")


def _enter(pending: Pending, action: Collective) -> None:
    actor, group = pending.actor, action.group
    member = actor.memberships.get(group) or actor.scene.communicators.member(actor, group)
    comm, number = member.communicator, member.calls
    member.calls = number + 1
    rendezvous = comm.open.get(number)
    if rendezvous is None:
        rendezvous = comm.open[number] = Rendezvous(comm, number, action, actor.rank)
    first = rendezvous.action
    if (
        (action.buffer is not first.buffer and action.buffer != first.buffer)
        or action.kind != first.kind
        or action.op != first.op
        or action.root != first.root
    ):
        raise rendezvous.mismatch(actor.rank, action)
    rendezvous.present.append(pending)
    if len(rendezvous.present) == comm.members:
        rendezvous.begin()
