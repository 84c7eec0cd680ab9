"""Predict the step of a case by the model alone, as `scalemodel predict` does."""

from __future__ import annotations

from simulator.protocols import Calibrated
from simulator.scenario import Scenario, Value
from validation.cases import Case
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
    time_s = float(bound.device.times_s(bound.workload.graph, 1).sum())
    ratio = bound.device.error_ratio if isinstance(bound.device, Calibrated) else None
    if ratio is None:
        return Prediction(time_s)
    return Prediction(time_s, time_s * ratio[0], time_s * ratio[1])


def scenario_of(case: Case) -> Scenario:
    """Return the scenario of a case."""
    dotted = {name: _value(value) for name, value in case.settings.items() if "." in name}
    return Scenario(workload=case.text("workload"), on=case.text("on"), plan=case.text("plan"),
                    parameters=dotted)  # fmt: skip


def _value(value: str | float) -> Value:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    return value == "true" if value in ("true", "false") else value
