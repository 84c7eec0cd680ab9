"""Predict training times more simply: by peaks, by a constant, or as FedScale does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from hwmodels.devices import find_spec
from simulator.errors import InputError, UnknownNameError
from validation.cases import Case, scenario_of
from validation.predict import predict as predict_scenario
from validation.suite import Answer, Calibration, Predict, Prediction, Skip, find_suite
from validation.suites.federated.convert import SUITE
from validation.suites.federated.engine import graph_of

FEDSCALE = 3.0
"""Training over inference: SymbioticLab/FedScale@7ec441c2af fedscale/cloud/internal/
client_metadata.py (augmentation_factor)."""
TRAINING = ("workload.training", "workload.optimizer")


def peak_s(case: Case) -> float:
    """Return the time of all arithmetic at the peak of the quick cores, seconds."""
    phone = find_spec(case.text("on"))
    hz = phone.number("clock.all_core_hz") or phone.known("clock.boost_hz")
    peak = phone.known("cores") * hz * phone.known("flops_per_cycle.float32")
    return sum(op.flops for op in graph_of(case)) / peak


def fedscale_s(case: Case) -> float:
    """Return three times the inference of the same batch, as `scalemodel predict` says, seconds."""
    settings = {name: value for name, value in case.settings.items() if name not in TRAINING}
    inference = scenario_of(replace(case, settings=settings))
    return FEDSCALE * predict_scenario(inference).step_time_s


def peak(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict that all arithmetic runs at the peak of the datasheet."""
    return [_or_skip(peak_s, case) for case in cases]


def fedscale(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict three times the inference of the datasheet, as FedScale's clients do."""
    return [_or_skip(fedscale_s, case) for case in cases]


def one_share(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict the share of the peak that the fitted cases reached in the middle."""
    fitted = _fitted(calibration)
    if not fitted:
        return [Skip("nothing was fitted")] * len(cases)
    times = float(np.median([case.measured / peak_s(case) for case in fitted]))
    return [Prediction(times * one.value) if isinstance(one, Prediction) else one
            for one in peak(cases, calibration)]  # fmt: skip


def constant(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict the geometric mean of the fitted cases for all."""
    fitted = _fitted(calibration)
    if not fitted:
        return [Skip("nothing was fitted")] * len(cases)
    mean = float(np.exp(np.mean([np.log(case.measured) for case in fitted])))
    return [Prediction(mean)] * len(cases)


def _fitted(calibration: Calibration) -> Sequence[Case]:
    ids = set(calibration.get("case_ids", ()))
    return [case for case in find_suite(SUITE).cases() if case.case_id in ids] if ids else []


def _or_skip(seconds: Callable[[Case], float], case: Case) -> Answer:
    try:
        return Prediction(seconds(case))
    except (InputError, UnknownNameError) as error:
        return Skip(str(error))


BASELINES: Mapping[str, Predict] = {
    "arithmetic at peak": peak,
    "arithmetic at one fitted share of the peak": one_share,
    "three times inference (FedScale)": fedscale,
    "one time for all": constant,
}
