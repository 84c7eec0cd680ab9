"""Suite gpu-model: steps of whole transformers on GPUs, predicted as those of a user are.

On a GPU of which some steps were fitted, that is multiplied by the number that they give
(`splits`), which no prediction of a user has: the first baseline is what a user gets. The number
makes up for what float32 kernels borrow from a relative, in transformers; kernels of a calibration
of one's own, other data types or convolutions would be wrong by it. Intervals are from whole steps,
those of users from kernels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hwmodels.spec import NINETY_PERCENT
from simulator.errors import InputError, UnknownNameError
from validation.cases import Case
from validation.suite import Answer, Calibration, Prediction, Skip, Suite
from validation.suites.gpu_model.baselines import BASELINES
from validation.suites.gpu_model.convert import SUITE as NAME
from validation.suites.gpu_model.convert import convert
from validation.suites.gpu_model.splits import Scales, fit, network_of, scale_of
from validation.suites.gpu_model.steps import predicted_step


def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict steps by the time of all kernels, times the number of their GPU."""
    known, spread = calibration.get("scale", {}), calibration.get("spread", {})
    return [_predicted(case, known, spread) for case in cases]


def _predicted(case: Case, known: Scales, spread: Mapping[str, Any]) -> Answer:
    try:
        plain = predicted_step(case)
        scale, own = scale_of(case, known)
    except (UnknownNameError, InputError) as error:
        return Skip(str(error))
    wide = spread.get("known_gpu" if own else "new_gpu")
    if wide is None:
        return plain
    value, factor = plain.value * scale, math.exp(NINETY_PERCENT * float(wide))
    return Prediction(value, value / factor, value * factor)


def groups(case: Case) -> Sequence[str]:
    """Return the groups of a case: its mode, its GPU, its network, and whether it is fused."""
    fused = ("fused by a compiler",) if "workload.compiled" in case.settings else ()
    return (case.group, case.text("on"), network_of(case), *fused)


SUITE = Suite(
    name=NAME,
    summary="steps of whole transformers on one GPU in float32, inference and training",
    predict=predict,
    baselines=BASELINES,
    convert=convert,
    fit=fit,
    groups=groups,
)
