"""Suite gpu-attention: fused attention on GPUs, kernels timed alone; the kernel is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwmodels.devices import find_spec
from hwmodels.gpu.attention import LIBRARIES
from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.families import FAMILIES
from hwmodels.gpu.fits import Fits, SetKey, distance
from simulator.errors import InputError, UnknownNameError
from validation.cases import Case
from validation.fit_gpu import FEWEST
from validation.kernel_baselines import baselines
from validation.kernel_suite import common_fits, held_out, predict_by, sets_of, spec_of
from validation.suite import Answer, Calibration, Skip, Suite
from validation.suites.gpu_attention.convert import SUITE as NAME
from validation.suites.gpu_attention.convert import convert
from validation.suites.gpu_attention.transfer import DATA, SHARED, fit_sets, remarks

GROUP = ("workload.batch", "workload.kv_len")
"""Kernels with these sizes in common make a group, and are held out together."""


def key_of(case: Case) -> SetKey | Skip:
    """Return the set that a case belongs to, or why it cannot be predicted.

    A kernel that is not known is taken for the one of its phase that is predicted best on the
    nearest device.
    """
    phase, kernel = case.text("workload.phase"), case.text("workload.kernel")
    dtype = case.text("workload.dtype")
    try:
        device = spec_of(case.text("on")).name
        chip_of(spec_of(device)).peak_flop_per_s(dtype)
    except (UnknownNameError, InputError) as error:
        return Skip(str(error))
    family = f"{phase}_{kernel}"
    if family in FAMILIES:
        return SetKey(device, family, dtype)
    return SetKey(device, _stand_in(device, phase), dtype)


def _stand_in(device: str, phase: str) -> str:
    """Return the family of a phase that is predicted best on the device, or on the nearest."""
    spec = spec_of(device)
    fits = Fits(spec, find_spec)
    known = [key for key in fits if key[0] in {f"{phase}_{library}" for library in LIBRARIES}]

    def rank(key: tuple[str, str]) -> tuple[float, ...]:
        low, high = fits[key].error_ratio or (0.0, float("inf"))
        return (*distance(spec, spec_of(fits[key].device)), high - low)

    return min(known, key=rank)[0] if known else f"{phase}_{LIBRARIES[0]}"


def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict kernels by the packaged fits of their device, or of its nearest relative."""
    return predict_by(cases, lambda key: Fits(spec_of(key.device), find_spec), key_of)


def fit(cases: Sequence[Case]) -> Calibration:
    """Return the fits of all devices and kernels, on the groups that are not held out."""
    chosen = [case for case in cases if not held_out(case, GROUP)]
    sets, _ = sets_of(chosen, key_of)
    fitted = dict(fit_sets(sets))
    used = {place for one in sets if one.key in fitted for place in one.places}
    shared = [one for one in sets if one.key.family in SHARED]
    fitted.update(common_fits(shared, DATA, FEWEST))
    tables: dict[str, Any] = {
        "case_ids": sorted(chosen[place].case_id for place in used),
        "remarks": [*remarks(sets, fitted)],
        "fits": fitted,
    }
    return tables


def groups(case: Case) -> Sequence[str]:
    """Return the device with the phase, and the phase with the kernel, of a case."""
    phase = case.text("workload.phase")
    return (f"{case.text('on')}, {phase}", f"{phase}, {case.text('workload.kernel')}")


SUITE = Suite(
    name=NAME,
    summary="fused attention on GPUs, bf16, many queries or one with a cache; one kernel each",
    predict=predict,
    baselines=baselines(NAME, key_of),
    convert=convert,
    fit=fit,
    groups=groups,
)
