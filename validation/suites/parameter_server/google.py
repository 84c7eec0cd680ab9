"""Predict null steps, backup workers, and training of Inception-v3 on two clusters of Google.

A *null step* pulls parameters, computes nothing and pushes updates of no size: a single number of
each server (scalar), all of a model (dense) or some rows (sparse). What requests and rows cost a
worker and its servers comes from scalar and sparse steps, the rate of links from the largest dense
step of one worker.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from simulator.errors import InputError
from validation.cases import Case
from validation.predict import workload_of
from validation.suites.parameter_server.clusters import NUMBER_BYTES, Exchange, step_s
from validation.suites.parameter_server.convert import studies

STEPS, MORE_STEPS = 20, 400
"""Of which the time of one is taken, where works are late by chance; where few are compared."""
Numbers = Mapping[str, float]


def null_step_s(case: Case, null: Numbers) -> float:
    """Return the time of a null step, seconds.

    Parameters
    ----------
    case : of a null step
    null : `worker_s` and `server_s` of a request, `row_worker_s` and `row_server_s` of a row,
        `link_bytes_per_s`
    """
    rows, pulled = 0.0, NUMBER_BYTES
    if "workload.rows" in case.settings:
        rows = case.number("workload.rows")
    if case.text("workload.access") == "dense":
        pulled = case.number("workload.bytes")
    servers = case.count("plan.servers")
    server_s = null["server_s"] + rows * null["row_server_s"]
    exchange = Exchange(
        workers=case.count("on.devices"),
        servers=servers,
        link_bytes_per_s=null["link_bytes_per_s"],
        # All servers have a part of each request, of which the update is one number.
        sums_per_s=1.0 / server_s / servers,
        compute_s=null["worker_s"] + rows * null["row_worker_s"],
        push_bytes=NUMBER_BYTES,
        pull_bytes=pulled,
    )
    return step_s(exchange)


@functools.cache
def inception_bytes() -> float:
    """Return the bytes of Inception-v3's parameters."""
    return workload_of("inception-v3", {"training": True}).weight_bytes


def training(case: Case, late: Mapping[str, Any]) -> Exchange:
    """Return a training step of Inception-v3, as `late` says what workers compute and how late."""
    study = studies()[case.text("on")]
    servers = case.settings.get("plan.servers", study.get("servers"))
    if servers is None:
        raise InputError(f"case {case.case_id}: how many servers is not known")
    return Exchange(
        workers=case.count("on.devices"),
        servers=int(servers),
        link_bytes_per_s=study.get("link_bytes_per_s", 0.0),
        sums_per_s=study["sums_per_s"],
        compute_s=late["compute_s"],
        push_bytes=inception_bytes(),
        pull_bytes=inception_bytes(),
        mode=case.text("plan.mode"),
        backup=_backup(case),
        delay=late.get("delay", 0.0),
        delayed=late.get("delayed", 1.0),
    )


def _backup(case: Case) -> int:
    return case.count("plan.backup") if case.settings.get("plan.backup") else 0


def backup_value(case: Case, late: Numbers) -> float:
    """Return a step's time, seconds, or how much quicker it is than without backup workers.

    The speedup is normalised: over the workers that it takes, t(0)/t(b) n/(n + b).
    """
    found = training(case, late)
    time_s = step_s(found, MORE_STEPS)
    if case.metric == "step_time_s":
        return time_s
    share = found.workers / (found.workers + found.backup)
    return step_s(found._replace(backup=0), MORE_STEPS) / time_s * share


def throughput(case: Case, late: Numbers) -> float:
    """Return the images per second of all workers."""
    found, batch = training(case, late), studies()[case.text("on")]["batch"]
    return found.workers * float(batch) / step_s(found, STEPS)


def throughput_of_a_worker(case: Case, known: float, late: Numbers, link: float) -> float:
    """Return the images per second of each worker, from what a worker has for itself.

    Parameters
    ----------
    case : asynchronous training
    known : of one worker alone, 1/s
    late : how late workers are; what they compute is known
    link : rate of each worker's and server's, B/s
    """
    if case.number("on.devices") == 1:
        return known
    batch = float(studies()[case.text("on")]["batch"])
    found = training(case, {**late, "compute_s": batch / known})._replace(link_bytes_per_s=link)
    # What one worker takes holds its exchange and its mean delay, which are simulated beside it.
    exchange_s = step_s(found._replace(workers=1, delay=0.0)) - found.compute_s
    compute_s = (found.compute_s - exchange_s) / (1 + found.delay * found.delayed)
    return batch / step_s(found._replace(compute_s=compute_s), STEPS)
