"""Fit the suite, and see how wrong predictions are where something is new.

Intervals are of epochs that took no part in a fit, in four ways: of a limit, a batch, a workload or
a device that was left out. What holds of a case depends on what is new in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hwmodels.gpu.power import known, power_of, sm_cycles_per_s
from simulator.ops import FloatArray
from validation.cases import Case
from validation.conformal import cross_ratios, ratio_interval
from validation.suite import Calibration
from validation.suites.gpu_power.convert import EPOCHS, KERNELS, spec_of
from validation.suites.gpu_power.epochs import arrange
from validation.suites.gpu_power.fit_epochs import fit_runs
from validation.suites.gpu_power.forecast import METRICS, epochs_by
from validation.suites.gpu_power.kernels import (
    FAMILIES,
    Smooth,
    fit_smooth,
    places,
    waits_for_matrix_units,
)
from validation.suites.gpu_power.model import Fitted
from validation.suites.gpu_power.splits import DIFFERENCES, fold, held_out, kernel_fold

BUSY = 0.5
"""Workloads that ask less than this share of the most that any asks do not keep a GPU busy."""
PUBLISHED = ("Six parameters a network, fitted to each GPU: 4.3 % in mean power, 6.3 % in energy; "
             "GPUs that were not measured: 17 to 21 % (best known).")  # fmt: skip


def fit(cases: Sequence[Case]) -> Calibration:
    """Return numbers of epochs and kernels, their intervals, and remarks.

    Costs about twenty fits of epochs: half a minute.
    """
    chosen = [case for case in cases if not held_out(case)]
    epochs = [case for case in chosen if case.group == EPOCHS]
    kernels = [case for case in chosen if case.group == KERNELS]
    fitted = fit_runs(arrange(epochs))
    ratios = {new: _left_out(epochs, new) for new in DIFFERENCES}
    return {
        "case_ids": sorted(case.case_id for case in chosen),
        "remarks": [PUBLISHED, *_remarks(epochs, ratios)],
        "epochs": {**fitted.tables(), "error_ratio": _intervals(epochs, ratios)},
        "kernels": {name: _family(name, kernels) for name in FAMILIES},
        "clock": clock_of(fitted, epochs, kernels),
    }


def _left_out(epochs: Sequence[Case], new: str) -> FloatArray:
    """Return measured over predicted of epochs (n,), each by a fit without its fold."""
    folds = [fold(case, new) for case in epochs]
    ratios = np.empty(len(epochs))
    for one in dict.fromkeys(folds):
        at = [place for place, name in enumerate(folds) if name == one]
        rest = [case for case, name in zip(epochs, folds, strict=True) if name != one]
        hidden = [epochs[place] for place in at]
        values, _ = epochs_by(hidden, fit_runs(arrange(rest)))
        ratios[at] = np.array([case.measured for case in hidden]) / values
    return ratios


def _intervals(
    epochs: Sequence[Case], ratios: Mapping[str, FloatArray]
) -> dict[str, dict[str, list[float]]]:
    """Return the 5 % and 95 % quantiles of measured over predicted, by metric and what is new."""
    metrics = np.array([case.metric for case in epochs])
    return {
        metric: {new: _interval(new, found[metrics == metric]) for new, found in ratios.items()}
        for metric in METRICS
    }


def _interval(new: str, ratios: FloatArray) -> list[float]:
    """Return the interval of ratios; for a new device the same both ways.

    Of two devices that predict each other, one errs upwards where the other errs downwards.
    """
    low, high = ratio_interval(ratios)
    if new == "device":
        high = max(high, 1 / low)
        low = 1 / high
    return [low, high]


def _remarks(epochs: Sequence[Case], ratios: Mapping[str, FloatArray]) -> Iterable[str]:
    metrics = np.array([case.metric for case in epochs])
    for new, found in ratios.items():
        power, energy = (100 * np.abs(1 / found[metrics == metric] - 1) for metric in METRICS)
        yield (f"Epochs with another {new} than any that was fitted: MAPE {power.mean():.1f} % "
               f"(median {np.median(power):.1f} %) in mean power, {energy.mean():.1f} % "
               f"({np.median(energy):.1f} %) in energy.")  # fmt: skip
    for device in sorted({case.text("on") for case in epochs}):
        at = [place for place, case in enumerate(epochs)
              if case.text("on") == device and case.metric == "power_w"]  # fmt: skip
        errors = 100 * np.abs(1 / ratios["device"][at] - 1)
        yield (
            f"{device}, as if known by its datasheet and its ready power only: MAPE "
            f"{errors.mean():.1f} % (median {np.median(errors):.1f} %) in mean power."
        )


def _family(name: str, kernels: Sequence[Case]) -> dict[str, Any]:
    """Return the process of a family of kernels, and the interval of its errors."""
    cases = [case for case in kernels if case.text("workload") == name]
    at, shares = places(cases), _shares(cases)

    def fitted(chosen: Sequence[int]) -> Smooth:
        return fit_smooth(at[chosen], shares[chosen])

    def ratio(one: int, model: Smooth) -> float:
        return float(shares[one] / np.exp(model(at[one : one + 1])[0]))

    every = range(len(cases))
    ratios = cross_ratios(every, [kernel_fold(case) for case in cases], fitted, ratio)
    return {**fitted(every).tables(), "error_ratio": list(ratio_interval(ratios))}


def _shares(kernels: Sequence[Case]) -> FloatArray:
    """Return measured power over power limit (n,)."""
    return np.array([case.measured / case.number("on.power.limit_w") for case in kernels])


def clock_of(
    fitted: Fitted, epochs: Sequence[Case], kernels: Sequence[Case]
) -> dict[str, float | list[float]]:
    """Return what `hwmodels/catalog/gpu_power.toml` says in its table [clock]."""
    found = fitted.joules_per_cycle()
    busy = [value for value in found if value > BUSY * max(found)]
    numbers = {
        "linear_share": fitted.law.linear_share,
        "still_share": fitted.law.still_share,
        "limit_gain": float(np.mean([*fitted.gain.values()])),
        "vector_j_per_sm_cycle": float(np.median(busy)),
        "matrix_j_per_sm_cycle": _matrix(kernels),
        "sensitivity": float(np.exp(fitted.sensitivity[""])),
    }
    powers = [case for case in epochs if case.metric == "power_w"]
    runs = arrange(powers)
    asked = fitted.load(runs).dynamic_w / runs.cycles_per_s
    clock = {**known()["clock"], **numbers}
    ratios = [_over_catalog(case, clock) for case, joules in zip(powers, asked, strict=True)
              if joules > BUSY * max(found)]  # fmt: skip
    return {**numbers, "error_ratio": list(ratio_interval(np.array(ratios)))}


def _over_catalog(case: Case, clock: Mapping[str, Any]) -> float:
    """Return measured power over that of the device whatever it computes, under the same limit."""
    drawn = power_of(spec_of(case.text("on")), clock).power_w(case.number("on.power.limit_w"))
    assert drawn is not None
    return case.measured / drawn


def _matrix(kernels: Sequence[Case]) -> float:
    """Return what prefills draw that are bound by the matrix units, joules a cycle."""
    drawn = []
    for case in kernels:
        spec = spec_of(case.text("on"))
        if case.text("workload") == "context_attention" and waits_for_matrix_units(case):
            ready = power_of(spec).ready_w or 0.0
            drawn.append((case.measured - ready) / sm_cycles_per_s(spec))
    return float(np.median(drawn))
