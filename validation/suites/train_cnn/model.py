"""Predict training throughput by simulation, with and without the time of a step on one GPU.

Where the throughput on one GPU is known, the GPU is paced so that it comes out; what more GPUs do
is simulated. A row's `update` says how: NCCL between GPUs; servers on the host's CPU, on all GPUs,
or on the CPUs of all nodes, where each node first adds up its own gradients. TensorFlow's sessions
pull parameters when all are updated. Real images are copied to the GPUs before each step, and those
below one root of PCIe share its link.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from hwmodels.network.systems import cluster
from hwmodels.system_files import find_system
from simulator.engine.execute import execute, place
from simulator.errors import InputError, UnknownNameError
from simulator.protocols import Calibrated, Machine, Plan
from simulator.scenario import Value
from simulator.simulate import job_of, run_of
from simulator.workload import Workload
from validation.cases import Case, scenario_of
from validation.predict import workload_of
from validation.suite import Answer, Calibration, Prediction, Skip
from validation.suites.train_cnn.hosts import (
    Host,
    gpus_of,
    host_of,
    named_device,
    node,
    nodes_with_servers,
    paced,
)
from workloads.plans.data_parallel import DataParallel
from workloads.plans.parameter_server import ParameterServer

EFFICIENCY = "scaling_efficiency"
TRAINED: Mapping[str, Value] = {"training": True, "optimizer": "sgd"}
"""What all cases have in common."""


class Setup(NamedTuple):
    """Hold what the time of a step depends on; equal ones are simulated once.

    Parameters
    ----------
    workload, sizes : the step: its name and parameters
    system, device : of the catalog; "": the system's device
    devices : GPUs
    update : how variables are updated, as `systems.toml` names it
    real : whether images are read and copied to the GPUs
    """

    workload: str
    sizes: tuple[tuple[str, Value], ...]
    system: str
    device: str
    devices: int
    update: str
    real: bool

    @property
    def step(self) -> Workload:
        """Return the step."""
        return workload_of(self.workload, dict(self.sizes))


def setup_of(case: Case) -> Setup:
    """Return what the time of a case's step depends on."""
    sizes: dict[str, Value] = {**scenario_of(case).under("workload"), **TRAINED}
    sizes.pop("data", None)
    return Setup(
        workload=case.text("workload"),
        sizes=tuple(sorted(sizes.items(), key=lambda one: one[0])),
        system=case.text("on"),
        device=case.text("on.device"),
        devices=case.count("on.devices"),
        update=case.text("plan.update"),
        real=case.text("workload.data") == "real",
    )


# --- the time of a step --------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def step_s(setup: Setup, alone_s: float | None) -> float:
    """Return the time of a step on all GPUs, seconds.

    Parameters
    ----------
    alone_s : what the step takes on one GPU without all that is between GPUs and host, seconds;
        None: as the device is modelled
    """
    if setup.update == "all-reduce":
        return _by_nccl(setup, alone_s)
    host, step = host_of(setup.system), setup.step
    local = min(setup.devices, host.node_devices)
    on_gpus = setup.update == "gpus"
    machine = node(host, paced(gpus_of(host, local), step, alone_s), with_cpu=not on_gpus)
    servers = local if on_gpus else 1
    time_s = _simulated(step, machine, _served(servers, on_gpus)) + input_s(setup, host)
    if setup.update == "hosts" and setup.devices > local:
        return _between_nodes(setup, host, time_s)
    return time_s


def _by_nccl(setup: Setup, alone_s: float | None) -> float:
    device = named_device(setup.device or str(find_system(setup.system).text("device")))
    machine = cluster(setup.system, devices=setup.devices, device=device)
    machine = replace(machine, devices=paced(machine.devices, setup.step, alone_s))
    time_s = _simulated(setup.step, machine, DataParallel())
    return time_s + (input_s(setup, host_of(setup.system)) if setup.real else 0.0)


def _served(servers: int, colocated: bool) -> ParameterServer:
    return ParameterServer(servers=servers, colocated=colocated, overlap=True, barrier=True)


def _between_nodes(setup: Setup, host: Host, node_s: float) -> float:
    """Return the time of a step where each node, which takes `node_s` alone, is a worker."""
    count = -(-setup.devices // host.node_devices)
    workers = paced([named_device(host.gpu)] * count, setup.step, node_s)
    machine = nodes_with_servers(host, workers)
    return _simulated(setup.step, machine, _served(count, False))


def input_s(setup: Setup, host: Host) -> float:
    """Return how long copying real images to the GPUs takes, which hides behind nothing, seconds.

    All GPUs below one root of PCIe share its link.
    """
    sharing = host.below_one_root(setup.devices) if setup.real else 0
    return sharing * setup.step.input_bytes / host.root_bytes_per_s


def error_ratio(setup: Setup) -> tuple[float, float] | None:
    """Return the lowest and highest ratio of measured over predicted throughput to expect."""
    device = named_device(setup.device or str(find_system(setup.system).text("device")))
    ratio = device.error_ratio(setup.step.graph) if isinstance(device, Calibrated) else None
    return None if ratio is None else (1 / ratio[1], 1 / ratio[0])


def _simulated(step: Workload, machine: Machine, plan: Plan) -> float:
    """Return the time of a step. Whether it fits the memory is not asked: it has been measured."""
    job = job_of(step, plan, 1, 0)
    outcome = execute(job, machine, plan, record=False)
    return float(run_of(job, machine, plan, place(plan, machine), outcome).step_time_s)


# --- a known step --------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1024)
def alone_s(one: Setup, known_s: float) -> float:
    """Return the time of a step on one GPU without what is between it and the host, seconds.

    Parameters
    ----------
    one : on one GPU
    known_s : what the whole step takes there
    """
    return known_s - (step_s(one, known_s) - known_s)


def curve_of(case: Case) -> Case:
    """Return a case as if it were of one GPU: what all points of its curve have in common."""
    return replace(case, settings={**case.settings, "on.devices": 1.0})


@dataclass(frozen=True, slots=True)
class Model:
    """Predict the throughput of cases.

    Parameters
    ----------
    known : throughput on one GPU by the case_id of that point, 1/s
    """

    known: Mapping[str, float]

    def step_s(self, case: Case) -> tuple[float, bool]:
        """Return the time of a case's step, and whether its curve's first point is known."""
        setup = setup_of(case)
        found = self.known.get(curve_of(case).case_id)
        if found is None:
            return step_s(setup, None), False
        known_s = setup.step.samples / found
        if setup.devices == 1:
            return known_s, True
        return step_s(setup, alone_s(setup._replace(devices=1), known_s)), True

    def value(self, case: Case) -> tuple[float, bool]:
        """Return the value of a case in its unit, and whether its first point is known."""
        time_s, known = self.step_s(case)
        if case.metric == EFFICIENCY:
            return self.step_s(curve_of(case))[0] / time_s, known
        samples = setup_of(case).step.samples
        return case.number("on.devices") * samples / time_s, known


def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict by simulation, from the first point of each curve where that is known."""
    model = Model(calibration.get("known", {}))
    return [_answer(case, model, calibration.get("error_factor")) for case in cases]


def absolute(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict by ops, devices and networks alone, whatever is known."""
    model = Model({})
    return [_answer(case, model) for case in cases]


def _answer(case: Case, model: Model, factor: float | None = None) -> Answer:
    try:
        value, known = model.value(case)
    except (UnknownNameError, InputError) as error:
        return Skip(str(error))
    if not known:
        found = error_ratio(setup_of(case))
    else:
        found = None if factor is None else (1 / factor, factor)
    return Prediction(value, *(value * ratio for ratio in found or ()))
