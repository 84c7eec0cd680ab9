"""The machines and the step on which plans are tried, and how long their works take there."""

from __future__ import annotations

from hwmodels.network.cluster import Cluster
from hwmodels.network.libraries import Textbook
from hwmodels.network.shapes import star
from hwmodels.network.wires import Wire
from simulator.check_plan import training_step
from simulator.engine.execute import execute
from simulator.ideal import IdealDevice, ideal_machine
from simulator.protocols import Machine
from simulator.workload import Job

ALPHA, BANDWIDTH = 1e-4, 1e9
GRADIENTS, GRADIENT_BYTES = 3, 4e6
SIZE = GRADIENTS * GRADIENT_BYTES
"""Bytes of all parameters of the step, and of their gradients."""
SPEED = 1e7
FAST = IdealDevice(flops_per_s=SPEED)
SLOW = IdealDevice(flops_per_s=SPEED / 2, name="slow")
INSTANT = IdealDevice(flops_per_s=1e18, name="instant")
STEP = training_step(GRADIENT_BYTES)


def job(steps=1, seed=0):
    return Job.of(STEP, steps=steps, seed=seed, bucket_bytes=GRADIENT_BYTES)


def seconds(work, device=FAST):
    """Return how long a work takes on an ideal device."""
    return float(device.times_s(work.graph, 1).sum())


def message_s(nbytes):
    return ALPHA + nbytes / BANDWIDTH


def ideal(devices, slow=()):
    """Return a machine on which messages do not disturb each other, with some devices slow."""
    machine = ideal_machine(devices, latency_s=ALPHA, bandwidth_bytes_per_s=BANDWIDTH)
    kinds = [SLOW if index in slow else FAST for index in range(devices)]
    return Machine("ideal", kinds, machine.network)


def quick_server(clients, slow=()):
    """Return an ideal machine whose last device takes no time for its works."""
    machine = ideal(clients + 1, slow)
    return Machine("quick server", [*machine.devices[:-1], INSTANT], machine.network)


def contended(devices, device=FAST):
    """Return a star on which messages to one device share its link."""
    network = Cluster(topology=star(devices, Wire(BANDWIDTH, ALPHA / 2)), library=Textbook())
    return Machine("star", [device] * devices, network)


def run(plan, machine, steps=1, seed=0):
    return execute(job(steps, seed), machine, plan)


def step_s(plan, machine, steps=5, seed=0):
    """Return the mean time of the steps after the first."""
    ends = run(plan, machine, steps, seed).step_ends_s
    return (ends[-1] - ends[0]) / (len(ends) - 1)
