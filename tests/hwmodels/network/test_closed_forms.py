"""Algorithms take what their closed forms say, where nobody else uses the links."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hwmodels.network.closed_forms import (
    CLOSED_FORMS,
    PIPELINED,
    Link,
    best_chunks,
    bus_bandwidth_bytes_per_s,
    double_tree_all_reduce_s,
    halving_doubling_all_reduce_s,
    hierarchical_all_reduce_s,
    loggp_message_s,
    logp_messages_s,
    message_s,
    ring_all_reduce_s,
    time_s,
)
from hwmodels.network.cluster import Cluster
from hwmodels.network.collectives import algorithms
from hwmodels.network.libraries import Textbook
from hwmodels.network.shapes import star
from hwmodels.network.wires import Wire
from simulator.actions import COLLECTIVES, Group, Rank
from simulator.engine.execute import execute
from simulator.errors import InputError, UnknownNameError
from simulator.ideal import IdealDevice
from simulator.protocols import Machine, Program
from simulator.workload import Buffer, Job
from tests.simulator.plans import By, job

BANDWIDTH = 1.25e9
ALPHA = 2e-6 + 3e-6
ALL = [(kind, name) for kind in COLLECTIVES for name in algorithms(kind) if name != "hierarchical"]


def simulated_s(
    kind: str, algorithm: str, nbytes: float, ranks: int, gamma: float = 0.0, coalesce: bool = True
) -> float:
    """Return the time on a star whose links take 1 us each, with 3 us for each message."""
    library = Textbook(algorithms={kind: algorithm}, overhead_s=3e-6, reduce_s_per_byte=gamma)
    network = Cluster(topology=star(ranks, Wire(BANDWIDTH, 1e-6)), library=library,
                      coalesce=coalesce)  # fmt: skip
    return network.collective_s(kind, nbytes, Group.of(range(ranks)))


def chunks_of(algorithm: str, nbytes: float, ranks: int) -> int:
    stages = {"chain": ranks - 1, "double_tree": (ranks - 1).bit_length()}.get(algorithm)
    return best_chunks(nbytes, stages, Link(ALPHA, BANDWIDTH)) if stages else 1


class TestEqualToSimulation:
    @pytest.mark.parametrize(("kind", "algorithm"), ALL)
    @settings(max_examples=20, deadline=None)
    @given(
        ranks=st.integers(2, 33),
        nbytes=st.sampled_from([0.0, 1.0, 4096.0, 1e6, 1e9]),
        gamma=st.sampled_from([0.0, 1e-10]),
        coalesce=st.booleans(),
    )
    def test_without_contention(
        self, kind: str, algorithm: str, ranks: int, nbytes: float, gamma: float, coalesce: bool
    ) -> None:
        if algorithm == "double_tree":
            ranks = 1 << (ranks - 1).bit_length()
        if algorithm in PIPELINED.get(kind, {}):
            nbytes = min(nbytes, 1e6)  # else thousands of chunks, one by one
        expected = time_s(kind, algorithm, nbytes, ranks, Link(ALPHA, BANDWIDTH, gamma),
                          chunks_of(algorithm, nbytes, ranks))  # fmt: skip
        got = simulated_s(kind, algorithm, nbytes, ranks, gamma, coalesce=coalesce)
        assert got == pytest.approx(expected, rel=1e-9, abs=0.0)

    @pytest.mark.parametrize("ranks", [3, 5, 6, 7, 12])
    def test_a_double_tree_of_any_size_takes_hardly_less_than_its_formula(self, ranks: int) -> None:
        chunks = chunks_of("double_tree", 1e6, ranks)
        longest_s = double_tree_all_reduce_s(1e6, ranks, Link(ALPHA, BANDWIDTH), chunks)
        got = simulated_s("all_reduce", "double_tree", 1e6, ranks)
        assert 0.95 * longest_s < got <= longest_s * (1 + 1e-9)

    @pytest.mark.parametrize(("nodes", "per_node"), [(1, 4), (4, 1), (2, 4), (3, 2)])
    def test_within_nodes_and_between_them(self, nodes: int, per_node: int) -> None:
        link = Link(2e-6, BANDWIDTH, 1e-10)
        library = Textbook(algorithms={"all_reduce": "hierarchical"}, ranks_per_node=per_node,
                           reduce_s_per_byte=1e-10)  # fmt: skip
        network = Cluster(topology=star(nodes * per_node, Wire(BANDWIDTH, 1e-6)), library=library)
        expected = hierarchical_all_reduce_s(8e6, nodes, per_node, link, link)
        got = network.collective_s("all_reduce", 8e6, Group.of(range(nodes * per_node)))
        assert got == pytest.approx(expected, rel=1e-9, abs=0.0)

    @pytest.mark.parametrize(("kind", "algorithm"), ALL)
    def test_a_group_of_one_takes_no_time(self, kind: str, algorithm: str) -> None:
        for coalesce in (True, False):
            assert simulated_s(kind, algorithm, 1e6, 1, coalesce=coalesce) == 0.0
        assert time_s(kind, algorithm, 1e6, 1, Link(ALPHA, BANDWIDTH)) == 0.0

    def test_every_algorithm_has_a_closed_form(self) -> None:
        known = {(kind, name) for table in (CLOSED_FORMS, PIPELINED) for kind in table
                 for name in table[kind]}  # fmt: skip
        assert known == set(ALL)


class TestKnownFigures:
    def test_a_ring_of_1_gb_on_64_hosts_takes_as_long_as_simgrid_says(self) -> None:
        link = Link(2e-6, 1.25e9)
        assert ring_all_reduce_s(1e9, 64, link) == pytest.approx(1.575252, abs=1e-9)

    def test_rabenseifner_of_other_than_a_power_of_two_is_below_what_mpich_comments(self) -> None:
        """MPICH writes (p - 1)/p where (q - 1)/q of the q ranks that take part is meant."""
        n, p, link = 1e6, 6, Link(1e-6, 1e9, 1e-10)
        comment = 6 * 1e-6 + (2 * (p - 1) / p + 2) * n / 1e9 + n * (1 + (p - 1) / p) * 1e-10
        assert 0.95 * comment < halving_doubling_all_reduce_s(n, p, link) < comment

    def test_small_messages_follow_each_other_by_the_gap(self) -> None:
        assert logp_messages_s(1, 5e-6, 1e-6, 2e-6) == pytest.approx(7e-6)
        assert logp_messages_s(11, 5e-6, 1e-6, 2e-6) == pytest.approx(27e-6)
        assert loggp_message_s(1, 5e-6, 1e-6, 1e-9) == logp_messages_s(1, 5e-6, 1e-6, 2e-6)

    def test_a_ring_has_the_bus_bandwidth_of_its_links(self) -> None:
        for kind, name in (("all_reduce", "ring"), ("all_gather", "ring"), ("reduce", "ring")):
            last = time_s(kind, name, 1e9, 8, Link(0.0, 1e9))
            share = 4 / 7 if kind == "reduce" else 1.0
            assert bus_bandwidth_bytes_per_s(kind, 1e9, 8, last) == pytest.approx(share * 1e9)

    def test_formulas_take_arrays(self) -> None:
        many = time_s("all_reduce", "ring", np.array([0.0, 1e6]), np.array([2, 4]), Link(1e-6, 1e9))
        one = time_s("all_reduce", "ring", 1e6, 4, Link(1e-6, 1e9))
        assert many.tolist() == [2e-6, one]

    @settings(max_examples=50)
    @given(nbytes=st.floats(1, 1e10), stages=st.integers(2, 200))
    @example(nbytes=2001.0, stages=2)
    def test_no_other_number_of_chunks_is_better(self, nbytes: float, stages: int) -> None:
        link = Link(1e-6, 1e9)
        best = best_chunks(nbytes, stages, link)
        times = [time_s("broadcast", "chain", nbytes, stages + 1, link, k)
                 for k in (best, best + 1, max(best - 1, 1))]  # fmt: skip
        assert times[0] <= min(times) * (1 + 1e-12) or best == 100 * stages


class TestProgramsOfMessages:
    """Senders and receivers that are busy for o, messages that travel for L, are LogP's."""

    LATENCY, OVERHEAD, GAP = 5e-6, 1e-6, 2e-6

    def simulated_s(self, messages: int, nbytes: float, gap_s: float, bandwidth: float) -> float:
        out, into = Buffer("out", nbytes), Buffer("into", nbytes)

        def program(rank: Rank, _: Job) -> Program:
            for index in range(messages):
                if rank.id == 0:
                    yield rank.sleep(self.OVERHEAD if index == 0 else gap_s)
                    yield rank.start(rank.send(out, 1))
                else:
                    yield rank.recv(into, 0)
            if rank.id == 1:
                yield rank.sleep(self.OVERHEAD)

        network = Cluster(topology=star(2, Wire(bandwidth, self.LATENCY / 2)), library=Textbook())
        return execute(job(), Machine("two", [IdealDevice()] * 2, network), By(program)).time_s

    @pytest.mark.parametrize("messages", [1, 2, 7, 100])
    def test_small_messages(self, messages: int) -> None:
        got = self.simulated_s(messages, 0.0, self.GAP, 1e9)
        assert got == pytest.approx(
            logp_messages_s(messages, self.LATENCY, self.OVERHEAD, self.GAP), rel=1e-9
        )

    def test_a_long_message(self) -> None:
        """The first byte is in LogGP's overhead."""
        got = self.simulated_s(1, 1e6 - 1, 0.0, 1e9)
        assert got == pytest.approx(
            loggp_message_s(1e6, self.LATENCY, self.OVERHEAD, 1e-9), rel=1e-9
        )


class TestBadInput:
    def test_negative_rates_sizes_and_groups(self) -> None:
        for link in (Link(1e-6, -1e9), Link(1e-6, 0.0), Link(-1e-6, 1e9), Link(0.0, 1e9, -1.0)):
            with pytest.raises(InputError):
                ring_all_reduce_s(1e6, 4, link)
        with pytest.raises(InputError, match="nbytes"):
            message_s(-1.0, Link(0.0, 1e9))
        with pytest.raises(InputError, match="ranks"):
            ring_all_reduce_s(1e6, 0, Link(0.0, 1e9))
        with pytest.raises(InputError, match="gap_s"):
            logp_messages_s(2, 1e-6, 2e-6, 1e-6)

    def test_unknown_names(self) -> None:
        with pytest.raises(UnknownNameError, match="did you mean 'ring'"):
            time_s("all_reduce", "rnig", 1e6, 4, Link(0.0, 1e9))
        with pytest.raises(UnknownNameError, match="all_reduce"):
            time_s("al_reduce", "ring", 1e6, 4, Link(0.0, 1e9))
        with pytest.raises(UnknownNameError):
            bus_bandwidth_bytes_per_s("barrier", 0, 2, 1.0)
