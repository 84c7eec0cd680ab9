"""Predict training by MXNet's key-value store on nodes of many K80s, from the speed of one GPU.

GPUs of a node add up each bucket of gradients and exchange the sum with servers, one on the CPUs
of each node, while the backward pass goes on. Inputs lie in the memory of the host, on one socket:
GPUs below the other one get theirs over the link between sockets. Both rates are fitted.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwmodels.devices import find_device
from hwmodels.gpu.device import on_full_board
from hwmodels.network.cluster import Cluster
from hwmodels.network.composed_shapes import nodes, numbered
from hwmodels.network.graph_shapes import from_graph
from hwmodels.network.libraries import Textbook
from hwmodels.network.shapes import star
from hwmodels.network.system_cables import cable_of
from hwmodels.network.topology import Topology
from hwmodels.network.wires import Wire
from hwmodels.paced import with_step_time
from hwmodels.system_files import find_system
from simulator.engine.execute import execute
from simulator.errors import InputError
from simulator.protocols import Device, Machine
from simulator.workload import Job, Workload
from validation.cases import Case
from validation.predict import workload_of
from validation.suites.parameter_server.convert import studies
from workloads.plans.fed import Fed
from workloads.plans.parameter_server import ParameterServer

STEPS = 3


@dataclass(frozen=True, slots=True)
class Host:
    """Say what reaches GPUs from the host's memory.

    Parameters
    ----------
    memory_bytes_per_s : of all copies
    socket_bytes_per_s : of those to GPUs below the other socket
    """

    memory_bytes_per_s: float
    socket_bytes_per_s: float


@functools.cache
def step_of(name: str, batch: int, weight_bytes: float) -> Workload:
    """Return a training step of a network whose parameters have these bytes in MXNet."""
    found = workload_of(name, {"batch": batch, "training": True, "optimizer": "sgd"})
    scale = weight_bytes / found.weight_bytes
    gradients = tuple(replace(one, nbytes=one.nbytes * scale) for one in found.gradients)
    return replace(found, weight_bytes=weight_bytes, gradients=gradients)


def case_step(case: Case) -> Workload:
    """Return the training step of a case."""
    return step_of(case.text("workload"), int(case.number("workload.batch")),
                   case.number("workload.bytes"))  # fmt: skip


@functools.lru_cache(maxsize=4096)
def step_s(system: str, step: Workload, devices: int, alone_s: float, host: Host) -> float:
    """Return the time of a step on so many GPUs, seconds.

    Parameters
    ----------
    system : of the catalog
    step : of each GPU
    alone_s : what it takes on one GPU with its input
    host : of each node
    """
    study, pcie = studies()[system], _pcie(system)
    size = min(devices, study["gpus"])
    count = devices // size
    if count * size != devices:
        raise InputError(f"{devices} GPUs do not fill nodes of {size} on '{system}'")
    compute_s = alone_s - step.input_bytes / min(_rate(pcie), host.memory_bytes_per_s)
    gpu = _device(str(find_system(system).text("device")), devices > 1)
    (paced,) = with_step_time(Machine(system, [gpu]), step, compute_s).devices
    machine = Machine(
        system,
        [*[paced] * devices, *[_device(study["cpu"], False)] * count],
        Cluster(topology=_topology(system, size, count, host), library=Textbook()),
    )
    served = ParameterServer(servers=count, overlap=True, group=study["gpus"])
    outcome = execute(Job.of(step, steps=STEPS), machine, Fed(served, hosts=count), record=False)
    return float(np.median(np.diff(outcome.step_ends_s)))


@functools.cache
def _device(name: str, crowded: bool) -> Device:
    found = find_device(name)
    return on_full_board(found) if crowded else found


def _pcie(system: str) -> Wire:
    return cable_of(find_system(system), "node").wire


def _rate(wire: Wire) -> float:
    return float(np.min(wire.bandwidth_bytes_per_s))


def _topology(system: str, size: int, count: int, host: Host) -> Topology:
    """Return nodes of so many GPUs; after all of these come the hosts."""
    inside = _node(system, size, host)
    if count == 1:
        return inside
    fabric = star(count, cable_of(find_system(system), "network").wire)
    place = np.arange(count * (size + 1)).reshape(count, size + 1)
    order = np.concatenate([place[:, :size].ravel(), place[:, size]])
    return numbered(nodes(inside, fabric, _pcie(system)), order)


def _node(system: str, size: int, host: Host) -> Topology:
    """Return GPUs below their sockets, and then the host's memory below the first one."""
    from networkx import Graph

    pcie, below = _pcie(system), studies()[system]["gpus_of_a_socket"]
    graph = Graph()
    graph.add_nodes_from(range(size + 1), device=True)
    for gpu in range(size):
        graph.add_edge(gpu, f"socket {gpu // below}", bandwidth_bytes_per_s=_rate(pcie))
    graph.add_edge(size, "socket 0", bandwidth_bytes_per_s=host.memory_bytes_per_s)
    if size > below:
        graph.add_edge("socket 0", "socket 1", bandwidth_bytes_per_s=host.socket_bytes_per_s)
    return from_graph(graph)


def throughput(case: Case, known: float, host: Mapping[str, float]) -> float:
    """Return the images per second of all GPUs, from that of one.

    Parameters
    ----------
    case : training by MXNet
    known : of one GPU, 1/s
    host : the fields of `Host`
    """
    devices, step = int(case.number("on.devices")), case_step(case)
    if devices == 1:
        return known
    time_s = step_s(case.text("on"), step, devices, step.samples / known, Host(**host))
    return devices * step.samples / time_s


def fit_host(cases: Sequence[Case], known: Mapping[str, float]) -> dict[str, float]:
    """Return the fields of `Host` that predict cases best, by the squares of logarithms.

    Parameters
    ----------
    cases : training by MXNet
    known : throughput of one GPU by case_id, 1/s
    """
    from scipy.optimize import minimize

    def host(logs: np.ndarray) -> dict[str, float]:
        memory, socket = np.exp(logs)
        return {"memory_bytes_per_s": float(memory), "socket_bytes_per_s": float(socket)}

    def loss(logs: np.ndarray) -> float:
        ratios = [throughput(case, known[case.case_id], host(logs)) / case.measured
                  for case in cases]  # fmt: skip
        return float(np.sum(np.log(ratios) ** 2))

    start = np.log([_rate(_pcie(cases[0].text("on")))] * 2) - np.log(2)
    found = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-7})
    return host(found.x)
