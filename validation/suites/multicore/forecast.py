"""Predict cases of the suite from its calibration, with intervals.

The calibration holds parameters by curve, program and device (`parameters.py`), each with its
spread, the measured points of each curve up to `FEW_CORES` on one socket (for the baselines), and
two factors of the 90 % interval: of few cores, and of larger counts *near* `FEW_CORES`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hwmodels.thread_team import Threading
from validation.cases import Case
from validation.suite import Answer, Calibration, Prediction, Skip
from validation.suites.multicore.convert import FEW_CORES, team_of
from validation.suites.multicore.curves import Curve, curve_of, few_cores
from validation.suites.multicore.model import TEAM

UNKNOWN = f"nothing measured of this curve at {FEW_CORES} cores or fewer"
OTHER_METRIC = "the suite predicts times in seconds only"
DISAGREE = "core list and number of threads disagree"


def predict(cases: Sequence[Case], calibration: Calibration) -> list[Answer]:
    """Return a prediction for each case; what cannot be predicted is skipped."""
    return [_answer(case, calibration) for case in cases]


def _answer(case: Case, calibration: Calibration) -> Answer:
    if (case.metric, case.unit) != ("time_s", "s"):
        return Skip(OTHER_METRIC)
    curve = curve_of(case)
    if curve.name not in calibration["curve"]:
        return Skip(UNKNOWN)
    if team_of(case).threads != case.number("plan.threads"):
        return Skip(DISAGREE)
    value = time_s(case, curve, calibration)
    factors = calibration["interval"]
    factor = factors["few"] if few_cores(case) else factors["near"] ** reach(case)
    return Prediction(value, value / factor, value * factor)


def reach(case: Case) -> float:
    """Return by how much errors grow with the distance from what was measured.

    Errors of the logarithm add in squares with each doubling of threads beyond `FEW_CORES`.
    """
    return math.sqrt(1 + math.log2(case.number("plan.threads") / FEW_CORES))


def time_s(case: Case, curve: Curve, calibration: Calibration) -> float:
    """Return the predicted time of a case of a known curve, seconds."""
    shared = {
        **calibration["all"],
        **calibration["program"][curve.program],
        **calibration["device"][curve.device],
    }
    own = calibration["curve"][curve.name]
    threading = Threading(**{name: shared[name] for name in TEAM})
    return float(
        threading.time_s(team_of(case), own["work_s"], own["serial_share"], own["barrier_s"])
    )
