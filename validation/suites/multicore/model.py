"""Fit and apply the suite's model: threads in a team, with parameters that curves share.

All curves are fitted at once: a curve with few points leans on its program, its rows and its
device (ridge regression towards them; a hierarchical model's most likely values). Runs with few
threads count less, as they tell less of many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.thread_team import Threading
from simulator.ops import FloatArray, IntArray
from validation.cases import Case
from validation.suites.multicore.convert import FEW_CORES
from validation.suites.multicore.curves import Curves, arrange
from validation.suites.multicore.parameters import (
    PARAMETERS,
    fitted_scale,
    natural_scale,
    slope,
)

ERROR = 0.1
"""Relative error to expect of a fitted point: of the run and of the formula. Chosen, as
`DISTANCE_POWER` and the priors, by predicting curves that took no part in a fit."""
DISTANCE_POWER = 0.8
"""A point of n threads, n up to `FEW_CORES`, weighs (n / FEW_CORES) to this power."""
TEAM = ("sibling_work", "sibling_weight", "barrier_exponent", "socket_factor", "cache_factor")
LEVELS = {"serial_share": "serial", "barrier_s": "barrier"}
Values = Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Shape:
    """Say where each parameter stands in the vector that is fitted.

    Parameters
    ----------
    data : the curves
    at : positions of each parameter, one for each curve, program or device, or one
    size : length of the vector
    """

    data: Curves
    at: Mapping[str, slice]
    size: int

    @classmethod
    def of(cls, data: Curves) -> Shape:
        """Return the shape that curves ask for."""
        counts = {
            "curve": len(data.curves),
            "program": len(data.programs),
            "device": len(data.devices),
            "all": 1,
        }
        at, size = {}, 0
        for name, parameter in PARAMETERS.items():
            at[name] = slice(size, size + counts[parameter.per])
            size = at[name].stop
        return cls(data, at, size)

    def owner(self, name: str) -> IntArray:
        """Return which entry of a parameter each case has, (n,)."""
        data = self.data
        owners = {"curve": data.curve, "program": data.program, "device": data.device}
        return owners.get(PARAMETERS[name].per, np.zeros_like(data.curve))

    def columns(self, name: str) -> IntArray:
        """Return at which position of the vector each case finds a parameter, (n,)."""
        return self.owner(name) + int(self.at[name].start)

    def natural(self, vector: FloatArray) -> dict[str, FloatArray]:
        """Return all parameters in natural units."""
        return {name: natural_scale(name, vector[at]) for name, at in self.at.items()}

    def start(self) -> FloatArray:
        """Return where the fit begins: work from the smallest team, the rest from the priors."""
        vector = np.empty(self.size)
        for name, at in self.at.items():
            vector[at] = fitted_scale(name, PARAMETERS[name].start)
        data = self.data
        guess = np.log(data.time_s) + DISTANCE_POWER * np.log(data.threads)
        for i in range(len(data.curves)):
            vector[self.at["work_s"]][i] = np.median(guess[data.curve == i])
        return vector


@dataclass(frozen=True, slots=True)
class Fitted:
    """Hold what was fitted.

    Parameters
    ----------
    shape : which entry of a parameter is whose
    values : parameters in natural units, by name
    spreads : their standard deviations on the fitted scale ("log": relative), by name
    """

    shape: Shape
    values: Values
    spreads: Values


def times_s(values: Values, shape: Shape) -> FloatArray:
    """Return the time of each case by the model, seconds, (n,).

    Parameters
    ----------
    values : parameters in natural units, by name
    shape : where each case finds its own
    """
    own = {name: value[shape.owner(name)] for name, value in values.items()}
    threading = Threading(**{name: own[name] for name in TEAM})
    result: FloatArray = threading.time_s(
        shape.data.team, own["work_s"], own["serial_share"], own["barrier_s"]
    )
    return result


def slopes(values: Values, shape: Shape) -> FloatArray:
    """Return how the logarithms of the times change with the vector, (n, size)."""
    own = {name: value[shape.owner(name)] for name, value in values.items()}
    threading, team = Threading(**{name: own[name] for name in TEAM}), shape.data.team
    worth = threading.effective_cores(team)
    parallel = own["work_s"] * (1 - own["serial_share"]) / worth
    barrier = own["barrier_s"] * threading.barrier_growth(team)
    serial = own["work_s"] * own["serial_share"]
    weight = team.cores + own["sibling_weight"] * team.siblings
    grown = weight ** own["barrier_exponent"]
    far = own["socket_factor"] ** np.log2(team.sockets) * own["cache_factor"] ** team.split
    rising = own["barrier_s"] * far * grown
    by_name = {
        "work_s": (serial + parallel) / own["work_s"],
        "serial_share": own["work_s"] - parallel / (1 - own["serial_share"]),
        "barrier_s": barrier / own["barrier_s"],
        "sibling_work": -parallel * team.siblings / worth,
        "sibling_weight": rising * own["barrier_exponent"] * team.siblings / weight,
        "barrier_exponent": rising * np.log(weight),
        "socket_factor": barrier * np.log2(team.sockets) / own["socket_factor"],
        "cache_factor": barrier * team.split / own["cache_factor"],
    }
    matrix = np.zeros((len(shape.data.time_s), shape.size))
    total, rows = serial + parallel + barrier, np.arange(len(shape.data.time_s))
    for name, change in by_name.items():
        matrix[rows, shape.columns(name)] = change * slope(name, own[name]) / total
    return matrix


def prior(shape: Shape) -> tuple[FloatArray, FloatArray]:
    """Return the priors as a linear system: matrix @ vector shall be near the right-hand side."""
    rows: list[FloatArray] = []
    right: list[float] = []
    for name, parameter in PARAMETERS.items():
        if parameter.spread is None:
            continue
        for i in range(shape.at[name].start, shape.at[name].stop):
            row = np.zeros(shape.size)
            row[i] = 1.0
            center = float(fitted_scale(name, parameter.start))
            if name in LEVELS:
                row -= _level(shape, name, i - shape.at[name].start)
                center = 0.0
            rows.append(row / parameter.spread)
            right.append(center / parameter.spread)
    return np.array(rows), np.array(right)


def _level(shape: Shape, name: str, curve: int) -> FloatArray:
    """Return the row that gives what a curve's program, rows and device suggest."""
    row, kind = np.zeros(shape.size), LEVELS[name]
    program = shape.data.program_of[curve]
    row[shape.at[f"{kind}_level"].start + program] = 1.0
    row[shape.at[f"{kind}_slope"].start + program] = shape.data.scale[curve]
    if kind == "barrier":
        row[shape.at["barrier_factor"].start + shape.data.device_of[curve]] = 1.0
    return row


def fit_values(cases: Sequence[Case]) -> Fitted:
    """Return the parameters that fit cases best.

    Costs about half a second for a few hundred cases.
    """
    from scipy.optimize import least_squares

    shape = Shape.of(arrange(cases))
    data = shape.data
    weight = np.minimum(data.threads / FEW_CORES, 1) ** DISTANCE_POWER / ERROR
    matrix, right = prior(shape)

    def residuals(vector: FloatArray) -> FloatArray:
        ratio = np.log(times_s(shape.natural(vector), shape) / data.time_s)
        return np.concatenate([ratio * weight, matrix @ vector - right])

    def jacobian(vector: FloatArray) -> FloatArray:
        return np.vstack([slopes(shape.natural(vector), shape) * weight[:, None], matrix])

    # The iterative solver: the dense one is slower, and far slower where cores are shared.
    found = least_squares(
        residuals, shape.start(), jacobian, tr_solver="lsmr", x_scale="jac", ftol=1e-7, xtol=1e-7
    )
    return Fitted(shape, shape.natural(found.x), _spreads(found.jac, shape))


def _spreads(jacobian: FloatArray, shape: Shape) -> dict[str, FloatArray]:
    """Return standard deviations near the best fit (Laplace's approximation)."""
    deviation = np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)))
    return {name: deviation[at] for name, at in shape.at.items()}
