"""NCCL takes its measured time alone, and longer where others use its links."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hwmodels.devices import find_spec
from hwmodels.network.cluster import Cluster
from hwmodels.network.composed_shapes import nodes
from hwmodels.network.flows import Flows
from hwmodels.network.nccl_fits import PACKAGED, Nccl, Spread
from hwmodels.network.nccl_library import NcclLibrary
from hwmodels.network.nccl_nodes import find_fabric
from hwmodels.network.schedules import Step
from hwmodels.network.shapes import star
from hwmodels.network.wires import Wire
from simulator.actions import Group
from simulator.errors import InputError

H100 = Nccl(spec=find_spec("nvidia-h100-sxm-80gb"), find=find_spec, folders=(PACKAGED,))
INFINIBAND = find_fabric("infiniband")
LIBRARY = NcclLibrary(
    nccl=H100, devices_per_node=8, nic_bytes_per_s=400e9, fabric=INFINIBAND, dtype="float16"
)
FOUR_NODES = nodes(
    star(8, Wire(450e9, 5e-7), hub="nvswitch"), star(32, Wire(50e9, 1e-6)), Wire(55e9, 2e-7),
    nics_per_node=8,
)  # fmt: skip
KINDS = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "reduce", "all_to_all")


def alone_s(kind: str, nbytes: float, ranks: int) -> float:
    network = Cluster(topology=FOUR_NODES, library=LIBRARY)
    return network.collective_s(kind, nbytes, Group.of(range(ranks)))


def measured_s(kind: str, nbytes: float, ranks: int) -> float:
    spread = Spread(ranks // 8, 400e9, INFINIBAND) if ranks > 8 else None
    parts = H100.parts_s(kind, np.array([nbytes]), ranks, "float16", spread)
    return sum(float(one[0]) for one in parts)


class TestAlone:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("ranks", [2, 4, 8, 16, 32])
    @pytest.mark.parametrize("nbytes", [0.0, 4096.0, 1e6, 1e9])
    def test_takes_its_measured_time(self, kind: str, ranks: int, nbytes: float) -> None:
        assert alone_s(kind, nbytes, ranks) == pytest.approx(
            measured_s(kind, nbytes, ranks), rel=1e-9, abs=0.0
        )

    def test_a_message_takes_its_measured_time_in_a_node_and_between_two(self) -> None:
        for dst, spread in ((1, None), (8, Spread(2, 50e9, INFINIBAND))):
            step = Step(src=np.array([0]), dst=np.array([dst]), nbytes=np.array(1e8))
            flows = Flows(FOUR_NODES)
            flows.begin(LIBRARY.message(step, FOUR_NODES))
            parts = H100.parts_s("send_recv", np.array([1e8]), 2, "float16", spread)
            expected = sum(float(one[0]) for one in parts)
            assert flows.advance_all() == pytest.approx(expected, rel=1e-9)

    def test_a_barrier_reduces_one_number(self) -> None:
        assert alone_s("barrier", 0.0, 8) == pytest.approx(measured_s("all_reduce", 4.0, 8))

    def test_a_group_of_one_takes_no_time(self) -> None:
        assert alone_s("all_reduce", 1e9, 1) == 0.0

    def test_groups_across_nodes_share_the_cards_of_a_node(self) -> None:
        flows, spread = Flows(FOUR_NODES), Spread(4, 50e9, INFINIBAND)
        for first in range(8):
            flows.begin(LIBRARY.collective("all_reduce", 1e8, np.arange(first, 32, 8), FOUR_NODES))
        parts = H100.parts_s("all_reduce", np.array([1e8]), 4, "float16", spread)
        assert flows.advance_all() == pytest.approx(sum(float(one[0]) for one in parts), rel=1e-9)

    def test_nodes_that_are_not_filled_evenly_wait_for_the_fullest(self) -> None:
        """The node with 4 of the 12 devices has no more than its 4 cards."""
        parts = H100.parts_s("all_reduce", np.array([1e9]), 16, "float16",
                             Spread(2, 200e9, INFINIBAND))  # fmt: skip
        expected = sum(float(one[0]) for one in parts)
        assert alone_s("all_reduce", 1e9, 12) == pytest.approx(expected, rel=1e-9)
        assert alone_s("all_reduce", 1e9, 9) > expected


class TestTogether:
    def test_two_at_once_on_the_same_devices_share_the_links(self) -> None:
        ranks = np.arange(8)
        flows = Flows(FOUR_NODES)
        for _ in range(2):
            flows.begin(LIBRARY.collective("all_gather", 1e9, ranks, FOUR_NODES))
        assert 1.4 < flows.advance_all() / measured_s("all_gather", 1e9, 8) <= 2.0

    def test_two_on_other_devices_do_not_disturb_each_other(self) -> None:
        flows = Flows(FOUR_NODES)
        for first in (0, 8):
            where = np.arange(first, first + 8)
            flows.begin(LIBRARY.collective("all_gather", 1e9, where, FOUR_NODES))
        assert flows.advance_all() == pytest.approx(measured_s("all_gather", 1e9, 8), rel=1e-9)

    def test_slower_cards_make_it_slower(self) -> None:
        network = FOUR_NODES
        cards = np.flatnonzero(network.bandwidth_bytes_per_s == 50e9)
        slow = network.degraded(cards, 0.25)
        group = Group.of(range(32))
        before, after = (
            Cluster(topology=one, library=LIBRARY).collective_s("all_reduce", 1e9, group)
            for one in (network, slow)
        )
        assert 2.5 < after / before <= 4.0

    def test_an_all_to_all_sends_to_every_other_node(self) -> None:
        traffic = LIBRARY.collective("all_to_all", 32e6, np.arange(32), FOUR_NODES)
        (step,) = traffic.steps
        crossing = step.src // 8 != step.dst // 8
        pairs = set(zip(step.src[crossing] // 8, step.dst[crossing] // 8, strict=True))
        assert len(pairs) == 4 * 3
        assert step.nbytes[crossing].sum() == pytest.approx(32e6 * 32 * 3 / 4)


class TestBadInput:
    def test_several_ranks_on_one_device(self) -> None:
        with pytest.raises(InputError, match="one rank a device; several are on device 1"):
            LIBRARY.collective("all_reduce", 1e6, np.array([0, 1, 1]), FOUR_NODES)

    def test_nodes_without_cards_between_them(self) -> None:
        with pytest.raises(InputError, match="nic_bytes_per_s"):
            NcclLibrary(nccl=H100, devices_per_node=8).collective(
                "all_reduce", 1e6, np.arange(16), FOUR_NODES
            )

    def test_unknown_collectives_and_sizes(self) -> None:
        with pytest.raises(InputError, match="all_reduce"):
            alone_s("scan", 1e6, 8)
        for nbytes in (-1.0, math.nan):
            with pytest.raises(InputError, match="bytes"):
                alone_s("all_reduce", nbytes, 8)
        with pytest.raises(InputError, match="devices_per_node"):
            NcclLibrary(nccl=H100, devices_per_node=0)
