"""Fit laws of parallel speed to measured times, and say how far to trust them.

A *point* is one measured run: `p` processors and its `time_s`; several points may share a p.
A *law* is a sum of terms in p with coefficients of at least zero, fitted by non-negative least
squares on relative errors: one optimum, no starting values. Amdahl's law, the Universal
Scalability Law and the Ernest form all have this shape.

The *intervals* come from a bootstrap: residuals, widened for the parameters they were fitted
with, are drawn anew around the fitted curve, on a scale that is itself drawn from what so few
points can tell of it; each draw is fitted again.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simulator.errors import FileError, InputError, UnknownNameError
from simulator.formula import Numbers, Result, numbers, plain
from simulator.ops import FloatArray

LOWEST = {"p": 1.0, "time_s": 1e-100}
LARGEST = 1e100
"""Squares of what is smaller or larger leave the range of floats."""

MOST_LOG_ERROR = 100.0
"""Few points now and then draw a wild error; a factor of exp(100) is as good as any above it."""

FEWEST_DISTINCT_P = 4
"""With fewer distinct p a law fits almost anything; the fit warns."""


class FewPointsWarning(UserWarning):
    """Say that a law was fitted to too few distinct p to be trusted elsewhere."""


class Interval(NamedTuple):
    """Hold the lowest and the highest value that agree with the points."""

    low: float
    high: float


class Prediction(NamedTuple):
    """Hold a predicted time and the interval a new measurement falls into; None is unknown."""

    value: Result
    low: Result | None
    high: Result | None


class Points(NamedTuple):
    """Hold measured points: processors and seconds, one entry a run."""

    p: FloatArray
    time_s: FloatArray


@dataclass(frozen=True, slots=True)
class Law:
    """State a law as a sum of terms and read its parameters off the coefficients.

    Attributes
    ----------
    name, formula : what people call it and how they write it
    terms : p -> [point, term], the terms in the order in which points can tell them apart
    parameters : coefficients [..., term] -> parameter by name
    """

    name: str
    formula: str
    terms: Callable[[FloatArray], FloatArray]
    parameters: Callable[[FloatArray], dict[str, FloatArray]]


def _share(part: FloatArray, whole: FloatArray) -> FloatArray:
    return part / np.maximum(whole, np.maximum(part / LARGEST, np.finfo(float).tiny))


def _amdahl_terms(p: FloatArray) -> FloatArray:
    return np.stack([1 / p, np.ones_like(p)], axis=-1)


def _amdahl_parameters(c: FloatArray) -> dict[str, FloatArray]:
    time_1 = c[..., 0] + c[..., 1]
    return {"time_1_s": time_1, "serial_fraction": _share(c[..., 1], time_1)}


def _usl_terms(p: FloatArray) -> FloatArray:
    return np.stack([1 / p, np.ones_like(p), p - 1], axis=-1)


def _usl_parameters(c: FloatArray) -> dict[str, FloatArray]:
    time_1 = c[..., 0] + c[..., 1]
    contention, coherency = _share(c[..., 1], time_1), _share(c[..., 2], time_1)
    return {"time_1_s": time_1, "contention": contention, "coherency": coherency}


def _ernest_terms(p: FloatArray) -> FloatArray:
    return np.stack([1 / p, np.ones_like(p), np.log(p), p], axis=-1)


def _ernest_parameters(c: FloatArray) -> dict[str, FloatArray]:
    names = ("parallel_s", "serial_s", "tree_s", "per_processor_s")
    return {name: c[..., i] for i, name in enumerate(names)}


LAWS: Mapping[str, Law] = {
    law.name: law
    for law in (
        Law("amdahl", "T(p) = T(1) (f + (1 - f)/p)", _amdahl_terms, _amdahl_parameters),
        Law(
            "usl",
            "T(p) = T(1) ((1 - sigma)/p + sigma + kappa (p - 1))",
            _usl_terms,
            _usl_parameters,
        ),
        Law("ernest", "T(p) = a + b/p + c ln p + d p", _ernest_terms, _ernest_parameters),
    )
}
"""The laws by name. Ernest: Venkataraman et al., NSDI 2016, eq. 1, at a fixed data size."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LawFit:
    """Hold a law fitted to points.

    Attributes
    ----------
    law : the fitted law
    points : what it was fitted to
    parameters : fitted value by name; seconds for names in `_s`, else without unit
    intervals : interval by name at `confidence`; None where the points leave no residuals
    residuals : measured over fitted time minus 1, one a point
    confidence : share of cases that the intervals are meant to hold, such as 0.9
    warnings : what the fit warned of
    coefficients : [term], the sum of terms that was fitted, seconds
    draws : [draw, term], coefficients of the bootstrap; empty where nothing can be drawn
    noise : [draw], factors that a new measurement differs by from its curve
    """

    law: Law
    points: Points
    parameters: Mapping[str, float]
    intervals: Mapping[str, Interval | None]
    residuals: FloatArray
    confidence: float
    warnings: tuple[str, ...]
    coefficients: FloatArray = field(repr=False)
    draws: FloatArray = field(repr=False)
    noise: FloatArray = field(repr=False)

    def time_s(self, p: Numbers) -> Result:
        """Return the fitted time on `p` processors, seconds; `p` is one number or many."""
        return plain(self.law.terms(numbers("p", p, 1, LARGEST)) @ self.coefficients)

    def speedup(self, p: Numbers) -> Result:
        """Return the fitted speedup over one processor."""
        return plain(self.time_s(1) / self.time_s(p))

    def predict(self, p: Numbers) -> Prediction:
        """Return the time on `p` processors with the interval of one new measurement there."""
        value = self.time_s(p)
        if not len(self.draws):
            return Prediction(value, None, None)
        curves = self.law.terms(numbers("p", p, 1, LARGEST)) @ self.draws.T
        low, high = _bounds(np.maximum(curves * self.noise, 0), self.confidence)
        return Prediction(value, plain(np.minimum(low, value)), plain(np.maximum(high, value)))

    @property
    def mape_pct(self) -> float:
        """Return the mean absolute error of the fit in percent of the measured times."""
        fitted = self.points.time_s / (1 + self.residuals)
        return float(100 * np.mean(np.abs(fitted / self.points.time_s - 1)))

    def __str__(self) -> str:
        """Return the fit as a few lines for a person."""
        distinct = len(np.unique(self.points.p))
        head = f"{self.law.name}: {self.law.formula}"
        rows = [
            f"  {name:<16} {value:<10.4g} {_interval_text(self.intervals[name], self.confidence)}"
            for name, value in self.parameters.items()
        ]
        tail = f"  fitted to {len(self.points.p)} points at {distinct} distinct p"
        notes = [f"  warning: {text}" for text in self.warnings]
        return "\n".join([head, *rows, f"{tail}; mean error {self.mape_pct:.2g} %", *notes])


def _interval_text(interval: Interval | None, confidence: float) -> str:
    if interval is None:
        return "interval unknown"
    return f"{confidence:.0%} interval {interval.low:.4g} .. {interval.high:.4g}"


def _bounds(values: FloatArray, confidence: float) -> tuple[FloatArray, FloatArray]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=-1)
    return low, high


def fit_amdahl(
    p: Numbers,
    time_s: Numbers,
    *,
    confidence: float = 0.9,
    draws: int = 500,
    seed: int | np.random.Generator = 0,
) -> LawFit:
    """Fit Amdahl's law: parameters `time_1_s` and `serial_fraction`; see `fit_law`.

    >>> fit = fit_amdahl([1, 2, 4, 8], [10.0, 6.0, 4.0, 3.0])
    >>> {name: round(value, 6) for name, value in fit.parameters.items()}
    {'time_1_s': 10.0, 'serial_fraction': 0.2}
    """
    return fit_law("amdahl", p, time_s, confidence=confidence, draws=draws, seed=seed)


def fit_usl(
    p: Numbers,
    time_s: Numbers,
    *,
    confidence: float = 0.9,
    draws: int = 500,
    seed: int | np.random.Generator = 0,
) -> LawFit:
    """Fit the Universal Scalability Law: `time_1_s`, `contention`, `coherency`; see `fit_law`.

    >>> fit = fit_usl([1, 2, 4, 8, 16], [10.0, 6.1, 4.3, 3.7, 4.0])
    >>> {name: round(value, 6) for name, value in fit.parameters.items()}
    {'time_1_s': 10.0, 'contention': 0.2, 'coherency': 0.01}
    """
    return fit_law("usl", p, time_s, confidence=confidence, draws=draws, seed=seed)


def fit_ernest(
    p: Numbers,
    time_s: Numbers,
    *,
    confidence: float = 0.9,
    draws: int = 500,
    seed: int | np.random.Generator = 0,
) -> LawFit:
    """Fit the Ernest form: seconds `parallel_s`, `serial_s`, `tree_s`, `per_processor_s`.

    >>> fit = fit_ernest([1, 2, 4, 8, 16], [11.0, 7.0, 6.5, 9.25, 16.625])
    >>> round(fit.time_s(32), 6)
    32.3125
    """
    return fit_law("ernest", p, time_s, confidence=confidence, draws=draws, seed=seed)


def fit_law(
    law: str,
    p: Numbers,
    time_s: Numbers,
    *,
    confidence: float = 0.9,
    draws: int = 500,
    seed: int | np.random.Generator = 0,
) -> LawFit:
    """Fit a law to measured points by non-negative least squares on relative errors.

    Terms that so few distinct p cannot tell apart stay zero: the Universal Scalability Law at
    two distinct p is Amdahl's law. The fit then warns.

    Parameters
    ----------
    law : a name in `LAWS`
    p : processors of each run, at least 1; repeats are welcome
    time_s : its time, seconds
    confidence : share of cases that the intervals shall hold, above 0 and below 1
    draws : number of bootstrap draws
    seed : seed or generator of the bootstrap

    Warns
    -----
    FewPointsWarning : fewer than `FEWEST_DISTINCT_P` distinct p, or no residuals left to
        judge the spread by

    Raises
    ------
    InputError : times or p that are not finite and positive, of different length, or at fewer
        than two distinct p
    """
    if law not in LAWS:
        raise UnknownNameError("law", law, LAWS)
    points, chosen = _points(p, time_s), LAWS[law]
    share = numbers("confidence", confidence, 0, 1, above=True)
    notes = _notes(chosen, points)
    if notes:
        warnings.warn("; ".join(notes), FewPointsWarning, stacklevel=3)
    coefficients = _coefficients(chosen, points)
    drawn, noise = _bootstrap(chosen, points, coefficients, draws, np.random.default_rng(seed))
    names = chosen.parameters(coefficients)
    return LawFit(
        law=chosen,
        points=points,
        parameters={name: float(value) for name, value in names.items()},
        intervals=_intervals(chosen, coefficients, drawn, float(share)),
        residuals=points.time_s / (chosen.terms(points.p) @ coefficients) - 1,
        confidence=float(share),
        warnings=tuple(notes),
        coefficients=coefficients,
        draws=drawn,
        noise=noise,
    )


def _points(p: Numbers, time_s: Numbers) -> Points:
    counts = np.atleast_1d(_measured("p", p))
    times = np.atleast_1d(_measured("time_s", time_s))
    if counts.shape != times.shape or counts.ndim != 1:
        raise InputError(
            f"time_s: expected one time for each p, got {times.size} times for {counts.size} p"
        )
    distinct = np.unique(counts)
    if len(distinct) < 2:
        got = f"only p = {distinct[0]:g}" if len(distinct) else "no points"
        raise InputError(f"p: expected points at two or more distinct p, got {got}")
    return Points(counts, times)


def _measured(name: str, values: Numbers) -> FloatArray:
    """Return the p or the times of points; what is no time at all is said in simpler words."""
    known = numbers(name, values, low=float(name == "p"), above=name != "p")
    return numbers(name, known, LOWEST[name], LARGEST)


def _width(law: Law, points: Points) -> int:
    """Return how many terms of the law the points can tell apart."""
    return min(len(np.unique(points.p)), int(law.terms(points.p).shape[1]))


def _notes(law: Law, points: Points) -> list[str]:
    distinct, terms = len(np.unique(points.p)), law.terms(points.p).shape[1]
    notes = []
    if distinct < FEWEST_DISTINCT_P:
        notes.append(
            f"only {distinct} distinct p; measure at {FEWEST_DISTINCT_P} or more "
            f"before trusting {law.name} elsewhere"
        )
    if distinct < terms:
        names = list(law.parameters(np.ones(terms)))[distinct:]
        notes.append(f"{distinct} distinct p cannot tell {', '.join(names)}; taken as 0")
    if len(points.p) <= min(distinct, terms):
        notes.append("no more points than parameters: intervals are unknown; repeat some runs")
    return notes


def _coefficients(law: Law, points: Points) -> FloatArray:
    """Return the coefficients that minimise the squared relative errors."""
    from scipy.optimize import nnls

    terms = law.terms(points.p)
    width = _width(law, points)
    scaled = terms[:, :width] / points.time_s[:, None]
    size = np.linalg.norm(scaled, axis=0)
    found, _ = nnls(scaled / size, np.ones(len(scaled)))
    return np.concatenate([found / size, np.zeros(terms.shape[1] - width)])


def _bootstrap(
    law: Law, points: Points, coefficients: FloatArray, draws: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return refitted coefficients [draw, term] and one more error factor a draw.

    Drawing the scale by chi-square gives few points the long tails of Student's t; drawing
    errors as factors keeps every time positive.
    """
    count = len(points.p)
    freedom = count - _width(law, points)
    if freedom < 1 or draws < 1:
        return np.empty((0, len(coefficients))), np.empty(0)
    curve = law.terms(points.p) @ coefficients
    errors = np.log(points.time_s / curve) * np.sqrt(count / freedom)
    errors = np.concatenate([errors, -errors])
    scale = np.sqrt(freedom / rng.chisquare(freedom, size=draws))
    exponents = rng.choice(errors, size=(draws, count + 1)) * scale[:, None]
    drawn = np.exp(np.clip(exponents, -MOST_LOG_ERROR, MOST_LOG_ERROR))
    again = [_coefficients(law, Points(points.p, curve * row)) for row in drawn[:, :count]]
    return np.array(again), drawn[:, count]


def _intervals(
    law: Law, coefficients: FloatArray, drawn: FloatArray, confidence: float
) -> dict[str, Interval | None]:
    fitted = law.parameters(coefficients)
    if not len(drawn):
        return dict.fromkeys(fitted)
    result: dict[str, Interval | None] = {}
    for name, values in law.parameters(drawn).items():
        low, high = _bounds(values, confidence)
        value = float(fitted[name])
        result[name] = Interval(min(float(low), value), max(float(high), value))
    return result


def read_points(path: str | Path) -> Points:
    """Read measured points from a CSV file with columns `p` and `time_s`; others are ignored.

    Parameters
    ----------
    path : the file; its first line names the columns

    Raises
    ------
    FileError : no such file, a column is missing, or a cell is not a positive number; the
        message names line and column
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise FileError(path, error.strerror or str(error)) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(path, f"expected a CSV text file: {error}") from None
    for column in Points._fields:
        if column not in columns:
            got = ", ".join(columns) or "an empty file"
            raise FileError(path, f"expected columns p and time_s, got {got}", column)
        if columns.count(column) > 1:
            raise FileError(path, "two columns have this name", column)
    for line, row in rows:
        if None in row:
            raise FileError(path, f"more cells than the {len(columns)} columns", f"line {line}")
    if not rows:
        raise FileError(path, "expected at least one row below the header")
    return Points(*(_column(path, rows, name) for name in Points._fields))


def _column(path: str | Path, rows: list[tuple[int, dict[str, str]]], name: str) -> FloatArray:
    values = []
    for line, row in rows:
        try:
            values.append(_cell(name, row[name]))
        except InputError as error:
            problem = str(error).partition(": ")[2]
            raise FileError(path, problem, f"line {line}, column {name}") from None
    return np.array(values)


def _cell(name: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        raise InputError(f"{name}: expected a number, got {text or 'nothing'!r}") from None
    return float(_measured(name, value))
