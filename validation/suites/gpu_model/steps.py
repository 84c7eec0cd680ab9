"""Predict the step of a case by the model alone, as `scalemodel predict` does."""

from __future__ import annotations

from simulator.protocols import Calibrated
from validation.cases import Case, scenario_of
from validation.predict import bind
from validation.suite import Prediction


def predicted_step(case: Case) -> Prediction:
    """Return the time of a step and its interval, seconds.

    Whether it fits the memory is not asked: it has been measured.

    Raises
    ------
    InputError : the case names something that is not known, or a dtype that the device lacks
    """
    bound = bind(scenario_of(case))
    graph = bound.workload.graph
    time_s = float(bound.device.times_s(graph, 1).sum())
    ratio = bound.device.error_ratio(graph) if isinstance(bound.device, Calibrated) else None
    if ratio is None:
        return Prediction(time_s)
    return Prediction(time_s, time_s * ratio[0], time_s * ratio[1])
