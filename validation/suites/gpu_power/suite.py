"""Suite gpu-power: power and energy of training epochs under power limits, power of kernels."""

from __future__ import annotations

from collections.abc import Sequence

from validation.cases import Case
from validation.suite import Suite
from validation.suites.gpu_power.baselines import BASELINES
from validation.suites.gpu_power.calibrate import fit
from validation.suites.gpu_power.convert import EPOCHS, convert
from validation.suites.gpu_power.convert import SUITE as NAME
from validation.suites.gpu_power.forecast import predict

METRICS = {"power_w": "mean power", "energy_j": "energy"}


def groups(case: Case) -> Sequence[str]:
    """Return what was measured, and that with the device, or the kernel, of a case."""
    what = f"{METRICS.get(case.metric, case.metric)}, {case.group}"
    whose = case.text("on") if case.group == EPOCHS else case.text("workload")
    return (what, f"{what}, {whose}")


SUITE = Suite(
    name=NAME,
    summary="mean power and energy of training epochs under power limits; power of kernels",
    predict=predict,
    baselines=BASELINES,
    convert=convert,
    fit=fit,
    groups=groups,
)
