"""Choose the curves whose larger counts are kept out of every fit, to be predicted.

A rule sees names only, never times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from validation.cases import Case
from validation.suites.multicore.curves import Curve, curve_of, few_cores

FOLDS = 5
"""One of so many parts of each tool's curves is held out."""


def folds(cases: Sequence[Case], salt: str = "") -> list[set[Curve]]:
    """Return the curves with larger counts, dealt tool by tool in the order of their hashes.

    Parameters
    ----------
    cases : of the suite
    salt : any text; another one deals anew
    """
    tools = {curve_of(case): case.text("workload.tool") for case in cases if not few_cores(case)}
    dealt: list[set[Curve]] = [set() for _ in range(FOLDS)]
    order = sorted(tools, key=lambda curve: (tools[curve], _hash(salt + curve.name)))
    for i, curve in enumerate(order):
        dealt[i % FOLDS].add(curve)
    return dealt


def held_out(cases: Sequence[Case]) -> set[Curve]:
    """Return the packaged choice: a fifth of each tool's curves with larger counts."""
    tools = {curve_of(case): case.text("workload.tool") for case in cases if not few_cores(case)}
    chosen: set[Curve] = set()
    for tool in set(tools.values()):
        mine = sorted((curve for curve in tools if tools[curve] == tool), key=_name_hash)
        chosen.update(mine[: round(len(mine) / FOLDS)])
    return chosen


def held_out_plainly(cases: Sequence[Case]) -> set[Curve]:
    """Return the curves with larger counts whose hash is a multiple of five, whatever the tool."""
    curves = {curve_of(case) for case in cases if not few_cores(case)}
    return {curve for curve in curves if int(_name_hash(curve), 16) % FOLDS == 0}


def without(cases: Sequence[Case], kept_out: set[Curve]) -> list[Case]:
    """Return the cases that may be fitted: not the larger counts of curves kept out."""
    return [case for case in cases if few_cores(case) or curve_of(case) not in kept_out]


def _name_hash(curve: Curve) -> str:
    return _hash(curve.name)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
