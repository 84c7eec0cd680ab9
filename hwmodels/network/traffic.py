"""Describe traffic, and find what it asks of the links of a topology."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from hwmodels.network.schedules import Step
from hwmodels.network.table import Messages
from hwmodels.network.topology import Topology
from simulator.errors import InputError
from simulator.ops import FloatArray, IntArray

PLAIN = "plain"
SHARING = (PLAIN, "rtt")
"""How flows share a link: evenly, or by the inverse of their round trip times."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, weakref_slot=True)
class Traffic:
    """Be steps of messages between devices, one after the other.

    Parameters
    ----------
    steps : messages; their places are devices of the topology
    together : whether a step begins when all messages of the one before have arrived, all with
        the longest latency among them; else each device begins its next step when what it sent
        and what it was sent has arrived, which needs a single step (repeated) in which each
        device sends and receives once
    limit_bytes_per_s : no message flows faster; of a single step one for each message (m,)
    overhead_s : on top of the latency of each message, seconds
    reduce_s_per_byte : to add up a received byte, in steps that reduce, s/B
    in_order : of a message between two ranks, whether it waits for those that were sent before it
        on the same way, as over one connection; else they share the links
    """

    steps: tuple[Step, ...]
    together: bool = True
    limit_bytes_per_s: float | FloatArray = math.inf
    overhead_s: float = 0.0
    reduce_s_per_byte: float = 0.0
    in_order: bool = False

    def __post_init__(self) -> None:
        if not self.together and not (len(self.steps) == 1 and self.steps[0].permutes):
            raise InputError("traffic in which devices go on one by one needs a single step in "
                             "which each device sends and receives once")  # fmt: skip

    @property
    def sent_bytes(self) -> float:
        """Return what all messages carry, bytes."""
        return sum(step.total_bytes for step in self.steps)


@dataclass(slots=True)
class Known:
    """Be what is known of traffic on a topology.

    Parameters
    ----------
    messages : of each step
    step_s : how long each step takes when the traffic is alone, once that was asked
    links : that it uses, each once
    carried_bytes : over each of these links, by all of it
    even : whether its time alone follows from that of its steps
    single : whether it is one message, over a link at least
    path : the links once more, for quick access
    """

    messages: tuple[Messages, ...]
    step_s: list[float | None]
    links: IntArray
    carried_bytes: FloatArray
    even: bool
    single: bool
    path: list[int]


def look_up(traffic: Traffic, topology: Topology, sharing: str) -> Known:
    """Return what traffic asks of the links of a topology.

    Parameters
    ----------
    traffic : messages between its devices
    topology : links and routes
    sharing : one of `SHARING`
    """
    links = topology.links
    many = tuple(_messages(traffic, step, topology, sharing) for step in traffic.steps)
    carried, used = np.zeros(links), np.zeros(links, bool)
    for one, step in zip(many, traffic.steps, strict=True):
        crossing = one.routes >= 0
        sizes = np.broadcast_to(one.nbytes[:, None], crossing.shape)[crossing]
        carried += np.bincount(one.routes[crossing], sizes, links) * step.repeat
        used[one.routes[crossing]] = True
    even = traffic.together
    if not even:
        even = int(np.bincount(many[0].routes[many[0].routes >= 0]).max()) == 1
    where = np.flatnonzero(used)
    messages = sum(len(step.src) * step.repeat for step in traffic.steps)
    single = messages == 1 and len(where) > 0
    return Known(many, [None] * len(many), where, carried[where], even, single,
                 where.tolist())  # fmt: skip


def _messages(traffic: Traffic, step: Step, topology: Topology, sharing: str) -> Messages:
    routes = topology.routes(step.src, step.dst)
    travel_s = np.append(topology.latency_s, 0.0)[routes].sum(axis=1)
    if sharing == "rtt" and not (travel_s > 0).all():
        raise InputError("sharing by round trip times needs a latency on every route")
    latency_s = travel_s + traffic.overhead_s
    if step.reduces:
        received = np.bincount(step.dst, step.nbytes)[step.dst]
        latency_s = latency_s + traffic.reduce_s_per_byte * received
    count = len(routes)
    before = np.full(count, -1)
    if traffic.together:
        latency_s = np.full(count, latency_s.max())
    else:
        by_dst = np.argsort(step.dst)
        before = by_dst[np.searchsorted(step.dst[by_dst], step.src)]
    zeros = np.zeros(count, np.int64)
    return Messages(
        owner=zeros, routes=routes, latency_s=latency_s, nbytes=np.asarray(step.nbytes, float),
        weight=1.0 / travel_s if sharing == "rtt" else np.ones(count),
        limit=np.broadcast_to(np.asarray(traffic.limit_bytes_per_s, float), count),
        repeat=np.full(count, step.repeat), before=before, phase=zeros, free_s=np.zeros(count),
        left=np.zeros(count), sent=zeros, received=zeros,
    )  # fmt: skip


def one_round(traffic: Traffic, step: int) -> Traffic:
    """Return traffic of one round of a step; all of it where devices go on one by one."""
    if not traffic.together:
        return traffic
    return replace(traffic, steps=(replace(traffic.steps[step], repeat=1),))
