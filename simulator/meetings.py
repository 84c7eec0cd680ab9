"""Carry out collectives: match the n-th call of every member of a group, then begin.

A *hall* belongs to a group, a *seat* to a rank in a hall, and a *meeting* is one collective. An
arriving rank costs O(1), whatever the size of the group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from simulator.actions import Collective, Group
from simulator.actor import BLOCKED, Actor, Pending
from simulator.clock import when
from simulator.cosimulation import Exchange
from simulator.errors import CollectiveMismatchError, ProgramError
from simulator.protocols import Delay
from simulator.races import check, claim
from simulator.stage import Stage
from simulator.timeline import SPAN_CODES

ROOTED = ("broadcast", "reduce")


class Hall:
    """Be where a group meets.

    Parameters
    ----------
    group : who meets
    stage : what all ranks share
    members : how many of the group's ranks are simulated
    copies : how many equal groups meet at the same time
    local : whether all members run on one device
    """

    __slots__ = ("copies", "group", "local", "meetings", "members", "stage")

    def __init__(self, group: Group, stage: Stage, members: int, copies: int, local: bool) -> None:
        self.group, self.stage = group, stage
        self.members, self.copies, self.local = members, copies, local
        self.meetings: dict[int, Meeting] = {}


class Seat:
    """Count the collectives that a rank has called in a hall."""

    __slots__ = ("hall", "number")

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.number = 0


class Meeting:
    """Be one collective, from the first rank's arrival to the end; it may stand in the queue.

    Parameters
    ----------
    hall : where
    number : how many collectives the group had before
    first : the action of the rank that came first
    caller : that rank
    """

    __slots__ = ("action", "callbacks", "caller", "hall", "number", "present")
    _ok = True

    def __init__(self, hall: Hall, number: int, first: Collective, caller: int) -> None:
        self.hall, self.number, self.action, self.caller = hall, number, first, caller
        self.present: list[Pending] = []
        self.callbacks: Sequence[Callable[[Meeting], None]] = _END
        if first.kind in ROOTED and first.root not in hall.group:
            raise ProgramError(f"rank {caller} calls {first.kind} '{first.buffer.name}' with root "
                               f"{first.root}, which is not in {hall.group}")  # fmt: skip

    def begin(self) -> None:
        """Begin: all have come."""
        hall, action, stage = self.hall, self.action, self.hall.stage
        del hall.meetings[self.number]
        stage.count_collective(action.kind, action.buffer.nbytes, hall.copies)
        now = stage.clock.now
        for pending in self.present:
            pending.moved_s = now
        delay = self._delay()
        if stage.values is not None:
            exchange = Exchange(action, stage.values)
            when(delay, lambda _: self._end(exchange), stage.clock)
        elif delay.__class__ is float:
            stage.clock.put(self, delay)
        else:
            when(delay, lambda _: self._end(), stage.clock)

    def mismatch(self, rank: int, action: Collective) -> CollectiveMismatchError:
        """Return the error of a rank that calls something else than the first."""
        return CollectiveMismatchError(
            f"collective {self.number} of {self.hall.group} differs: rank {self.caller} calls "
            f"{_in_full(self.action)}, rank {rank} calls {_in_full(action)}"
        )

    def _delay(self) -> Delay:
        hall, action, stage = self.hall, self.action, self.hall.stage
        if hall.local:
            return 0.0
        if stage.fabric is None:
            raise stage.no_network(f"{hall.group} has ranks")
        return stage.fabric.collective(action.kind, action.buffer.nbytes, hall.group, hall.copies)

    def _end(self, exchange: Exchange | None = None) -> None:
        stage = self.hall.stage
        if exchange is not None:
            exchange.end()
        if stage.rows is not None or stage.keeps_ends:
            self._note()
        for pending in self.present:
            if pending is not pending.actor.foreground:
                stage.live -= 1
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


def _end(meeting: Meeting) -> None:
    meeting._end()


_END = (_end,)


class Halls:
    """Find the hall of a group; `fold` tells how many of its members are simulated.

    Parameters
    ----------
    stage : what all ranks share
    fold : from a group to (simulated members, equal groups)
    devices : by rank, the index of its device
    """

    __slots__ = ("_devices", "_fold", "_halls", "_stage")

    def __init__(
        self,
        stage: Stage,
        fold: Callable[[Group], tuple[int, int]],
        devices: Sequence[int],
    ) -> None:
        self._stage, self._fold, self._devices = stage, fold, devices
        self._halls: dict[Group, Hall] = {}

    def seat(self, actor: Actor, group: Group) -> Seat:
        """Return a rank's seat in the hall of a group."""
        if actor.rank not in group:
            raise _not_a_member(actor, group)
        hall = self._halls.get(group)
        if hall is None:
            hall = self._halls[group] = self._open(group)
        seat = actor.seats[group] = Seat(hall)
        return seat

    def unfinished(self) -> Iterator[Pending]:
        """Yield the collectives that wait for ranks that have not come."""
        for hall in self._halls.values():
            for meeting in hall.meetings.values():
                yield from meeting.present

    def _open(self, group: Group) -> Hall:
        members, copies = self._fold(group)
        local = self._stage.fabric is None and len({self._devices[r] for r in group.ranks}) == 1
        return Hall(group, self._stage, members, copies, local)


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
    pending.actor.stage.live += 1
    _enter(pending, pending.action)


def _alone(actor: Actor, action: Collective) -> None:
    """Note a collective of one rank, which moves nothing and takes no time."""
    if actor.rank not in action.group:
        raise _not_a_member(actor, action.group)
    actor.stage.count_collective(action.kind, action.buffer.nbytes, actor.copies)


def _not_a_member(actor: Actor, group: Group) -> ProgramError:
    return ProgramError(f"rank {actor.rank} calls a collective over a group without it: {group}")


def _enter(pending: Pending, action: Collective) -> None:
    actor = pending.actor
    seat = actor.seats.get(action.group) or actor.stage.halls.seat(actor, action.group)
    hall, number = seat.hall, seat.number
    seat.number = number + 1
    meeting = hall.meetings.get(number)
    if meeting is None:
        meeting = hall.meetings[number] = Meeting(hall, number, action, actor.rank)
    first = meeting.action
    if (
        (action.buffer is not first.buffer and action.buffer != first.buffer)
        or action.kind != first.kind
        or action.op != first.op
        or action.root != first.root
    ):
        raise meeting.mismatch(actor.rank, action)
    meeting.present.append(pending)
    if len(meeting.present) == hall.members:
        meeting.begin()
