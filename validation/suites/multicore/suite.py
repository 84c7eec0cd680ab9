"""Suite multicore: gradient boosting on one machine, larger core counts from 12 and fewer."""

from __future__ import annotations

from collections.abc import Sequence

from validation.cases import Case
from validation.suite import Suite
from validation.suites.multicore.baselines import ideal, law
from validation.suites.multicore.calibrate import fit
from validation.suites.multicore.convert import SUITE as NAME
from validation.suites.multicore.convert import convert
from validation.suites.multicore.forecast import predict


def groups(case: Case) -> Sequence[str]:
    """Return the kind of team, the tool and the machine of a case."""
    return (case.group, case.text("workload.tool"), case.text("on"))


SUITE = Suite(
    name=NAME,
    summary="training time of gradient boosting by cores, sockets and SMT siblings",
    predict=predict,
    baselines={"ideal": ideal, "amdahl": law("amdahl"), "ernest": law("ernest")},
    convert=convert,
    fit=fit,
    groups=groups,
)
