"""Fit the families of suite gpu-fp32, a fifth of all sizes and one device held out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.convolution import CONV2D
from hwmodels.gpu.family import Parameter
from hwmodels.gpu.fits import SetKey
from hwmodels.spec import FamilyFit
from validation.cases import Case
from validation.fit_gpu import FEWEST_FOR_ALL, Task, fit_family, fit_numbers
from validation.kernel_suite import (
    KernelSet,
    common_fits,
    held_out,
    sets_of,
    sizes_of,
    spec_of,
    transfer_remarks,
)
from validation.suite import Calibration

DATA = "suite gpu-fp32 (NeuSight, PyTorch calls, launch included)"
UNSEEN = ("nvidia-a100-pcie-80gb", ("streaming", "normalization", "softmax"))
"""A device, and families that are not fitted on it: it stands for one that nobody measured."""
LEAST_TILES = (1024.0, 4096.0, 8192.0, 16384.0)
"""Smallest tiles that are tried, elements; steps, so that no derivative leads to them."""
STARTS = {CONV2D.name: 8}
"""Starts of families that need more: where one of three algorithms hides the others, it stays."""


def left_out(case: Case) -> bool:
    """Say whether a case is not fitted: of a held-out group, or of the unseen device."""
    device, families = UNSEEN
    if case.text("workload") in families and spec_of(case.text("on")).name == device:
        return True
    return held_out(case, tuple(f"workload.{name}" for name, _ in sizes_of(case)))


def fit(cases: Sequence[Case]) -> Calibration:
    """Return the fits of all sets, the cases they were fitted on, and remarks."""
    chosen = [case for case in cases if not left_out(case)]
    sets, _ = sets_of(chosen)
    fitted = {one.key: fit_set(one) for one in sets if len(one.time_s) >= FEWEST_FOR_ALL}
    used = [place for one in sets if one.key in fitted for place in one.places]
    fitted.update(common_fits(sets, DATA))
    return {
        "case_ids": sorted(chosen[place].case_id for place in used),
        "remarks": [*remarks(sets, fitted)],
        "fits": fitted,
    }


def remarks(sets: Sequence[KernelSet], fitted: dict[SetKey, FamilyFit]) -> Iterable[str]:
    """Say which device is unseen, and how each does as if it were."""
    device, families = UNSEEN
    yield (f"Nothing of {device} in the families {', '.join(families)} was fitted: its rows there "
           "are predicted from its nearest relative.")  # fmt: skip
    yield from transfer_remarks(sets, fitted)


def fit_set(one: KernelSet) -> FamilyFit:
    """Return the fit of a set, with the smallest tile that explains it best."""
    data = f"{len(one.time_s)} kernels: {DATA}"
    chip = chip_of(spec_of(one.key.device))
    task = Task(family=one.family, chip=chip, dtype=one.key.dtype)
    if "least_tile" in one.family.parameters:
        task = min((with_least_tile(task, least) for least in LEAST_TILES),
                   key=lambda tried: _left_over(tried, one))  # fmt: skip
    task = replace(task, starts=STARTS.get(one.family.name, task.starts))
    return least_relative_error(task, one, fit_family(task, one.timings, data))


def least_relative_error(task: Task, one: KernelSet, fit: FamilyFit) -> FamilyFit:
    """Return the fit with the level whose expected error, relative to what is measured, is least.

    It is the median of measured over predicted, each weighted by its inverse (the (-1)-median of
    Gneiting, "Making and Evaluating Point Forecasts", JASA 2011, section 3.2): the wider errors
    scatter, the lower. Where they scatter little nothing changes.
    """
    predicted = task.family.parts(task.chip, task.dtype, fit, one.sizes).time_s
    ratios = np.sort(one.time_s / predicted)
    weights = np.cumsum(1.0 / ratios)
    level = float(ratios[np.searchsorted(weights, weights[-1] / 2)])
    correction = tuple(round(log + math.log(level), 4) for log in fit.correction)
    low, high = fit.error_ratio or (1.0, 1.0)
    return replace(fit, correction=correction, error_ratio=(low / level, high / level))


def with_least_tile(task: Task, least: float) -> Task:
    """Return the task with the smallest tile in use set (within 1 %)."""
    known = task.family.parameters["least_tile"]
    narrow = Parameter(least * 0.99, least, least * 1.01, known.doc)
    parameters = {**task.family.parameters, "least_tile": narrow}
    return replace(task, family=replace(task.family, parameters=parameters))


def _left_over(task: Task, one: KernelSet) -> float:
    """Return what the form leaves over of the logarithms without correction, on average."""
    numbers, _ = fit_numbers(task, one.timings)
    logs = task.log_time(numbers, one.sizes) - np.log(one.time_s)
    return float(np.abs(logs).mean())
