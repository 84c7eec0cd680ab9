"""Suite scaling: steps of data-parallel training on more devices, fitted on few.

The packaged calibration has two *stages* a system: one that knows half of the devices, by which
the runs with more are predicted, and one that knows up to 16, by which all beyond are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from validation.cases import Case
from validation.suite import Answer, Calibration, Prediction, Skip, Suite
from validation.suites.scaling.baselines import FORMS, LINEAR, baseline
from validation.suites.scaling.convert import SUITE as NAME
from validation.suites.scaling.convert import convert
from validation.suites.scaling.fits import fit, predicted_s
from validation.suites.scaling.stages import UNKNOWN, devices, stage_of

MANY_NODES = 5
"""From so many on, the T4 traces spread devices evenly over 6, 8, 12 or 16 nodes."""


def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict steps by the stage that knows most of the smaller runs."""
    return [_predicted(case, calibration) for case in cases]


def _predicted(case: Case, calibration: Calibration) -> Answer:
    found = stage_of(calibration.get("systems", {}), case)
    if found is None:
        return Skip(UNKNOWN)
    most, stage = found
    value = float(predicted_s(stage, [case])[0])
    doublings = math.log2(devices(case) / most)
    spread = stage["spread"]
    # Errors of the logarithm add in squares with each doubling beyond what was fitted.
    wide = spread["inside"] if doublings <= 0 else spread["beyond"] * max(1, doublings) ** 0.5
    return Prediction(value, value / math.exp(wide), value * math.exp(wide))


def groups(case: Case) -> Sequence[str]:
    """Return the groups of a case: its system, also with its application, and how far it is out."""
    system, count = case.text("on"), devices(case)
    names = [system, f"{system}, {case.text('workload')}"]
    for low, high in ((8, 16), (16, 64)):
        if low < count <= high:
            names.append(f"{system}, {low + 1} to {high} devices")
    if case.number("on.nodes") >= MANY_NODES:
        names.append(f"{system}, {MANY_NODES} nodes and more")
    return names


SUITE = Suite(
    name=NAME,
    summary="steps of data-parallel training by devices and nodes, more predicted from few",
    predict=predict,
    baselines={name: baseline(name) for name in (*LINEAR, *FORMS)},
    convert=convert,
    fit=fit,
    groups=groups,
)
