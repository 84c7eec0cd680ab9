"""Fit a family of GPU kernels to timings: bounded numbers first, then a smooth correction.

Numbers minimise the errors of logarithms (those of a few wild timings count less), from several
starts. What they leave over is taken for a smooth function of the logarithms of the sizes plus
noise: a Gaussian process (Rasmussen and Williams, 2006, section 2.2), whose mean is kept on a grid.
Its length, height and noise are chosen by leaving timings out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hwmodels.spec import FamilyFit
from simulator.errors import InputError
from validation.conformal import ratio_interval
from validation.fit_functions import matern_3_2, soft_l1

if TYPE_CHECKING:
    from hwmodels.gpu.chip import Chip
    from hwmodels.gpu.family import Family, Numbers, Sizes
    from simulator.ops import FloatArray, IntArray

FEWEST = 8
"""Timings below which nothing is fitted."""
FEWEST_FOR_ALL = 60
"""Timings from which on a fit starts from nothing; below, what is known of a relative is moved."""
PRIOR_SPREAD = 0.25
"""Standard deviation of the logarithm by which a number of another device may differ."""
FEW_LENGTH = 5.0
"""Length of the process (in powers of two) that few timings are taken to tell."""
FEW_NOISE = 0.05
"""Noise of few timings; of 20 on devices that are left out, the others are predicted best so."""
STARTS = 3
START_SPREAD = 0.5
"""Standard deviation of the logarithms of numbers that further starts begin with."""
WILD = 0.08
"""Errors of the logarithm beyond this count less (soft_l1)."""
LARGEST_LEFT = 0.5
"""What a number leaves over beyond this is taken for this."""
LENGTHS = (1.0, 2.0, 4.0)
NOISES = (0.05, 0.1, 0.2)
HEIGHT = 0.12
"""Standard deviation of the logarithm that a correction is expected to have."""
FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Hold timings of n kernels of one family and dtype on one chip.

    Parameters
    ----------
    sizes : by name, (n,) each
    time_s : (n,) seconds
    """

    sizes: Sizes
    time_s: FloatArray

    def __len__(self) -> int:
        return len(self.time_s)

    def at(self, chosen: IntArray) -> Timings:
        """Return the chosen timings (indices)."""
        return Timings(sizes={name: size[chosen] for name, size in self.sizes.items()},
                       time_s=self.time_s[chosen])  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Say what is fitted: a family on a chip in a dtype, from what was known before.

    Parameters
    ----------
    family, chip, dtype : of the kernels
    prior : what a few timings change only in part; None: nothing is known
    begin : numbers to begin with, near the best; None: several starts
    starts : how many
    """

    family: Family
    chip: Chip
    dtype: str
    prior: FamilyFit | None = None
    begin: Numbers | None = None
    starts: int = STARTS

    def log_time(self, numbers: Numbers, sizes: Sizes) -> FloatArray:
        """Return the logarithm of the times of the form, correction left out."""
        chip = self.chip.computing_on(self.dtype)
        form = self.family.form(chip, self.dtype, numbers, sizes).time_s
        if self.prior is not None and self.prior.correction:
            return np.log(form) + self.family.correction(self.prior, sizes)
        return np.log(form)


_Fit = Callable[["Task", "Timings"], FamilyFit]


def fit_family(task: Task, timings: Timings, data: str = "", seed: int = 0) -> FamilyFit:
    """Return the numbers of a family, its correction, and the interval of its errors.

    Costs about a second for 600 timings.

    Parameters
    ----------
    task : what to fit
    timings : of it
    data : says where they are from
    seed : of the starts and the folds

    Raises
    ------
    InputError : too few timings
    """
    if len(timings) < FEWEST:
        raise InputError(
            f"{task.family.name} in {task.dtype}: {len(timings)} timings; at least {FEWEST} are "
            f"needed, {FEWEST_FOR_ALL} for a full calibration"
        )
    few = len(timings) < FEWEST_FOR_ALL
    made = _fit_few if few and task.prior is not None else _fit_all
    order = np.random.default_rng(seed).permutation(len(timings))
    fit = made(task, timings)
    near = replace(task, begin=fit.numbers)
    ratios = [_left_out(near, timings, part, made) for part in np.array_split(order, FOLDS)]
    return replace(
        fit,
        error_ratio=ratio_interval(np.concatenate(ratios).tolist()),
        data=data,
        device=task.chip.name,
    )


def fit_common(sets: Sequence[tuple[Task, Timings]], data: str = "") -> FamilyFit:
    """Return the numbers that explain several devices at once, for one that nobody measured.

    Each device counts the same, and numbers that none tells stay where fits begin. There is no
    correction: what a form leaves over is each device's own. So is a level; the interval holds what
    kernels differ by beside it.

    Parameters
    ----------
    sets : timings of one family and dtype on each device
    data : says where they are from
    """
    start = FamilyFit(numbers=sets[0][0].family.start)
    known = [(replace(task, prior=start), timings) for task, timings in sets]
    numbers, spreads = fit_numbers(*known[0], known[1:])
    left = [np.log(timings.time_s) - task.log_time(numbers, timings.sizes)
            for task, timings in known]  # fmt: skip
    ratios = np.exp(np.concatenate([one - np.median(one) for one in left]))
    names = ", ".join(task.chip.name for task, _ in sets)
    return FamilyFit(numbers=numbers, spreads=spreads, device=names, data=data,
                     error_ratio=ratio_interval(ratios.tolist()))  # fmt: skip


def _left_out(task: Task, timings: Timings, part: IntArray, made: _Fit) -> FloatArray:
    """Return measured over predicted of some timings, by a fit without them."""
    rest = np.setdiff1d(np.arange(len(timings)), part)
    fit, hidden = made(task, timings.at(rest)), timings.at(part)
    predicted = task.family.parts(task.chip, task.dtype, fit, hidden.sizes).time_s
    ratios: FloatArray = hidden.time_s / predicted
    return ratios


def _fit_all(task: Task, timings: Timings) -> FamilyFit:
    task = replace(task, prior=None)
    numbers, spreads = fit_numbers(task, timings)
    left = np.log(timings.time_s) - task.log_time(numbers, timings.sizes)
    return FamilyFit(numbers=numbers, spreads=spreads,
                     correction=_correction(task, timings, left))  # fmt: skip


def _fit_few(task: Task, timings: Timings) -> FamilyFit:
    """Return the prior, its numbers and its correction moved as far as the timings ask for."""
    assert task.prior is not None
    numbers, spreads = fit_numbers(task, timings)
    left = np.log(timings.time_s) - task.log_time(numbers, timings.sizes)
    correction = task.prior.correction
    if task.family.axes:
        old = np.array(correction) if correction else 0.0
        moved = old + _mean(task, timings, left, FEW_LENGTH, FEW_NOISE)
        correction = tuple(np.round(moved, 4).tolist())
    return replace(task.prior, numbers=numbers, spreads=spreads, correction=correction)


def fit_numbers(
    task: Task, timings: Timings, others: Sequence[tuple[Task, Timings]] = ()
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the numbers of a family and their spreads, the same for other devices too.

    A prior counts as one more error for each number, that of its logarithm over `PRIOR_SPREAD`.
    """
    from scipy.optimize import least_squares

    sets = [(task, timings), *others]
    mean = sum(len(timings) for _, timings in sets) / len(sets)
    names, prior = tuple(task.family.parameters), task.prior
    bounds = task.family.parameters.values()
    low, high = (np.log([getattr(one, side) for one in bounds]) for side in ("low", "high"))
    known = task.family.start if prior is None else prior.numbers
    centre = np.clip(np.log([known[name] for name in names]), low + 1e-3, high - 1e-3)
    begin = centre if task.begin is None else np.log([task.begin[name] for name in names])
    rng = np.random.default_rng(0)

    def residuals(logs: FloatArray) -> FloatArray:
        numbers = dict(zip(names, np.exp(logs).tolist(), strict=True))
        errors = [math.sqrt(mean / len(timings)) * WILD * soft_l1(
                      (task.log_time(numbers, timings.sizes) - np.log(timings.time_s)) / WILD)
                  for task, timings in sets]  # fmt: skip
        told = [] if prior is None else (logs - centre) / PRIOR_SPREAD * WILD
        return np.concatenate([*errors, told])

    best = None
    for start in range(task.starts if task.begin is None else 1):
        shift = rng.normal(0.0, START_SPREAD, len(names)) if start else 0.0
        inside = np.clip(begin + shift, low + 1e-3, high - 1e-3)
        found = least_squares(residuals, inside, bounds=(low, high), diff_step=1e-3)
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    spreads = _spreads(best.jac, best.fun)
    fitted = dict(zip(names, np.exp(best.x).tolist(), strict=True))
    return fitted, dict(zip(names, spreads.tolist(), strict=True))


def _spreads(jacobian: FloatArray, residuals: FloatArray) -> FloatArray:
    """Return the standard deviation of each logarithm; 1 for one that the timings do not tell."""
    freedom = max(len(residuals) - jacobian.shape[1], 1)
    scale = float(residuals @ residuals) / freedom
    told = jacobian.T @ jacobian / max(scale, 1e-12) + np.eye(jacobian.shape[1])
    spreads: FloatArray = np.sqrt(np.diag(np.linalg.inv(told)))
    return spreads


def _correction(task: Task, timings: Timings, left: FloatArray) -> tuple[float, ...]:
    """Return the mean of the process that explains what is left, on the grid of the axes."""
    axes = task.family.axes
    if not axes:
        return ()
    at = _clipped(task.family, timings.sizes)
    left = np.clip(left, -LARGEST_LEFT, LARGEST_LEFT)
    length, noise = min(
        ((length, noise) for length in LENGTHS for noise in NOISES),
        key=lambda pair: _left_out_error(at, left, *pair),
    )
    mean = _mean(task, timings, left, length, noise)
    return tuple(np.round(mean, 4).tolist())


def _mean(
    task: Task, timings: Timings, left: FloatArray, length: float, noise: float
) -> FloatArray:
    """Return the mean of the process on the grid, flat."""
    axes, at = task.family.axes, _clipped(task.family, timings.sizes)
    left = np.clip(left, -LARGEST_LEFT, LARGEST_LEFT)
    weights = np.linalg.solve(_covariance(at, at, length) + noise**2 * np.eye(len(at)), left)
    points = np.stack(np.meshgrid(*(axis.points for axis in axes), indexing="ij"), -1)
    mean: FloatArray = _covariance(points.reshape(-1, len(axes)), at, length) @ weights
    return mean


def _clipped(family: Family, sizes: Sizes) -> FloatArray:
    """Return the places (n, axes) of kernels on the axes of a correction."""
    return np.stack([axis.place(sizes) for axis in family.axes], axis=1)


def _covariance(one: FloatArray, other: FloatArray, length: float) -> FloatArray:
    """Return the Matern 3/2 covariance of places (a, axes) and (b, axes), as (a, b)."""
    squares = ((one[:, None, :] - other[None, :, :]) ** 2).sum(axis=-1)
    return HEIGHT**2 * matern_3_2(np.sqrt(squares) / length)


def _left_out_error(at: FloatArray, left: FloatArray, length: float, noise: float) -> float:
    """Return the mean error where each place is predicted from all others (section 5.4.2)."""
    inverse = np.linalg.inv(_covariance(at, at, length) + noise**2 * np.eye(len(at)))
    return float(np.abs(inverse @ left / np.diag(inverse)).mean())
