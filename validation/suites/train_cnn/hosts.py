"""Make machines whose host takes part: GPUs below links of PCIe, the host's CPU above them.

Servers of parameters run on the CPU. GPUs of one *root* share its link to the host.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwmodels.devices import find_device, find_spec
from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.device import on_full_board
from hwmodels.network.cluster import Cluster
from hwmodels.network.graph_shapes import from_graph
from hwmodels.network.libraries import Textbook
from hwmodels.paced import with_step_time
from hwmodels.spec import spec_of
from hwmodels.system_files import find_link, find_system
from simulator.errors import InputError
from simulator.protocols import Device, Machine
from simulator.workload import Workload
from validation.suites.train_cnn.convert import tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Say what joins the GPUs of a node.

    Parameters
    ----------
    gpu, cpu : names of devices
    below_root : GPUs that share a link to the host
    root_bytes_per_s : that copies reach over that link, and over each GPU's own
    memory_bytes_per_s : of the host
    node_devices : GPUs of a node
    nic_bytes_per_s : of the node's network cards; None: it has none
    """

    gpu: str
    cpu: str
    below_root: int
    root_bytes_per_s: float
    memory_bytes_per_s: float
    node_devices: int
    nic_bytes_per_s: float | None

    def below_one_root(self, gpus: int) -> int:
        """Return how many of so many GPUs share a link to the host."""
        return min(gpus, self.below_root)


@functools.cache
def host_of(system: str) -> Host:
    """Return the host of a system of the catalog.

    Raises
    ------
    InputError : it is not known
    """
    table = tables()["host"].get(system)
    if table is None:
        raise InputError(f"system '{system}': nothing is known of its host")
    found = find_system(system)
    gpu = str(found.text("device"))
    link, network = chip_of(spec_of(named_device(gpu))).link_bytes_per_s, found.text("network.link")
    if link is None:
        raise InputError(f"device '{gpu}': its link to the host is not known")
    memory = find_spec(table["cpu"]).known("memory.bandwidth_bytes_per_s")
    return Host(
        gpu=gpu,
        cpu=table["cpu"],
        below_root=table["below_root"],
        root_bytes_per_s=link,
        memory_bytes_per_s=table["sockets"] * memory,
        node_devices=found.count("node.devices", 1),
        nic_bytes_per_s=None if network is None
        else find_link(network).known("bandwidth_bytes_per_s") * found.count("network.nics", 1),
    )  # fmt: skip


@functools.cache
def named_device(name: str) -> Device:
    """Return a device of the catalog, which remembers what ops take."""
    return find_device(name)


@functools.cache
def _crowded(name: str) -> Device:
    return on_full_board(named_device(name))


def gpus_of(host: Host, count: int) -> list[Device]:
    """Return so many GPUs of a node."""
    return [named_device(host.gpu) if count == 1 else _crowded(host.gpu)] * count


def paced(devices: Sequence[Device], workload: Workload, step_s: float | None) -> list[Device]:
    """Return devices on each of which alone a step takes a known time; None: as modelled."""
    if step_s is None:
        return list(devices)
    return list(with_step_time(Machine("", devices), workload, step_s).devices)


def node(host: Host, gpus: Sequence[Device], *, with_cpu: bool) -> Machine:
    """Return the GPUs of a node; after them the host's CPU, if it takes part."""
    devices = list(gpus)
    edges: dict[tuple[Any, Any], float] = {}
    for place in range(len(gpus)):
        root = f"root {place // host.below_root}"
        edges[place, root] = edges[root, "host"] = host.root_bytes_per_s
    if with_cpu:
        edges[len(gpus), "host"] = host.memory_bytes_per_s
        devices.append(named_device(host.cpu))
    return _joined(devices, edges)


def nodes_with_servers(host: Host, workers: Sequence[Device]) -> Machine:
    """Return nodes, each a single device, then the CPUs of all of them.

    Parameters
    ----------
    workers : as many devices as nodes
    """
    if host.nic_bytes_per_s is None:
        raise InputError(f"nodes of '{host.gpu}' have no network")
    edges, count = dict[tuple[Any, Any], float](), len(workers)
    for place in range(count):
        nic = f"nic {place}"
        edges[place, nic] = edges[count + place, nic] = host.memory_bytes_per_s
        edges[nic, "switch"] = host.nic_bytes_per_s
    return _joined([*workers, *[named_device(host.cpu)] * count], edges)


def _joined(devices: Sequence[Device], edges: Mapping[tuple[Any, Any], float]) -> Machine:
    from networkx import Graph

    graph = Graph()
    graph.add_nodes_from(range(len(devices)), device=True)
    for (one, other), rate in edges.items():
        graph.add_edge(one, other, bandwidth_bytes_per_s=rate)
    network = Cluster(topology=from_graph(graph), library=Textbook())
    return Machine("a host", devices, network)
