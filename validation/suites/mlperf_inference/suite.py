"""Suite mlperf-inference: offline throughput and power of systems with accelerators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hwmodels.gpu.chip import chip_of
from simulator.errors import InputError, UnknownNameError
from validation.cases import Case
from validation.kernel_suite import spec_of
from validation.suite import Answer, Calibration, Predict, Prediction, Skip, Suite
from validation.suites.mlperf_inference.convert import SUITE as NAME
from validation.suites.mlperf_inference.convert import convert
from validation.suites.mlperf_inference.fits import device_of, fit
from validation.suites.mlperf_inference.model import cards_w, ideal_per_s, power_factor, predict


def groups(case: Case) -> Sequence[str]:
    """Return the groups of a case: its metric, with the benchmark, and its accelerator."""
    economy = ("set to save energy",) if "plan.economy" in case.settings else ()
    return (case.group, f"{case.group}, {case.text('workload')}", device_of(case), *economy)


def _peak(case: Case) -> float:
    spec = spec_of(case.text("on"))
    if case.metric == "power_w":
        return cards_w(case)
    return ideal_per_s(case) / power_factor(spec, chip_of(spec))


def by(rule: Callable[[Case], float]) -> Predict:
    """Return a prediction by a rule without fitted numbers."""

    def run(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
        return [answer(case) for case in cases]

    def answer(case: Case) -> Answer:
        try:
            return Prediction(rule(case))
        except (InputError, UnknownNameError) as error:
            return Skip(str(error))

    return run


BASELINES: Mapping[str, Predict] = {"datasheet peak and power": by(_peak)}
SUITE = Suite(
    name=NAME,
    summary="offline throughput and power of ResNet-50 and BERT on systems with accelerators",
    predict=predict,
    baselines=BASELINES,
    convert=convert,
    fit=fit,
    groups=groups,
)
