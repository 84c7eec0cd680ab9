"""Suite gpu-deepbench: products and convolutions, forward and backward, on GPUs since Maxwell."""

from __future__ import annotations

from collections.abc import Sequence

from validation import kernel_suite
from validation.cases import Case
from validation.kernel_baselines import baselines
from validation.suite import Suite
from validation.suites.gpu_deepbench.calibrate import fit
from validation.suites.gpu_deepbench.convert import SUITE as NAME
from validation.suites.gpu_deepbench.convert import convert


def groups(case: Case) -> Sequence[str]:
    """Return what a case belongs to: its family and dtype, its pass, its device."""
    family = f"{case.text('workload')} in {case.text('workload.dtype')}"
    passes = case.text("workload.pass")
    return (family, *([f"{family}, {passes}"] if passes else []), case.text("on"))


SUITE = Suite(
    name=NAME,
    summary="products and convolutions of training, forward and backward, on GPUs since Maxwell",
    predict=kernel_suite.predict,
    baselines=baselines(NAME),
    convert=convert,
    fit=fit,
    groups=groups,
)
