"""Choose what is fitted and what is held out, and say how well both come out.

One point of each curve of two tables, that of one GPU, is given to predictions. Of the others,
three whole networks are held out, the largest number of GPUs of each study, and all of NVIDIA's and
Horovod's; what is left (InceptionV3 and AlexNet on K80s) tells the pace of a K80 beside the other
GPU of its board.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hwmodels.devices import find_device
from hwmodels.spec import spec_of
from hwmodels.system_files import find_system
from simulator.errors import InputError
from simulator.ops import FloatArray
from validation.cases import Case
from validation.conformal import group_factor
from validation.suite import Answer, Calibration, Prediction
from validation.suites.train_cnn.convert import ABSOLUTE, GOOGLE
from validation.suites.train_cnn.model import absolute, curve_of, predict

HELD_OUT = ("resnet50", "resnet152", "vgg16")
"""Networks of which no point is fitted."""
LARGEST = {"host": 8, "gpus": 8, "all-reduce": 8, "hosts": 64}
"""Most GPUs of TensorFlow's studies, by how variables are updated; they are held out."""
BOARD = "nvidia-k80"
"""The device whose pace on a full board is fitted."""


def known_points(cases: Sequence[Case]) -> dict[str, float]:
    """Return the throughput on one GPU by case_id, 1/s, of curves whose first point is given."""
    return {case.case_id: case.measured for case in cases
            if case.number("on.devices") == 1 and case.group != ABSOLUTE}  # fmt: skip


def is_fitted(case: Case) -> bool:
    """Say whether a case, of more than one GPU, is fitted."""
    return (
        case.group == GOOGLE
        and case.text("workload") not in HELD_OUT
        and 1 < case.number("on.devices") < LARGEST[case.text("plan.update")]
    )


def fit(cases: Sequence[Case]) -> Calibration:
    """Return the known points, the pace of a K80 on a full board, and remarks.

    The pace is what the catalog shall say: predictions take it from there.

    Raises
    ------
    InputError : no case to fit
    """
    known = known_points(cases)
    fitted = [case for case in cases if is_fitted(case)]
    if not fitted:
        raise InputError("suite train-cnn: no case to fit")
    ratios = _ratios(fitted, predict(fitted, {"known": known}))
    pace = spec_of(find_device(BOARD)).known("board.pace")
    on_boards = [find_system(case.text("on")).text("device") == BOARD for case in fitted]
    return {
        "case_ids": sorted([*known, *(case.case_id for case in fitted)]),
        "remarks": list(_remarks(cases, known)),
        "board_pace": pace * float(np.median(ratios[on_boards])),
        "error_factor": group_factor(ratios, [_setting(case) for case in fitted]),
        "known": known,
    }


def _setting(case: Case) -> tuple[str, ...]:
    """Return what a new case differs from old ones by: its system, network and way to update."""
    return case.text("on"), case.text("workload"), case.text("plan.update")


def _ratios(cases: Sequence[Case], answers: Sequence[Answer]) -> FloatArray:
    """Return measured over predicted of each case that was predicted."""
    return np.array([case.measured / answer.value
                     for case, answer in zip(cases, answers, strict=True)
                     if isinstance(answer, Prediction)])  # fmt: skip


def _remarks(cases: Sequence[Case], known: Mapping[str, float]) -> Sequence[str]:
    more = [case for case in cases if curve_of(case).case_id in known
            and case.number("on.devices") > 1]  # fmt: skip
    judged = [case for case in more if not is_fitted(case)]
    google = [case for case in judged if case.group == GOOGLE]
    parts = (("all", judged), ("TensorFlow's", google))
    relative = [f"{name} {_errors(some, predict(some, {'known': known}))}" for name, some in parts]
    networks = dict.fromkeys(case.text("on") for case in cases)
    alone = [f"{name} {_errors(some, absolute(some, {}))}" for name in networks
             if (some := [case for case in cases if case.text("on") == name])]  # fmt: skip
    return (
        f"The first point of each curve known, more GPUs held out: {'; '.join(relative)}.",
        f"By op graph, device and network alone, one GPU and more: "
        f"all {_errors(cases, absolute(cases, {}))}; {'; '.join(alone)}.",
        "One number is fitted: the pace of a K80 whose board's other GPU computes too "
        "(`board.pace` in the catalog), on InceptionV3 and AlexNet with 2 to 4 GPUs of one node, "
        "and 8 to 32 of several. All else comes from datasheets, measured copies and plans.",
        "What Kepler's schedulers feed of its peak (`vector.issue_share`) is a published figure, "
        "looked up because steps on one K80 came out a quarter too quick. P100s ran TensorFlow of "
        "2017, whose kernels are slower than those that they were timed with since.",
        "Grouped convolutions were counted anew, as products, after ResNeXt's errors here had been "
        "seen (streaming alone was a third too quick), so that its rows do not test that "
        "independently.",
        "Tables of NVIDIA do not tell all batches: 256 images a GPU are taken in mixed precision, "
        "128 in others.",
    )


def _errors(cases: Sequence[Case], answers: Sequence[Answer]) -> str:
    sizes = 100 * np.abs(1 / _ratios(cases, answers) - 1)
    return f"median {np.median(sizes):.1f} %, mean {sizes.mean():.1f} % of {len(sizes)}"
