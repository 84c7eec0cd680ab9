"""What traffic takes: closed forms where it is alone, SimGrid's times where it competes."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.network.flows import Flows
from hwmodels.network.schedules import Step
from hwmodels.network.shapes import fat_tree, star, tapered_fat_tree
from hwmodels.network.topology import Topology
from hwmodels.network.traffic import Traffic
from hwmodels.network.wires import Wire
from simulator.errors import InputError

WIRE = Wire(1.25e9, 1e-6)


def ring(devices: int, nbytes: float, *, together: bool = True) -> Traffic:
    here = np.arange(devices)
    step = Step(src=here, dst=(here + 1) % devices, nbytes=np.array(float(nbytes // devices)),
                repeat=2 * (devices - 1))  # fmt: skip
    return Traffic(steps=(step,), together=together)


def exchange(devices: int, shift: int, *, together: bool = True) -> Traffic:
    here = np.arange(devices)
    step = Step(src=here, dst=(here + shift) % devices, nbytes=np.array(1e6), repeat=200)
    return Traffic(steps=(step,), together=together)


def ends_of(flows: Flows, *begins: tuple[float, Traffic]) -> list[float]:
    """Return when traffic that begins at these times has arrived, seconds."""
    ends: dict[int, float] = {}
    tickets = []
    for at_s, traffic in begins:
        while flows.next_s() < at_s:
            ends |= dict.fromkeys(flows.advance(flows.next_s()), flows.now_s)
        flows.advance(at_s)
        tickets.append(flows.begin(traffic))
    while flows.next_s() < math.inf:
        ends |= dict.fromkeys(flows.advance(flows.next_s()), flows.now_s)
    return [ends[ticket] for ticket in tickets]


def two_jobs(topology: Topology, *, together: bool = True, **options: object) -> list[float]:
    """Return when a ring all-reduce of 1 GB and an exchange that begins later end, seconds."""
    flows = Flows(topology, **options)  # type: ignore[arg-type]
    first = ring(topology.devices, 1e9, together=together)
    second = exchange(topology.devices, 7, together=together)
    return ends_of(flows, (0.0, first), (0.01, second))


class TestAlone:
    def test_a_ring_all_reduce_equals_its_closed_form(self) -> None:
        flows = Flows(star(64, WIRE))
        assert ends_of(flows, (0.0, ring(64, 1e9))) == pytest.approx([1.575252], abs=1e-9)

    def test_a_message_takes_its_latency_and_then_its_size_over_the_narrowest_link(self) -> None:
        one = Step(src=np.array([0]), dst=np.array([15]), nbytes=np.array(1e6))
        flows = Flows(fat_tree(4, WIRE))
        assert ends_of(flows, (0.0, Traffic(steps=(one,)))) == pytest.approx([6e-6 + 8e-4])

    def test_software_and_adding_up_come_on_top(self) -> None:
        one = Step(src=np.array([0]), dst=np.array([1]), nbytes=np.array(1e6), reduces=True)
        traffic = Traffic(steps=(one,), overhead_s=5e-6, reduce_s_per_byte=1e-10)
        assert ends_of(Flows(star(2, WIRE)), (0.0, traffic)) == pytest.approx([907e-6])

    def test_no_message_flows_faster_than_its_limit(self) -> None:
        one = Step(src=np.array([0]), dst=np.array([1]), nbytes=np.array(1e6))
        traffic = Traffic(steps=(one,), limit_bytes_per_s=1e8)
        assert ends_of(Flows(star(2, WIRE)), (0.0, traffic)) == pytest.approx([2e-6 + 1e-2])

    def test_messages_without_bytes_take_their_latency(self) -> None:
        here = np.arange(4)
        step = Step(src=here, dst=(here + 1) % 4, nbytes=np.array(0.0), repeat=3)
        flows = Flows(star(4, WIRE))
        assert ends_of(flows, (0.0, Traffic(steps=(step,)))) == pytest.approx([6e-6])


class TestAgainstSimGrid:
    """SimGrid 3.32, model CM02, no cross-traffic, no TCP window; all within 0.2 %."""

    @pytest.mark.parametrize(
        ("devices", "ends_s"),
        [(64, (1.735226, 0.330374)), (256, (1.754668, 0.330298)), (1024, (1.762120, 0.329991))],
    )
    def test_two_jobs_on_a_star(self, devices: int, ends_s: tuple[float, float]) -> None:
        assert two_jobs(star(devices, WIRE), together=False) == pytest.approx(ends_s, rel=1e-6)

    @pytest.mark.parametrize(
        ("k", "ends_s"), [(4, (1.660169, 0.646132)), (8, (1.750383, 0.493025))]
    )
    def test_two_jobs_on_a_fat_tree_by_round_trip_times(
        self, k: int, ends_s: tuple[float, float]
    ) -> None:
        found = two_jobs(fat_tree(k, WIRE), together=False, sharing="rtt")
        assert found == pytest.approx(ends_s, rel=2e-3)


@pytest.mark.parametrize("shortcut", ["fold", "coalesce"])
@pytest.mark.parametrize("topology", [star(64, WIRE), fat_tree(8, WIRE),
                                      tapered_fat_tree(4, 4, 8, WIRE, taper=2)])  # fmt: skip
def test_shortcuts_change_nothing(topology: Topology, shortcut: str) -> None:
    plain = two_jobs(topology, fold=False, coalesce=False)
    assert two_jobs(topology, **{"fold": False, "coalesce": False, shortcut: True}) == (
        pytest.approx(plain, rel=1e-9)
    )


def test_traffic_that_was_alone_goes_on_where_it_stood() -> None:
    whole = [Flows(star(8, WIRE), coalesce=coalesce) for coalesce in (False, True)]
    late = [
        ends_of(flows, (0.0, ring(8, 1e6)), (1.234e-4, exchange(8, 3)), (0.5, ring(8, 3e6)))
        for flows in whole
    ]
    assert late[1] == pytest.approx(late[0], rel=1e-9)


@given(
    sizes=st.lists(st.floats(0, 1e7), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
    wider=st.floats(1, 10),
)
@settings(max_examples=40)
def test_bytes_are_conserved_and_wider_links_are_never_slower(
    sizes: list[float], seed: int, wider: float
) -> None:
    rng = np.random.default_rng(seed)
    pairs = [rng.choice(16, 2, replace=False) for _ in sizes]
    starts = np.sort(rng.uniform(0, 1e-3, len(sizes)))
    times = []
    for bandwidth in (1e9, 1e9 * wider):
        flows = Flows(fat_tree(4, Wire(bandwidth, 1e-6)))
        begins = [
            (float(at_s), Traffic(steps=(
                Step(src=pair[:1], dst=pair[1:], nbytes=np.array(size)),)))
            for at_s, pair, size in zip(starts, pairs, sizes, strict=True)
        ]  # fmt: skip
        times.append(max(ends_of(flows, *begins)))
        topology = flows.topology
        for link in (topology.tail, topology.head):
            at_devices = flows.carried_bytes[link < 16].sum()
            assert at_devices == pytest.approx(sum(sizes))
    assert times[1] <= times[0] * (1 + 1e-9)


def test_devices_go_on_one_by_one_only_in_a_ring() -> None:
    incast = Step(src=np.array([1, 2]), dst=np.array([0, 0]), nbytes=np.array(1.0))
    with pytest.raises(InputError, match="sends and receives once"):
        Traffic(steps=(incast,), together=False)


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("shape", "goal_s"), [((16, 8, 8), 0.1), ((32, 16, 32), 0.5), ((32, 64, 64), 5.0)]
)
def test_two_jobs_on_a_large_fat_tree(shape: tuple[int, int, int], goal_s: float) -> None:
    topology = tapered_fat_tree(*shape, WIRE)
    start_s = time.process_time()
    ends_s = two_jobs(topology)
    spent_s = time.process_time() - start_s
    print(f"\n{topology.devices:,} devices: {spent_s:.2f} s of CPU (goal {goal_s}); ends {ends_s}")


@pytest.mark.benchmark
def test_flows_without_shortcuts() -> None:
    topology = star(1024, WIRE)
    start_s = time.process_time()
    two_jobs(topology, together=False, fold=False, coalesce=False)
    flows = 1024 * (2046 + 200)
    print(f"\nunfolded: {flows / (time.process_time() - start_s):,.0f} flows/s (goal 100,000)")
