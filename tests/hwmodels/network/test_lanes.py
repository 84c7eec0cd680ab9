"""Messages that share links evenly take the time that the table of messages gives them."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.network.flows import Flows
from hwmodels.network.schedules import Step
from hwmodels.network.shapes import fat_tree, ring, star
from hwmodels.network.topology import Topology
from hwmodels.network.traffic import Traffic
from hwmodels.network.wires import Wire

WIRE = Wire(1e9, 1e-6)
STAR = star(8, WIRE)
UNEVEN = STAR.degraded(STAR.routes(np.array([1, 2]), np.array([0, 0]))[:, 0], 0.3)
"""A star on which two devices send at less than a third of the rate of others."""
NETWORKS = [STAR, UNEVEN, fat_tree(4, WIRE), ring(8, WIRE)]


def message(src: int, dst: int, nbytes: float, limit: float = math.inf) -> Traffic:
    step = Step(src=np.array([src]), dst=np.array([dst]), nbytes=np.array(nbytes))
    return Traffic(steps=(step,), limit_bytes_per_s=limit)


def rotation(devices: int, nbytes: float, repeat: int) -> Traffic:
    here = np.arange(devices)
    step = Step(src=here, dst=(here + 1) % devices, nbytes=np.array(nbytes), repeat=repeat)
    return Traffic(steps=(step,))


def ends_s(flows: Flows, begins: list[tuple[float, Traffic]]) -> list[float]:
    """Return when traffic that begins at these times has arrived, seconds."""
    found: dict[int, float] = {}
    tickets = []
    for at_s, traffic in [*begins, (math.inf, None)]:
        while flows.next_s() <= at_s and flows.next_s() < math.inf:
            found |= dict.fromkeys(flows.advance(flows.next_s()), flows.now_s)
        if traffic is not None:
            found |= dict.fromkeys(flows.advance(at_s), flows.now_s)
            tickets.append(flows.begin(traffic))
    return [found[ticket] for ticket in tickets]


def plain(topology: Topology) -> Flows:
    return Flows(topology, fold=False, coalesce=False)


@st.composite
def messages(draw: st.DrawFn) -> list[tuple[float, Traffic]]:
    """Return messages, many to the same few devices, and sometimes a collective among them."""
    begins = []
    at_s = 0.0
    for _ in range(draw(st.integers(1, 14))):
        at_s += draw(st.sampled_from([0.0, 0.0, 1e-5, 3.7e-4, 2e-3]))
        if draw(st.integers(0, 9)) == 0:
            begins.append((at_s, rotation(draw(st.sampled_from([2, 5, 8])), 2e5, 3)))
            continue
        src, dst = draw(st.integers(1, 7)), draw(st.sampled_from([0, 0, 0, 7, 3]))
        if src != dst:
            nbytes = draw(st.sampled_from([0.0, 1e4, 1e6, 1234567.0]))
            begins.append((at_s, message(src, dst, nbytes, draw(st.sampled_from([2e8, math.inf])))))
    return begins


@given(topology=st.sampled_from(NETWORKS), begins=messages())
@settings(max_examples=200, deadline=None)
def test_ends_are_those_of_the_table(
    topology: Topology, begins: list[tuple[float, Traffic]]
) -> None:
    flows = Flows(topology)
    found = ends_s(flows, begins)
    assert found == pytest.approx(ends_s(plain(topology), begins), rel=1e-9, abs=1e-15)
    assert not flows.table.messages()
    assert not flows._lanes.busy.any()
    assert not flows._users.any()


def test_many_to_one_share_its_link_evenly() -> None:
    begins = [(0.0, message(src, 0, 1e6)) for src in range(1, 8)]
    assert ends_s(Flows(STAR), begins) == pytest.approx([2e-6 + 7e-3] * 7, rel=1e-12)


def test_slow_senders_leave_to_others_what_they_cannot_use() -> None:
    begins = [(0.0, message(src, 0, 1e6)) for src in range(1, 4)]
    found = ends_s(Flows(UNEVEN), begins)
    assert found == pytest.approx([2e-6 + 1 / 300, 2e-6 + 1 / 300, 2e-6 + 1 / 400], rel=1e-9)


def test_messages_that_come_to_share_links_unevenly_are_left_to_the_table() -> None:
    flows = Flows(STAR)
    for src, dst in [(1, 0), (2, 0), (1, 3)]:
        flows.begin(message(src, dst, 1e6))
    assert flows.table.messages() is None
    flows.advance(1e-3)
    rows = flows.table.messages()
    assert rows is not None
    assert len(rows.owner) == 3


@pytest.mark.benchmark
def test_many_to_one() -> None:
    devices, rounds = 1025, 20
    one = star(devices, WIRE)
    traffic = [message(src, 0, 1e6) for src in range(1, devices)]
    flows = Flows(one)
    start_s = time.process_time()
    for _ in range(rounds):
        for each in traffic:
            flows.begin(each)
        flows.advance_all()
    spent_s = time.process_time() - start_s
    print(f"\n{rounds * len(traffic) / spent_s:,.0f} messages/s of 1,024 at a time to one device")
