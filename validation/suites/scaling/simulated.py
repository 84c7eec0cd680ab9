"""Simulate a run of the suite by events, to hold the closed form to the simulation.

The system of the catalog gets the links that were fitted, and a stand-in of the application: a
forward pass, a backward pass whose gradients are ready when the exchange may begin, and devices on
which the step takes what was fitted. All nodes have equally many devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hwmodels.network.cluster import Cluster
from hwmodels.network.libraries import Textbook
from hwmodels.network.systems import cluster
from simulator.errors import InputError
from simulator.ideal import IdealDevice
from simulator.ops import Graph, Op
from simulator.protocols import Machine
from simulator.simulate import simulate
from simulator.workload import Gradient, Workload
from validation.cases import Case
from validation.suites.scaling.model import bandwidth, compute_s, latency_s, slowest
from validation.suites.scaling.parameters import numbers_of
from validation.suites.scaling.runs import runs_of
from workloads.plans.data_parallel import DataParallel

SOON = 1e-6
"""Share of the hidden part of the backward pass after which the exchange begins."""


def simulated_s(stage: Mapping[str, Any], case: Case) -> float:
    """Return the time of a step by simulation, seconds.

    Parameters
    ----------
    stage : the numbers of a system, as `fits.fit` gives them
    case : of that system, on nodes of equally many devices

    Raises
    ------
    InputError : another placement
    """
    runs = runs_of([case])
    numbers = numbers_of(stage, runs)
    devices, most = int(runs.devices[0]), int(runs.most[0])
    if devices != runs.nodes[0] * most:
        raise InputError(f"case {case.case_id}: simulated are only nodes of equally many devices; "
                         f"got {devices} on {runs.nodes[0]:g}")  # fmt: skip
    overlap, nbytes = float(numbers["overlap"][0]), float(numbers["gradient_bytes"][0])
    workload = stand_in(float(compute_s(numbers, runs)[0]), overlap, nbytes)
    machine = with_links(
        case.text("on"),
        devices,
        most,
        rate=float(bandwidth(numbers, runs)[0]),
        hop_s=float(latency_s(numbers, runs)[0]) / max(1, 2 * (devices - 1)),
    )
    alone = simulate(workload, machine, DataParallel(bucket_bytes=nbytes)).step_time_s
    return float(alone * slowest(numbers, runs)[0])


def stand_in(compute_s: float, overlap: float, nbytes: float) -> Workload:
    """Return a step of so many seconds at 1 FLOP/s, whose gradients are ready before the overlap.

    Parameters
    ----------
    compute_s : what the step takes on one device, seconds
    overlap : share of it that runs while gradients are exchanged
    nbytes : of the gradients
    """
    hidden = overlap * compute_s
    parts = [("forward", compute_s - hidden), ("backward", SOON * hidden),
             ("backward", (1 - SOON) * hidden)]  # fmt: skip
    ops = [Op(kind="elementwise", dims=(1,), flops=seconds, phase=phase)
           for phase, seconds in parts]  # fmt: skip
    return Workload(name="stand-in", parameters={}, graph=Graph.of(ops), samples=1.0,
                    weight_bytes=nbytes, gradients=(Gradient("all", nbytes, 1),))  # fmt: skip


def with_links(name: str, devices: int, most: int, rate: float, hop_s: float) -> Machine:
    """Return a system whose rings carry so many bytes per second, with a latency a step."""
    links = {"network.bandwidth_bytes_per_s": rate, "network.latency_s": 0.0,
             "node.bandwidth_bytes_per_s": rate, "node.latency_s": 0.0,
             "node.devices": most}  # fmt: skip
    device = IdealDevice(flops_per_s=1.0)
    machine = cluster(name, devices=devices, device=device, library="textbook", parameters=links)
    if not isinstance(machine.network, Cluster):
        return machine
    ring = Textbook(algorithms={"all_reduce": "ring"}, overhead_s=hop_s)
    return replace(machine, network=replace(machine.network, library=ring))
