"""Carry out collectives: match the n-th call of every member of a group, then begin.

A *hall* belongs to a group, a *seat* to a rank in a hall, and a *meeting* is one collective. An
arriving rank costs O(1), whatever the size of the group.
"""

from __future__ import annotations

from collections.abc import Callable

import simpy

from simulator.actions import Collective, Group
from simulator.actor import BLOCKED, Actor, Pending
from simulator.computing import when
from simulator.cosimulation import Exchange
from simulator.errors import CollectiveMismatchError, ProgramError
from simulator.mailbox import no_network
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
    """Be one collective, from the first rank's arrival to the end.

    Parameters
    ----------
    hall : where
    number : how many collectives the group had before
    first : the action of the rank that came first
    caller : that rank
    """

    __slots__ = ("action", "caller", "hall", "number", "present")

    def __init__(self, hall: Hall, number: int, first: Collective, caller: int) -> None:
        self.hall, self.number, self.action, self.caller = hall, number, first, caller
        self.present: list[Pending] = []
        if first.kind in ROOTED and first.root not in hall.group:
            raise ProgramError(f"rank {caller} calls {first.kind} '{first.buffer.name}' with root "
                               f"{first.root}, which is not in {hall.group}")  # fmt: skip

    def arrive(self, pending: Pending) -> None:
        """Add a rank, whose call must agree with the others'; begin if it is the last."""
        action: Collective = pending.action
        first = self.action
        if action is not first and (
            action.kind != first.kind
            or action.buffer != first.buffer
            or action.op != first.op
            or action.root != first.root
        ):
            raise self._mismatch(pending.actor.rank, action)
        self.present.append(pending)
        if len(self.present) == self.hall.members:
            self._begin()

    def _mismatch(self, rank: int, action: Collective) -> CollectiveMismatchError:
        return CollectiveMismatchError(
            f"collective {self.number} of {self.hall.group} differs: rank {self.caller} calls "
            f"{_in_full(self.action)}, rank {rank} calls {_in_full(action)}"
        )

    def _begin(self) -> None:
        hall, action, stage = self.hall, self.action, self.hall.stage
        del hall.meetings[self.number]
        nbytes = action.buffer.nbytes
        stage.count_collective(action.kind, nbytes, hall.copies)
        end: Callable[[simpy.Event], None] = self._end
        if stage.values is not None:
            end = Exchange(action, stage.values, end).end
        if hall.group.size == 1 or (hall.local and stage.fabric is None):
            event: simpy.Event = stage.clock.timeout(0.0)
        elif stage.fabric is None:
            raise no_network(stage.machine.name, f"{hall.group} has ranks")
        else:
            event = stage.fabric.collective(action.kind, nbytes, hall.group, hall.copies)
        now = stage.clock.now
        for pending in self.present:
            pending.moved_s = now
        when(event, end)

    def _end(self, _: simpy.Event) -> None:
        stage = self.hall.stage
        kind, name = SPAN_CODES[self.action.kind], self.action.buffer.name
        stage.live -= len(self.present)
        for pending in self.present:
            actor = pending.actor
            actor.record(pending, kind, name)
            if actor.ends is not None:
                actor.ends.append((name, stage.clock.now))
            pending.finish(None)


def _in_full(action: Collective) -> str:
    size = f"{action.kind} '{action.buffer.name}' ({action.buffer.nbytes:g} B, op {action.op}"
    return f"{size}, root {action.root})" if action.kind in ROOTED else f"{size})"


class Halls:
    """Find the hall of a group; `fold` tells how many of its members are simulated.

    Parameters
    ----------
    stage : what all ranks share
    fold : from a group to (simulated members, equal groups)
    device_of : from a rank to the index of its device
    """

    __slots__ = ("_device_of", "_fold", "_halls", "_stage")

    def __init__(
        self,
        stage: Stage,
        fold: Callable[[Group], tuple[int, int]],
        device_of: Callable[[int], int],
    ) -> None:
        self._stage, self._fold, self._device_of = stage, fold, device_of
        self._halls: dict[Group, Hall] = {}

    def seat(self, actor: Actor, group: Group) -> Seat:
        """Return a rank's seat in the hall of a group."""
        if actor.rank not in group:
            raise ProgramError(f"rank {actor.rank} calls a collective over a group without it: "
                               f"{group}")  # fmt: skip
        hall = self._halls.get(group)
        if hall is None:
            hall = self._halls[group] = self._open(group)
        seat = actor.seats[group] = Seat(hall)
        return seat

    def _open(self, group: Group) -> Hall:
        members, copies = self._fold(group)
        local = self._stage.fabric is None and len({self._device_of(r) for r in group.ranks}) == 1
        return Hall(group, self._stage, members, copies, local)

    def collective(self, actor: Actor, action: Collective) -> object:
        """Communicate with a group and wait for the end."""
        if actor.uses:
            check(actor, action)
        self._enter(actor.block(action), action)
        return BLOCKED

    def start(self, pending: Pending) -> None:
        """Communicate with a group; the program may wait for the end later."""
        claim(pending)
        self._enter(pending, pending.action)

    def _enter(self, pending: Pending, action: Collective) -> None:
        actor = pending.actor
        seat = actor.seats.get(action.group) or self.seat(actor, action.group)
        number = seat.number
        seat.number += 1
        meetings = seat.hall.meetings
        meeting = meetings.get(number)
        if meeting is None:
            meeting = Meeting(seat.hall, number, action, actor.rank)
            meetings[number] = meeting
        self._stage.live += 1
        meeting.arrive(pending)
