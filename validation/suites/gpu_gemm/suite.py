"""Suite gpu-gemm: bf16 and fp8 products on GPUs, kernels timed alone."""

from __future__ import annotations

from collections.abc import Sequence

from validation import kernel_suite
from validation.cases import Case
from validation.kernel_baselines import baselines
from validation.suite import Calibration, Suite
from validation.suites.gpu_gemm.convert import SUITE as NAME
from validation.suites.gpu_gemm.convert import convert

GROUP = ("workload.n", "workload.k")
"""Products with these sizes in common make a group: whole layers are held out."""


def fit(cases: Sequence[Case]) -> Calibration:
    """Return the fits of all devices, on the groups that are not held out."""
    return kernel_suite.fit(cases, GROUP, "suite gpu-gemm (aiconfigurator 0.12.0, sglang)")


def groups(case: Case) -> Sequence[str]:
    """Return the device, and the device with the dtype, of a case."""
    return (case.text("on"), f"{case.text('on')}, {case.text('workload.dtype')}")


SUITE = Suite(
    name=NAME,
    summary="products of matrices on GPUs, bf16 and fp8, one kernel each",
    predict=kernel_suite.predict,
    baselines=baselines(NAME),
    convert=convert,
    fit=fit,
    groups=groups,
)
