"""NCCL between nodes: what a network adds to what a node does."""

import numpy as np
import pytest

from hwmodels.devices import find_spec
from hwmodels.network.nccl import family, parts_of
from hwmodels.network.nccl_nodes import between_nodes, fabrics, find_fabric
from hwmodels.network.nccl_plan import Calls, Nodes, wires_of
from hwmodels.spec import FamilyFit
from simulator.errors import InputError, UnknownNameError
from simulator.ops import FloatArray

WIRES = wires_of(find_spec("h100_sxm"))
SIZES: FloatArray = np.exp2(np.arange(10.0, 34.0))


def fit(kind):
    return FamilyFit(numbers=family(kind, WIRES).start)


def parts(kind, nbytes, ranks, nodes, nic_bytes_per_s=400e9, fabric="infiniband"):
    sizes = np.atleast_1d(np.asarray(nbytes, float))
    spread = Nodes(np.full(len(sizes), float(nodes)), np.full(len(sizes), nic_bytes_per_s))
    calls = Calls(kind, "float16", WIRES, sizes, np.full(len(sizes), float(ranks)))
    return between_nodes(calls, spread, fit(kind), find_fabric(fabric))


@pytest.mark.parametrize("kind", ["all_reduce", "all_gather", "reduce_scatter", "broadcast",
                                  "reduce", "all_to_all", "send_recv"])  # fmt: skip
def test_several_nodes_are_never_quicker_than_one_of_them(kind):
    calls = Calls(kind, "float16", WIRES, SIZES, np.full(len(SIZES), 8.0))
    one = parts_of(calls, fit(kind)).time_s
    assert (parts(kind, SIZES, 16, 2).time_s > one).all()


def test_cards_bound_large_messages_by_their_share():
    time = parts("all_reduce", 2.0**36, 64, 8, nic_bytes_per_s=25e9).time_s[0]
    share = 2 * 7 / 8 * 2.0**36 / time / 25e9
    assert share == pytest.approx(find_fabric("infiniband").share, rel=0.01)


def test_more_nodes_cost_a_step_up_and_down_for_each_doubling():
    two, four, eight = (parts("all_reduce", 1024.0, 8 * n, n).overhead_s[0] for n in (2, 4, 8))
    step_s = find_fabric("infiniband").step_s
    assert [four - two, eight - four] == pytest.approx([2 * step_s, 2 * step_s])


def test_one_rank_a_node_has_nothing_to_do_inside():
    alone = parts("all_reduce", 2.0**30, 2, 2, nic_bytes_per_s=25e9)
    assert alone.memory_s[0] == pytest.approx(2.0**30 / 25e9 / find_fabric("infiniband").share)


def test_quicker_cards_are_never_slower():
    slow, fast = (parts("all_reduce", SIZES, 16, 2, rate).time_s for rate in (50e9, 400e9))
    assert (fast[-8:] <= slow[-8:]).all()


def test_ranks_must_fill_the_nodes():
    with pytest.raises(InputError, match="15 ranks do not spread evenly over 2 nodes"):
        parts("all_reduce", 8.0, 15, 2)


def test_an_unknown_fabric_is_named_with_the_known_ones():
    with pytest.raises(UnknownNameError, match="unknown fabric 'infiniband2'"):
        find_fabric("infiniband2")
    assert set(fabrics()) >= {"infiniband", "efa-v2"}
