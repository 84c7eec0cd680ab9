"""What suites of collectives share: sets of cases, predictions, fits, and how far these carry.

A case names a kind of collective (`workload`), its bytes and dtype, a GPU (`on`), how many of them
(`on.devices`), and how long it took (`time_s`). A *set* is what one fit times: a GPU, a kind, and
the dtypes that are reduced alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.family import Numbers
from hwmodels.gpu.fits import SetKey
from hwmodels.network.nccl import family, fit_key, parts_of
from hwmodels.network.nccl_fits import Nccl, lent, middle, relatives
from hwmodels.network.nccl_plan import Calls, wires_of
from hwmodels.spec import FamilyFit, Spec
from simulator.errors import InputError, UnknownNameError
from simulator.ops import FloatArray
from validation.cases import Case
from validation.fit_gpu import FEWEST, Task, Timings, fit_family
from validation.kernel_suite import spec_of
from validation.suite import Answer, Prediction, Skip


@dataclass(frozen=True, slots=True)
class CollectiveSet:
    """Hold the collectives of one set.

    Parameters
    ----------
    key : of the set: device, kind, dtype
    places : index (n,) of each one's case
    timings : sizes ("bytes", "ranks") and times (n,)
    """

    key: SetKey
    places: tuple[int, ...]
    timings: Timings

    def times_s(self, fit: FamilyFit) -> FloatArray:
        """Return the times by a fit (n,), seconds."""
        wires, sizes = wires_of(spec_of(self.key.device)), self.timings.sizes
        dtype = "int8" if self.key.dtype == "int8" else "float16"
        calls = Calls(self.key.family, dtype, wires, sizes["bytes"], sizes["ranks"])
        return parts_of(calls, fit).time_s

    def ratios(self, fit: FamilyFit) -> FloatArray:
        """Return measured over predicted times (n,)."""
        ratios: FloatArray = self.timings.time_s / self.times_s(fit)
        return ratios


def key_of(case: Case) -> SetKey | Skip:
    """Return the set that a case belongs to, or why it cannot be predicted."""
    try:
        spec = spec_of(case.text("on"))
        kind, dtype = fit_key(case.text("workload"), case.text("workload.dtype"))
        wires_of(spec)
        if case.number("on.devices") < 2:
            raise InputError("a collective needs at least 2 devices")
    except (UnknownNameError, InputError) as error:
        return Skip(str(error))
    return SetKey(spec.name, kind, dtype)


def sets_of(cases: Sequence[Case]) -> tuple[list[CollectiveSet], dict[int, Skip]]:
    """Return the cases by set, and why some belong to none (by index)."""
    places: dict[SetKey, list[int]] = {}
    skipped: dict[int, Skip] = {}
    for place, case in enumerate(cases):
        found = key_of(case)
        if isinstance(found, Skip):
            skipped[place] = found
        else:
            places.setdefault(found, []).append(place)
    return [_set(cases, key, at) for key, at in places.items()], skipped


def _set(cases: Sequence[Case], key: SetKey, places: Sequence[int]) -> CollectiveSet:
    named = (("bytes", "workload.bytes"), ("ranks", "on.devices"))
    sizes = {name: np.array([cases[place].number(setting) for place in places])
             for name, setting in named}  # fmt: skip
    measured = np.array([cases[place].measured for place in places])
    return CollectiveSet(key, tuple(places), Timings(sizes=sizes, time_s=measured))


FitOf = Callable[[SetKey], FamilyFit]


def packaged_fit(key: SetKey) -> FamilyFit:
    """Return the fit of a set's device, or what its nearest relative lends."""
    return Nccl(spec=spec_of(key.device), find=spec_of).fit(key.family, key.dtype)


def predict_by(cases: Sequence[Case], fit_of: FitOf = packaged_fit) -> Sequence[Answer]:
    """Predict collectives inside a node by fits of one's own choice for each set."""
    sets, skipped = sets_of(cases)
    answers: dict[int, Answer] = dict(skipped)
    for one in sets:
        fit = fit_of(one.key)
        low, high = fit.error_ratio or (None, None)
        for place, time in zip(one.places, one.times_s(fit).tolist(), strict=True):
            answers[place] = Prediction(
                time, None if low is None else low * time, None if high is None else high * time
            )
    return [answers[place] for place in range(len(cases))]


def fit_sets(sets: Iterable[CollectiveSet], data: str) -> dict[SetKey, FamilyFit]:
    """Return the fit of each set that has timings enough."""
    fits: dict[SetKey, FamilyFit] = {}
    # Integers first: what NCCL reduces in the switch tells nothing of the protocols beside it.
    for one in sorted(sets, key=lambda one: one.key.dtype != "int8"):
        if len(one.timings) >= FEWEST:
            alike = fits.get(SetKey(one.key.device, one.key.family, "int8"))
            fits[one.key] = fit_set(one, data, alike)
    return fits


def fit_set(one: CollectiveSet, data: str, alike: FamilyFit | None = None) -> FamilyFit:
    """Return the fit of a set.

    Parameters
    ----------
    one : the set
    data : where the timings are from
    alike : has the numbers that the timings do not tell; None: those a fit begins with
    """
    spec = spec_of(one.key.device)
    kinds = family(one.key.family, wires_of(spec))
    dtype = "int8" if one.key.dtype == "int8" else "float16"
    task = Task(family=kinds, chip=chip_of(spec), dtype=dtype)
    fit = fit_family(task, one.timings, f"{len(one.timings)} collectives: {data}")
    known = kinds.start if alike is None else {**kinds.start, **alike.numbers}
    return _settled(one, fit, known)


def _settled(one: CollectiveSet, fit: FamilyFit, known: Numbers) -> FamilyFit:
    """Return a fit with the known numbers where other ones change none of the timings."""
    times = one.times_s(fit)
    for name in fit.numbers:
        other = replace(fit, numbers={**fit.numbers, name: known[name]})
        if np.array_equal(one.times_s(other), times):
            fit = other
    return fit


def transfer_remarks(
    sets: Sequence[CollectiveSet], fits: Mapping[SetKey, FamilyFit]
) -> Iterable[str]:
    """Say how well each device is predicted as if it had not been measured."""
    devices = dict.fromkeys(key.device for key in fits)
    for device in devices:
        spec = spec_of(device)
        near = relatives(spec, [spec_of(name) for name in devices if name != device])
        mine = [one for one in sets if one.key.device == device and one.key in fits]
        ratios = [one.ratios(_borrowed(one.key, spec, near, fits)) for one in mine]
        if near and ratios:
            errors = 100 * np.abs(1 / np.concatenate(ratios) - 1)
            names = ", ".join(one.name for one in near)
            yield (f"{device}, as if known by its datasheet only (numbers of {names}): "
                   f"MAPE {errors.mean():.1f} %.")  # fmt: skip


def _borrowed(
    key: SetKey, spec: Spec, near: Sequence[Spec], fits: Mapping[SetKey, FamilyFit]
) -> FamilyFit:
    return middle([lent(fits[SetKey(one.name, *key[1:])], one, spec) for one in near])
