"""Suite gpu-llm-ops: ops of layers of large language models on GPUs, kernels timed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwmodels.roofline import roofline_of_s
from validation.cases import Case
from validation.kernel_suite import spec_of
from validation.suite import Answer, Calibration, Predict, Prediction, Skip, Suite
from validation.suites.gpu_llm_ops.convert import SUITE as NAME
from validation.suites.gpu_llm_ops.convert import convert
from validation.suites.gpu_llm_ops.fits import fit
from validation.suites.gpu_llm_ops.model import predict
from validation.suites.gpu_llm_ops.ops import graph_of


def groups(case: Case) -> Sequence[str]:
    """Return the op of a case, and whether it is a product."""
    product = graph_of([case]).flops[0] > 0
    return (case.group, "products" if product else "what streams")


def roofline(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict that each op takes the longer of its arithmetic and its data by the datasheet."""
    known = predict(cases, {})
    return [one if isinstance(one, Skip) else _roofline(case)
            for case, one in zip(cases, known, strict=True)]  # fmt: skip


def _roofline(case: Case) -> Prediction:
    return Prediction(float(roofline_of_s(graph_of([case]), spec_of(case.text("on")))[0]))


def unfitted(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict by the model of the GPU without the numbers of this suite."""
    return predict(cases, {})


BASELINES: Mapping[str, Predict] = {
    "datasheet roofline": roofline,
    "without this suite's numbers": unfitted,
}
SUITE = Suite(
    name=NAME,
    summary="ops of layers of large language models on GPUs in float16, kernels timed alone",
    predict=predict,
    baselines=BASELINES,
    convert=convert,
    fit=fit,
    groups=groups,
)
