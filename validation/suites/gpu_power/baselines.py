"""Predict power and energy more simply: by the limit, by the nearest epoch or kernel, by trees."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from simulator.errors import InputError, UnknownNameError
from simulator.ops import FloatArray
from validation.cases import Case
from validation.suite import Answer, Calibration, Predict, Prediction, Skip, find_suite
from validation.suites.gpu_power.convert import EPOCHS, SUITE, spec_of
from validation.suites.gpu_power.kernels import places

Rule = Callable[[Sequence[Case], Sequence[Case]], "FloatArray | None"]
"""From cases and fitted cases of their kind to power, watts (n,), or energy, joules (n,)."""


def baseline(rule: Rule) -> Predict:
    """Return a baseline that sees the same packaged rows as the model.

    Energy is predicted as power in the time that is known, or apart from power, as the rule says.
    """

    def run(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
        ids = set(calibration.get("case_ids", ()))
        packaged = find_suite(SUITE).cases() if ids else ()
        fitted = [case for case in packaged if case.case_id in ids]
        answers: dict[int, Answer] = {}
        for kind in dict.fromkeys(_kind(case) for case in cases):
            at = [place for place, case in enumerate(cases) if _kind(case) == kind]
            alike = [case for case in fitted if _kind(case) == kind]
            answers |= _answers(rule, [cases[place] for place in at], at, alike)
        return [answers[place] for place in range(len(cases))]

    return run


def _answers(
    rule: Rule, cases: Sequence[Case], at: Sequence[int], fitted: Sequence[Case]
) -> dict[int, Answer]:
    try:
        values = rule(cases, fitted)
    except (InputError, UnknownNameError) as error:
        return dict.fromkeys(at, Skip(str(error)))
    if values is None:
        return dict.fromkeys(at, Skip("nothing of this kind was fitted"))
    return {place: Prediction(value) for place, value in zip(at, values.tolist(), strict=True)}


def _kind(case: Case) -> tuple[str, str]:
    """Return what is predicted together."""
    return (case.metric, "" if case.group == EPOCHS else case.text("workload"))


def limit_share(cases: Sequence[Case], fitted: Sequence[Case]) -> FloatArray | None:
    """Return the limit times the median share of it that fitted cases draw."""
    if not fitted:
        return None
    share = np.median([case.measured / _scale(case) for case in fitted])
    return np.array([share * _scale(case) for case in cases])


def _scale(case: Case) -> float:
    """Return the power limit, or the energy at it in the time that is known."""
    limit = case.number("on.power.limit_w")
    known = case.settings.get("workload.full_power_time_s")
    return limit * known if isinstance(known, float) else limit


def nearest(cases: Sequence[Case], fitted: Sequence[Case]) -> FloatArray | None:
    """Return what the nearest fitted case drew, scaled as `limit_share` does between devices."""
    if not fitted:
        return None
    at, known = _features(cases), _features(fitted)
    found = []
    for row, case in zip(at, cases, strict=True):
        near = int(np.abs(known - row).sum(axis=1).argmin())
        told = fitted[near].measured
        time = case.settings.get("workload.full_power_time_s")
        if isinstance(time, float):
            told *= time / fitted[near].number("workload.full_power_time_s")
        found.append(told)
    return np.array(found)


def boosted_trees(cases: Sequence[Case], fitted: Sequence[Case]) -> FloatArray | None:
    """Return what gradient-boosted trees on the settings say."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    if not fitted:
        return None
    trees = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.06, random_state=0)
    shares = [case.measured / _scale(case) for case in fitted]
    trees.fit(_features(fitted), np.log(shares))
    found = np.exp(np.asarray(trees.predict(_features(cases)), float))
    values: FloatArray = found * [_scale(case) for case in cases]
    return values


def _features(cases: Sequence[Case]) -> FloatArray:
    if cases[0].group != EPOCHS:
        return places(cases)
    return np.array([_epoch(case) for case in cases])


def _epoch(case: Case) -> list[float]:
    """Return an epoch as numbers; far apart where a name differs."""
    spec = spec_of(case.text("on"))
    apart = [float(sum(case.text(name).encode())) for name in ("workload", "workload.dataset")]
    numbers = [case.number("workload.batch"), case.number("on.power.limit_w"),
               spec.known("power.tdp_w"), spec.known("sms")]  # fmt: skip
    return [*apart, *np.log2(numbers).tolist()]


BASELINES = {
    "share of the limit": baseline(limit_share),
    "nearest fitted": baseline(nearest),
    "boosted trees": baseline(boosted_trees),
}
