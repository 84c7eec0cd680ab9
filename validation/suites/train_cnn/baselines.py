"""Predict throughput more simply: from the first point of a curve, or from its smaller ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hwmodels.devices import find_device
from hwmodels.network.system_cables import cable_of
from hwmodels.spec import spec_of
from hwmodels.system_files import find_system
from simulator.errors import InputError, UnknownNameError
from simulator.fit_laws import FewPointsWarning, fit_law
from validation.cases import Case
from validation.suite import Answer, Calibration, Predict, Prediction, Skip, find_suite
from validation.suites.train_cnn.convert import SUITE
from validation.suites.train_cnn.model import EFFICIENCY, absolute, curve_of, setup_of

LEAST_POINTS = 3
"""Points of a curve that a law is fitted to, at least."""
Rule = Callable[[Case, float], "float | None"]
"""From a case and the throughput of one GPU to that of all, 1/s; None: it says nothing."""


def _from_one_gpu(rule: Rule) -> Predict:
    def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
        return [_answer(rule, case, calibration) for case in cases]

    return predict


def _answer(rule: Rule, case: Case, calibration: Calibration) -> Answer:
    known = calibration.get("known", {}).get(curve_of(case).case_id)
    if known is None or case.metric == EFFICIENCY:
        return Skip("no throughput on one GPU is known")
    try:
        found = rule(case, float(known))
    except (UnknownNameError, InputError) as error:
        return Skip(str(error))
    return Skip("too few points") if found is None else Prediction(found)


def ideal(case: Case, known: float) -> float:
    """Return as many times the throughput of one GPU."""
    return case.number("on.devices") * known


def ring(case: Case, known: float) -> float:
    """Return the throughput where a ring all-reduce over the slowest links follows each step."""
    count, step = case.number("on.devices"), setup_of(case).step
    moved = 2 * (count - 1) / count * step.weight_bytes
    return count * step.samples / (step.samples / known + moved / _slowest_bytes_per_s(case))


def _slowest_bytes_per_s(case: Case) -> float:
    system = find_system(case.text("on"))
    if case.number("on.devices") > system.count("node.devices", 1):
        return cable_of(system, "network").rate * system.count("network.nics", 1)
    spec = spec_of(find_device(case.text("on.device") or str(system.text("device"))))
    between = spec.number("link.scaleup_bytes_per_s")
    return between if between is not None else spec.known("link.pcie_bytes_per_s")


def _law(name: str) -> Predict:
    """Return a baseline that fits a law to the points of a curve with fewer GPUs."""

    def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
        curves: dict[str, list[Case]] = {}
        for case in find_suite(SUITE).cases():
            curves.setdefault(curve_of(case).case_id, []).append(case)
        return [_answer(lambda case, _: _fitted(name, case, curves), case, calibration)
                for case in cases]  # fmt: skip

    return predict


def _fitted(law: str, case: Case, curves: Mapping[str, Sequence[Case]]) -> float | None:
    """Return the throughput by the time that a law says an image takes."""
    count = case.number("on.devices")
    smaller = [one for one in curves.get(curve_of(case).case_id, ())
               if one.number("on.devices") < count]  # fmt: skip
    if len(smaller) < LEAST_POINTS:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewPointsWarning)
        found = fit_law(law, [one.number("on.devices") for one in smaller],
                        [1 / one.measured for one in smaller], draws=1)  # fmt: skip
    return float(1 / np.asarray(found.time_s(count)))


BASELINES: Mapping[str, Predict] = {
    "op graph, device and network alone": absolute,
    "n times one GPU": _from_one_gpu(ideal),
    "ring all-reduce after each step": _from_one_gpu(ring),
    "Ernest's law of fewer GPUs": _law("ernest"),
    "universal scalability law of fewer GPUs": _law("usl"),
}
