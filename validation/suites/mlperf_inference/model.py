"""Predict offline throughput by peak and power of the datasheet, and one fitted number each.

All samples are there, so batches are large and products take nearly all time: the rate goes with
the peak of the dtype. A compiler's kernels keep the matrix units so busy that the card's power sets
the clock: dynamic power goes with the cube of the clock (voltage follows it; Mudge, IEEE Computer
34(4), 2001), so the rate goes with the cube root of the power for each FLOP/s of the peak.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwmodels.gpu.chip import Chip, chip_of
from hwmodels.spec import Spec
from simulator.errors import InputError, UnknownNameError
from validation.cases import Case
from validation.kernel_suite import spec_of
from validation.predict import workload_of
from validation.suite import Answer, Calibration, Prediction, Skip
from validation.suites.mlperf_inference.convert import benchmarks

CUBE = 1.0 / 3.0
REFERENCE = 1e-12
"""Watts for each FLOP/s of the peak at which the fitted number holds."""
NARROW = "int8"
"""Dtype whose peak stands for how much of the card is matrix units."""


def ideal_per_s(case: Case) -> float:
    """Return samples a second of all devices at their peaks, at the clocks that power allows.

    Raises
    ------
    InputError : the device lacks the dtype
    UnknownNameError : no such device or benchmark
    """
    spec = spec_of(case.text("on"))
    chip = chip_of(spec)
    found = _benchmark(case)
    dtype = found.get("dtype_of", {}).get(spec.architecture, found["dtype"])
    peak = chip.peak_flop_per_s(dtype)
    flops = _flops(found["workload"], found.get("sizes", {}))
    return case.number("plan.devices") * peak * power_factor(spec, chip) / flops


def power_factor(spec: Spec, chip: Chip) -> float:
    """Return the clock under load over that at `REFERENCE`; 1 where the power is not known."""
    power_w = spec.number("power.tdp_w")
    peak = chip.peaks.get(NARROW)
    if power_w is None or peak is None:
        return 1.0
    return float((power_w / peak / REFERENCE) ** CUBE)


def _benchmark(case: Case) -> Mapping[str, Any]:
    name = case.text("workload")
    if name not in benchmarks():
        raise UnknownNameError("benchmark", name, benchmarks())
    found: Mapping[str, Any] = benchmarks()[name]
    return found


def _flops(workload: str, sizes: Mapping[str, Any]) -> float:
    """Return the arithmetic of one sample, FLOP."""
    return float(workload_of(workload, {"batch": 1, **sizes}).graph.flops.sum())


def cards_w(case: Case) -> float:
    """Return the power of all devices, watts.

    Raises
    ------
    InputError : it is not known
    """
    spec = spec_of(case.text("on"))
    return case.number("plan.devices") * spec.known("power.tdp_w")


def plain(case: Case, numbers: Mapping[str, float]) -> float:
    """Return what a case is by some numbers: of its benchmark, or of the host's power.

    Raises
    ------
    InputError : something that is needed is not known
    """
    if case.metric == "power_w":
        return cards_w(case) + numbers.get("host_w", 0.0)
    return ideal_per_s(case) * numbers.get(case.text("workload"), 1.0)


def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict throughput and power by the fitted numbers."""
    numbers, ratios = calibration.get("numbers", {}), calibration.get("error_ratio", {})
    return [_answer(case, numbers, ratios.get(case.metric)) for case in cases]


def _answer(
    case: Case, numbers: Mapping[str, float], ratio: Sequence[float] | None
) -> Answer:  # fmt: skip
    try:
        value = plain(case, numbers)
    except (InputError, UnknownNameError) as error:
        return Skip(str(error))
    if ratio is None:
        return Prediction(value)
    return Prediction(value, value * ratio[0], value * ratio[1])
