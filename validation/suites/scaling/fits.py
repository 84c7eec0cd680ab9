"""Fit each system in stages: each stage knows runs on so many devices and fewer.

A run is predicted by the stage that knows most of those with fewer devices than it has. So runs
beyond the first stage are held out from what predicts them, and all that is measured serves to
predict what lies beyond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.ops import FloatArray
from validation.cases import Case
from validation.suite import Calibration
from validation.suites.scaling.baselines import fit_baselines, form_s
from validation.suites.scaling.model import step_s
from validation.suites.scaling.parameters import fit_numbers, numbers_of
from validation.suites.scaling.runs import runs_of
from validation.suites.scaling.stages import devices

FEW = 16
"""Runs on more devices are never fitted, whatever the table holds."""
STAGES = (
    "Runs are predicted by the fit that knows most of the smaller ones: those of the upper half of "
    f"each system's devices by a fit to the lower half, those beyond {FEW} devices by a fit to all "
    f"up to {FEW}. Fitted anew on any table, rows beyond {FEW} devices take no part. The upper "
    "halves are held out from the numbers, not from the form, which was chosen by their errors."
)
"""What the accuracy report says first."""
NINE_OF_TEN = 0.9
"""Share of errors that an interval holds."""


def fit(cases: Sequence[Case]) -> Calibration:
    """Return the stages of each system, the cases of each first stage, and remarks.

    Costs half a minute for 3,000 cases.

    Raises
    ------
    InputError : no case of few devices
    """
    systems: dict[str, Any] = {}
    known: list[str] = []
    remarks = [STAGES]
    for name in dict.fromkeys(case.text("on") for case in cases):
        mine = [case for case in cases if case.text("on") == name and devices(case) <= FEW]
        if mine:
            found, lines = _system(name, mine)
            systems[name] = found
            remarks += lines
            first = min(map(int, found))
            known += [case.case_id for case in mine if devices(case) <= first]
    if not systems:
        raise InputError(f"suite scaling: no case of {FEW} devices or fewer to fit")
    return {"case_ids": sorted(known), "remarks": remarks, "systems": systems}


def _system(name: str, cases: Sequence[Case]) -> tuple[dict[str, Any], list[str]]:
    """Return the stages of a system, and what to say of them.

    How wrong a stage is beyond itself, the one before it tells: the stage itself cannot know.
    """
    top = int(max(map(devices, cases)))
    sizes = [most for most in sorted({max(1, top // 4), max(1, top // 2), top})
             if _between(cases, 0, most)]  # fmt: skip
    stages = {most: _stage(_between(cases, 0, most)) for most in sizes}
    off = {most: _off(stages[most], _between(cases, most, 2 * most)) for most in sizes}
    # Of the first there is none before it: its own errors beyond itself have to do.
    for before, most in zip([sizes[0], *sizes], sizes, strict=False):
        inside = _quantile(_off(stages[most], _between(cases, 0, most)))
        stages[most]["spread"] = {
            "inside": inside,
            "beyond": max(inside, _quantile(off[before])),
        }
    kept = sizes[1:] or sizes
    lines = [_remark(name, most, stages[most], cases) for most in kept]
    return {str(most): stages[most] for most in kept}, lines


def _between(cases: Sequence[Case], low: float, high: float) -> list[Case]:
    return [case for case in cases if low < devices(case) <= high]


def _stage(cases: Sequence[Case]) -> dict[str, Any]:
    runs = runs_of(cases)
    return {**fit_numbers(runs), "baselines": fit_baselines(runs)}


def _off(stage: Mapping[str, Any], cases: Sequence[Case]) -> FloatArray:
    """Return the logarithms of predicted over measured times (n,), of known applications."""
    known = [case for case in cases if case.text("workload") in stage["app"]]
    return np.log(predicted_s(stage, known) / [case.measured for case in known])


def predicted_s(stage: Mapping[str, Any], cases: Sequence[Case]) -> FloatArray:
    """Return the times of steps (n,) that a stage predicts, seconds."""
    if not cases:
        return np.zeros(0)
    runs = runs_of(cases)
    return step_s(numbers_of(stage, runs), runs)


def _quantile(off: FloatArray) -> float:
    return float(np.quantile(np.abs(off), NINE_OF_TEN)) if len(off) else 0.0


def _remark(name: str, most: int, stage: Mapping[str, Any], cases: Sequence[Case]) -> str:
    """Say how wrong a stage is of the runs that it was fitted on, and of those just beyond."""
    text = f"{name}, fitted on up to {most} devices: mean absolute error"
    for low, high in ((0, most), (most, 2 * most)):
        some = _between(cases, low, high)
        if some:
            text += f" {_mean_errors(stage, some)} at {low + 1} to {high},"
    return text.rstrip(",") + "."


def _mean_errors(stage: Mapping[str, Any], cases: Sequence[Case]) -> str:
    """Return the errors of a stage and of Pollux's form, all applications and each, in words."""
    known = [case for case in cases if case.text("workload") in stage["app"]]
    runs = runs_of(known)
    sizes = 100 * np.abs(predicted_s(stage, known) / runs.measured_s - 1)
    other_s = form_s("pollux", stage["baselines"]["pollux"], runs)
    other = 100 * float(np.abs(other_s / runs.measured_s - 1).mean())
    listed = ", ".join(
        f"{app} {sizes[runs.app == index].mean():.1f} %" for index, app in enumerate(runs.apps)
    )
    return f"{sizes.mean():.1f} % ({listed}; Pollux's form refitted {other:.1f} %)"
