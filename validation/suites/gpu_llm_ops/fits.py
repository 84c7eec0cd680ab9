"""Fit what the table's kernels have of their own, on the models that are not held out.

Products are those that the model of the GPU knows; one number says how many times as long they
take. What streams is in this table kernels of a serving library, each with its own floor and share
of the memory bandwidth: time = floor + bytes / (share x bandwidth).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hwmodels.gpu.chip import chip_of
from simulator.ops import FloatArray
from validation.cases import Case
from validation.conformal import ratio_interval
from validation.kernel_suite import spec_of
from validation.suite import Calibration
from validation.suites.gpu_llm_ops.model import GROUP, OpFit, kernels_s, op_s, streamed_bytes

PARTS = 3
"""One in so many models is held out."""


def held_out(case: Case) -> bool:
    """Say whether a case is held out: all of a model are, or none."""
    name = case.text(GROUP)
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % PARTS == 0


def fit(cases: Sequence[Case]) -> Calibration:
    """Return the numbers of each op, its interval, and the cases that they were fitted on."""
    chosen = [case for case in cases if not held_out(case)]
    names = sorted({case.text("workload") for case in chosen})
    return {
        "case_ids": sorted(case.case_id for case in chosen),
        "remarks": [
            "Split by model: all rows of a model are fitted or held out. Products come from the "
            "fits of gpu-gemm, times one number an op; the other kernels are a serving library's "
            "own, with two numbers each."
        ],
        "op": {name: _fitted([c for c in chosen if c.text("workload") == name]) for name in names},
    }


def _fitted(cases: Sequence[Case]) -> Mapping[str, Any]:
    """Return the numbers and the interval of one op; the interval by leaving out each model."""
    numbers = numbers_of(cases)
    ratios: list[float] = []
    for name in sorted({case.text(GROUP) for case in cases}):
        inside = [case for case in cases if case.text(GROUP) == name]
        rest = [case for case in cases if case.text(GROUP) != name]
        fitted = numbers_of(rest) if rest else numbers
        ratios += (_measured(inside) / op_s(inside, fitted)).tolist()
    return {**numbers.table(), "error_ratio": list(ratio_interval(ratios))}


def _measured(cases: Sequence[Case]) -> FloatArray:
    return np.array([case.measured for case in cases])


def numbers_of(cases: Sequence[Case]) -> OpFit:
    """Return the numbers of one op that fit its cases best, by logarithms of times."""
    moved = streamed_bytes(cases)
    if not moved.all():
        return OpFit(times=float(np.median(_measured(cases) / kernels_s(cases))))
    return _streaming(cases, moved)


def _streaming(cases: Sequence[Case], moved: FloatArray) -> OpFit:
    from scipy.optimize import least_squares

    measured = np.log(_measured(cases))
    least = np.array([chip_of(spec_of(case.text("on"))).bandwidth_bytes_per_s for case in cases])
    ideal = moved / least

    def errors(logs: FloatArray) -> FloatArray:
        time: FloatArray = np.log(np.exp(logs[0]) + ideal / np.exp(logs[1])) - measured
        return time

    start = [measured.min(), np.log(0.5)]
    found = least_squares(errors, start, loss="soft_l1", f_scale=0.1)
    floor_s, share = np.exp(found.x).tolist()
    return OpFit(floor_s=floor_s, share=share)
