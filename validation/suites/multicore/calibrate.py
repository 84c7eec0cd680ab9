"""Fit the suite's calibration, and try it on curves and devices that took no part in a fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from simulator.ops import FloatArray
from validation.cases import Case
from validation.compare import errors
from validation.conformal import cross_ratios, group_factor
from validation.suite import Calibration, Prediction
from validation.suites.multicore.convert import MORE, ONE_SOCKET, team_of
from validation.suites.multicore.curves import Curve, curve_of, few_cores
from validation.suites.multicore.forecast import predict, reach, time_s
from validation.suites.multicore.model import Values, fit_values
from validation.suites.multicore.parameters import PARAMETERS
from validation.suites.multicore.remarks import remarks
from validation.suites.multicore.splits import folds, held_out, held_out_plainly, without

PARTITIONS = ("first", "second")
"""Ways to deal the curves to five parts; the calibration is tried on each part in turn."""
SHOWN = ("n", "median_ape_pct", "mape_pct", "coverage_90_pct")
Judged = Sequence[tuple[Case, Prediction]]


def fit(cases: Sequence[Case]) -> Calibration:
    """Return the calibration from cases; the larger counts of held-out curves take no part.

    Costs a fit for each curve with larger counts, for this and for each other split: two minutes.
    """
    chosen = without(cases, held_out(cases))
    tables = fit_with_interval(chosen)
    tables["left_out"]["device"] = figures(left_out(chosen, _device))
    others = [part for salt in PARTITIONS for part in folds(cases, salt)]
    tables["other_splits"] = _side_by_side([try_split(cases, split) for split in others])
    tables["plain_split"] = try_split(cases, held_out_plainly(cases))
    return {
        "case_ids": sorted(case.case_id for case in chosen),
        "remarks": remarks(tables),
        **tables,
    }


def fit_with_interval(cases: Sequence[Case]) -> dict[str, Any]:
    """Return the parameters that fit cases best, and the factors of the 90 % interval.

    The one of larger counts comes from curves left out, the one of few cores from points that were
    fitted: they are there to be seen, not to be predicted.
    """
    tables = fit_tables(cases)
    far = left_out(cases, _name)
    ratios = [(case.measured / answer.value) ** (1 / reach(case)) for case, answer in far]
    near = [case for case in cases if few_cores(case)]
    inside = [case.measured / time_s(case, curve_of(case), tables) for case in near]
    tables["interval"] = {
        "near": group_factor(ratios, [_name(case) for case, _ in far]),
        "few": group_factor(inside, [_name(case) for case in near]),
    }
    tables["left_out"] = {"curve": figures(far)}
    return tables


def fit_tables(cases: Sequence[Case]) -> dict[str, Any]:
    """Return the parameters that fit cases best, as tables by curve, program and device."""
    fitted = fit_values(cases)
    data = fitted.shape.data
    owners = {
        "curve": [curve.name for curve in data.curves],
        "program": data.programs,
        "device": data.devices,
    }
    tables = _tables(fitted.values, owners) | {"spread": _tables(fitted.spreads, owners)}
    for name, points in _points(cases).items():
        tables["curve"][name] |= points
    return tables


def _tables(values: Values, owners: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    tables: dict[str, Any] = {"all": _entry(values, "all", 0)}
    for per, names in owners.items():
        tables[per] = {name: _entry(values, per, i) for i, name in enumerate(names)}
    return tables


def _entry(values: Mapping[str, FloatArray], per: str, i: int) -> dict[str, Any]:
    mine = [name for name, parameter in PARAMETERS.items() if parameter.per == per]
    return {name: float(values[name][i]) for name in mine}


def _points(cases: Sequence[Case]) -> dict[str, dict[str, list[float]]]:
    """Return for each curve what was measured with few cores of one socket."""
    found: dict[str, dict[str, list[float]]] = {}
    for case in sorted(filter(few_cores, cases), key=lambda case: case.number("plan.threads")):
        team = team_of(case)
        if team.sockets == 1 and not team.siblings:
            points = found.setdefault(_name(case), {"p": [], "time_s": []})
            points["p"].append(case.number("plan.threads"))
            points["time_s"].append(case.measured)
    return found


def _name(case: Case) -> str:
    return curve_of(case).name


def _device(case: Case) -> str:
    return curve_of(case).device


def left_out(cases: Sequence[Case], group: Callable[[Case], str]) -> Judged:
    """Return the larger counts, each predicted by a fit without those of its group."""
    few = [case for case in cases if few_cores(case)]
    large = [case for case in cases if not few_cores(case)]
    values = cross_ratios(
        large,
        [group(case) for case in large],
        fit=lambda rest: fit_tables([*few, *rest]),
        ratio=lambda case, tables: time_s(case, curve_of(case), tables),
    )
    return [(case, Prediction(float(value))) for case, value in zip(large, values, strict=True)]


def try_split(cases: Sequence[Case], kept_out: set[Curve]) -> dict[str, dict[str, Any]]:
    """Return how well the larger counts of some curves are predicted by a fit without them."""
    tables = fit_with_interval(without(cases, kept_out))
    hidden = [case for case in cases if curve_of(case) in kept_out and not few_cores(case)]
    answers = zip(hidden, predict(hidden, tables), strict=True)
    return figures([(case, answer) for case, answer in answers if isinstance(answer, Prediction)])


def figures(judged: Judged) -> dict[str, dict[str, Any]]:
    """Return the errors of larger counts by kind of team, in percent; only of teams there are."""
    found: dict[str, dict[str, Any]] = {}
    for group in (ONE_SOCKET, MORE):
        mine = [(case, answer) for case, answer in judged if case.group == group]
        if mine:
            sizes = errors(mine)
            found[group] = {
                name: round(sizes[name], 1) for name in SHOWN if sizes[name] is not None
            }
    return found


def _side_by_side(splits: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the figures of several splits as lists."""
    return {
        group: {name: [split[group][name] for split in splits if group in split] for name in SHOWN}
        for group in (ONE_SOCKET, MORE)
    }
