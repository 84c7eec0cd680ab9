"""Model training epochs under power limits: what a workload asks of a GPU, and what the limit does.

The dynamic power for each cycle of a multiprocessor is a Gaussian process (Rasmussen and Williams,
2006) of the workload, the device and the logarithm of the batch for each multiprocessor. So a pair
of workload and device that was measured at other batches leans on these, one that was not on the
workload, and a workload nobody measured on the mean. How much dynamic power changes over time, and
what share of the time follows the clock, are numbers of a workload and of a pair, each drawn to the
mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwmodels.gpu.power import ClockLaw, Draw, Load, draw, power_of
from simulator.errors import InputError
from simulator.ops import FloatArray
from validation.fit_functions import matern_3_2
from validation.suites.gpu_power.convert import spec_of
from validation.suites.gpu_power.epochs import Runs

# Standard deviations of the process, of logarithms. Chosen, as the lengths, by predicting batches,
# limits, workloads and devices that took no part in a fit.
WORKLOAD, PAIR, DEVICE = 3.0, 0.15, 0.2
SHAPE, PAIR_SHAPE, COMMON_SHAPE, ROUGH = 0.7, 0.25, 0.3, 0.05
LENGTH, PAIR_LENGTH = 4.0, 2.5
"""How far the process remembers, in powers of two of the batch."""
SAME_BATCH = 1e-3
"""Difference of the logarithms of two batches that are the same."""
LEAST_ROOM_W = 5.0
"""What a limit leaves beyond a ready device at least."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Hold what was fitted; workloads and pairs are named as in `Runs`.

    Parameters
    ----------
    law : how power follows the clock
    mean : logarithm of the dynamic power for a cycle, of a workload nobody measured
    ready_w : by device
    gain : mean power at a limit over the limit, by device
    spread, sensitivity : logarithms by workload ("net on data"), pair ("device | net on data") and
        "", their mean; those of a workload and a pair are differences
    device, workload, log_batch, weight : places of the process, (k,) each, and its weights
    """

    law: ClockLaw
    mean: float
    ready_w: Mapping[str, float]
    gain: Mapping[str, float]
    spread: Mapping[str, float]
    sensitivity: Mapping[str, float]
    device: Sequence[str]
    workload: Sequence[str]
    log_batch: FloatArray
    weight: FloatArray

    def tables(self) -> dict[str, Any]:
        """Return what a calibration keeps."""
        return {
            "mean": self.mean,
            "linear_share": self.law.linear_share,
            "still_share": self.law.still_share,
            "ready_w": dict(self.ready_w),
            "gain": dict(self.gain),
            "spread": dict(self.spread),
            "sensitivity": dict(self.sensitivity),
            "process": {
                "device": list(self.device),
                "workload": list(self.workload),
                "log_batch": self.log_batch.tolist(),
                "weight": self.weight.tolist(),
            },
        }

    @classmethod
    def of_tables(cls, tables: Mapping[str, Any]) -> Fitted:
        """Return what a calibration keeps.

        Raises
        ------
        InputError : a table is missing
        """
        try:
            process = tables["process"]
            return cls(
                law=ClockLaw(tables["linear_share"], tables["still_share"]),
                mean=tables["mean"],
                ready_w=tables["ready_w"],
                gain=tables["gain"],
                spread=tables["spread"],
                sensitivity=tables["sensitivity"],
                device=process["device"],
                workload=process["workload"],
                log_batch=np.array(process["log_batch"], float),
                weight=np.array(process["weight"], float),
            )
        except KeyError as error:
            raise InputError(f"the calibration of epochs lacks {error}") from error

    def new_in(self, runs: Runs) -> list[str]:
        """Return what is new in runs: "workload", "device", "batch", or only the "limit"."""
        known: dict[tuple[str, str], list[float]] = {}
        places = zip(self.device, self.workload, self.log_batch.tolist(), strict=True)
        for device, workload, batch in places:
            known.setdefault((device, workload), []).append(batch)
        workloads, new = set(self.workload), []
        for pair, batch in zip(runs.pair, log_batch(runs).tolist(), strict=True):
            if pair not in known:
                new.append("device" if pair[1] in workloads else "workload")
            else:
                alike = min(abs(batch - other) for other in known[pair]) < SAME_BATCH
                new.append("limit" if alike else "batch")
        return new

    def joules_per_cycle(self) -> list[float]:
        """Return what each pair asks at most, joules for each cycle of a multiprocessor."""
        at = (self.device, self.workload, self.log_batch)
        asked = np.exp(self.mean + covariance(at, at) @ self.weight).tolist()
        most: dict[tuple[str, str], float] = {}
        for pair, value in zip(zip(self.device, self.workload, strict=True), asked, strict=True):
            most[pair] = max(value, most.get(pair, 0.0))
        return list(most.values())

    def load(self, runs: Runs) -> Load:
        """Return what runs (n,) ask."""
        here = (runs.device, runs.workload, log_batch(runs))
        there = (self.device, self.workload, self.log_batch)
        logs = self.mean + covariance(here, there) @ self.weight
        return Load(
            dynamic_w=runs.cycles_per_s * np.exp(logs),
            spread=_of_names(self.spread, runs),
            sensitivity=_of_names(self.sensitivity, runs),
        )

    def predict(self, runs: Runs) -> tuple[FloatArray, FloatArray]:
        """Return mean power (n,) and energy (n,), NaN where no time is known; watts and joules."""
        gain = np.mean([*self.gain.values()])
        ready = [self.ready_w.get(name) or ready_of(name) for name in runs.device]
        gains = [self.gain.get(name, gain) for name in runs.device]
        state = np.array(ready, float), np.array(gains, float), self.law
        here, full = under_limits(runs, self.load(runs), *state)
        time = runs.full_time_s * here.slowdown / full.slowdown
        return here.power_w, here.power_w * time


def ready_of(device: str) -> float:
    """Return the power of a device that is ready, of which no run was fitted, watts.

    Raises
    ------
    InputError : neither it nor the power limit is known
    """
    found = power_of(spec_of(device)).ready_w
    if found is None:
        raise InputError(f"device '{device}' does not say power.tdp_w")
    return found


def under_limits(
    runs: Runs, load: Load, ready_w: FloatArray, gain: FloatArray, law: ClockLaw
) -> tuple[Draw, Draw]:
    """Return what runs (n,) do under their limits, and under those at which the time is known."""
    limits = (runs.limit_w, runs.full_limit_w)
    rooms = (np.maximum(gain * limit - ready_w, LEAST_ROOM_W) for limit in limits)
    here, full = (draw(load, room, ready_w, law) for room in rooms)
    return here, full


def log_batch(runs: Runs) -> FloatArray:
    """Return log2 of the batch for each multiprocessor and GHz (n,): how well it fills a device."""
    found: FloatArray = np.log2(runs.batch / (runs.cycles_per_s / 1e9))
    return found


Places = tuple[Sequence[str], Sequence[str], FloatArray]
"""Devices, workloads and `log_batch`, (n,) each."""


def covariance(one: Places, other: Places) -> FloatArray:
    """Return the covariance of the logarithms of dynamic power at places (n,) and (m,), (n, m)."""
    device, workload = (
        np.array(one[i], object)[:, None] == np.array(other[i], object)[None] for i in (0, 1)
    )
    apart = np.abs(one[2][:, None] - other[2][None])
    wide, near = matern_3_2(apart / LENGTH), matern_3_2(apart / PAIR_LENGTH)
    found: FloatArray = (
        DEVICE**2 * device
        + COMMON_SHAPE**2 * wide
        + workload * (WORKLOAD**2 + SHAPE**2 * wide)
        + (workload & device) * (PAIR**2 + PAIR_SHAPE**2 * near)
    )
    return found


def _of_names(logs: Mapping[str, float], runs: Runs) -> FloatArray:
    found = [
        logs[""] + logs.get(workload, 0.0) + logs.get(f"{device} | {workload}", 0.0)
        for device, workload in runs.pair
    ]
    values: FloatArray = np.exp(np.array(found, float))
    return values
