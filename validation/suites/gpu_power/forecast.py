"""Predict power and energy of epochs and kernels, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulator.errors import InputError, UnknownNameError
from simulator.ops import FloatArray
from validation.cases import Case
from validation.suite import Answer, Calibration, Prediction, Skip
from validation.suites.gpu_power.convert import spec_of
from validation.suites.gpu_power.epochs import arrange
from validation.suites.gpu_power.kernels import FAMILIES, Smooth, places
from validation.suites.gpu_power.model import Fitted, ready_of

METRICS = ("power_w", "energy_j")


def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict all cases; a case that cannot be predicted says why."""
    reasons = [_reason(case, calibration) for case in cases]
    answers: dict[int, Answer] = {
        place: Skip(reason) for place, reason in enumerate(reasons) if reason
    }
    for family in (*FAMILIES, None):
        at = [place for place, case in enumerate(cases)
              if not reasons[place] and _family(case) == family]  # fmt: skip
        if at:
            chosen = [cases[place] for place in at]
            found = _kernels(chosen, calibration) if family else _epochs(chosen, calibration)
            answers |= dict(zip(at, found, strict=True))
    return [answers[place] for place in range(len(cases))]


def _family(case: Case) -> str | None:
    name = case.text("workload")
    return name if name in FAMILIES else None


def _reason(case: Case, calibration: Calibration) -> str:
    """Return why a case cannot be predicted; "" where it can."""
    family = _family(case)
    if case.metric not in METRICS:
        return f"no metric is called '{case.metric}'"
    known = calibration.get("kernels", {}).get(family) if family else calibration.get("epochs")
    if known is None:
        return "nothing was fitted"
    try:
        spec_of(case.text("on"))
        if family:
            places([case])
        else:
            ready = ready_of(spec_of(case.text("on")).name)
            _ = arrange([case]).cycles_per_s
    except (InputError, UnknownNameError) as error:
        return str(error)
    if family is None and case.number("on.power.limit_w") <= ready:
        return f"a limit of {case.text('on.power.limit_w')} W is below ready power, {ready:g} W"
    return ""


def _kernels(cases: Sequence[Case], calibration: Calibration) -> list[Answer]:
    tables = calibration["kernels"][cases[0].text("workload")]
    limits = np.array([case.number("on.power.limit_w") for case in cases])
    power = limits * np.exp(Smooth.of_tables(tables)(places(cases)))
    low, high = tables["error_ratio"]
    return [Prediction(value, low * value, high * value) for value in power.tolist()]


def _epochs(cases: Sequence[Case], calibration: Calibration) -> list[Answer]:
    tables = calibration["epochs"]
    fitted = Fitted.of_tables(tables)
    values, new = epochs_by(cases, fitted)
    found: list[Answer] = []
    for case, value, what in zip(cases, values.tolist(), new, strict=True):
        low, high = _ratio(tables["error_ratio"], case.metric, what)
        found.append(Prediction(value, low * value, high * value))
    return found


def epochs_by(cases: Sequence[Case], fitted: Fitted) -> tuple[FloatArray, list[str]]:
    """Return what is predicted of epochs (n,), and what is new in each (of `DIFFERENCES`)."""
    runs = arrange(cases)
    power, energy = fitted.predict(runs)
    both = {"power_w": power[runs.place], "energy_j": energy[runs.place]}
    values = np.array([both[case.metric][place] for place, case in enumerate(cases)])
    new = fitted.new_in(runs)
    return values, [new[place] for place in runs.place]


def _ratio(ratios: Mapping[str, Any], metric: str, new: str) -> tuple[float, float]:
    low, high = ratios[metric][new]
    return low, high
