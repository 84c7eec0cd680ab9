"""Calibrate NCCL on a device by a log of nccl-tests: `scalemodel calibrate --from LOG`.

The numbers of the packaged fit, or of the nearest relative, are moved as far as the log asks for.
What was fitted goes to `nccl/DEVICE/KIND.DTYPE.toml` in the user's folder, and is used from then
on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwmodels.device_writer import write_family_fit
from hwmodels.devices import find_spec
from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.fits import SetKey, fits_file
from hwmodels.network.nccl import as_measured, family, fit_key, parts_of
from hwmodels.network.nccl_fits import Nccl, own_folder
from hwmodels.network.nccl_plan import Calls, wires_of
from hwmodels.relatives import completed
from hwmodels.spec import FamilyFit, Spec
from simulator.errors import FileError, InputError, UnknownNameError
from validation.fit_gpu import FEWEST, Task, Timings, fit_family
from validation.nccl_log import NcclRun, read_nccl_log


@dataclass(frozen=True, slots=True, kw_only=True)
class NcclSet:
    """Say what became of the runs of one kind and dtype.

    Parameters
    ----------
    kind, dtype : as the fit has them
    ranks : of the groups that were timed
    timings : how many
    before_pct, after_pct : mean absolute errors by the numbers known before, and by the fit
    fit : what was fitted
    path : of its file
    """

    kind: str
    dtype: str
    ranks: tuple[int, ...]
    timings: int
    before_pct: float
    after_pct: float
    fit: FamilyFit
    path: Path


@dataclass(frozen=True, slots=True)
class NcclReport:
    """Say what a calibration of NCCL gave.

    Parameters
    ----------
    device : whose collectives were fitted
    sets : of kinds and dtypes
    """

    device: str
    sets: tuple[NcclSet, ...]


def calibrate_nccl(
    log: Path, like: str | None = None, say: Callable[[str], None] = lambda text: None
) -> NcclReport:
    """Fit NCCL on a device to a log, and write the fits.

    Parameters
    ----------
    log : of nccl-tests, on one node
    like : the device; None: the log names it
    say : is told what is being done

    Raises
    ------
    FileError : no log of nccl-tests, of several nodes, or with too few sizes
    UnknownNameError : no such device
    """
    runs = read_nccl_log(log)
    spec = _device(log, runs, like)
    for run in runs:
        if run.nodes > 1:
            raise FileError(log, f"{run.kind} ran on {run.nodes} nodes; numbers of a device need "
                                 "a log of one node")  # fmt: skip
    sets = []
    for key, mine in _by_key(spec, runs).items():
        say(f"{mine[0].kind}: {sum(len(run.time_s) for run in mine)} timings")
        sets.append(_fit_set(log, spec, key, mine))
    for one in sets:
        write_family_fit(one.path, one.fit)
    return NcclReport(spec.name, tuple(sets))


def _by_key(spec: Spec, runs: Sequence[NcclRun]) -> dict[SetKey, list[NcclRun]]:
    """Return the runs that each fit is fitted to, all of one kind: the one that it is named by.

    Runs of a kind that borrows its numbers tell them where that other kind was not timed.
    """
    found: dict[SetKey, list[NcclRun]] = {}
    for run in sorted(runs, key=lambda run: fit_key(run.kind, run.dtype).kind != run.kind):
        mine = found.setdefault(SetKey(spec.name, *fit_key(run.kind, run.dtype)), [])
        if not mine or mine[0].kind == run.kind:
            mine.append(run)
    return found


def _device(log: Path, runs: Sequence[NcclRun], like: str | None) -> Spec:
    names = {run.gpu for run in runs}
    if like is None and (len(names) != 1 or names == {""}):
        got = ", ".join(sorted(name or "no name" for name in names))
        raise FileError(log, f"must name one GPU; got {got}; name it by --like DEVICE")
    try:
        spec = find_spec(like or names.pop())
    except UnknownNameError as error:
        raise InputError(f"{error}; name the GPU of the log by --like DEVICE") from error
    wires_of(spec)
    return completed(spec, find_spec)


def _fit_set(log: Path, spec: Spec, key: SetKey, runs: Sequence[NcclRun]) -> NcclSet:
    timings = _timings(spec, runs)
    if len(timings) < FEWEST:
        raise FileError(log, f"has {len(timings)} sizes of {runs[0].kind}; at least {FEWEST} are "
                             "needed, such as of -b 8 -e 8G -f 2")  # fmt: skip
    prior = Nccl(spec=spec, find=find_spec).fit(key.family, key.dtype)
    task = Task(family=family(runs[0].kind, wires_of(spec)), chip=chip_of(spec), dtype=key.dtype,
                prior=prior)  # fmt: skip
    fit = fit_family(task, timings, f"{len(timings)} collectives: {log.name}")
    return NcclSet(
        kind=runs[0].kind,
        dtype=key.dtype,
        ranks=tuple(sorted({run.ranks for run in runs})),
        timings=len(timings),
        before_pct=_error_pct(spec, runs, prior),
        after_pct=_error_pct(spec, runs, fit),
        fit=fit,
        path=fits_file(key, own_folder()),
    )


def _timings(spec: Spec, runs: Sequence[NcclRun]) -> Timings:
    calls = [as_measured(_calls(spec, run)) for run in runs]
    sizes = {"bytes": np.concatenate([one.nbytes for one in calls]),
             "ranks": np.concatenate([one.ranks for one in calls])}  # fmt: skip
    return Timings(sizes=sizes, time_s=np.concatenate([run.time_s for run in runs]))


def _error_pct(spec: Spec, runs: Sequence[NcclRun], fit: FamilyFit) -> float:
    """Return the mean absolute error of a fit on some runs, percent."""
    errors = [np.abs(parts_of(_calls(spec, run), fit).time_s / run.time_s - 1) for run in runs]
    return float(100 * np.concatenate(errors).mean())


def _calls(spec: Spec, run: NcclRun) -> Calls:
    ranks = np.full(len(run.nbytes), float(run.ranks))
    return Calls(run.kind, run.dtype, wires_of(spec), run.nbytes, ranks)
