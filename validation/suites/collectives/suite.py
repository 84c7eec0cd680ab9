"""Suite collectives: NCCL on many systems, most of them known by their datasheets only."""

from __future__ import annotations

from collections.abc import Sequence

from validation.cases import Case
from validation.collective_baselines import baselines
from validation.suite import Suite
from validation.suites.collectives.convert import SUITE as NAME
from validation.suites.collectives.convert import convert
from validation.suites.collectives.model import LARGE_BYTES, fit, predict


def groups(case: Case) -> Sequence[str]:
    """Return the system, one node or several, and the count of a case; its size where large."""
    nodes = case.settings.get("on.nodes")
    named = [case.group, "one node" if nodes is None else "several nodes",
             f"{case.text('on.devices')} GPUs"]  # fmt: skip
    if case.number("workload.bytes") >= LARGE_BYTES:
        named.append(f"{case.group}, from 1 MiB")
    return named


SUITE = Suite(
    name=NAME,
    summary="collectives of NCCL on many systems, on one node and several",
    predict=predict,
    baselines=baselines(NAME),
    convert=convert,
    fit=fit,
    groups=groups,
)
