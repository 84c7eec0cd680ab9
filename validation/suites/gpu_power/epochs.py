"""Arrange cases of training epochs as arrays: one run for each epoch at a power limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.gpu.power import sm_cycles_per_s
from simulator.ops import FloatArray, IntArray
from validation.cases import Case
from validation.suites.gpu_power.convert import spec_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Hold epochs (n,) at power limits; what was not measured or is not known is NaN.

    Parameters
    ----------
    device : names in the catalog
    workload : network and dataset; the optimizer makes no difference that could be seen
    batch : samples a step
    limit_w : power limit, watts
    full_limit_w : limit at which the time is known; `limit_w` where none is
    full_time_s : that time, seconds
    power_w, energy_j : measured mean power and energy
    place : of each case (m,), its run
    """

    device: tuple[str, ...]
    workload: tuple[str, ...]
    batch: FloatArray
    limit_w: FloatArray
    full_limit_w: FloatArray
    full_time_s: FloatArray
    power_w: FloatArray
    energy_j: FloatArray
    place: IntArray

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def pair(self) -> tuple[tuple[str, str], ...]:
        """Return device and workload of each run."""
        return tuple(zip(self.device, self.workload, strict=True))

    @property
    def cycles_per_s(self) -> FloatArray:
        """Return the cycles of all multiprocessors of each device at boost clock (n,), hertz."""
        found = {name: sm_cycles_per_s(spec_of(name)) for name in set(self.device)}
        return np.array([found[name] for name in self.device])


def arrange(cases: Sequence[Case]) -> Runs:
    """Return the runs of cases: power and energy of one epoch and limit make one run.

    Raises
    ------
    InputError : a case lacks a number
    UnknownNameError : of a device that is not in the catalog
    """
    places: dict[tuple[object, ...], int] = {}
    rows: list[list[float]] = []
    names: list[tuple[str, str]] = []
    of_case: list[int] = []
    for case in cases:
        key = _key(case)
        if key in places and case.metric == "energy_j" and rows[places[key]][5] > 0:
            key = (*key, len(rows))  # the same epoch, of which the time at another limit is known
        if key not in places:
            places[key] = len(rows)
            names.append((spec_of(case.text("on")).name, workload_of(case)))
            limit = case.number("on.power.limit_w")
            rows.append([case.number("workload.batch"), limit, limit, *[np.nan] * 3])
        _enter(case, rows[places[key]])
        of_case.append(places[key])
    columns = np.array(rows, float).reshape(-1, 6).T
    return Runs(
        device=tuple(device for device, _ in names),
        workload=tuple(workload for _, workload in names),
        batch=columns[0],
        limit_w=columns[1],
        full_limit_w=columns[2],
        full_time_s=columns[3],
        power_w=columns[4],
        energy_j=columns[5],
        place=np.array(of_case, np.int64),
    )


def _enter(case: Case, row: list[float]) -> None:
    """Enter what a case says into the row of its run."""
    if case.metric == "power_w":
        row[4] = case.measured
    else:
        row[2] = case.number("workload.full_power_limit_w")
        row[3] = case.number("workload.full_power_time_s")
        row[5] = case.measured


def workload_of(case: Case) -> str:
    """Return network and dataset of a case."""
    return f"{case.text('workload')} on {case.text('workload.dataset')}"


def _key(case: Case) -> tuple[object, ...]:
    names = ("on", "workload", "workload.dataset", "workload.optimizer", "workload.batch",
             "on.power.limit_w")  # fmt: skip
    return tuple(case.settings.get(name) for name in names)
