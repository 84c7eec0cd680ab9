"""Fit the model of training epochs: the most likely values of all its numbers at once.

Seven *inputs* of each run (its dynamic power, spread, sensitivity ...; logarithms, and logits of
shares) say what it does. Each input is linear in a vector of numbers of which every one is expected
near 0 with standard deviation 1. Least squares find the vector (a hierarchical model: Gelman and
Hill, Data Analysis Using Regression and Multilevel Models, 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwmodels.gpu.power import ClockLaw, Load
from simulator.errors import InputError
from simulator.ops import FloatArray
from validation.fit_functions import soft_l1
from validation.suites.gpu_power.epochs import Runs
from validation.suites.gpu_power.model import (
    ROUGH,
    Fitted,
    covariance,
    log_batch,
    ready_of,
    under_limits,
)

DYNAMIC, SPREAD, SENSITIVITY, READY, GAIN, LINEAR, STILL = range(7)
"""Inputs of a run."""
START = {DYNAMIC: np.log(1.3e-9), SPREAD: np.log(0.3), SENSITIVITY: np.log(0.67),
         GAIN: np.log(0.97), LINEAR: 0.0, STILL: 0.0}  # fmt: skip
"""Where inputs begin: dynamic power in joules a cycle; ready power begins with what is known."""
OF_ALL = {DYNAMIC: 1.0, SPREAD: 0.5, SENSITIVITY: 0.5, LINEAR: 1.0, STILL: 1.0}
OF_DEVICE = {READY: 0.05, GAIN: 0.03}
OF_WORKLOAD, OF_PAIR = 0.3, 0.15
"""Standard deviations of inputs: of all runs together, by device, by workload and pair."""
LARGEST_STILL = 0.5
"""The share of the dynamic power that does not follow the clock is below this."""
POWER_ERROR, TIME_ERROR = 0.02, 0.03
"""Errors to expect of a fitted run; larger ones count less (soft L1)."""
STEP = 1e-5
"""Of the differences that give slopes."""
STEPS = 60


@dataclass(frozen=True, slots=True)
class Task:
    """Hold runs to fit, and how their inputs follow from the vector.

    Parameters
    ----------
    runs : with power, and energy where it is known
    names : of what has a number of its own, by part of the vector
    offset, design : inputs are offset (7, n) + design (7, n, size) @ vector
    rough, factor : covariance of the process at its places (k, k), and its Cholesky factor
    """

    runs: Runs
    names: dict[str, list[Any]]
    offset: FloatArray
    design: FloatArray
    rough: FloatArray
    factor: FloatArray

    def at(self, part: str) -> slice:
        """Return where a part of the vector stands."""
        before = list(self.names)[: list(self.names).index(part)]
        begin = sum(len(self.names[name]) for name in before)
        return slice(begin, begin + len(self.names[part]))

    def errors(self, vector: FloatArray) -> FloatArray:
        """Return what least squares make small: errors of runs (2 n,), and the vector itself."""
        return np.concatenate([soft_l1(self._errors(self.offset + self.design @ vector)), vector])

    def slopes(self, vector: FloatArray) -> FloatArray:
        """Return how the errors change with the vector (2 n + size, size)."""
        inputs, count = self.offset + self.design @ vector, len(self.runs)
        errors = self._errors(inputs)
        steep = _soft_slope(errors)
        slopes = np.zeros((2 * count, len(vector)))
        for one in range(len(inputs)):
            moved = inputs.copy()
            moved[one] += STEP
            slope = steep * (self._errors(moved) - errors) / STEP
            slopes[:count] += slope[:count, None] * self.design[one]
            slopes[count:] += slope[count:, None] * self.design[one]
        return np.concatenate([slopes, np.eye(len(vector))])

    def _errors(self, inputs: FloatArray) -> FloatArray:
        """Return the errors of power and time of each run (2 n,), over those to expect."""
        runs = self.runs
        load = Load(
            dynamic_w=runs.cycles_per_s * np.exp(inputs[DYNAMIC]),
            spread=np.exp(inputs[SPREAD]),
            sensitivity=np.exp(inputs[SENSITIVITY]),
        )
        law = _law(inputs[:, 0])
        ready, gain = np.exp(inputs[READY]), np.exp(inputs[GAIN])
        here, full = under_limits(runs, load, ready, gain, law)
        power = np.log(here.power_w / runs.power_w) / POWER_ERROR
        time = runs.full_time_s * here.slowdown / full.slowdown
        longer = np.log(time * runs.power_w / runs.energy_j) / TIME_ERROR
        errors: FloatArray = np.nan_to_num(np.concatenate([power, longer]))
        return errors

    def fitted(self, vector: FloatArray) -> Fitted:
        """Return the numbers of a vector by name."""
        inputs = self.offset + self.design @ vector
        own = dict(zip(self.runs.device, inputs.T, strict=True))
        device, workload, batch = zip(*self.names["process"], strict=True)
        process = self.factor @ vector[self.at("process")]
        return Fitted(
            law=_law(inputs[:, 0]),
            mean=float(START[DYNAMIC] + vector[self.at("all")][0]),
            ready_w={name: float(np.exp(own[name][READY])) for name in self.names["ready"]},
            gain={name: float(np.exp(own[name][GAIN])) for name in self.names["ready"]},
            spread=self._by_name(vector, SPREAD, "spread"),
            sensitivity=self._by_name(vector, SENSITIVITY, "sensitivity"),
            device=device,
            workload=workload,
            log_batch=np.array(batch),
            weight=np.asarray(np.linalg.solve(self.rough, process), np.float64),
        )

    def _by_name(self, vector: FloatArray, which: int, part: str) -> dict[str, float]:
        mean = START[which] + OF_ALL[which] * vector[self.at("all")][list(OF_ALL).index(which)]
        workloads = OF_WORKLOAD * vector[self.at(part)]
        pairs = OF_PAIR * vector[self.at(f"{part} of pairs")]
        names = [*self.names[part], *(" | ".join(pair) for pair in self.names[f"{part} of pairs"])]
        return {"": float(mean), **dict(zip(names, [*workloads.tolist(), *pairs.tolist()],
                                            strict=True))}  # fmt: skip


def task_of(runs: Runs) -> Task:
    """Return the task of fitting runs."""
    places = list(zip(runs.device, runs.workload, log_batch(runs).tolist(), strict=True))
    devices, workloads, pairs = (
        sorted(set(runs.device)), sorted(set(runs.workload)), sorted(set(runs.pair))
    )  # fmt: skip
    names: dict[str, list[Any]] = {
        "all": list(OF_ALL), "process": sorted(set(places)), "ready": devices, "gain": devices,
        "spread": workloads, "spread of pairs": pairs,
        "sensitivity": workloads, "sensitivity of pairs": pairs,
    }  # fmt: skip
    device, workload, batch = zip(*names["process"], strict=True)
    at = (device, workload, np.array(batch))
    rough = covariance(at, at) + ROUGH**2 * np.eye(len(batch))
    factor: FloatArray = np.asarray(np.linalg.cholesky(rough), np.float64)
    shared = np.stack([spread * (np.arange(7) == one) for one, spread in OF_ALL.items()], axis=1)
    columns = [
        np.repeat(shared[:, None, :], len(runs), axis=1),
        _column(DYNAMIC, factor[_owners(places, names["process"])]),
        *(_column(one, OF_DEVICE[one] * _one_hot(runs.device, devices)) for one in OF_DEVICE),
        *(
            _column(one, spread * _one_hot(has, known))
            for one in (SPREAD, SENSITIVITY)
            for spread, has, known in (
                (OF_WORKLOAD, runs.workload, workloads), (OF_PAIR, runs.pair, pairs))
        ),
    ]  # fmt: skip
    offset = np.zeros((7, len(runs)))
    for one, start in START.items():
        offset[one] = start
    known = {name: ready_of(name) for name in devices}
    offset[READY] = np.log([known[name] for name in runs.device])
    return Task(runs, names, offset, np.concatenate(columns, axis=2), rough, factor)


def fit_runs(runs: Runs) -> Fitted:
    """Return the most likely numbers of runs; costs a second for some hundred.

    Raises
    ------
    InputError : no run has a power
    """
    from scipy.optimize import least_squares

    if not np.isfinite(runs.power_w).any():
        raise InputError("nothing to fit: no epoch has a mean power")
    task = task_of(runs)
    start = np.zeros(task.design.shape[2])
    found = least_squares(task.errors, start, jac=task.slopes, max_nfev=STEPS)
    return task.fitted(found.x)


def _column(one: int, part: FloatArray) -> FloatArray:
    """Return the design (7, n, m) of a part (n, m) that only one input has."""
    column = np.zeros((7, *part.shape))
    column[one] = part
    return column


def _owners(has: Sequence[Any], known: Sequence[Any]) -> list[int]:
    places = {one: place for place, one in enumerate(known)}
    return [places[one] for one in has]


def _one_hot(has: Sequence[Any], known: Sequence[Any]) -> FloatArray:
    found: FloatArray = np.eye(len(known))[_owners(has, known)]
    return found


def _law(inputs: FloatArray) -> ClockLaw:
    linear, still = (float(1 / (1 + np.exp(-inputs[one]))) for one in (LINEAR, STILL))
    return ClockLaw(linear, LARGEST_STILL * still)


def _soft_slope(errors: FloatArray) -> FloatArray:
    """Return how soft errors change with the errors; 1 at 0."""
    size = np.maximum(np.abs(errors), 1e-4)
    long = np.hypot(1.0, size)
    slope: FloatArray = size / long / np.sqrt(2 * (long - 1))
    return slope
