"""Judge how well attention is predicted on a device as if it had not been measured.

Small sets are held to the fit of another device (`fit_sets`), so that all fits are made anew
without the device that is judged: its own rows must not come back by way of a neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.fits import SetKey, distance
from hwmodels.spec import FamilyFit
from simulator.ops import IntArray
from validation.fit_gpu import FEWEST, FEWEST_FOR_ALL
from validation.kernel_suite import FEW, KernelSet, fit_set, spec_of

DATA = "suite gpu-attention (aiconfigurator 0.12.0, sglang)"

Fitted = Mapping[SetKey, FamilyFit]


def fit_sets(sets: Sequence[KernelSet], known: Fitted | None = None) -> Fitted:
    """Return the fits of sets; a small one is held to that of the nearest device with a larger.

    Sets below `FEWEST` timings have none.

    Parameters
    ----------
    sets : of any devices and kernels
    known : fits that need not be made again
    """
    fitted: dict[SetKey, FamilyFit] = {}
    for one in sorted(sets, key=lambda one: -len(one.time_s)):
        if known is not None and one.key in known:
            fitted[one.key] = known[one.key]
        elif len(one.time_s) >= FEWEST:
            prior = nearest(one.key, fitted) if len(one.time_s) < FEWEST_FOR_ALL else None
            fitted[one.key] = fit_set(one, DATA, prior)
    return fitted


def nearest(key: SetKey, fitted: Fitted) -> FamilyFit | None:
    """Return the fit of the same kernel on the nearest other device; None where there is none."""
    same = [one for one in fitted if one[1:] == key[1:] and one.device != key.device]
    if not same:
        return None
    spec = spec_of(key.device)
    return fitted[min(same, key=lambda other: distance(spec, spec_of(other.device)))]


def remarks(sets: Sequence[KernelSet], fitted: Fitted) -> Iterator[str]:
    """Say how well each device is predicted by its datasheet, and by a few timings."""
    alone = {one.key: fitted[one.key] for one in sets if len(one.time_s) >= FEWEST_FOR_ALL}
    unknown = set()
    for device in sorted({one.key.device for one in sets}):
        others = fit_sets([one for one in sets if one.key.device != device], alone)
        for one in (one for one in sets if one.key.device == device):
            near = nearest(one.key, others)
            if near is None:
                unknown.add(one.key.family)
            else:
                yield _remark(one, near)
    if unknown:
        yield (f"Measured on one device only, so that nobody can tell how well they are predicted "
               f"on another: {', '.join(sorted(unknown))}.")  # fmt: skip


def _remark(one: KernelSet, near: FamilyFit) -> str:
    everywhere = np.arange(len(one.time_s))
    order = np.random.default_rng(0).permutation(everywhere)
    text = (f"{one.key.device}, {one.key.family} in {one.key.dtype}, as if known by its datasheet "
            f"only (numbers of {near.device}): {_errors(one, near, everywhere)}")  # fmt: skip
    rest = order[FEW:]
    if len(rest) < FEW:
        return f"{text}."
    few = KernelSet(one.key, (), one.timings.at(order[:FEW]).sizes, one.time_s[order[:FEW]])
    return f"{text}; known by {FEW} timings, the others: " + (
        f"{_errors(one, fit_set(few, DATA, near), rest)}."
    )


def _errors(one: KernelSet, fit: FamilyFit, places: IntArray) -> str:
    """Return mean and median error of some kernels of a set as text."""
    some = one.timings.at(places)
    chip = chip_of(spec_of(one.key.device))
    predicted = one.family.parts(chip, one.key.dtype, fit, some.sizes).time_s
    sizes = 100 * np.abs(predicted / some.time_s - 1)
    return f"MAPE {sizes.mean():.1f} %, median {np.median(sizes):.1f} %"
