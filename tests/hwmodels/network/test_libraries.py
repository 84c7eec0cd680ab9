"""Software chooses algorithms: as textbooks have them, and as gloo does."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest

from hwmodels.network.closed_forms import CLOSED_FORMS, Link, hierarchical_all_reduce_s, time_s
from hwmodels.network.cluster import Cluster
from hwmodels.network.collectives import schedule
from hwmodels.network.composed_shapes import rail_optimised
from hwmodels.network.flows import Flows
from hwmodels.network.libraries import (
    CANDIDATES,
    MOST_ONE_BY_ONE,
    Gloo,
    Textbook,
    gloo_steps,
    least_s,
    traffic_of,
)
from hwmodels.network.schedules import Step
from hwmodels.network.shapes import fat_tree, leaf_spine, ring, star, torus
from hwmodels.network.topology import Topology
from hwmodels.network.wires import Wire
from simulator.actions import COLLECTIVES, Group, Handle, Rank
from simulator.engine.execute import execute
from simulator.errors import InputError, UnknownNameError
from simulator.ideal import IdealDevice
from simulator.protocols import Machine, Program
from simulator.workload import Buffer
from tests.simulator.plans import By, job

WIRE = Wire(1.25e9, 1e-6)
MEASURED_MS = {
    "all_reduce": {(2, 4): 35.45, (2, 16): 140.20, (4, 4): 53.86, (4, 16): 211.87,
                   (8, 4): 61.91, (8, 16): 251.98},
    "all_gather": {(2, 4): 17.70, (2, 16): 105.96, (4, 4): 27.51, (4, 16): 111.27,
                   (8, 4): 32.41, (8, 16): 129.73},
    "broadcast": {(2, 4): 34.82, (2, 16): 140.07, (4, 4): 101.49, (4, 16): 411.68,
                  (8, 4): 380.96, (8, 16): 727.08},
}  # fmt: skip
"""Medians of torch 2.13.0 with gloo, at 1 Gbit/s between network namespaces of two cores."""


def alone_s(topology: Topology, library: Textbook | Gloo, kind: str, nbytes: float) -> float:
    network = Cluster(topology=topology, library=library)
    return network.collective_s(kind, nbytes, Group.of(range(topology.devices)))


ROWS = np.arange(64).reshape(8, 8)
SNAKE = np.where(np.arange(8)[:, None] % 2 == 0, ROWS, ROWS[:, ::-1]).ravel()
ACROSS = ROWS.T.ravel()
"""Whoever follows in the group is at the next leaf."""
NODE = star(8, Wire(450e9, 5e-7), hub="nvswitch")
PCIE = Wire(55e9, 2e-7)


class TestOneJobOnManyNetworks:
    """A ring all-reduce of 1 GB among 64 devices takes other times, each by its closed form."""

    @pytest.mark.parametrize(
        ("topology", "order", "latency_s", "bandwidth"),
        [
            pytest.param(star(64, WIRE), ACROSS, 2e-6, 1.25e9, id="star"),
            pytest.param(leaf_spine(8, 8, 8, WIRE), ACROSS, 4e-6, 1.25e9, id="1:1 tree"),
            pytest.param(leaf_spine(8, 8, 4, WIRE), ACROSS, 4e-6, 0.625e9, id="2:1 tree"),
            pytest.param(fat_tree(8, WIRE), range(64), 6e-6, 1.25e9, id="three levels"),
            pytest.param(torus((8, 8), WIRE), SNAKE, 1e-6, 1.25e9, id="torus"),
            pytest.param(torus((8, 8), WIRE), range(64), 2e-6, 1.25e9, id="torus row by row"),
            pytest.param(
                rail_optimised(8, NODE, WIRE, PCIE), range(64),
                2 * 5e-7 + 2 * 2e-7 + 2 * 1e-6, 1.25e9, id="rails",
            ),
        ],
    )  # fmt: skip
    def test_takes_its_closed_form(
        self, topology: Topology, order: Iterable[int], latency_s: float, bandwidth: float
    ) -> None:
        network = Cluster(topology=topology, library=Textbook(algorithms={"all_reduce": "ring"}))
        got = network.collective_s("all_reduce", 1e9, Group.of([int(one) for one in order]))
        link = Link(latency_s, bandwidth)
        assert got == pytest.approx(time_s("all_reduce", "ring", 1e9, 64, link), rel=1e-9)

    def test_all_at_once_notice_an_oversubscribed_tree(self) -> None:
        """56 of the 63 messages of each of 8 hosts leave the leaf, over links for 4 of them."""
        library = Textbook(algorithms={"all_to_all": "direct"})
        full, half = (
            alone_s(leaf_spine(8, 8, spines, WIRE), library, "all_to_all", 64e6)
            for spines in (8, 4)
        )
        assert full == pytest.approx(4e-6 + 63e6 / 1.25e9, rel=1e-9)
        assert half == pytest.approx(4e-6 + 2 * 56e6 / 1.25e9, rel=1e-9)


class TestTextbook:
    def test_chooses_by_size_as_mpi_does(self) -> None:
        network, devices = star(64, WIRE), np.arange(64)
        choice = [Textbook().choice("all_reduce", n, devices, network) for n in (8.0, 1e9)]
        assert choice == ["recursive_doubling", "halving_doubling"]
        choice = [Textbook().choice("broadcast", n, devices, network) for n in (8.0, 1e9)]
        assert choice == ["binomial", "van_de_geijn"]

    def test_chooses_by_the_network(self) -> None:
        """On a ring of cables partners at a distance share them, neighbours do not."""
        assert Textbook().choice("all_reduce", 1e9, np.arange(16), ring(16, WIRE)) == "ring"

    @pytest.mark.parametrize("kind", CANDIDATES)
    @pytest.mark.parametrize("nbytes", [0.0, 1e4, 1e8])
    @pytest.mark.parametrize("ranks", [1, 2, 6, 16])
    def test_auto_is_as_quick_as_the_best(self, kind: str, nbytes: float, ranks: int) -> None:
        network = star(ranks, WIRE)
        times_s = [
            alone_s(network, Textbook(algorithms={kind: one}), kind, nbytes)
            for one in CANDIDATES[kind]
        ]
        assert alone_s(network, Textbook(), kind, nbytes) == pytest.approx(min(times_s), rel=1e-9)

    def test_least_time_is_the_time_on_a_star(self) -> None:
        network, devices = star(6, WIRE), np.arange(6)
        for kind, table in CLOSED_FORMS.items():
            for algorithm in table:
                library = Textbook(algorithms={kind: algorithm}, reduce_s_per_byte=1e-10)
                traffic = library.collective(kind, 1e6, devices, network)
                expected = alone_s(network, library, kind, 1e6)
                assert least_s(traffic, network) == pytest.approx(expected, rel=1e-9)

    def test_within_nodes_first_is_quicker_over_slow_cards(self) -> None:
        network = rail_optimised(8, NODE, WIRE, PCIE)
        flat = alone_s(network, Textbook(algorithms={"all_reduce": "ring"}), "all_reduce", 1e9)
        deep = alone_s(
            network, Textbook(algorithms={"all_reduce": "hierarchical"}, ranks_per_node=8),
            "all_reduce", 1e9,
        )  # fmt: skip
        inside, between = Link(1e-6, 450e9), Link(2.4e-6, 1.25e9)
        assert deep == pytest.approx(
            hierarchical_all_reduce_s(1e9, 8, 8, inside, between), rel=1e-9
        )
        assert flat > 7 * deep

    def test_messages_between_ranks_of_one_device_take_no_time(self) -> None:
        network, library = star(2, WIRE), Textbook(algorithms={"all_reduce": "ring"})
        neighbours = library.collective("all_reduce", 4e6, np.array([0, 0, 1, 1]), network)
        assert [step.src.tolist() for step in neighbours.steps] == [[0, 1]]
        apart = library.collective("all_reduce", 4e6, np.array([0, 1, 0, 1]), network)
        assert [step.src.tolist() for step in apart.steps] == [[0, 1, 0, 1]] * 2
        assert library.collective("all_reduce", 4e6, np.zeros(4, int), network).steps == ()

    @pytest.mark.parametrize("gamma", [0.0, 1e-9])
    def test_devices_of_a_ring_go_on_one_by_one(self, gamma: float) -> None:
        steps = schedule("all_reduce", "ring", 4e6, 4)
        traffic = traffic_of(steps, np.arange(4), reduce_s_per_byte=gamma)
        assert not traffic.together
        assert [step.repeat for step in traffic.steps] == [6]

    def test_bad_input(self) -> None:
        with pytest.raises(UnknownNameError, match="did you mean 'halving_doubling'"):
            Textbook(algorithms={"all_reduce": "halving_doublin"})
        with pytest.raises(UnknownNameError, match="collective"):
            Textbook(algorithms={"scan": "ring"})
        with pytest.raises(InputError, match="overhead_s: expected a number of at least 0"):
            Textbook(overhead_s=-1e-6)
        with pytest.raises(InputError, match="reduce_s_per_byte"):
            Textbook(reduce_s_per_byte=math.nan)
        with pytest.raises(UnknownNameError, match="collective"):
            alone_s(star(4, WIRE), Textbook(), "scan", 1e6)
        with pytest.raises(InputError, match="0 or more bytes"):
            alone_s(star(4, WIRE), Textbook(), "all_reduce", -1.0)
        with pytest.raises(InputError, match="device 4 of a network of 4"):
            Cluster(topology=star(4, WIRE), library=Textbook()).collective_s(
                "all_reduce", 1e6, Group.of(range(5))
            )


class TestOwnRing:
    """A ring all-reduce that a user writes in fifteen lines equals the built-in one."""

    @staticmethod
    def ring(rank: Rank, part: Buffer, into: Buffer) -> Program:
        after, before = (rank.id + 1) % rank.size, (rank.id - 1) % rank.size
        for _ in range(2 * (rank.size - 1)):
            sent: Handle = yield rank.start(rank.send(part, after))
            yield rank.recv(into, before)
            yield rank.wait(sent)

    @pytest.mark.parametrize("ranks", [2, 5, 16])
    @pytest.mark.parametrize("library", [
        Textbook(algorithms={"all_reduce": "ring"}, overhead_s=3e-6), Gloo()
    ])  # fmt: skip
    def test_equals_the_built_in(self, ranks: int, library: Textbook | Gloo) -> None:
        network = Cluster(topology=star(ranks, WIRE), library=library)
        part, into = Buffer("part", 4e6 / ranks), Buffer("into", 4e6 / ranks)
        plan = By(lambda rank, _: self.ring(rank, part, into))
        machine = Machine("star", [IdealDevice()] * ranks, network)
        outcome = execute(job(), machine, plan)
        expected = network.collective_s("all_reduce", 4e6, Group.of(range(ranks)))
        assert outcome.time_s == pytest.approx(expected, rel=1e-9)


class TestGloo:
    def test_a_broadcast_sends_to_all_children_at_once(self) -> None:
        assert [(s.src.tolist(), s.dst.tolist()) for s in gloo_steps("broadcast", 1.0, 8)] == [
            ([0, 0, 0], [1, 2, 4]), ([1, 1, 2], [3, 5, 6]), ([3], [7])
        ]  # fmt: skip

    @pytest.mark.parametrize("ranks", [2, 4, 8])
    def test_closed_forms(self, ranks: int) -> None:
        gloo = Gloo(overhead_s=0.0, wire_bytes_per_byte=1.0)
        network, link = star(ranks, Wire(125e6, 0.0)), Link(0.0, 125e6)
        for kind in ("all_reduce", "all_gather", "reduce"):
            turns = 1.5 if (kind, ranks) == ("all_gather", 2) else 1.0
            expected = turns * time_s(kind, "ring", 4e6, ranks, link)
            assert alone_s(network, gloo, kind, 4e6) == pytest.approx(expected, rel=1e-9)
        assert alone_s(network, gloo, "reduce_scatter", 4e6) == pytest.approx(
            time_s("all_reduce", "ring", 4e6, ranks, link), rel=1e-9
        )
        # A root sends lg p times at once, its first child lg p - 1 times, and so on.
        depth = ranks.bit_length() - 1
        expected = depth * (depth + 1) / 2 * 4e6 / 125e6
        assert alone_s(network, gloo, "broadcast", 4e6) == pytest.approx(expected, rel=1e-9)

    def test_every_collective_is_there_for_any_group(self) -> None:
        for kind in COLLECTIVES:
            for ranks in (1, 2, 3, 7):
                time = alone_s(star(ranks, WIRE), Gloo(), kind, 1e6)
                assert (time > 0) == (ranks > 1)
        with pytest.raises(UnknownNameError, match="collective"):
            gloo_steps("scan", 1.0, 2)

    def test_links_carry_more_than_data(self) -> None:
        step = Step(src=np.array([0]), dst=np.array([1]), nbytes=np.array(1e6))
        traffic = Gloo(wire_bytes_per_byte=1.5).message(step, star(2, WIRE))
        assert traffic.steps[0].total_bytes == 1.5e6

    def test_bad_input(self) -> None:
        for overhead_s, share in ((-1.0, 1.0), (0.0, 0.9), (0.0, math.inf)):
            with pytest.raises(InputError, match="gloo"):
                Gloo(overhead_s=overhead_s, wire_bytes_per_byte=share)

    @pytest.mark.parametrize(("kind", "most"), [
        ("all_reduce", 0.05), ("all_gather", 0.08), ("broadcast", 0.12)
    ])  # fmt: skip
    def test_large_messages_take_the_measured_time(self, kind: str, most: float) -> None:
        """The median error over 4 and 16 MiB between 2, 4 and 8 ranks."""
        errors = [
            abs(alone_s(star(ranks, Wire(125e6)), Gloo(), kind, mib * 2.0**20) / (ms / 1e3) - 1)
            for (ranks, mib), ms in MEASURED_MS[kind].items()
        ]
        assert np.median(errors) < most


def test_large_groups_take_steps_together_and_small_ones_as_soon_as_each_can() -> None:
    topology = star(MOST_ONE_BY_ONE + 1, Wire(1.25e9, 1e-6))
    library = Textbook(algorithms={"all_reduce": "ring"})
    for ranks in (MOST_ONE_BY_ONE, MOST_ONE_BY_ONE + 1):
        traffic = library.collective("all_reduce", 1e9, np.arange(ranks), topology)
        assert traffic.together == (ranks > MOST_ONE_BY_ONE)
        flows = Flows(topology)
        flows.begin(traffic)
        formula_s = 2 * (ranks - 1) * (2e-6 + 1e9 / ranks / 1.25e9)
        assert flows.advance_all() == pytest.approx(formula_s, rel=1e-9)
