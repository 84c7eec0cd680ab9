"""Judge how well attention is predicted on a device as if it had not been measured.

Small sets are held to the fit of another device (`fit_sets`), so that all fits are made anew
without the device that is judged: its own rows must not come back by way of a neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hwmodels.gpu.fits import COMMON, SetKey
from hwmodels.spec import FamilyFit
from validation.fit_gpu import FEWEST, FEWEST_FOR_ALL
from validation.kernel_suite import KernelSet, fit_set, lent, nearest, transfer_remark

DATA = "suite gpu-attention (aiconfigurator 0.12.0, sglang)"

SHARED = ("decode_triton", "prefill_flashinfer", "prefill_triton")
"""Kernels of which an unknown device takes what several have in common. Of the others the nearest
device's numbers do better, each device left out in turn, or only one was measured."""

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


def remarks(sets: Sequence[KernelSet], fitted: Fitted) -> Iterator[str]:
    """Say how well each device is predicted by its datasheet, and by a few timings."""
    alone = {one.key: fitted[one.key] for one in sets if len(one.time_s) >= FEWEST_FOR_ALL}
    common = {key: fit for key, fit in fitted.items() if key.device == COMMON}
    unknown = set()
    for device in sorted({one.key.device for one in sets}):
        others = fit_sets([one for one in sets if one.key.device != device], alone)
        for one in (one for one in sets if one.key.device == device):
            known = lent(one.key, sets, {**others, **common})
            if known is None:
                unknown.add(one.key.family)
            else:
                yield transfer_remark(one, known)
    if unknown:
        yield (f"Measured on one device only, so that nobody can tell how well they are predicted "
               f"on another: {', '.join(sorted(unknown))}.")  # fmt: skip
