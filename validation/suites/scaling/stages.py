"""Find the stage that predicts a case: a fit that knows runs on so many devices and fewer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from validation.cases import Case

UNKNOWN = "nothing was fitted of this application on this system"


def devices(case: Case) -> float:
    """Return how many devices a case has."""
    return float(case.count("on.devices"))


def stage_of(systems: Mapping[str, Any], case: Case) -> tuple[int, Mapping[str, Any]] | None:
    """Return the stage that predicts a case, and its largest number of devices; None: unknown."""
    stages = {int(most): stage for most, stage in systems.get(case.text("on"), {}).items()}
    if not stages:
        return None
    below = [most for most in stages if most < devices(case)]
    most = max(below) if below else min(stages)
    return (most, stages[most]) if case.text("workload") in stages[most]["app"] else None
