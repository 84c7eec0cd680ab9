"""Compare predicted with measured values, beside baselines, split by what was fitted.

An *error* is |predicted - measured| / measured. A case is `calibrated_on` if its case_id stands in
the suite's calibration; all else is `held_out`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.errors import InputError, UnknownNameError
from simulator.version import VERSION
from validation.cases import Case
from validation.suite import Answer, Calibration, Prediction, Skip, Suite

SPLITS = ("held_out", "calibrated_on")
SKIPPED_LIMIT = 0.1
"""A split of which more than this share could not be predicted counts as not met."""


APART = 0.15
"""Variants that differ by less than this share need not be predicted in the right order."""
MOST_VARIANTS = 1000
"""Cases of one workload whose order is judged; their pairs grow with the square."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Be a case with what was predicted for it, by the model and by each baseline."""

    case: Case
    answer: Answer
    baselines: Mapping[str, Answer]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Hold the judged cases of a suite.

    Parameters
    ----------
    suite : name of the suite
    splits : judged cases by split
    groups : the groups of each case_id
    """

    suite: str
    splits: Mapping[str, Sequence[Judged]]
    groups: Mapping[str, Sequence[str]]

    def report(self) -> dict[str, Any]:
        """Return the figures of all splits and the cases, ready for JSON."""
        return {
            "suite": self.suite,
            "version": VERSION,
            "splits": {name: self.figures(rows) for name, rows in self.splits.items() if rows},
            "cases": [_shown(row, split) for split, rows in self.splits.items() for row in rows],
        }

    def figures(self, rows: Sequence[Judged]) -> dict[str, Any]:
        """Return the errors over some judged cases, by group, and of each baseline."""
        by_group: dict[str, list[Judged]] = {}
        for row in rows:
            for group in self.groups[row.case.case_id]:
                by_group.setdefault(group, []).append(row)
        return {
            **_with_skipped([(row.case, row.answer) for row in rows]),
            "repeatability_pct": _repeatability([row.case for row in rows]),
            "groups": {group: _side_by_side(by_group[group]) for group in sorted(by_group)},
            "baselines": _baselines(rows),
        }


def compare(
    suite: Suite, cases: Sequence[Case], calibration: Calibration, split: str | None = None
) -> Comparison:
    """Predict the cases of a suite and judge them.

    Costs one call of the suite's `predict` and one of each baseline.

    Parameters
    ----------
    suite : how to predict
    cases : what was measured
    calibration : as the suite's `fit` made it
    split : one of `SPLITS`; None: both

    Raises
    ------
    InputError : no cases
    UnknownNameError : no such split
    """
    if split is not None and split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    fitted = set(calibration.get("case_ids", ()))
    wanted = [c for c in cases if split in (None, SPLITS[c.case_id in fitted])]
    if not wanted:
        raise InputError(f"suite {suite.name}: no cases to compare" +
                         (f" in split {split}" if split else ""))  # fmt: skip
    answers = suite.predict(wanted, calibration)
    others = {name: run(wanted, calibration) for name, run in suite.baselines.items()}
    splits: dict[str, list[Judged]] = {name: [] for name in SPLITS}
    for i, case in enumerate(wanted):
        baselines = {name: values[i] for name, values in others.items()}
        splits[SPLITS[case.case_id in fitted]].append(Judged(case, answers[i], baselines))
    groups = {case.case_id: tuple(suite.groups(case)) for case in wanted}
    return Comparison(suite.name, splits, groups)


def errors(pairs: Sequence[tuple[Case, Prediction]]) -> dict[str, Any]:
    """Return the figures of predictions: sizes in percent; None where there is no prediction.

    `bias_pct` is the mean of (predicted - measured) / measured; `coverage_90_pct` counts the
    predictions with an interval only; `order_pct` is the share of pairs of cases of one workload
    and metric, measured more than `APART` apart, whose order is predicted right.
    """
    if not pairs:
        names = ("mape", "median_ape", "p90_ape", "worst_ape", "bias", "coverage_90", "order")
        return {"n": 0} | {f"{name}_pct": None for name in names}
    measured = np.array([case.measured for case, _ in pairs])
    predicted = np.array([answer.value for _, answer in pairs])
    signed = 100 * (predicted - measured) / measured
    size = np.abs(signed)
    return {
        "n": len(pairs),
        "mape_pct": float(size.mean()),
        "median_ape_pct": float(np.median(size)),
        "p90_ape_pct": float(np.percentile(size, 90)),
        "worst_ape_pct": float(size.max()),
        "bias_pct": float(signed.mean()),
        "coverage_90_pct": _coverage(pairs),
        "order_pct": _order(pairs),
    }


def _coverage(pairs: Sequence[tuple[Case, Prediction]]) -> float | None:
    inside = [
        answer.low <= case.measured <= answer.high
        for case, answer in pairs
        if answer.low is not None and answer.high is not None
    ]
    return 100 * sum(inside) / len(inside) if inside else None


def _order(pairs: Sequence[tuple[Case, Prediction]]) -> float | None:
    variants: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for case, answer in pairs:
        key = (case.text("workload"), case.metric)
        variants.setdefault(key, []).append((case.measured, answer.value))
    right = total = 0
    for values in variants.values():
        measured, predicted = np.array(values[:MOST_VARIANTS]).T
        apart = np.triu(np.abs(np.log(measured[:, None] / measured)) > np.log1p(APART))
        alike = np.sign(measured[:, None] - measured) == np.sign(predicted[:, None] - predicted)
        right, total = right + int((apart & alike).sum()), total + int(apart.sum())
    return 100 * right / total if total else None


def _with_skipped(pairs: Sequence[tuple[Case, Answer]]) -> dict[str, Any]:
    reasons = Counter(answer.reason for _, answer in pairs if isinstance(answer, Skip))
    kept = [(case, answer) for case, answer in pairs if isinstance(answer, Prediction)]
    figures = errors(kept) | {"skipped": reasons.total()}
    if reasons:
        figures["skipped_reasons"] = dict(reasons.most_common())
        figures["too_many_skipped"] = reasons.total() > SKIPPED_LIMIT * len(pairs)
    return figures


def _side_by_side(rows: Sequence[Judged]) -> dict[str, Any]:
    own = _with_skipped([(row.case, row.answer) for row in rows])
    return own | {"baselines": _baselines(rows)}


def _baselines(rows: Sequence[Judged]) -> dict[str, Any]:
    names = dict.fromkeys(name for row in rows for name in row.baselines)
    return {
        name: _with_skipped([(row.case, row.baselines[name]) for row in rows]) for name in names
    }


def _repeatability(cases: Sequence[Case]) -> float | None:
    spreads = [case.spread for case in cases if case.spread is not None]
    return 100 * float(np.median(spreads)) if spreads else None


def _shown(row: Judged, split: str) -> dict[str, Any]:
    case = row.case
    shown = {"case_id": case.case_id, "split": split, "group": case.group,
             "measured": case.measured, "unit": case.unit}  # fmt: skip
    if isinstance(row.answer, Skip):
        return shown | {"predicted": None, "low": None, "high": None, "skipped": row.answer.reason}
    answer = row.answer
    return shown | {"predicted": answer.value, "low": answer.low, "high": answer.high}
