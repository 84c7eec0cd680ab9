"""Predict the suite's cases by laws of one curve alone: what the model must beat.

A law sees the points of its curve up to 12 threads on one socket, and the number of threads only.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from simulator.fit_laws import FewPointsWarning, LawFit, fit_law
from validation.cases import Case
from validation.suite import Answer, Calibration, Predict, Prediction, Skip
from validation.suites.multicore.curves import curve_of
from validation.suites.multicore.forecast import UNKNOWN


def ideal(cases: Sequence[Case], calibration: Calibration) -> list[Answer]:
    """Predict that p threads are p / q times as fast as the fewest measured, q."""
    return [_ideal(case, _points(case, calibration)) for case in cases]


def _ideal(case: Case, points: Mapping[str, Any] | None) -> Answer:
    if not points:
        return Skip(UNKNOWN)
    return Prediction(points["time_s"][0] * points["p"][0] / case.number("plan.threads"))


def law(name: str) -> Predict:
    """Return the baseline that fits a law of `simulator.fit_laws` to each curve alone."""

    def baseline(cases: Sequence[Case], calibration: Calibration) -> list[Answer]:
        fits = {
            curve: _fit(name, entry)
            for curve, entry in calibration["curve"].items()
            if len(set(entry.get("p", ()))) > 1
        }
        return [_law(case, fits.get(curve_of(case).name)) for case in cases]

    return baseline


def _fit(name: str, points: Mapping[str, Any]) -> LawFit:
    with warnings.catch_warnings():
        # A baseline takes what there is: that it is little is why it is a baseline.
        warnings.simplefilter("ignore", FewPointsWarning)
        return fit_law(name, points["p"], points["time_s"], draws=0)


def _law(case: Case, fit: LawFit | None) -> Answer:
    if fit is None:
        return Skip("fewer than two counts measured on one socket without siblings")
    return Prediction(float(fit.time_s(case.number("plan.threads"))))


def _points(case: Case, calibration: Calibration) -> Mapping[str, Any] | None:
    entry: Mapping[str, Any] = calibration["curve"].get(curve_of(case).name, {})
    return entry if entry.get("p") else None
