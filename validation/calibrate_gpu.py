"""Calibrate a GPU: fit each family of kernels that was timed on it, and say what that is worth.

What was known before (the device's packaged numbers, or those of its nearest relative) is where a
fit begins; with few timings it is also what they move only as far as they tell. The result is a
device file whose families go before all packaged ones.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hwmodels.device_writer import write_device
from hwmodels.devices import catalog_file, devices_folder, find_spec
from hwmodels.gpu.chip import Chip, chip_of
from hwmodels.gpu.families import fit_for
from hwmodels.gpu.family import Family
from hwmodels.gpu.fits import Fits
from hwmodels.gpu.kernels import KERNELS
from hwmodels.relatives import completed
from hwmodels.roofline import kernel_bounds_s
from hwmodels.spec import Calibration, FamilyFit, Spec
from simulator.errors import FileError, InputError, UnknownNameError
from simulator.ops import DIMS, DTYPE_BYTES, KINDS, FloatArray, Graph
from validation.calibrate import Say, check_name
from validation.fit_gpu import FEWEST, FEWEST_FOR_ALL, Task, Timings, fit_family
from validation.gpu_table import Limits, Table, Timed, check, joined, read_kernels
from validation.machine_record import machine_record
from validation.timings_file import op_of

MOST = 1500
"""Timings of a set beyond which a random part is fitted, for the time that a fit takes."""
NOBODY = "no relative"
FOLDS = 5
ENOUGH_LEFT_OUT = 150
"""Kernels that are left out in turn, at most: their mean error is then known to a tenth of it."""
FEWEST_LEFT_OUT = 10
MOST_FITS = 12
"""Fits of a calibration with some kernels left out, for the time that each takes."""
NOT_TOLD = 0.5
"""Standard deviation of a logarithm, of 1 before the timings, from which on a number counts as not
told by them."""
AT_BOUND = 0.01
"""So near to its bound in the logarithm, a number is at it."""
LEAST_NOISE = 0.02


@dataclass(frozen=True, slots=True)
class Errors:
    """Hold how wrong predictions of a set of kernels are.

    Parameters
    ----------
    mape_pct, median_ape_pct : mean and median of the absolute errors, percent
    """

    mape_pct: float
    median_ape_pct: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Say what the timings tell of one number.

    Parameters
    ----------
    name, value, spread : of the number; the spread is that of its logarithm
    before : what was known of it
    low, high : its bounds
    told : whether the timings tell it
    remark : why not, or at which bound it is; "" where all is well
    doc : what it means, and its unit
    """

    name: str
    value: float
    spread: float
    before: float
    low: float
    high: float
    told: bool
    remark: str
    doc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReport:
    """Say what became of the timings of one family and dtype.

    Parameters
    ----------
    family, dtype : of the kernels
    timings : how many different kernels were timed
    fitted : how many of them were fitted
    full : whether all was fitted anew; else what was known was moved
    prior : whose numbers were known before
    datasheet, before, after : errors of the roofline of the datasheet, of what was known before,
        and of fits without the kernels that they are judged on; None: too few to leave any out
    left_out : how many kernels these fits were judged on
    numbers : what was fitted
    fit : as the device file keeps it
    """

    family: str
    dtype: str
    timings: int
    fitted: int
    full: bool
    prior: str
    datasheet: Errors
    before: Errors
    after: Errors | None
    left_out: int
    numbers: tuple[Told, ...]
    fit: FamilyFit


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReport:
    """Say what a calibration of a GPU gave.

    Parameters
    ----------
    device : name of the device that was made
    like : the device whose datasheet it has
    path : of its file
    data, date : what was fitted, and when
    sets : what became of each family and dtype
    notes : what was left out, and why
    """

    device: str
    like: str
    path: Path
    data: str
    date: str
    sets: tuple[SetReport, ...]
    notes: tuple[str, ...] = field(default=())


# --- from a table to a device file ---------------------------------------------------------------


def calibrate_gpu(
    timings: Path, like: str, name: str | None = None, say: Say = lambda text: None
) -> GpuReport:
    """Fit a GPU to a table of timings, and write its device file.

    Costs about 20 s for 1,000 timings of one family and dtype, 5 s for 20.

    Parameters
    ----------
    timings : the table (see `validation.gpu_table`)
    like : the GPU that they were taken on
    name : of the device that is made; None: that of `like`, which it then hides
    say : is told what is being done

    Raises
    ------
    UnknownNameError : no device `like`
    FileError : a wrong table of timings, or too few of each family
    InputError : `like` is no GPU, or a name that no file can have
    """
    spec = gpu_spec(like, name)
    known = completed(spec, find_spec)
    chip = chip_of(known)
    table = read_kernels(Path(timings), find_spec(like).name, chip)
    for one in table.sets:
        check(table, one, _limits(known, one))
    notes = (*table.notes, *_seen_before(table, known))
    evidence = Evidence(spec=spec, like=like, sets=[joined(one) for one in table.sets],
                        data=f"timings of {table.path.name}", notes=notes)  # fmt: skip
    try:
        return fit_device(evidence, say)
    except TooFewError as error:
        raise FileError(table.path, str(error)) from None


def _seen_before(table: Table, spec: Spec) -> list[str]:
    """Say where what was known before may have been fitted to timings of the same table."""
    fits = {fit.data for one in table.sets for fit in [known_before(spec, one.family, one.dtype)]}
    return [f"the error before may be too small: what was known was fitted to {data}"
            for data in sorted(fits) if table.suite and f"suite {table.suite}" in data]  # fmt: skip


def _limits(spec: Spec, one: Timed) -> Limits:
    chip, sizes = chip_of(spec), one.timings.sizes
    prior = known_before(spec, one.family, one.dtype)
    return Limits(
        expected_s=one.family.parts(chip, one.dtype, prior, sizes).time_s,
        bound_s=_bound_s(chip, one),
        nbytes=one.family.amounts(one.dtype, sizes)[1],
        memory_bytes=spec.number("memory.size_bytes"),
    )


def gpu_spec(like: str, name: str | None = None) -> Spec:
    """Return what is known of a GPU, under the name that its calibration will have.

    Raises
    ------
    UnknownNameError : no device `like`
    InputError : it is no GPU, or a name that no file can have
    """
    spec = find_spec(like)
    if spec.kind != "gpu":
        raise InputError(f"'{spec.name}' is a {spec.kind.upper()}; these are timings of a GPU: "
                         "--like needs the name of one")  # fmt: skip
    check_name(name)
    return spec if name is None else spec.replaced(name=name)


class TooFewError(InputError):
    """Say that no family was timed often enough, and how many timings are needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Hold what a GPU is fitted to.

    Parameters
    ----------
    spec : of the GPU, under its new name
    like : name of the device whose datasheet it has
    sets : kernels by family and dtype, each kernel once
    data : says where the timings are from
    notes : of the report
    """

    spec: Spec
    like: str
    sets: Sequence[Timed]
    data: str
    notes: Sequence[str] = ()


def fit_device(evidence: Evidence, say: Say = lambda text: None) -> GpuReport:
    """Fit all sets that have enough timings, write the device file and return the report.

    Parameters
    ----------
    evidence : what it is fitted to
    say : is told what is being done

    Raises
    ------
    TooFewError : no set has enough
    """
    spec, like = evidence.spec, evidence.like
    enough = [one for one in evidence.sets if len(one) >= FEWEST]
    few = [f"{one.label} has {len(one)} timings" for one in evidence.sets if len(one) < FEWEST]
    needed = (f"at least {FEWEST} of a family and dtype are needed to adjust what is known of its "
              f"relatives, {FEWEST_FOR_ALL} to fit it whole")  # fmt: skip
    if not enough:
        raise TooFewError(f"{'; '.join(few) or 'no timings'}; {needed}")
    reports, known = [], completed(spec, find_spec)
    for one in enough:
        say(f"fitting {len(one)} timings of {one.label}")
        reports.append(_set_report(known, one, evidence.data, MOST_FITS // len(enough)))
    calibration = _calibration(spec, reports)
    path = devices_folder() / f"{spec.name}.toml"
    write_device(path, spec.replaced(calibration=calibration), _base(spec, like))
    notes = [*evidence.notes, *(f"{one}, left out: {needed}" for one in few)]
    notes += [f"no op in {one.dtype} is predicted by {one.family.name}; what is: "
              f"{', '.join(sorted(predicting(one.dtype)))}"
              for one in enough if one.family.name not in predicting(one.dtype)]  # fmt: skip
    return GpuReport(device=spec.name, like=find_spec(like).name, path=path, sets=tuple(reports),
                     date=calibration.date, data=calibration.data, notes=tuple(notes))  # fmt: skip


@functools.cache
def predicting(dtype: str) -> frozenset[str]:
    """Return the families that ops in a dtype are predicted by.

    >>> sorted(predicting("bfloat16") & {"gemm", "linear", "streaming"})
    ['gemm', 'streaming']
    """
    found: set[str] = set()
    for kind, batch in itertools.product(KINDS, (1, 2)):
        dims = tuple(batch if name == "batch" else 2 for name in DIMS[kind])
        graph = Graph.of([op_of(kind, kind, dtype, dims)])
        kernels = KERNELS[kind](graph, np.array([0]))
        found |= {kernel.family for kernel in kernels if kernel.times[0] > 0}
    return frozenset(found)


def _calibration(spec: Spec, reports: Sequence[SetReport]) -> Calibration:
    """Return what the device file keeps; families that were fitted earlier stay."""
    earlier = {} if spec.calibration is None else dict(spec.calibration.families)
    new = {(one.family, one.dtype): one.fit for one in reports}
    return Calibration(
        numbers={},
        data="; ".join(f"{one.family} in {one.dtype}: {one.fit.data}" for one in reports),
        date=machine_record().date,
        machine=spec.title,
        reference=dict(spec.values),
        reference_name=spec.name,
        reference_architecture=spec.architecture,
        families=earlier | new,
    )


def _base(spec: Spec, like: str) -> Spec | None:
    """Return the device of which the file says only what differs; None: it says all.

    A file cannot be like itself: one that hides a device of the catalog is like the hidden one.
    """
    base = find_spec(like)
    if base.name == spec.name:
        hidden = catalog_file(spec.name)
        return None if hidden is None else find_spec(hidden)
    try:
        return find_spec(base.name)
    except UnknownNameError:
        return None  # A file that lies elsewhere has no name.


# --- one family and dtype ------------------------------------------------------------------------


def known_before(spec: Spec, family: Family, dtype: str) -> FamilyFit:
    """Return what is known of kernels on a GPU without any timings of the user.

    Parameters
    ----------
    spec : of the GPU, with estimates
    family, dtype : of the kernels
    """
    return fit_for(family, dtype, Fits(spec.replaced(calibration=None), find_spec))


def _set_report(spec: Spec, one: Timed, data: str, fits: int) -> SetReport:
    chip, prior = chip_of(spec), known_before(spec, one.family, one.dtype)
    used = _bounded(one.timings)
    full = len(used) >= FEWEST_FOR_ALL
    task = Task(family=one.family, chip=chip, dtype=one.dtype, prior=prior)
    fit = fit_family(task, used, f"{len(used)} {data}")
    ratios = _left_out(task, used, fits)
    before = one.timings.time_s / one.family.parts(chip, one.dtype, prior, one.timings.sizes).time_s
    return SetReport(
        family=one.family.name,
        dtype=one.dtype,
        timings=len(one),
        fitted=len(used),
        full=full,
        prior=prior.device or NOBODY,
        datasheet=_errors(one.timings.time_s / _bound_s(chip, one)),
        before=_errors(before),
        after=None if ratios is None else _errors(ratios),
        left_out=0 if ratios is None else len(ratios),
        numbers=_told(Fitted(task, used, fit, _noise(ratios))),
        fit=fit,
    )


def _bounded(timings: Timings) -> Timings:
    if len(timings) <= MOST:
        return timings
    return timings.at(np.random.default_rng(0).permutation(len(timings))[:MOST])


def _bound_s(chip: Chip, one: Timed) -> FloatArray:
    """Return what kernels (n,) take at least by the datasheet, seconds."""
    amounts = one.family.amounts(one.dtype, one.timings.sizes)
    bound: FloatArray = np.maximum(*kernel_bounds_s(chip, one.dtype, *amounts))
    return bound


def _errors(ratios: FloatArray) -> Errors:
    """Return the errors of predictions, from measured over predicted time."""
    sizes = 100.0 * np.abs(1.0 / ratios - 1.0)
    return Errors(float(sizes.mean()), float(np.median(sizes)))


def _left_out(task: Task, timings: Timings, fits: int) -> FloatArray | None:
    """Return measured over predicted of kernels, by fits without them.

    None where so few would be left that nothing can be fitted. Of many timings, and of many sets,
    not every part is left out: each costs a fit.

    Parameters
    ----------
    task, timings : what is fitted to what
    fits : how many are enough, if they leave out `FEWEST_LEFT_OUT` kernels
    """
    spare = len(timings) - FEWEST
    if spare < 1:
        return None
    folds = max(FOLDS, math.ceil(len(timings) / spare))
    order = np.random.default_rng(1).permutation(len(timings))
    ratios: list[FloatArray] = []
    for part in np.array_split(order, folds):
        if sum(map(len, ratios)) >= (FEWEST_LEFT_OUT if len(ratios) >= fits else ENOUGH_LEFT_OUT):
            break
        hidden = timings.at(part)
        fit = fit_family(task, timings.at(np.setdiff1d(order, part)))
        predicted = task.family.parts(task.chip, task.dtype, fit, hidden.sizes).time_s
        ratios.append(hidden.time_s / predicted)
    return np.concatenate(ratios)


# --- what the timings tell -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fitted:
    """Hold what was fitted to what.

    Parameters
    ----------
    task, timings, fit : what was fitted to what, and the result
    noise : standard deviation of the logarithm of the times that is left
    """

    task: Task
    timings: Timings
    fit: FamilyFit
    noise: float


def _noise(ratios: FloatArray | None) -> float:
    """Return the standard deviation of the logarithm of times that is left, robustly."""
    if ratios is None:
        return 5 * LEAST_NOISE
    return max(1.4826 * float(np.median(np.abs(np.log(ratios)))), LEAST_NOISE)


def told_spreads(fitted: Fitted) -> dict[str, float]:
    """Return the standard deviation of the logarithm of each number, by the timings alone.

    Before the timings it is 1; near 1 it stays for a number that they do not tell, because it
    changes none of these kernels or because another number does the same to them.
    """
    numbers, step, columns = fitted.fit.numbers, 0.01, []
    for name in numbers:
        more, less = (
            fitted.task.log_time({**numbers, name: value}, fitted.timings.sizes)
            for value in (numbers[name] * math.exp(step), numbers[name] * math.exp(-step))
        )
        columns.append((more - less) / (2 * step))
    jacobian = np.stack(columns, axis=1)
    told = jacobian.T @ jacobian / fitted.noise**2 + np.eye(len(columns))
    spreads = np.sqrt(np.diag(np.linalg.inv(told)))
    return dict(zip(numbers, spreads.tolist(), strict=True))


def _told(fitted: Fitted) -> tuple[Told, ...]:
    """Return what the timings tell of each number of a fit."""
    spreads, known = told_spreads(fitted), fitted.task.family.parameters
    width = DTYPE_BYTES[fitted.task.dtype]
    used = (name for name in fitted.fit.numbers if width <= known[name].widest_bytes)
    return tuple(_number(fitted, name, spreads[name]) for name in used)


def _number(fitted: Fitted, name: str, by_timings: float) -> Told:
    fit, prior = fitted.fit, fitted.task.prior
    bounds, value = fitted.task.family.parameters[name], fit.numbers[name]
    remark = ""
    if by_timings > NOT_TOLD:
        remark = "not told by these timings"
    elif math.log(value / bounds.low) < AT_BOUND:
        remark = "at its lower bound"
    elif math.log(bounds.high / value) < AT_BOUND:
        remark = "at its upper bound"
    return Told(
        name=name,
        value=value,
        spread=fit.spreads.get(name, 0.0),
        before=bounds.start if prior is None else prior.numbers.get(name, bounds.start),
        low=bounds.low,
        high=bounds.high,
        told=not remark,
        remark=remark,
        doc=bounds.doc,
    )
