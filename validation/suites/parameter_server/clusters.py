"""Simulate steps on a star of workers and servers of which the links and a few times are known.

Equal servers that each keep an equal shard are loaded alike, so that one with the links and the
cores of all stands for them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hwmodels.network.cluster import Cluster
from hwmodels.network.libraries import Textbook
from hwmodels.network.shapes import star
from hwmodels.network.wires import Wire
from simulator.engine.execute import execute
from simulator.ideal import IdealDevice
from simulator.ops import Graph, Op
from simulator.protocols import Machine, Plan
from simulator.workload import Buffer, Job, Workload
from workloads.plans.disturbed import Stragglers
from workloads.plans.parameter_server import ParameterServer

SECONDS = 1.0
"""FLOP/s of a worker: its work has as many FLOP as it takes seconds."""
NUMBER_BYTES = 4.0


class Exchange(NamedTuple):
    """Hold what the time of a step depends on; equal ones are simulated once.

    Parameters
    ----------
    workers, servers : how many
    link_bytes_per_s : of each
    sums_per_s : numbers that one server adds up
    compute_s : what a worker computes in a step
    push_bytes, pull_bytes : what it sends to all servers, and gets of them
    mode : of the plan
    backup : workers that are not waited for, beside `workers`
    delay, delayed : mean delay of works by chance, over their time, and the share that has one
    """

    workers: int
    servers: int
    link_bytes_per_s: float
    sums_per_s: float
    compute_s: float
    push_bytes: float
    pull_bytes: float
    mode: str = "synchronous"
    backup: int = 0
    delay: float = 0.0
    delayed: float = 1.0


@functools.lru_cache(maxsize=4096)
def step_s(exchange: Exchange, steps: int = 3) -> float:
    """Return how long a step takes after the first ones, seconds.

    The median of so many steps; where workers go on by themselves, the mean of the second half, as
    they begin all at once and need a while to spread.
    """
    plan: Plan = ParameterServer(mode=exchange.mode, backup=exchange.backup)
    if exchange.delay:
        plan = Stragglers(plan, delay=exchange.delay, delayed=exchange.delayed)
    outcome = execute(_job(exchange, steps + 1), _machine(exchange), plan, record=False)
    times_s = np.diff(outcome.step_ends_s)
    if exchange.mode == "asynchronous":
        return float(times_s[len(times_s) // 2 :].mean())
    return float(np.median(times_s))


def _machine(exchange: Exchange) -> Machine:
    workers = exchange.workers + exchange.backup
    rates = [*[exchange.link_bytes_per_s] * workers, exchange.link_bytes_per_s * exchange.servers]
    network = Cluster(topology=star(workers + 1, Wire(rates)), library=Textbook())
    server = IdealDevice(exchange.sums_per_s * exchange.servers, name="servers")
    return Machine("a star", [*[IdealDevice(SECONDS)] * workers, server], network)


def _job(exchange: Exchange, steps: int) -> Job:
    work = {"backward": exchange.compute_s, "update": 0.0}
    ops = [Op(kind="elementwise", dims=(1,), flops=flops, phase=phase)
           for phase, flops in work.items()]  # fmt: skip
    step = Workload(name="step", parameters={}, graph=Graph.of(ops), samples=1)
    buffers: Mapping[str, Buffer] = {
        "grad": Buffer("grad", exchange.push_bytes),
        "params": Buffer("params", exchange.pull_bytes),
    }
    return replace(Job.of(step, steps=steps), buffers=buffers)
