"""Fit one number a benchmark and one for hosts, on the accelerators that are not held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwmodels.devices import find_spec
from validation.cases import Case
from validation.conformal import ratio_interval
from validation.kernel_suite import HELD_OUT
from validation.suite import Calibration
from validation.suites.mlperf_inference.model import cards_w, ideal_per_s, plain


def device_of(case: Case) -> str:
    """Return the catalog's name of a case's accelerator, however the case spells it."""
    return find_spec(case.text("on")).name


def held_out(case: Case) -> bool:
    """Say whether a case is held out: all of an accelerator are, or none; one in `HELD_OUT`.

    The sum of the bytes of the catalog's name decides, where suites of kernels hash a group.
    """
    return sum(device_of(case).encode()) % HELD_OUT == 0


def fit(cases: Sequence[Case]) -> Calibration:
    """Return the numbers, their intervals, and the cases that they were fitted on."""
    chosen = [case for case in cases if not held_out(case)]
    ratios: dict[str, list[float]] = {}
    for name in sorted({device_of(case) for case in chosen}):
        rest = numbers_of([case for case in chosen if device_of(case) != name])
        for case in chosen:
            if device_of(case) == name:
                ratios.setdefault(case.metric, []).append(case.measured / plain(case, rest))
    known = {metric: found for metric, found in ratios.items() if len(found) > 1}
    return {
        "case_ids": sorted(case.case_id for case in chosen),
        "remarks": [
            "Split by accelerator. Systems set to save energy (MaxQ) are predicted as all others: "
            "their power limits are not published. Power is known of few systems; hosts differ by "
            "far more than their accelerators."
        ],
        "numbers": numbers_of(chosen),
        "error_ratio": {metric: list(ratio_interval(found)) for metric, found in known.items()},
    }


def numbers_of(cases: Sequence[Case]) -> dict[str, float]:
    """Return the medians: share of the ideal rate by benchmark, and power of a host, watts."""
    found: dict[str, list[float]] = {}
    for case in cases:
        if case.metric == "power_w":
            found.setdefault("host_w", []).append(case.measured - cards_w(case))
        else:
            share = case.measured / ideal_per_s(case)
            found.setdefault(case.text("workload"), []).append(share)
    return {name: max(float(np.median(each)), 0.0) for name, each in sorted(found.items())}
