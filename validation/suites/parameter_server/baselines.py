"""Predict more simply: without what is shared, by the most loaded link, or by laws of scaling."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from hwmodels.network.system_cables import cable_of
from hwmodels.system_files import find_system
from simulator.errors import InputError, UnknownNameError
from simulator.fit_laws import FewPointsWarning, fit_law
from validation.cases import Case
from validation.suite import Answer, Calibration, Predict, Prediction, Skip, find_suite
from validation.suites.parameter_server.convert import GCE, MULTIVERSO, MXNET, NULL, SUITE, studies
from validation.suites.parameter_server.mxnet import case_step
from validation.suites.parameter_server.splits import curve_of, is_fitted, is_given, single_of

LEAST_POINTS = 3
"""Points of a curve that a law is fitted to, at least."""
Rule = Callable[[Case, Calibration], "float | None"]
"""From a case and the calibration to its value; None: it says nothing."""


def _by(rule: Rule) -> Predict:
    def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
        return [_answer(rule, case, calibration) for case in cases]

    return predict


def _answer(rule: Rule, case: Case, calibration: Calibration) -> Answer:
    try:
        found = rule(case, calibration)
    except (UnknownNameError, InputError) as error:
        return Skip(str(error))
    return Skip("this baseline says nothing of it") if found is None else Prediction(found)


def ideal(case: Case, calibration: Calibration) -> float | None:
    """Return what workers do that share nothing, from the value of one."""
    workers = case.number("on.devices")
    if case.group == NULL and case.text("workload.access") == "dense":
        return case.number("workload.bytes") / _link(case)
    if case.group == MULTIVERSO:
        alone = single_of(case, find_suite(SUITE).cases())
        return None if alone is None else alone.measured / workers
    known = _known(case, calibration)
    if known is None:
        return None
    return known if case.group == GCE else workers * known


def bound(case: Case, calibration: Calibration) -> float | None:
    """Return what the most loaded link takes, after what one worker computes.

    A null step takes max(S/B, n S/(P B)); a step of MXNet as long as on one GPU, then 2 S/B over
    the card of a node, of which the share of its own server stays inside.
    """
    if case.group == NULL and case.text("workload.access") == "dense":
        size, rate = case.number("workload.bytes"), _link(case)
        return max(1.0, case.count("on.devices") / case.count("plan.servers")) * size / rate
    known = _known(case, calibration)
    if case.group != MXNET or known is None:
        return None
    step, devices = case_step(case), case.number("on.devices")
    count = max(1.0, devices / float(studies()[case.text("on")]["gpus"]))
    rate = cable_of(find_system(case.text("on")), "network").rate
    moved_s = 2 * step.weight_bytes * (count - 1) / count / rate
    return devices * step.samples / (step.samples / known + moved_s)


def _known(case: Case, calibration: Calibration) -> float | None:
    found = calibration.get("known", {}).get(curve_of(case))
    return None if found is None else float(found)


def _link(case: Case) -> float:
    return float(studies()[case.text("on")]["link_bytes_per_s"])


def _law(name: str) -> Rule:
    """Return a baseline that fits a law to the points of a curve that are given or fitted."""

    def rule(case: Case, calibration: Calibration) -> float | None:
        if case.group != MXNET:
            return None
        curve = [one for one in find_suite(SUITE).cases() if curve_of(one) == curve_of(case)]
        seen = [one for one in curve if is_given(one) or is_fitted(one)]
        if len(seen) < LEAST_POINTS:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FewPointsWarning)
            found = fit_law(name, [one.number("on.devices") for one in seen],
                            [1 / one.measured for one in seen], draws=1)  # fmt: skip
        return float(1 / np.asarray(found.time_s(case.number("on.devices"))))

    return rule


BASELINES: dict[str, Predict] = {
    "n times one worker": _by(ideal),
    "the most loaded link": _by(bound),
    "Ernest's law of one node": _by(_law("ernest")),
    "universal scalability law of one node": _by(_law("usl")),
}
