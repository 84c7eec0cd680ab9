"""Predict steps by simpler forms, each fitted to every application of a stage alone.

- ideal: start + sample batch, whatever the devices
- ring + constant: that, a constant where there are several, and a ring's share of a time to send
- ernest: a sum of 1, batch, log p and p, none below 0 (Venkataraman et al., NSDI 2016)
- usl: Gunther's law of scalability, times start + sample batch
- pollux: the 7 parameters of Qiao et al. (OSDI 2021): a gradient in start + sample batch, its
  synchronisation in a line of the devices within a node or between nodes, together by a norm

Positive numbers are found by least squares of relative errors where a form is linear, of
logarithms and from several starts where it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from simulator.ops import FloatArray
from validation.cases import Case
from validation.suite import Answer, Calibration, Predict, Prediction, Skip
from validation.suites.scaling.runs import Runs, runs_of
from validation.suites.scaling.stages import UNKNOWN, stage_of

Columns: TypeAlias = Callable[[Runs], FloatArray]
LEAST = 1e-9
"""Numbers of forms that are fitted by logarithms lie above this."""
MOST = 1e3
"""And below this."""
STARTS: tuple[tuple[float, float, float], ...] = (
    (0.1, 0.01, 2.0), (0.5, 0.05, 1.2), (1.0, 0.001, 4.0), (0.02, 0.1, 8.0),
)  # fmt: skip
"""Where Pollux's fit starts: synchronisation and its growth, over the median step; the norm."""
WEAKEST, STRONGEST = 1.0, 10.0
"""Bounds of Pollux's norm."""


def _ideal(runs: Runs) -> FloatArray:
    return np.stack([np.ones_like(runs.batch), runs.batch], axis=1)


def _ring(runs: Runs) -> FloatArray:
    passes = 2 * (runs.devices - 1) / runs.devices
    one = runs.nodes == 1
    several = np.stack([runs.devices > 1, passes * one, passes * ~one], axis=1)
    return np.concatenate([_ideal(runs), several], axis=1)


def _ernest(runs: Runs) -> FloatArray:
    more = np.stack([np.log(runs.devices), runs.devices], axis=1)
    return np.concatenate([_ideal(runs), more], axis=1)


LINEAR: Mapping[str, Columns] = {"ideal": _ideal, "ring + constant": _ring, "ernest": _ernest}
"""Forms that are sums of columns (n, k)."""


def usl_s(numbers: FloatArray, runs: Runs) -> FloatArray:
    """Return the time of steps (n,) by start, sample, contention and coherency, seconds."""
    start, sample, contention, coherency = numbers
    p = runs.devices
    law = 1 + contention * (p - 1) + coherency * p * (p - 1)
    found: FloatArray = (start + sample * runs.batch) * law
    return found


def pollux_s(numbers: FloatArray, runs: Runs) -> FloatArray:
    """Return the time of steps (n,) by Pollux's seven parameters, seconds."""
    start, sample, within, within_more, between, between_more, norm = numbers
    gradient, more = start + sample * runs.batch, np.maximum(runs.devices - 2, 0)
    local = within + within_more * more
    sync = np.where(runs.nodes == 1, local, between + between_more * more) * (runs.devices > 1)
    found: FloatArray = (gradient**norm + sync**norm) ** (1 / norm)
    return found


Form: TypeAlias = Callable[[FloatArray, Runs], FloatArray]
FORMS: Mapping[str, Form] = {"usl": usl_s, "pollux": pollux_s}
"""Forms that are no sums."""


def fit_baselines(runs: Runs) -> dict[str, dict[str, list[float]]]:
    """Return the numbers of each form for each application."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in (*LINEAR, *FORMS)}
    for index, app in enumerate(runs.apps):
        mine = only(runs, runs.app == index)
        for name, columns in LINEAR.items():
            found[name][app] = _by_sum(columns(mine), mine.measured_s)
        for name, form in FORMS.items():
            found[name][app] = _by_logarithms(form, mine, found["ideal"][app])
    return found


def only(runs: Runs, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> Runs:
    """Return some of the runs."""
    return Runs(
        apps=runs.apps,
        **{name: getattr(runs, name)[chosen] for name in Runs.__slots__ if name != "apps"},
    )


def _by_sum(columns: FloatArray, measured_s: FloatArray) -> list[float]:
    from scipy.optimize import nnls

    found, _ = nnls(columns / measured_s[:, None], np.ones(len(measured_s)))
    return [float(one) for one in found]


def _by_logarithms(form: Form, runs: Runs, ideal: Sequence[float]) -> list[float]:
    from scipy.optimize import least_squares

    target = np.log(runs.measured_s)

    def residuals(logs: FloatArray) -> FloatArray:
        return np.log(form(np.exp(logs), runs)) - target

    best: Any = None
    for start in _starts(form, runs, ideal):
        low, high = np.full(len(start), np.log(LEAST)), np.full(len(start), np.log(MOST))
        if form is pollux_s:
            low[-1], high[-1] = np.log(WEAKEST), np.log(STRONGEST)
        begin = np.clip(np.log(start), low + 1e-6, high - 1e-6)
        found = least_squares(residuals, begin, bounds=(low, high), loss="soft_l1", f_scale=0.1)
        best = found if best is None or found.cost < best.cost else best
    return [float(one) for one in np.exp(best.x)]


def _starts(form: Form, runs: Runs, ideal: Sequence[float]) -> list[FloatArray]:
    """Return where a fit begins."""
    median = float(np.median(runs.measured_s))
    compute = [max(ideal[0], 0.05 * median), max(ideal[1], 0.05 * median / runs.batch.max())]
    if form is usl_s:
        return [np.array([*compute, more, more**2]) for more in (0.01, 0.1)]
    return [
        np.array([*compute, *[base * median, base * more * median] * 2, norm])
        for base, more, norm in STARTS
    ]


def form_s(name: str, numbers: Mapping[str, Sequence[float]], runs: Runs) -> FloatArray:
    """Return the time of steps (n,) by a form, whose numbers are given by application, seconds."""
    found = np.zeros(len(runs.app))
    for index, app in enumerate(runs.apps):
        mine = runs.app == index
        values, some = np.array(numbers[app]), only(runs, mine)
        found[mine] = LINEAR[name](some) @ values if name in LINEAR else FORMS[name](values, some)
    return found


def baseline(name: str) -> Predict:
    """Return the prediction by a form."""

    def run(cases: Sequence[Case], calibration: Calibration) -> list[Answer]:
        return [answer(case, calibration) for case in cases]

    def answer(case: Case, calibration: Calibration) -> Answer:
        found = stage_of(calibration.get("systems", {}), case)
        if found is None:
            return Skip(UNKNOWN)
        numbers = found[1]["baselines"][name]
        return Prediction(float(form_s(name, numbers, runs_of([case]))[0]))

    return run
