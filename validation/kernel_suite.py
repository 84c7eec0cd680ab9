"""What suites of single kernels share: cases, fits by device, predictions, baselines, splits.

A case of such a suite names a family of kernels (`workload`), its sizes and dtype (`workload.m`,
`workload.dtype`), a device (`on`), and how long one kernel took (`time_s`). A *set* is all kernels
of one device, family and dtype: it is fitted, predicted and judged together.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hwmodels.devices import find_spec
from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.families import FAMILIES, fit_for
from hwmodels.gpu.family import Family, Sizes
from hwmodels.gpu.fits import COMMON, Fits, SetKey, distance, in_common
from hwmodels.relatives import completed
from hwmodels.spec import FamilyFit, Spec
from simulator.errors import InputError, UnknownNameError
from simulator.ops import FloatArray
from validation.cases import Case
from validation.fit_gpu import FEWEST, FEWEST_FOR_ALL, Task, Timings, fit_common, fit_family
from validation.suite import Answer, Calibration, Prediction, Skip

HELD_OUT = 5
"""One in so many groups of a suite is held out."""
FEW = 20
"""Timings of a device that is known by a few."""
DRAWS = 5
"""Times that these are drawn, to judge them."""


@dataclass(frozen=True, slots=True)
class KernelSet:
    """Hold the kernels of one set.

    Parameters
    ----------
    key : of the set
    places : index (n,) of each kernel's case
    sizes : by name, (n,) each
    time_s : measured (n,), seconds
    """

    key: SetKey
    places: tuple[int, ...]
    sizes: Sizes
    time_s: FloatArray

    @property
    def family(self) -> Family:
        """Return the family of the kernels."""
        return FAMILIES[self.key.family]

    @property
    def timings(self) -> Timings:
        """Return the set as timings to fit."""
        return Timings(sizes=self.sizes, time_s=self.time_s)


KeyOf = Callable[[Case], SetKey | Skip]


def key_of(case: Case) -> SetKey | Skip:
    """Return the set that a case belongs to, or why it cannot be predicted."""
    try:
        device = spec_of(case.text("on")).name
    except UnknownNameError as error:
        return Skip(str(error))
    family, dtype = case.text("workload"), case.text("workload.dtype")
    if family not in FAMILIES:
        return Skip(f"no family of kernels is called '{family}'")
    try:
        chip_of(spec_of(device)).peak_flop_per_s(dtype)
    except InputError as error:
        return Skip(str(error))
    return SetKey(device, family, dtype)


@functools.lru_cache(maxsize=256)
def spec_of(name: str) -> Spec:
    """Return what the catalog knows of a device, with estimates; read once."""
    return completed(find_spec(name), find_spec)


def sets_of(cases: Sequence[Case], key: KeyOf = key_of) -> tuple[list[KernelSet], dict[int, Skip]]:
    """Return the cases by set, and why some belong to none (by index)."""
    places: dict[SetKey, list[int]] = {}
    skipped: dict[int, Skip] = {}
    for place, case in enumerate(cases):
        found = key(case)
        if isinstance(found, Skip):
            skipped[place] = found
        else:
            places.setdefault(found, []).append(place)
    return [_set(cases, key, at) for key, at in places.items()], skipped


def _set(cases: Sequence[Case], key: SetKey, places: Sequence[int]) -> KernelSet:
    names = FAMILIES[key.family].sizes
    columns = [[_size(cases[place], name) for place in places] for name in names]
    sizes = {name: np.array(column) for name, column in zip(names, columns, strict=True)}
    return KernelSet(key, tuple(places), sizes, np.array([cases[i].measured for i in places]))


def _size(case: Case, name: str) -> float:
    setting = f"workload.{name}"
    return case.number(setting) if name != "batch" or setting in case.settings else 1.0


def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict kernels by the packaged fits of their device, or of its nearest relative."""
    return predict_by(cases, lambda key: Fits(spec_of(key.device), spec_of))


def predict_by(
    cases: Sequence[Case], fits: Callable[[SetKey], Mapping[tuple[str, str], FamilyFit]],
    key: KeyOf = key_of,
) -> Sequence[Answer]:  # fmt: skip
    """Predict kernels by fits of one's own choice for each set."""
    sets, skipped = sets_of(cases, key)
    answers: dict[int, Answer] = dict(skipped)
    for one in sets:
        fit = fit_for(one.family, one.key.dtype, fits(one.key))
        chip = chip_of(spec_of(one.key.device))
        times = one.family.parts(chip, one.key.dtype, fit, one.sizes).time_s
        low, high = fit.error_ratio or (None, None)
        for place, time in zip(one.places, times.tolist(), strict=True):
            answers[place] = Prediction(
                time, None if low is None else low * time, None if high is None else high * time
            )
    return [answers[place] for place in range(len(cases))]


def sizes_of(case: Case) -> tuple[tuple[str, float], ...]:
    """Return the sizes of a case by name: calls with the same make a group, on all devices."""
    names = FAMILIES[case.text("workload")].sizes
    return tuple((name, case.number(f"workload.{name}")) for name in names)


def held_out(case: Case, names: Sequence[str]) -> bool:
    """Say whether a case's group (its settings of these names) is held out: one in `HELD_OUT`."""
    group = "|".join(f"{name}={case.settings.get(name)}" for name in names)
    return int(hashlib.sha256(group.encode()).hexdigest(), 16) % HELD_OUT == 0


def fit(cases: Sequence[Case], group: Sequence[str], data: str) -> dict[str, Any]:
    """Return what a suite's calibration holds: the cases and fits of all sets, and remarks.

    Parameters
    ----------
    cases : of the suite
    group : settings that make a group; whole groups are held out
    data : where the cases are from
    """
    chosen = [case for case in cases if not held_out(case, group)]
    sets, _ = sets_of(chosen)
    fitted = {one.key: fit_set(one, data) for one in sets if len(one.time_s) >= FEWEST_FOR_ALL}
    used = {place for one in sets if one.key in fitted for place in one.places}
    fitted.update(common_fits(sets, data))
    return {
        "case_ids": sorted(chosen[place].case_id for place in used),
        "remarks": [*transfer_remarks(sets, fitted)],
        "fits": fitted,
    }


def fit_set(one: KernelSet, data: str, prior: FamilyFit | None = None) -> FamilyFit:
    """Return the fit of a set; with few timings, of a few numbers of the prior."""
    task = replace(_task(one), prior=prior)
    return fit_family(task, one.timings, f"{len(one.time_s)} kernels: {data}")


def _task(one: KernelSet) -> Task:
    chip = chip_of(spec_of(one.key.device))
    return Task(family=one.family, chip=chip, dtype=one.key.dtype)


def nearest(key: SetKey, fitted: Mapping[SetKey, FamilyFit]) -> FamilyFit | None:
    """Return the fit of the same kernels on the nearest other device; None where there is none."""
    same = [one for one in fitted if one[1:] == key[1:] and one.device not in (key.device, COMMON)]
    if not same:
        return None
    spec = spec_of(key.device)
    return fitted[min(same, key=lambda other: distance(spec, spec_of(other.device)))]


def common_fits(
    sets: Sequence[KernelSet], data: str, fewest: int = FEWEST_FOR_ALL, several: int = 2
) -> Mapping[SetKey, FamilyFit]:
    """Return what devices have in common, of each family and dtype that several were measured in.

    Parameters
    ----------
    sets : of all devices
    data : where the cases are from
    fewest : timings of a set that counts
    several : so many devices at least
    """
    alike: dict[SetKey, list[KernelSet]] = {}
    for one in sets:
        if len(one.time_s) >= fewest:
            alike.setdefault(one.key._replace(device=COMMON), []).append(one)
    return {key: fit_common([(_task(one), one.timings) for one in some], f"{_count(some)}: {data}")
            for key, some in alike.items() if len(some) >= several}  # fmt: skip


def _count(sets: Sequence[KernelSet]) -> str:
    return f"{sum(len(one.time_s) for one in sets)} kernels on {len(sets)} GPUs"


def lent(
    key: SetKey, sets: Sequence[KernelSet], fitted: Mapping[SetKey, FamilyFit]
) -> FamilyFit | None:
    """Return what a device would be predicted by if it had not been measured, as `Fits` does.

    Parameters
    ----------
    key : of the set that is left out
    sets, fitted : all there are, and `common_fits` where these are kept
    """
    near, common = nearest(key, fitted), key._replace(device=COMMON)
    if near is None or _alike(key.device, near.device) or common not in fitted:
        return near
    others = [one for one in sets if one.key.device != key.device and one.key[1:] == key[1:]]
    found = common_fits(others, "", FEWEST, several=1).get(common)
    return near if found is None else in_common(found, near)


def _alike(device: str, other: str) -> bool:
    return spec_of(device).architecture == spec_of(other).architecture


def transfer_remarks(
    sets: Sequence[KernelSet], fitted: Mapping[SetKey, FamilyFit]
) -> Iterable[str]:
    """Say how well each device is predicted as if it had not been measured, or by a few timings."""
    for one in sets:
        known = lent(one.key, sets, fitted) if one.key in fitted else None
        if known is not None:
            yield transfer_remark(one, known)


def transfer_remark(one: KernelSet, known: FamilyFit) -> str:
    """Say how well a set is predicted by other devices' fit, alone and moved by a few timings.

    The few timings do not count among those that are then predicted; they are drawn `DRAWS` times.
    """
    alone = _said(_errors(one, known, one.timings))
    text = (f"{one.key.device}, {one.key.family} in {one.key.dtype}, as if known by its datasheet "
            f"only (numbers of {known.device}): {alone}")  # fmt: skip
    if len(one.time_s) < 2 * FEW:
        return f"{text}."
    few = [_few_errors(one, known, seed) for seed in range(DRAWS)]
    return f"{text}; known by {FEW} timings, the others: {_said(np.mean(few, axis=0))}."


def _few_errors(one: KernelSet, known: FamilyFit, seed: int) -> FloatArray:
    order = np.random.default_rng(seed).permutation(len(one.time_s))
    some = one.timings.at(order[:FEW])
    fit = fit_set(KernelSet(one.key, (), some.sizes, some.time_s), "", known)
    return _errors(one, fit, one.timings.at(order[FEW:]))


def _errors(one: KernelSet, fit: FamilyFit, some: Timings) -> FloatArray:
    """Return mean and median error of some kernels of a set, %."""
    task = _task(one)
    predicted = one.family.parts(task.chip, task.dtype, fit, some.sizes).time_s
    sizes = 100 * np.abs(predicted / some.time_s - 1)
    return np.array([sizes.mean(), np.median(sizes)])


def _said(errors: FloatArray) -> str:
    return "MAPE {:.1f} %, median {:.1f} %".format(*errors)
