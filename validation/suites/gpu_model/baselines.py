"""Predict steps more simply: without what was fitted, or by the datasheet's roofline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hwmodels.roofline import roofline_of_s
from simulator.errors import InputError, UnknownNameError
from validation.cases import Case, scenario_of
from validation.kernel_suite import spec_of
from validation.predict import workload_of
from validation.suite import Answer, Calibration, Predict, Prediction, Skip, find_suite
from validation.suites.gpu_model.convert import SUITE
from validation.suites.gpu_model.steps import predicted_step


def alone(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict what `scalemodel predict` gives, for which no step was fitted."""
    return [_or_skip(predicted_step, case) for case in cases]


def roofline(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict that each op takes the longer of its arithmetic and its data by the datasheet."""
    return [_or_skip(_roofline, case) for case in cases]


def one_share(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict the same share of the roofline's speed that was reached in the fitted cases."""
    ids = set(calibration.get("case_ids", ()))
    fitted = [case for case in find_suite(SUITE).cases() if case.case_id in ids] if ids else []
    pairs = [(case, _or_skip(_roofline, case)) for case in fitted]
    ratios = [case.measured / answer.value for case, answer in pairs
              if isinstance(answer, Prediction)]  # fmt: skip
    if not ratios:
        return [Skip("nothing was fitted")] * len(cases)
    times = float(np.median(ratios))
    return [
        Prediction(answer.value * times) if isinstance(answer, Prediction) else answer
        for answer in roofline(cases, calibration)
    ]


def _or_skip(model: Callable[[Case], Prediction], case: Case) -> Answer:
    try:
        return model(case)
    except (UnknownNameError, InputError) as error:
        return Skip(str(error))


def _roofline(case: Case) -> Prediction:
    workload = workload_of(case.text("workload"), scenario_of(case).under("workload"))
    times = roofline_of_s(workload.graph, spec_of(case.text("on")))
    return Prediction(float(times.sum()))


BASELINES: Mapping[str, Predict] = {
    "scalemodel predict": alone,
    "datasheet roofline": roofline,
    "roofline with one fitted share": one_share,
}
