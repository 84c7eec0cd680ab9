"""Fit the rates of a CPU to timings of kernels.

A *timing* is a graph with a time for each of its ops. The model is that of `hwmodels.cpu_cost`;
each family's numbers are fitted by themselves, by their logarithms, with errors counted by the
logarithm of the time too and outliers bounded. What the timings cannot tell stays near where the
search begins, and has a large spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hwmodels.cpu_cost import (
    CpuRates,
    FamilyRate,
    Level,
    far_shares,
    op_costs,
    traffic_bytes,
)
from hwmodels.cpu_forms import FORMS, Family, features_of
from hwmodels.cpu_traffic import traffic_of
from simulator.errors import InputError
from simulator.ops import PHASES, FloatArray, Graph, IntArray
from validation.spreads import spreads

ENOUGH = 8
"""Timings below which a family is not fitted by itself."""
MOST = 400
"""Timings of a family that are used at most; more of them take time and tell little."""
WEIGHT_S = 3e-5
MOST_WEIGHT, LEAST_WEIGHT = 30.0, 0.1
"""An op counts by the root of its time over `WEIGHT_S`, within bounds: long ones make a step."""
CLOCK_S = 5e-7
"""Added to times before their logarithm is taken: what the clock can tell apart."""
START = {"dispatch": 3e-6, "far": 3e-6, "exposure": 0.7, "half": 8.0}
"""Where the search begins."""
HOLD = 0.03
"""How strongly numbers are held where the search begins, in logarithms against logarithms."""
HOLD_TO_KIND = 0.2
"""The same for a family, which begins at the numbers of its kind."""
SHORT_S = 0.02
"""Steps up to this time tell what the framework takes beyond its kernels."""
STARTS = 2
SCALARS = 5
TEAM_FORM = "conv2d-point"
"""What a team does in a way that one thread seldom takes (see `hwmodels.cpu_forms`)."""


@dataclass(frozen=True, eq=False)
class Timing:
    """Be a graph whose ops were timed.

    Parameters
    ----------
    graph : n ops
    times_s : (n,) seconds
    whole_s : of the whole step with all that the framework does between kernels; None: not known
    threads : that did it
    """

    graph: Graph
    times_s: FloatArray
    whole_s: float | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Hold the timings of one family: what its cost is linear in, and the times."""

    far: FloatArray
    amount: FloatArray
    sizes: FloatArray
    stall: FloatArray
    weight_stall: FloatArray
    fresh: FloatArray
    time: FloatArray

    def at(self, rows: IntArray) -> _Rows:
        return _Rows(*(getattr(self, name)[rows] for name in _Rows.__slots__))


@dataclass(frozen=True, slots=True)
class FittedRates:
    """Hold fitted rates.

    Parameters
    ----------
    rates : what was found
    spreads : standard deviation of the logarithm of each number, by dotted name as in
        `CpuRates.to_table`
    timings : number of timings by family
    """

    rates: CpuRates
    spreads: Mapping[str, float]
    timings: Mapping[str, int]


@dataclass(frozen=True)
class _Table:
    """Hold all timings by family."""

    timings: Sequence[Timing]
    base: CpuRates

    @cached_property
    def rows(self) -> dict[Family, _Rows]:
        """Return the timings of each family."""
        parts: dict[Family, list[_Rows]] = {}
        for timing in self.timings:
            for family, rows in _rows(timing, self.base):
                parts.setdefault(family, []).append(rows)
        return {family: _joined(every) for family, every in parts.items()}


def _rows(timing: Timing, base: CpuRates) -> list[tuple[Family, _Rows]]:
    features, traffic = features_of(timing.graph, timing.threads), traffic_of(timing.graph)
    alone = timing.threads == 1
    one = np.array([level.bandwidth_bytes_per_s for level in base.levels])
    data, weights = traffic_bytes(traffic, base.levels, len(timing.graph))
    every = _Rows(
        far=far_shares(traffic, base.levels),
        amount=features.amount,
        sizes=features.sizes,
        stall=(data / one).sum(axis=1),
        weight_stall=(weights / one).sum(axis=1),
        fresh=traffic.fresh_bytes * base.fault_s_per_byte,
        time=timing.times_s * np.minimum(features.team, timing.threads),
    )
    return [
        (family, every.at(np.flatnonzero(features.family == index)))
        for index, family in enumerate(features.families)
        if alone or family.form == TEAM_FORM
    ]


def _joined(parts: Sequence[_Rows]) -> _Rows:
    return _Rows(*(np.concatenate([getattr(p, name) for p in parts]) for name in _Rows.__slots__))


def fit_rates(
    timings: Sequence[Timing],
    levels: tuple[Level, ...],
    fault_s_per_byte: float = 0.0,
    seed: int = 0,
) -> FittedRates:
    """Return the rates that explain the timings of one thread best.

    Parameters
    ----------
    timings : of one thread; of a team only the convolutions count that the framework does in
        another way on one thread, as if the team shared them evenly
    levels : caches and memory, already known
    fault_s_per_byte : time to map fresh memory, already known
    seed : of which timings are used where a family has very many

    Raises
    ------
    InputError : no timings, or times that are not finite and positive
    """
    _check(timings)
    base = CpuRates(families={}, levels=levels, fault_s_per_byte=fault_s_per_byte)
    rng = np.random.default_rng(seed)
    families: dict[tuple[str, str], FamilyRate] = {}
    deviations: dict[str, float] = {}
    counts: dict[str, int] = {}
    table = _Table(timings, base).rows
    priors: dict[tuple[str, str], FloatArray] = {}
    for (name, dtype), (family, rows) in (*_by_kind(table).items(), *_by_name(table).items()):
        if len(rows.time) < ENOUGH:
            continue
        prior = priors.get((family.form, dtype))
        logs, spread = _fit_family(family, _thinned(rows, rng), prior)
        priors.setdefault((family.form, dtype), logs)
        families[name, dtype] = _family_rate(logs, list(FORMS[family.form].sizes))
        deviations |= {f"family.{name}.{dtype}.{key}": value for key, value in spread.items()}
        counts[f"{name}.{dtype}"] = len(rows.time)
    rates = replace(base, families=families)
    return FittedRates(replace(rates, framework_s=_framework(timings)), deviations, counts)


def _check(timings: Sequence[Timing]) -> None:
    if not timings:
        raise InputError("a calibration needs timings; got none")
    for timing in timings:
        right = np.isfinite(timing.times_s) & (timing.times_s >= 0)
        if not right.all():
            at = int(np.argmin(right))
            raise InputError(f"the time of '{timing.graph[at].label}' must be finite and not "
                             f"negative; got {timing.times_s[at]}")  # fmt: skip


_Groups = dict[tuple[str, str], tuple[Family, _Rows]]


def _by_name(rows: Mapping[Family, _Rows]) -> _Groups:
    return {(family.name, family.dtype): (family, one) for family, one in rows.items()}


def _by_kind(rows: Mapping[Family, _Rows]) -> _Groups:
    """Return for each kind all its timings, or where its forms differ those of the commonest."""
    groups: dict[tuple[str, str], dict[str, list[tuple[Family, _Rows]]]] = {}
    for family, one in rows.items():
        forms = groups.setdefault((family.kind, family.dtype), {})
        forms.setdefault(family.form, []).append((family, one))
    found: _Groups = {}
    for key, forms in groups.items():
        most = max(forms.values(), key=lambda parts: sum(len(one.time) for _, one in parts))
        found[key] = (most[0][0], _joined([one for _, one in most]))
    return found


def _thinned(rows: _Rows, rng: np.random.Generator) -> _Rows:
    """Return no more rows than are useful, long ones rather than short ones."""
    if len(rows.time) <= MOST:
        return rows
    weight = _weight(rows.time)
    return rows.at(rng.choice(len(weight), MOST, replace=False, p=weight / weight.sum()))


def _weight(time: FloatArray) -> FloatArray:
    weight: FloatArray = np.sqrt(np.clip(time / WEIGHT_S, LEAST_WEIGHT, MOST_WEIGHT))
    return weight


def _fit_family(
    family: Family, rows: _Rows, prior: FloatArray | None
) -> tuple[FloatArray, dict[str, float]]:
    """Return the logarithms of a family's numbers, and their spreads by name.

    What the timings do not tell stays near the prior: the numbers of the family's kind.
    """
    from scipy.optimize import least_squares

    names = list(FORMS[family.form].sizes)
    rows = replace(rows, sizes=rows.sizes[:, : len(names)])
    weight, log_time = _weight(rows.time), np.log(rows.time + CLOCK_S)
    start = _start(rows, len(names)) if prior is None else prior
    hold = HOLD if prior is None else HOLD_TO_KIND

    def residuals(logs: FloatArray) -> FloatArray:
        log_model = np.log(_model(logs, rows).sum(axis=1) + CLOCK_S)
        return np.concatenate((weight * (log_model - log_time), hold * (logs - start)))

    def jacobian(logs: FloatArray) -> FloatArray:
        slopes = _slopes(logs, rows, _model(logs, rows))
        return np.vstack((weight[:, None] * slopes, hold * np.eye(len(start))))

    rng = np.random.default_rng(len(rows.time))
    best = None
    for _ in range(STARTS):
        begin = start if best is None else start + rng.normal(0.0, 0.7, len(start))
        found = least_squares(
            residuals, begin, jacobian, loss="soft_l1", f_scale=0.2, max_nfev=100,
            bounds=(start - 12.0, start + 12.0),
        )  # fmt: skip
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    return best.x, _named_spreads(best.jac, best.fun, names)


def _start(rows: _Rows, halves: int) -> FloatArray:
    fastest = float(np.quantile(rows.amount / np.maximum(rows.time, CLOCK_S), 0.9))
    scalars = (START["dispatch"], START["far"], START["exposure"], START["exposure"], fastest)
    return np.log([*scalars, *[START["half"]] * halves])


def _model(logs: FloatArray, rows: _Rows) -> FloatArray:
    """Return the parts of each row's time (n, 6): dispatch twice, stalls, work, mapping."""
    dispatch, far, exposure, weight_exposure, rate = np.exp(logs[:SCALARS])
    shape = np.prod(1.0 + np.exp(logs[SCALARS:]) / rows.sizes, axis=1)
    work = rows.amount / rate * shape
    dispatches = (np.full_like(work, dispatch), far * rows.far)
    stalls = (exposure * rows.stall, weight_exposure * rows.weight_stall)
    return np.stack((*dispatches, *stalls, work, rows.fresh), axis=1)


def _slopes(logs: FloatArray, rows: _Rows, parts: FloatArray) -> FloatArray:
    """Return the derivative of the logarithm of each row's time by each parameter."""
    total = parts.sum(axis=1) + CLOCK_S
    ratio = np.exp(logs[SCALARS:]) / rows.sizes
    work = parts[:, 4:5]
    columns = np.hstack((parts[:, :4], -work, work * ratio / (1.0 + ratio)))
    slopes: FloatArray = columns / total[:, None]
    return slopes


def _family_rate(logs: FloatArray, names: Sequence[str]) -> FamilyRate:
    dispatch, far, exposure, weight_exposure, rate, *halves = np.exp(logs).tolist()
    return FamilyRate(
        rate_per_s=rate,
        half=dict(zip(names, halves, strict=True)),
        dispatch_s=dispatch,
        far_dispatch_s=far,
        exposure=exposure,
        weight_exposure=weight_exposure,
    )


def _named_spreads(
    jacobian: FloatArray, residuals: FloatArray, names: Sequence[str]
) -> dict[str, float]:
    """Return the spread of each number by name; a residual of each number is no measured value."""
    freedom = len(residuals) - 2 * jacobian.shape[1]
    keys = ("dispatch_s", "far_dispatch_s", "exposure", "weight_exposure", "rate_per_s")
    named = (*keys, *(f"half.{name}" for name in names))
    return dict(zip(named, spreads(jacobian, residuals, freedom).tolist(), strict=True))


def _framework(timings: Sequence[Timing]) -> dict[str, float]:
    """Return the time that the framework spends around each op, by phase, seconds.

    It is what the whole step takes beyond its kernels. Kernels are called a little more dearly
    where each is timed, so it may come out as nothing.
    """
    from scipy.optimize import least_squares

    known = [one for one in timings
             if one.whole_s is not None and one.whole_s < SHORT_S and one.threads == 1]  # fmt: skip
    if not known:
        return {}
    counts = np.array([np.bincount(one.graph.phase, minlength=len(PHASES)) for one in known])
    whole = np.array([one.whole_s for one in known], np.float64)
    rest = whole - np.array([one.times_s.sum() for one in known])
    seen = np.flatnonzero(counts.sum(axis=0))

    def residuals(each: FloatArray) -> FloatArray:
        excess: FloatArray = (counts[:, seen] @ (each * 1e-6) - rest) / whole
        return excess

    found = least_squares(residuals, np.ones(len(seen)), loss="soft_l1", f_scale=0.05,
                          bounds=(0.0, 1e3))  # fmt: skip
    return {PHASES[phase]: float(each) * 1e-6 for phase, each in zip(seen, found.x, strict=True)}


def fit_team(fitted: FittedRates, timings: Sequence[Timing], threads: int) -> FittedRates:
    """Return the rates with what a team shares of each family's work, and what a fork costs.

    Parameters
    ----------
    fitted : rates of one thread
    timings : of a team
    threads : in the team, at least 2
    """
    from scipy.optimize import minimize_scalar

    _check(timings)
    rates = fitted.rates
    table = _team_rows(timings, rates, threads)
    forks = np.concatenate(([0.0], np.geomspace(5e-7, 5e-5, 21)))
    costs = [sum(_share(rows, fork)[1] for rows in table.values()) for fork in forks]
    near = int(np.argmin(costs))
    ends = (forks[max(near - 1, 0)], forks[min(near + 1, len(forks) - 1)])
    found = minimize_scalar(
        lambda fork: sum(_share(rows, fork)[1] for rows in table.values()), bounds=ends,
        method="bounded",
    )  # fmt: skip
    fork = float(found.x)
    families = {
        key: replace(rate, parallel=_share(table[key], fork)[0]) if key in table else rate
        for key, rate in rates.families.items()
    }
    return replace(fitted, rates=replace(rates, families=families, fork_s=fork))


def _team_rows(
    timings: Sequence[Timing], rates: CpuRates, threads: int
) -> dict[tuple[str, str], FloatArray]:
    """Return for each family rows of overhead, work of one thread, least time, team and time."""
    parts: dict[tuple[str, str], list[FloatArray]] = {}
    shared = np.array([level.shared_bytes_per_s for level in rates.levels])
    for timing in timings:
        cost = op_costs(timing.graph, rates, threads)
        features = features_of(timing.graph, threads)
        least = (cost.traffic_bytes / shared).sum(axis=1)
        framework = np.array([rates.framework_s.get(phase, 0.0) for phase in PHASES])
        overhead = np.maximum(cost.dispatch_s - framework[timing.graph.phase], 0.0)
        team = np.minimum(cost.team, threads)
        columns = np.stack(
            (overhead, cost.compute_s + cost.stall_s, least, team, timing.times_s), axis=1
        )
        for index, family in enumerate(features.families):
            at = (features.family == index) & (team > 1)
            if at.any():
                parts.setdefault((family.name, family.dtype), []).append(columns[at])
    return {key: np.concatenate(every) for key, every in parts.items() if key in rates.families}


_SHARES = np.linspace(0.0, 1.0, 51)
_HELD_SHARE, _HOLD_SHARE = 0.95, 0.5
"""Where a share of the work is held, and how strongly: few timings of a team tell little of it."""


def _share(rows: FloatArray, fork_s: float) -> tuple[float, float]:
    """Return the share of the work that explains a team's times best, and its cost."""
    overhead, work, least, team, time = rows.T[:, :, None]
    shared = work * (1.0 - _SHARES + _SHARES / team)
    model = overhead + fork_s + np.maximum(shared, least)
    error = np.log(model + CLOCK_S) - np.log(time + CLOCK_S)
    bounded = _weight(time) * (np.sqrt(1.0 + (error / 0.2) ** 2) - 1.0)
    cost = bounded.sum(axis=0) + _HOLD_SHARE * (_SHARES - _HELD_SHARE) ** 2
    best = int(np.argmin(cost))
    return float(_SHARES[best]), float(cost[best])
