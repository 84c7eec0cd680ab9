"""Carry out Send and Recv: messages between two ranks (see `mailbox` for what carries them)."""

from __future__ import annotations

from collections import deque
from functools import partial

from simulator.actions import ANY, Recv, Send
from simulator.engine.actor import BLOCKED, Actor, Pending
from simulator.engine.clock import AT_LAST, Alarm, when
from simulator.engine.cosimulation import read
from simulator.engine.mailbox import Channel, Mailbox, Parcel, deliver, no_such_peer, receive, tick
from simulator.engine.races import check, claim
from simulator.engine.scene import UnfoldableError


def start_send(pending: Pending) -> None:
    """Send a copy of a buffer; the program may wait for its delivery."""
    send(pending.actor, pending.action, pending)


def send(actor: Actor, action: Send, pending: Pending | None = None) -> None:
    """Send a copy of a buffer and go on."""
    if actor.uses:
        check(actor, action)
    channel = actor.outbox.get(action.to) or _open_channel(actor, action.to)
    buffer, totals, scene = action.buffer, actor.totals, actor.scene
    parcel = Parcel(channel, buffer, actor.clock.now, pending)
    if actor.values is not None and buffer.nbytes:
        parcel.payload = read(actor.values, buffer)
    totals.sent_messages += 1
    totals.sent_bytes += buffer.nbytes
    channel.flying.append(parcel)
    src, dst = actor.device_index, channel.target.device_index
    if src == dst:
        _send_locally(parcel)
        return
    if scene.fabric is None:
        raise scene.no_network(f"rank {actor.rank} sends to rank {action.to}")
    delay = scene.fabric.transfer(src, dst, buffer.nbytes, actor.copies)
    if delay.__class__ is float:
        actor.clock.put(parcel, delay)
    else:
        when(delay, lambda _: deliver(parcel), actor.clock)


def _send_locally(parcel: Parcel) -> None:
    """Deliver within a device: at once to the sender itself, else within this instant."""
    channel = parcel.channel
    if channel.source is channel.target:
        deliver(parcel)
    else:
        channel.source.clock.put(parcel, 0.0)


def _open_channel(actor: Actor, to: int) -> Channel:
    peer = actor.peers.get(to)
    if peer is None:
        raise no_such_peer(actor, to)
    channel: Channel = peer.mailbox.channel(actor.rank)
    return channel


def recv(actor: Actor, action: Recv) -> object:
    """Take a message that has arrived, or wait for one."""
    if actor.uses:
        check(actor, action)
    pending = actor.foreground
    pending.action = action
    pending.start_s = actor.clock.now
    pending.done = False
    expect(pending)
    if pending.done:
        return pending.result
    pending.awaited = True
    return BLOCKED


def start_recv(pending: Pending) -> None:
    """Begin a receive that the program may wait for later."""
    claim(pending)
    expect(pending)


def expect(pending: Pending) -> None:
    """Take a message that has arrived, or stand in line for one."""
    action: Recv = pending.action
    mailbox: Mailbox = pending.actor.mailbox
    if action.source == ANY:
        if pending.actor.scene.folded:
            raise UnfoldableError("a rank receives from any rank")
        parcel = mailbox.first()
        if parcel is not None and tick(parcel.arrived_s) < tick(pending.start_s):
            parcel.channel.waiting.popleft()
            receive(pending, parcel)
            return
        line = mailbox.receivers
        if parcel is not None:
            mailbox.sorting.ask(mailbox)
    else:
        channel = mailbox.channels.get(action.source) or mailbox.channel(action.source)
        if channel.waiting:
            receive(pending, channel.waiting.popleft())
            return
        line = channel.receivers
    line.append(pending)
    if action.timeout_s is not None:
        expire = partial(_expire, pending, line, pending.actor.ticket)
        pending.actor.clock.put(Alarm(expire), action.timeout_s, AT_LAST)


def _expire(pending: Pending, line: deque[Pending], ticket: int, _: object) -> None:
    actor = pending.actor
    stale = pending is actor.foreground and ticket != actor.ticket
    if stale or pending not in line:
        return
    line.remove(pending)
    actor.mailbox.timed_out += 1
    pending.moved_s = actor.clock.now
    pending.finish(None)
