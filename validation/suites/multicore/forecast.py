"""Predict cases of the suite from its calibration, with intervals, and fit the calibration.

The calibration holds parameters by curve, program and machine (`parameters.py`), the measured
points of each curve up to `FEW_CORES` on one socket (for the baselines), intervals by group, and
how well whole curves and whole machines were predicted that took no part in the fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hwmodels.thread_team import Threading
from simulator.ops import FloatArray
from validation.cases import Case
from validation.conformal import cross_ratios, ratio_interval
from validation.suite import Answer, Calibration, Prediction, Skip
from validation.suites.multicore.convert import FEW, FEW_CORES, MORE, ONE_SOCKET, team_of
from validation.suites.multicore.curves import Curve, curve_of, few_cores
from validation.suites.multicore.model import TEAM, fit_values
from validation.suites.multicore.parameters import PARAMETERS

HELD_OUT_SHARE = 0.2
"""Share of each tool's curves whose larger counts are kept out of every fit, to be predicted."""
UNKNOWN = f"nothing measured of this curve at {FEW_CORES} cores or fewer"


def held_out(cases: Sequence[Case]) -> set[Curve]:
    """Return the curves whose larger counts are kept out: by a hash of the name, not by times."""
    curves = {curve_of(case): case.text("workload.tool") for case in cases if not few_cores(case)}
    chosen: set[Curve] = set()
    for tool in set(curves.values()):
        mine = sorted((curve for curve in curves if curves[curve] == tool), key=_hash)
        chosen.update(mine[: round(HELD_OUT_SHARE * len(mine))])
    return chosen


def _hash(curve: Curve) -> str:
    return hashlib.sha256(curve.name.encode()).hexdigest()


def predict(cases: Sequence[Case], calibration: Calibration) -> list[Answer]:
    """Return a prediction for each case; a case of an unknown curve is skipped."""
    return [_answer(case, calibration) for case in cases]


def _answer(case: Case, calibration: Calibration) -> Answer:
    curve = curve_of(case)
    if curve.name not in calibration["curve"]:
        return Skip(UNKNOWN)
    value = time_s(case, curve, calibration)
    low, high = calibration["interval"][case.group]
    reach = _reach(case)
    return Prediction(value, value * low**reach, value * high**reach)


def _reach(case: Case) -> float:
    """Return by how much errors grow with the distance from what was measured."""
    return float(np.sqrt(1 + max(0.0, np.log2(case.number("plan.threads") / FEW_CORES))))


def time_s(case: Case, curve: Curve, calibration: Calibration) -> float:
    """Return the predicted time of a case of a known curve, seconds."""
    shared = {
        **calibration["all"],
        **calibration["program"][curve.program],
        **calibration["machine"][curve.machine],
    }
    own = calibration["curve"][curve.name]
    threading = Threading(**{name: shared[name] for name in TEAM})
    return float(
        threading.time_s(team_of(case), own["work_s"], own["serial_share"], own["barrier_s"])
    )


def fit(cases: Sequence[Case]) -> Calibration:
    """Return the calibration from cases; the larger counts of held-out curves take no part.

    Costs a fit for each curve and each machine with larger counts: about a minute.
    """
    kept_out = held_out(cases)
    chosen = [case for case in cases if few_cores(case) or curve_of(case) not in kept_out]
    tables = fit_tables(chosen)
    by_curve = _left_out(chosen, curve_of)
    by_machine = _left_out(chosen, lambda case: case.text("on"))
    few = [case for case in chosen if few_cores(case)]
    tables["interval"] = {
        ONE_SOCKET: _interval(by_curve, ONE_SOCKET),
        MORE: _interval(by_curve, MORE),
        FEW: _interval([(case, _ratio(case, tables)) for case in few], FEW),
    }
    tables["left_out"] = {"curve": _figures(by_curve), "machine": _figures(by_machine)}
    return {"case_ids": sorted(case.case_id for case in chosen), **tables}


def fit_tables(cases: Sequence[Case]) -> dict[str, Any]:
    """Return the parameters that fit cases best, as tables by curve, program and machine."""
    values, shape = fit_values(cases)
    data = shape.data
    owners = {
        "curve": [curve.name for curve in data.curves],
        "program": data.programs,
        "machine": data.machines,
    }
    tables: dict[str, Any] = {"all": _entry(values, "all", 0)}
    for per, names in owners.items():
        tables[per] = {name: _entry(values, per, i) for i, name in enumerate(names)}
    for name, points in _points(cases).items():
        tables["curve"][name] |= points
    return tables


def _entry(values: Mapping[str, FloatArray], per: str, i: int) -> dict[str, float]:
    mine = [name for name, parameter in PARAMETERS.items() if parameter.per == per]
    return {name: float(values[name][i]) for name in mine}


def _points(cases: Sequence[Case]) -> dict[str, dict[str, list[float]]]:
    """Return for each curve what was measured with few cores of one socket."""
    found: dict[str, dict[str, list[float]]] = {}
    for case in sorted(filter(few_cores, cases), key=lambda case: case.number("plan.threads")):
        team = team_of(case)
        if team.sockets == 1 and not team.siblings:
            points = found.setdefault(curve_of(case).name, {"p": [], "time_s": []})
            points["p"].append(case.number("plan.threads"))
            points["time_s"].append(case.measured)
    return found


def _ratio(case: Case, tables: Mapping[str, Any]) -> float:
    return case.measured / time_s(case, curve_of(case), tables)


def _left_out(cases: Sequence[Case], group: Callable[[Case], Any]) -> list[tuple[Case, float]]:
    """Return larger counts with measured over predicted, each predicted without its group's."""
    few = [case for case in cases if few_cores(case)]
    large = [case for case in cases if not few_cores(case)]
    ratios = cross_ratios(
        large, [group(case) for case in large], lambda rest: fit_tables([*few, *rest]), _ratio
    )
    return list(zip(large, ratios, strict=True))


def _interval(judged: Sequence[tuple[Case, float]], group: str) -> list[float]:
    """Return the ratios that 90 % of a group lie between, at the reach of 1."""
    scaled = [ratio ** (1 / _reach(case)) for case, ratio in judged if case.group == group]
    return [round(bound, 4) for bound in ratio_interval(scaled)]


def _figures(judged: Sequence[tuple[Case, float]]) -> dict[str, dict[str, float]]:
    figures = {}
    for group in (ONE_SOCKET, MORE):
        sizes = [100 * abs(1 / ratio - 1) for case, ratio in judged if case.group == group]
        if sizes:
            figures[group] = {
                "n": len(sizes),
                "median_ape_pct": round(float(np.median(sizes)), 2),
                "mape_pct": round(float(np.mean(sizes)), 2),
            }
    return figures
