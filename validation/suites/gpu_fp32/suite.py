"""Suite gpu-fp32: float32 products, convolutions and streaming ops of a framework on GPUs."""

from __future__ import annotations

from collections.abc import Sequence

from validation import kernel_suite
from validation.cases import Case
from validation.kernel_baselines import baselines
from validation.suite import Suite
from validation.suites.gpu_fp32.calibrate import fit
from validation.suites.gpu_fp32.convert import SUITE as NAME
from validation.suites.gpu_fp32.convert import convert

WHOLE = {"linear": "products", "bmm": "products", "conv2d": "convolutions"}
"""Groups of the report by family; the others are streaming ops."""


def groups(case: Case) -> Sequence[str]:
    """Return what a case belongs to: products, its family, its family on its device."""
    family = case.text("workload")
    whole = WHOLE.get(family, "streaming ops")
    return (whole, family, f"{family}, {case.text('on')}")


SUITE = Suite(
    name=NAME,
    summary="float32 calls on GPUs: products, convolutions, elementwise, normalization, softmax",
    predict=kernel_suite.predict,
    baselines=baselines(NAME),
    convert=convert,
    fit=fit,
    groups=groups,
)
