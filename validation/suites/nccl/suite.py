"""Suite nccl: collectives of NCCL on 2 to 8 GPUs of one node."""

from __future__ import annotations

from collections.abc import Sequence

from hwmodels.network.nccl_fits import PACKAGED
from validation.cases import Case
from validation.collective_baselines import baselines
from validation.collective_suite import fit_sets, predict_by, sets_of, transfer_remarks
from validation.kernel_suite import held_out
from validation.suite import Answer, Calibration, Suite
from validation.suites.nccl.convert import SUITE as NAME
from validation.suites.nccl.convert import convert

GROUP = ("workload", "workload.bytes")
"""A size of a kind is held out on all GPUs, in all dtypes and counts."""


def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict by the packaged fits of each device, or of its nearest relative."""
    return predict_by(cases)


def fit(cases: Sequence[Case]) -> Calibration:
    """Return the fits of all devices, on the sizes that are not held out."""
    chosen = [case for case in cases if not held_out(case, GROUP)]
    sets, _ = sets_of(chosen)
    fits = fit_sets(sets, "suite nccl (aiconfigurator 0.12.0, nccl-tests)")
    used = {place for one in sets if one.key in fits for place in one.places}
    return {
        "case_ids": sorted(chosen[place].case_id for place in used),
        "remarks": [*transfer_remarks(sets, fits)],
        "fits": fits,
        "fits_folder": PACKAGED,
    }


def groups(case: Case) -> Sequence[str]:
    """Return the device, the count, and the kind of a case."""
    return (case.text("on"), f"{case.text('on.devices')} GPUs", case.text("workload"))


SUITE = Suite(
    name=NAME,
    summary="collectives of NCCL on the GPUs of one node",
    predict=predict,
    baselines=baselines(NAME),
    convert=convert,
    fit=fit,
    groups=groups,
)
