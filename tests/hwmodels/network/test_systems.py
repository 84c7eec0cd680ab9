"""Systems of the catalog, the user's, and networks of one's own become machines."""

import time
from typing import Any

import numpy as np
import pytest

from hwmodels.devices import find_device
from hwmodels.network.closed_forms import Link, ring_all_reduce_s
from hwmodels.network.cluster import Cluster
from hwmodels.network.systems import Spread, cluster, library_of
from hwmodels.spec import spec_of
from hwmodels.system_files import (
    find_link,
    find_system,
    is_system,
    link_names,
    list_parts,
    system_names,
)
from simulator.actions import Group
from simulator.errors import FileError, InputError, UnknownNameError

OWN = """
kind = "system"
device = "nvidia-t4"
devices = 8
library = "textbook"

[node]
devices = 4
shape = "host"
link = "pcie3-x16"

[network]
shape = "star"
link = "ethernet-100g"
"""


def written(folder, text, name="mine.toml"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def all_reduce_s(machine, nbytes=1e9):
    """Return the time of an all_reduce among all devices."""
    group = Group.of(range(len(machine.devices)))
    return network_of(machine).collective_s("all_reduce", nbytes, group)


def network_of(machine):
    """Return the cluster of a machine."""
    assert isinstance(machine.network, Cluster)
    return machine.network


def topology_of(name, devices):
    """Return the topology of so many devices of a system."""
    return network_of(cluster(name, devices=devices)).topology


# --- the catalog -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", system_names())
def test_every_system_communicates_on_one_node_and_on_eight(name):
    system = find_system(name)
    node = system.count("node.devices", 1)
    most = system.spec.number("most_devices") or np.inf
    has_network = "network.shape" in system.spec.values
    for devices in {2, node, 8 * node} if has_network else {2, node}:
        if 1 < devices <= most:
            machine = cluster(name, devices=devices)
            assert len(set(map(id, machine.devices))) == 1
            assert network_of(machine).topology.devices >= devices
            assert 0 < all_reduce_s(machine, 1e6) < all_reduce_s(machine, 1e8)


@pytest.mark.parametrize("kind", ["link", "system"])
def test_every_number_of_the_catalog_has_a_source_with_a_licence_or_is_an_estimate(kind):
    find = find_link if kind == "link" else lambda name: find_system(name).spec
    names = link_names() if kind == "link" else system_names()
    for name in names:
        spec = find(name)
        assert set(spec.sources) == set(spec.values)
        for source in spec.sources.values():
            assert source.licence or source.kind == "estimate"
            assert source.note or source.kind != "estimate"
    assert all(one.kind == kind for one in list_parts(kind))


def test_there_are_links_from_a_radio_to_a_rack():
    assert {
        "lorawan-dr0", "ble", "wifi", "lte", "5g", "ethernet-1g", "ethernet-800g",
        "infiniband-edr", "infiniband-hdr", "infiniband-ndr", "infiniband-xdr", "slingshot-11",
        "efa-v1", "nvlink1", "nvlink5", "pcie3-x16", "pcie6-x16", "xgmi-mi300x", "ici-v4",
    } <= set(link_names())  # fmt: skip


def test_links_that_differ_up_and_down_are_slower_up():
    network = topology_of("edge-5g", 2)
    up, down = network.bandwidth_bytes_per_s[network.routes([0], [1])[0]]
    assert up < down


def test_devices_of_a_node_go_by_nvlink_and_others_by_infiniband():
    network = topology_of("dgx-a100-80gb", 16)
    inside, outside = (network.bandwidth_bytes_per_s[network.routes([0], [other])[0]].min()
                       for other in (1, 8))  # fmt: skip
    assert (inside, outside) == (300e9, 25e9)


def test_several_nics_of_a_device_count_as_one_of_their_sum():
    network = topology_of("aws-p5.48xlarge", 16)
    assert network.bandwidth_bytes_per_s[network.routes([0], [8])[0]].min() == 4 * 12.5e9


def test_a_part_of_a_node_is_on_a_whole_one():
    machine = cluster("dgx-a100-80gb", devices=12)
    assert len(machine.devices) == 12
    assert network_of(machine).topology.devices == 16


@pytest.mark.parametrize(("devices", "shape"), [(8, "star"), (640, "rail_optimised")])
def test_rails_have_spines_where_there_are_several_units(devices, shape):
    network = topology_of("dgx-h100-80gb", devices)
    assert network.shape == shape
    assert ("spine" in [tier.name for tier in network.tiers]) == (devices > 8 * 32)


@pytest.mark.parametrize(("devices", "levels"), [(64, 1), (2048, 2), (4096, 3)])
def test_a_fat_tree_has_as_many_levels_as_it_takes(devices, levels):
    parameters = {"network.shape": "fat_tree", "network.radix": 64}
    machine = cluster("gigabit-ethernet", devices=devices, parameters=parameters)
    assert max(tier.level for tier in network_of(machine).topology.tiers) == levels


@pytest.mark.parametrize("racks", [2, 3, 8, 16, 112])
def test_racks_whose_devices_fill_no_switch_evenly_are_joined_too(racks):
    network = cluster("gb200-nvl72", devices=72 * racks).network
    assert network is not None
    assert network.collective_s("all_reduce", 1e6, Group.of(range(72 * racks))) > 0


def test_a_pod_is_a_grid_of_sides_as_equal_as_can_be():
    assert topology_of("tpu-v4-pod", 64).links == 6 * 64
    with pytest.raises(InputError, match="7 devices do not make a grid of 2"):
        cluster("tpu-v5e-pod", devices=7)


def test_the_largest_machine_is_made_at_once():
    begin = time.process_time()
    machine = cluster("dgx-h100-80gb", devices=131_072)
    print(f"131,072 devices: {time.process_time() - begin:.2f} s")
    assert len(machine.devices) == 131_072


# --- what is changed ---------------------------------------------------------------------------


def test_a_slower_network_takes_longer_and_a_degraded_link_too():
    plain = cluster("gigabit-ethernet")
    slow = cluster("gigabit-ethernet",
                   parameters={"network.bandwidth_bytes_per_s": "100 Mbit/s"})  # fmt: skip
    worn = {"network.degraded": [["device 0", "switch 0", 0.5]]}
    degraded = cluster("gigabit-ethernet", parameters=worn)
    assert all_reduce_s(slow) == pytest.approx(10 * all_reduce_s(plain), rel=0.01)
    assert all_reduce_s(degraded) == pytest.approx(2 * all_reduce_s(plain), rel=0.01)


def test_fields_of_devices_change_with_and_without_their_prefix():
    for key in ("memory.bandwidth_bytes_per_s", "device.memory.bandwidth_bytes_per_s"):
        machine = cluster("gigabit-ethernet", parameters={key: "10 GB/s"})
        assert spec_of(machine.devices[1]).values["memory.bandwidth_bytes_per_s"] == 1e10


def test_a_system_can_be_made_of_other_devices_with_other_software():
    machine = cluster("gigabit-ethernet", device="raspberry-pi-4", library="textbook")
    assert machine.devices[0].name == "rpi4-bcm2711"
    assert network_of(machine).library.name == "textbook"


def test_flows_share_links_as_one_says():
    rtt, unknown = {"sharing": "rtt"}, {"sharing": "rt"}
    for one in ({"name": "dgx-h100-80gb", "devices": 16}, {"device": "nvidia-t4", "shape": "star"}):
        shape = {"devices": 4, "wire": {"bandwidth_bytes_per_s": 1e9}} if "shape" in one else {}
        network: Any = cluster(**one, parameters={**shape, **rtt}).network
        assert network.sharing == "rtt"
        with pytest.raises(UnknownNameError, match="unknown sharing rule 'rt'; did you mean 'rtt'"):
            cluster(**one, parameters={**shape, **unknown})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"network.bandwith_bytes_per_s": 1}, "mean 'network.bandwidth_bytes_per_s'"),
        ({"memry.size_bytes": 1}, "unknown field of a system or its devices"),
        ({"library": "ncl"}, "did you mean 'nccl'"),
        ({"network.shape": "fattree"}, "did you mean 'fat_tree'"),
        ({"network.link": "infiniband-hdd"}, "did you mean 'infiniband-hdr'"),
        ({"network.bandwidth_bytes_per_s": 0}, "expected a number from 1 B/s"),
        ({"network.degraded": [["nic 0", "leaf 99", 0.5]]}, "unknown node"),
        ({"topology.k": 4}, "no topology of its own"),
    ],
)
def test_what_cannot_be_changed_is_named(parameters, message):
    with pytest.raises(InputError, match=message):
        cluster("dgx-a100-80gb", devices=16, parameters=parameters)


def test_wrong_names_and_counts_are_named():
    with pytest.raises(UnknownNameError, match=r"did you mean .*'dgx-a100-80gb'"):
        cluster("dgx-a100-80gbb")
    with pytest.raises(InputError, match="at most 4,096"):
        cluster("tpu-v4-pod", devices=8192)
    with pytest.raises(InputError, match="at most 4 devices"):
        cluster("workstation-rtx-4090", devices=8)
    with pytest.raises(InputError, match="whole number"):
        cluster("dgx-1", devices=0)
    with pytest.raises(InputError, match="take gloo"):
        library_of("nccl", find_device("raspberry-pi-4"), Spread())


# --- one's own ---------------------------------------------------------------------------------


def test_a_file_describes_a_machine_anywhere_or_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEMODEL_HOME", str(tmp_path / "home"))
    path = written(tmp_path, OWN)
    written(tmp_path / "home" / "systems", OWN)
    assert is_system(str(path))
    assert is_system("mine")
    for name in (path, "mine"):
        machine = cluster(name)
        assert len(machine.devices) == 8
        assert all_reduce_s(machine) == all_reduce_s(cluster(name, devices=8))


def test_a_file_may_be_like_another_one(tmp_path):
    path = written(tmp_path, 'like = "dgx-a100-80gb"\n[network]\nlink = "infiniband-ndr"\n')
    assert find_system(path).text("device") == "nvidia-a100-sxm-80gb"
    assert find_system(path).text("network.link") == "infiniband-ndr"


def test_a_file_may_have_a_topology_of_its_own(tmp_path):
    text = """
    kind = "system"
    device = "nvidia-t4"
    library = "textbook"
    [topology]
    shape = "fat_tree"
    k = 4
    wire.bandwidth_bytes_per_s = "10 Gbit/s"
    """
    path = written(tmp_path, text)
    assert len(cluster(path).devices) == 16
    assert len(cluster(path, parameters={"topology.k": 8}).devices) == 128
    assert len(cluster(path, devices=5).devices) == 5
    with pytest.raises(InputError, match="17 devices on a fat_tree of 16"):
        cluster(path, devices=17)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind = 'system'", "device: missing"),
        ("kind = 'sytem'\ndevice = 't4'", "kind: expected one of system, got 'sytem'"),
        ("kind = 'system'\ndevice = 't4'\nnode.devices = 4", "node.devices: needs node.shape"),
        ("kind = 'system'\ndevice = 't4'\nlibrary = 'mpi'", "toml: unknown library 'mpi'"),
        ("kind = 'system'\ndevice = 't4'\n[network]\nshape = 'star'", "needs network.link"),
        ("kind = 'system'\ndevice = 't4'\n[network]\nshap = 'star'", "did you mean 'shape'"),
        ("kind = 'system'\ndevice = 't4'\n[topology]\nk = 4", "topology.shape: missing"),
        ("kind = 'system'\ndevice = 't4'\nlike = 'dgx'", "unknown system 'dgx'"),
        ("kind =", "is not TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_key(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(FileError, match=message) as error:
        cluster(path)
    assert str(path) in str(error.value)


def test_a_topology_that_cannot_be_is_named_with_its_system(tmp_path):
    path = written(tmp_path, "kind = 'system'\ndevice = 't4'\n[topology]\nshape = 'ring'\nk = 4")
    with pytest.raises(InputError, match=f"system '{path.stem}': unknown parameter of ring 'k'"):
        cluster(path)


def test_more_than_a_node_needs_a_network(tmp_path):
    path = written(tmp_path, "kind = 'system'\ndevice = 't4'\ndevices = 4")
    with pytest.raises(InputError, match="at most 1 devices, as no network joins its nodes"):
        cluster(path)


def test_a_shape_of_ones_own_equals_its_closed_form():
    wire = {"bandwidth_bytes_per_s": "10 Gbit/s", "latency_s": "1 us"}
    machine = cluster(
        device="raspberry-pi-4", shape="star", parameters={"devices": 64, "wire": wire},
        library="textbook",
    )  # fmt: skip
    closed_s = ring_all_reduce_s(1e9, 64, Link(2e-6, 1.25e9))
    assert all_reduce_s(machine) <= closed_s * (1 + 1e-9)
    assert all_reduce_s(machine) > 0.99 * closed_s


def test_a_shape_needs_devices_and_excludes_a_name():
    with pytest.raises(InputError, match="either the name of a system"):
        cluster("dgx-1", shape="star")
    with pytest.raises(InputError, match="of which devices"):
        cluster(shape="star")


def test_nodes_of_ones_own_are_nodes_to_nccl():
    fast, slow = ({"bandwidth_bytes_per_s": rate} for rate in ("300 GB/s", "25 GB/s"))
    parameters = {
        "inside": {"shape": "star", "devices": 4, "wire": fast},
        "fabric": {"shape": "star", "devices": 4, "wire": slow},
        "pcie": slow,
        "nics_per_node": 2,
    }
    machine = cluster(device="nvidia-a100-sxm-80gb", shape="nodes", parameters=parameters)
    assert network_of(machine).library.devices_per_node == 4
    assert network_of(machine).library.nic_bytes_per_s == 50e9


# --- energy ------------------------------------------------------------------------------------


def test_energy_of_links_without_a_figure_is_left_out_and_named():
    known = network_of(cluster("edge-wifi"))
    dark = network_of(cluster("gigabit-ethernet"))
    assert known.notes == ()
    assert "ethernet-1g" in dark.notes[0]
    assert dark.joules_per_byte is None


# --- what it is judged by ----------------------------------------------------------------------


def test_a_network_names_what_can_bind_it_and_scales_it():
    network = network_of(cluster("gigabit-ethernet"))
    assert network.resources == ("network.bandwidth",)
    group, nbytes = Group.of(range(8)), 1e9
    slow, quick = (network.scaled("network.bandwidth", factor) for factor in (1, 2))
    times = [one.collective_s("all_reduce", nbytes, group) for one in (slow, quick)]
    assert times[0] == pytest.approx(2 * times[1], rel=0.01)
    with pytest.raises(UnknownNameError, match="resource of a network"):
        network.scaled("network.bandwith", 2)


def test_nccl_on_faster_links_is_faster_too():
    network = network_of(cluster("dgx-a100-80gb", devices=16))
    group = Group.of(range(16))
    now, twice = (network.scaled("network.bandwidth", factor).collective_s("all_reduce", 1e9, group)
                  for factor in (1, 2))  # fmt: skip
    assert now == pytest.approx(2 * twice, rel=0.15)


def test_nccl_is_less_sure_between_nodes_and_on_gpus_that_nobody_measured():
    def width(name, devices):
        low, high = network_of(cluster(name, devices=devices)).error_ratio(["all_reduce"])
        return high / low

    assert 1 < width("dgx-a100-80gb", 8) < width("dgx-a100-80gb", 16)
    assert width("dgx-a100-80gb", 8) < width("dgx-2", 8)


def test_v100s_around_switches_use_all_their_links_and_two_of_a_mesh_a_few():
    meshed, switched = (cluster(name, devices=2) for name in ("dgx-1", "dgx-2"))
    assert all_reduce_s(meshed) == pytest.approx(3 * all_reduce_s(switched), rel=0.1)


def test_textbooks_do_not_know_how_wrong_they_are():
    network = network_of(cluster("tpu-v4-pod", devices=8))
    assert network.error_ratio(["all_reduce"]) is None
