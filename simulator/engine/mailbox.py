"""Hold messages on their way and those that wait to be received.

A *parcel* is a message on its way. A *channel* leads from one rank to another and keeps the order
in which its parcels were sent. A *mailbox* holds what has arrived at a rank and the receives that
wait for it.

Messages of one instant are delivered to a receive from ANY in the order (time rounded to 1 ns,
source, sequence). So such a receive takes what arrives in the current nanosecond only when nothing
else can happen in it: it waits for a late event at the same time, the *sorting*.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from typing import TypeAlias

from simulator.actions import ANY, Message
from simulator.engine.actor import Actor, Pending
from simulator.engine.clock import AFTER_ALL, Alarm, EngineClock
from simulator.engine.cosimulation import write
from simulator.errors import ProgramError
from simulator.timeline import SPAN_CODES
from simulator.workload import Buffer

SEND, RECV = SPAN_CODES["send"], SPAN_CODES["recv"]
NANOSECONDS = 1e9


class Parcel:
    """Be a message on its way; it may stand in the clock's queue.

    Parameters
    ----------
    channel : where it travels
    buffer : what was sent
    sent_s : when, seconds
    pending : the send, where the program may wait for its delivery

    `payload` is a copy of the buffer's contents, only where there are values and the buffer is not
    empty; `arrived_s` and `taken` are set once it is kept.
    """

    __slots__ = (
        "arrived", "arrived_s", "buffer", "callbacks", "channel", "payload", "pending", "sent_s",
        "taken",
    )  # fmt: skip
    _ok = True
    arrived_s: float
    payload: object
    taken: bool

    def __init__(
        self, channel: Channel, buffer: Buffer, sent_s: float, pending: Pending | None
    ) -> None:
        self.channel = channel
        self.buffer = buffer
        self.sent_s = sent_s
        self.pending = pending
        self.arrived = False
        self.callbacks = _DELIVER


class Channel:
    """Lead from one rank to another."""

    __slots__ = ("flying", "mailbox", "receivers", "source", "target", "told", "waiting")

    def __init__(self, source: Actor, target: Actor) -> None:
        self.source, self.target, self.mailbox = source, target, target.mailbox
        self.flying: deque[Parcel] = deque()
        self.waiting: deque[Parcel] = deque()
        self.receivers: deque[Pending] = deque()
        # The last message made: a channel mostly carries the same buffer again and again.
        self.told = _NO_MESSAGE


_NO_MESSAGE = Message(ANY, Buffer("", 0.0))
Order: TypeAlias = tuple[int, int, int, Parcel]


class Mailbox:
    """Hold what has arrived at a rank and the receives from any rank that wait.

    Parameters
    ----------
    actor : whose it is
    sorting : the mailboxes to look through at the end of this instant, shared by all ranks
    """

    __slots__ = ("actor", "channels", "heap", "kept", "receivers", "sorting", "timed_out")

    def __init__(self, actor: Actor, sorting: Sorting) -> None:
        self.actor, self.sorting = actor, sorting
        self.channels: dict[int, Channel] = {}
        self.receivers: deque[Pending] = deque()
        self.heap: list[Order] | None = None
        self.timed_out = self.kept = 0

    def channel(self, source: int) -> Channel:
        """Return the channel from a rank."""
        if source not in self.channels:
            peer = self.actor.peers.get(source)
            if peer is None:
                raise no_such_peer(self.actor, source)
            self.channels[source] = peer.outbox[self.actor.rank] = Channel(peer, self.actor)
        return self.channels[source]

    def keep(self, parcel: Parcel) -> None:
        """Keep a parcel that no receive from its source waits for."""
        parcel.channel.waiting.append(parcel)
        parcel.arrived_s = self.actor.clock.now
        parcel.taken = False
        if self.heap is not None:
            heappush(self.heap, self._order(parcel))
            if self.receivers:
                self.sorting.ask(self)

    def _order(self, parcel: Parcel) -> Order:
        # Parcels of one source are kept in the order of sending.
        self.kept += 1
        return (tick(parcel.arrived_s), parcel.channel.source.rank, self.kept, parcel)

    def first(self) -> Parcel | None:
        """Return the first message for a receive from any rank, or None."""
        if self.heap is None:
            kept = (parcel for channel in self.channels.values() for parcel in channel.waiting)
            self.heap = [self._order(parcel) for parcel in kept]
            heapify(self.heap)
        while self.heap and self.heap[0][3].taken:
            heappop(self.heap)
        return self.heap[0][3] if self.heap else None

    def sort(self) -> None:
        """Hand what has arrived to the receives from any rank."""
        while self.receivers and (parcel := self.first()) is not None:
            parcel.channel.waiting.popleft()
            receive(self.receivers.popleft(), parcel)


class Sorting:
    """Be the event at the end of an instant in which the mailboxes that ask are sorted."""

    __slots__ = ("asked", "clock")

    def __init__(self, clock: EngineClock) -> None:
        self.clock = clock
        self.asked: dict[int, Mailbox] = {}

    def ask(self, mailbox: Mailbox) -> None:
        """Have a mailbox sorted at the end of this instant."""
        if not self.asked:
            self._schedule(0.0)
        self.asked[mailbox.actor.rank] = mailbox

    def _schedule(self, delay_s: float) -> None:
        self.clock.put(Alarm(self._sort), delay_s, AFTER_ALL)

    def _sort(self, _: object) -> None:
        now, upcoming = self.clock.now, self.clock.peek()
        if now < upcoming < now + 1 / NANOSECONDS and tick(upcoming) == tick(now):
            self._schedule(upcoming - now)
            return
        asked, self.asked = self.asked, {}
        for rank in sorted(asked):
            asked[rank].sort()


def tick(time_s: float) -> int:
    """Return a time in whole nanoseconds.

    >>> tick(1.5e-6)
    1500
    """
    return round(time_s * NANOSECONDS)


def no_such_peer(actor: Actor, other: int) -> ProgramError:
    """Return the error of a rank that exchanges messages outside its copy."""
    return ProgramError(f"rank {actor.rank} exchanges messages with rank {other}, which is not one "
                        f"of its {len(actor.peers)} peers; messages stay within a copy of the "
                        "plan's `copies`")  # fmt: skip


def deliver(parcel: Parcel) -> None:
    """Note that a parcel has come through; it arrives after those sent before it."""
    flying = parcel.channel.flying
    parcel.arrived = True
    while flying and flying[0].arrived:
        _arrive(flying.popleft())


def _arrive(parcel: Parcel) -> None:
    channel = parcel.channel
    source = channel.source
    rows = source.scene.rows
    if rows is not None:
        rows += (parcel.sent_s, source.clock.now, source.rank, SEND, parcel.buffer.name)
    if parcel.pending is not None:
        parcel.pending.finish(None)
    if channel.receivers:
        receive(channel.receivers.popleft(), parcel)
    else:
        channel.mailbox.keep(parcel)


def receive(pending: Pending, parcel: Parcel) -> None:
    """Give a parcel to a receive."""
    actor, sent = pending.actor, parcel.buffer
    buffer: Buffer = pending.action.buffer
    if sent.nbytes > buffer.nbytes:
        raise ProgramError(
            f"rank {actor.rank} receives '{sent.name}' of {sent.nbytes} B from "
            f"rank {parcel.channel.source.rank} into '{buffer.name}' of {buffer.nbytes} B"
        )
    parcel.taken = True
    totals = actor.totals
    totals.received_messages += 1
    totals.received_bytes += sent.nbytes
    if actor.values is not None and sent.nbytes:
        write(actor.values, buffer, parcel.payload, pending.action.op)
    pending.moved_s = pending.start_s
    if parcel.sent_s > pending.start_s:
        pending.moved_s = parcel.sent_s
    if actor.scene.rows is not None:
        actor.record(pending, RECV, buffer.name)
    channel = parcel.channel
    if channel.told.buffer is not sent:
        channel.told = Message(channel.source.rank, sent)
    pending.finish(channel.told)


_DELIVER = (deliver,)
