"""Arrange the cases of the suite as curves: one program on one machine, time by team of threads.

A *curve* is a tool's run on a data set on a machine at a date. A *program* is what curves share
across machines and sizes: a tool, the benchmark's settings, and its code: XGBoost 1.0 (2020-02-19)
rewrote how its histogram method runs on many cores, up to five times faster (NEWS.md of
dmlc/xgboost, "Better performance scaling for multi-core CPUs"; Apache-2.0), so what ran before is
another program. A *device* is what curves share on one kind of machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.thread_team import Team
from simulator.errors import InputError
from simulator.ops import FloatArray, IntArray
from validation.cases import Case
from validation.suites.multicore.convert import FEW_CORES, SIZE_INDEX, machines, team_of

ROWS_PER_INDEX = 1e6
"""Rows of a data set that is given as `size index n` only. Inferred: on r4.8xlarge, where both were
run, index 10 takes each tool as long as 10 M rows, within 4 %."""
_REWRITTEN = {"xgboost": "2020"}


@dataclass(frozen=True, slots=True, order=True)
class Curve:
    """Identify a curve.

    Parameters
    ----------
    program, machine, date, dataset : names
    rows : of the training data
    """

    program: str
    machine: str
    date: str
    dataset: str
    rows: float

    @property
    def name(self) -> str:
        """Return one text for the curve."""
        return f"{self.program} | {self.machine} | {self.date} | {self.dataset} | {self.rows:g}"

    @property
    def device(self) -> str:
        """Return the device of the catalog that the machine is."""
        return machines()[self.machine].device


def curve_of(case: Case) -> Curve:
    """Return the curve of a case."""
    tool, date = case.text("workload.tool"), case.text("workload.date")
    study = case.text("workload.algorithm").partition("(")[2].rstrip(")")
    rewritten = _REWRITTEN.get(tool, "")
    code = f" before {rewritten}" if date[:4] < rewritten else ""
    dataset = case.text("workload.dataset")
    return Curve(f"{tool}{code}, {study}", case.text("on"), date, dataset, _rows(case, dataset))


def _rows(case: Case, dataset: str) -> float:
    if "workload.rows" in case.settings:
        return case.number("workload.rows")
    index = dataset.rpartition(SIZE_INDEX)[2]
    if not index.isdecimal():
        raise InputError(f"case {case.case_id}: has neither workload.rows nor a size index")
    return float(index) * ROWS_PER_INDEX


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Hold cases as columns, one entry a case; index arrays point into the lists of names.

    Parameters
    ----------
    curves, programs, devices : what there is, sorted
    curve, program, device : of each case, as positions in these, (n,)
    program_of, device_of : of each curve, (curves,)
    scale : of each curve, log10 of its rows over a million, (curves,)
    team : team of each case
    threads, time_s : of each case, (n,)
    """

    curves: tuple[Curve, ...]
    programs: tuple[str, ...]
    devices: tuple[str, ...]
    curve: IntArray
    program: IntArray
    device: IntArray
    program_of: IntArray
    device_of: IntArray
    scale: FloatArray
    team: Team
    threads: FloatArray
    time_s: FloatArray


def arrange(cases: Sequence[Case]) -> Curves:
    """Return cases as columns."""
    each = [curve_of(case) for case in cases]
    curves = tuple(sorted(set(each)))
    programs = tuple(sorted({curve.program for curve in curves}))
    devices = tuple(sorted({curve.device for curve in curves}))
    place = {curve: i for i, curve in enumerate(curves)}
    program_of = np.array([programs.index(curve.program) for curve in curves])
    device_of = np.array([devices.index(curve.device) for curve in curves])
    curve = np.array([place[one] for one in each])
    return Curves(
        curves=curves,
        programs=programs,
        devices=devices,
        curve=curve,
        program=program_of[curve],
        device=device_of[curve],
        program_of=program_of,
        device_of=device_of,
        scale=np.log10([one.rows / 1e6 for one in curves]),
        team=teams(cases),
        threads=np.array([case.number("plan.threads") for case in cases]),
        time_s=np.array([case.measured for case in cases]),
    )


def teams(cases: Sequence[Case]) -> Team:
    """Return the teams of cases as columns."""
    each = [team_of(case) for case in cases]
    return Team(
        cores=np.array([team.cores for team in each], dtype=float),
        siblings=np.array([team.siblings for team in each], dtype=float),
        sockets=np.array([team.sockets for team in each], dtype=float),
        split=np.array([team.split for team in each], dtype=float),
    )


def few_cores(case: Case) -> bool:
    """Say whether a case is one of those that larger counts are predicted from."""
    return case.number("plan.threads") <= FEW_CORES
