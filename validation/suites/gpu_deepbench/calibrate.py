"""Fit the families of suite gpu-deepbench: a fifth of all sizes and one device held out.

Sets are small. The largest of each family and dtype is fitted from nothing; a set with few timings
moves its numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hwmodels.gpu.fits import SetKey
from hwmodels.spec import FamilyFit
from validation.cases import Case
from validation.fit_gpu import FEWEST
from validation.kernel_suite import (
    KernelSet,
    fit_set,
    held_out,
    sets_of,
    sizes_of,
    spec_of,
    transfer_remarks,
)
from validation.suite import Calibration

DATA = "suite gpu-deepbench (Baidu, kernels of cuBLAS and cuDNN)"
UNSEEN = "nvidia-titan-xp"
"""Stands for a device that nobody measured."""


def left_out(case: Case) -> bool:
    """Say whether a case is not fitted: of a held-out group, or of the unseen device."""
    if spec_of(case.text("on")).name == UNSEEN:
        return True
    return held_out(case, tuple(f"workload.{name}" for name, _ in sizes_of(case)))


def fit(cases: Sequence[Case]) -> Calibration:
    """Return the fits of all sets, the cases they were fitted on, and remarks."""
    chosen = [case for case in cases if not left_out(case)]
    sets, _ = sets_of(chosen)
    fitted = dict(_fits([one for one in sets if len(one.time_s) >= FEWEST]))
    used = [place for one in sets if one.key in fitted for place in one.places]
    return {
        "case_ids": sorted(chosen[place].case_id for place in used),
        "remarks": [
            f"Nothing of {UNSEEN} was fitted: it is predicted from its nearest relative.",
            *transfer_remarks(sets, fitted),
        ],
        "fits": fitted,
    }


def _fits(sets: Sequence[KernelSet]) -> Iterator[tuple[SetKey, FamilyFit]]:
    """Return the fit of each set, that of the largest of its family and dtype being the prior."""
    priors: dict[tuple[str, str], FamilyFit] = {}
    for one in sorted(sets, key=lambda one: -len(one.time_s)):
        kind = (one.key.family, one.key.dtype)
        fit = fit_set(one, DATA, priors.get(kind))
        priors.setdefault(kind, fit)
        yield one.key, fit
