"""Suite train-cnn: training throughput of convolutional networks, by simulation."""

from __future__ import annotations

from collections.abc import Sequence

from validation.cases import Case
from validation.suite import Suite
from validation.suites.train_cnn.baselines import BASELINES
from validation.suites.train_cnn.convert import GOOGLE, NVIDIA, convert
from validation.suites.train_cnn.convert import SUITE as NAME
from validation.suites.train_cnn.model import predict
from validation.suites.train_cnn.splits import fit

RELATIVE = "several GPUs, one known"


def groups(case: Case) -> Sequence[str]:
    """Return the study of a case, its system, network, number of GPUs and kind of data.

    Where the throughput of one GPU is given, more GPUs are a group as well.
    """
    data, several = case.text("workload.data"), case.number("on.devices") > 1
    relative = several and case.group in (GOOGLE, NVIDIA)
    return (case.group, case.text("on"), case.text("workload"), f"{case.text('on.devices')} GPUs",
            *([f"{data} data"] if data else []), *([RELATIVE] if relative else []))  # fmt: skip


SUITE = Suite(
    name=NAME,
    summary="training throughput of convolutional networks on 1 to 512 GPUs, from that of one GPU",
    predict=predict,
    baselines=BASELINES,
    convert=convert,
    fit=fit,
    groups=groups,
)
