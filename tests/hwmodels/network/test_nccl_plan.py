"""NCCL's choice of algorithm and protocol, as its tuning model makes it."""

from dataclasses import replace

import numpy as np
import pytest

from hwmodels.devices import find_spec
from hwmodels.network.nccl_plan import WAYS, Calls, Nodes, way, wires_of
from simulator.errors import InputError


def chosen(kind, device, ranks, nbytes, dtype="float16", nodes=1, nic_bytes_per_s=np.inf):
    """Return the way of one message."""
    calls = Calls(kind, dtype, wires_of(find_spec(device)), np.array([float(nbytes)]),
                  np.array([float(ranks)]))  # fmt: skip
    spread = Nodes(np.array([float(nodes)]), np.array([nic_bytes_per_s]))
    return WAYS[way(calls, spread)[0]]


def test_two_a100s_leave_ll_between_512_kib_and_1_mib():
    assert chosen("all_reduce", "a100_sxm", 2, 2**19) == "ring ll"
    assert chosen("all_reduce", "a100_sxm", 2, 2**20) == "ring simple"


def test_ll128_carries_medium_messages_between_eight():
    assert chosen("all_gather", "h100_sxm", 8, 2**24) == "ring ll128"


@pytest.mark.parametrize(("device", "ranks", "expected"), [
    ("h200_sxm", 2, "ring simple"), ("h200_sxm", 4, "ring simple"), ("h200_sxm", 5, "in-switch"),
    ("h200_sxm", 8, "in-switch"), ("b200_sxm", 6, "in-switch"),
])  # fmt: skip
def test_the_switch_reduces_for_as_many_gpus_as_was_published(device, ranks, expected):
    assert chosen("all_reduce", device, ranks, 2**33) == expected


@pytest.mark.parametrize(("device", "dtype", "kind"), [
    ("a100_sxm", "float16", "all_reduce"),
    ("h100_sxm", "int8", "all_reduce"),
    ("h100_sxm", "float16", "all_gather"),
    ("rtx_pro_6000_server", "float16", "all_reduce"),
])  # fmt: skip
def test_what_the_switch_cannot_reduce_goes_around_a_ring(device, dtype, kind):
    assert chosen(kind, device, 8, 2**30, dtype).startswith("ring")


def test_trees_reach_many_nodes_sooner_than_rings():
    assert chosen("all_reduce", "a100_sxm", 256, 2**10, nodes=32, nic_bytes_per_s=1e11) == "tree ll"


def test_a_device_without_known_wires_is_refused_by_name():
    spec = find_spec("h100_sxm")
    bare = {name: value for name, value in spec.values.items() if not name.startswith("link.")}
    with pytest.raises(InputError, match=r"nvidia-h100-sxm-80gb.*link.scaleup_bytes_per_s"):
        wires_of(replace(spec, values=bare))
