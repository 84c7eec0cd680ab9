"""Predict single kernels more simply: rooflines of two kinds, and boosted trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hwmodels.gpu.chip import chip_of
from hwmodels.roofline import kernel_bounds_s
from validation.kernel_suite import KernelSet, KeyOf, key_of, sets_of, spec_of
from validation.suite import Answer, Calibration, Predict, Prediction, Skip, find_suite

if TYPE_CHECKING:
    from simulator.ops import FloatArray
    from validation.cases import Case

Rule = Callable[[KernelSet, KernelSet | None], "FloatArray | None"]
"""From the kernels of a set, and those of it that were fitted, to times."""


def baseline(rule: Rule, suite: str, key: KeyOf = key_of) -> Predict:
    """Return a baseline that sees the same packaged rows as the model.

    Parameters
    ----------
    rule : how it predicts a set
    suite : whose packaged cases they are
    key : the set of a case
    """

    def run(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
        ids = set(calibration.get("case_ids", ()))
        packaged = find_suite(suite).cases() if ids else ()
        known, _ = sets_of([case for case in packaged if case.case_id in ids], key)
        fitted = {one.key: one for one in known}
        sets, skipped = sets_of(cases, key)
        answers: dict[int, Answer] = dict(skipped)
        for one in sets:
            answers |= _answers(one, rule(one, fitted.get(one.key)))
        return [answers[place] for place in range(len(cases))]

    return run


def _answers(one: KernelSet, times: FloatArray | None) -> dict[int, Answer]:
    if times is None:
        return dict.fromkeys(one.places, Skip("nothing of this device was fitted"))
    return {place: Prediction(time) for place, time in zip(one.places, times.tolist(), strict=True)}


def roofline(one: KernelSet, fitted: KernelSet | None) -> FloatArray:
    """Return times (n,) by peak and bandwidth of the datasheet."""
    compute, memory = _ideal(one)
    longer: FloatArray = np.maximum(compute, memory)
    return longer


def two_efficiencies(one: KernelSet, fitted: KernelSet | None) -> FloatArray | None:
    """Return times (n,) by shares of peak and bandwidth, and a floor, fitted to the set."""
    from scipy.optimize import least_squares

    if fitted is None:
        return None
    measured = np.log(fitted.time_s)

    def times(logs: FloatArray, of: KernelSet) -> FloatArray:
        compute, memory = _ideal(of)
        longer: FloatArray = np.maximum(compute / np.exp(logs[0]), memory / np.exp(logs[1]))
        total: FloatArray = longer + np.exp(logs[2])
        return total

    start = np.log([0.7, 0.7, fitted.time_s.min()])
    found = least_squares(
        lambda logs: np.log(times(logs, fitted)) - measured, start, loss="soft_l1", f_scale=0.1
    )
    return times(found.x, one)


def boosted_trees(one: KernelSet, fitted: KernelSet | None) -> FloatArray | None:
    """Return times (n,) by gradient-boosted trees on the sizes of the set."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    if fitted is None:
        return None
    trees = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.1, random_state=0)
    # On more threads, trees this small mostly wait for one another.
    with threadpool_limits(1):
        trees.fit(_features(fitted), np.log(fitted.time_s))
        times: FloatArray = np.exp(np.asarray(trees.predict(_features(one)), float))
    return times


def _features(one: KernelSet) -> FloatArray:
    flops, nbytes = one.family.amounts(one.key.dtype, one.sizes)
    columns = [*one.sizes.values(), flops, nbytes]
    features: FloatArray = np.log1p(np.column_stack(columns))
    return features


def _ideal(one: KernelSet) -> tuple[FloatArray, FloatArray]:
    """Return the times (n,) of arithmetic and of data by the datasheet, seconds."""
    chip, dtype = chip_of(spec_of(one.key.device)), one.key.dtype
    return kernel_bounds_s(chip, dtype, *one.family.amounts(dtype, one.sizes))


RULES: Mapping[str, Rule] = {
    "datasheet roofline": roofline,
    "roofline with two efficiencies": two_efficiencies,
    "boosted trees": boosted_trees,
}


def baselines(suite: str, key: KeyOf = key_of) -> Mapping[str, Predict]:
    """Return all baselines of a suite of kernels."""
    return {name: baseline(rule, suite, key) for name, rule in RULES.items()}
