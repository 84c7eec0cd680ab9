"""Predict collectives more simply: alpha-beta lines, rings by the datasheet, another simulator."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from hwmodels.network.nccl_plan import wires_of
from simulator.ops import FloatArray
from validation.cases import Case
from validation.collective_suite import CollectiveSet, sets_of
from validation.kernel_suite import spec_of
from validation.suite import Answer, Calibration, Predict, Prediction, Skip, find_suite

ASTRA_SIM = Path(__file__).parent / "suites" / "nccl" / "astra_sim.toml"
"""What another simulator says of one system."""

Rule = Callable[[CollectiveSet, CollectiveSet | None], "FloatArray | None"]
"""From the collectives of a set, and those of it that were fitted, to times."""


def ring_steps(kind: str, ranks: FloatArray) -> FloatArray:
    """Return the steps of a ring (n,), each of a part of the message."""
    return (ranks - 1) * (2.0 if kind == "all_reduce" else 1.0)


def datasheet_ring(one: CollectiveSet, fitted: CollectiveSet | None) -> FloatArray:
    """Return the bandwidth term of a ring on the wire's datasheet (n,)."""
    sizes = one.timings.sizes
    part = sizes["bytes"] / sizes["ranks"]
    rate = wires_of(spec_of(one.key.device)).bytes_per_s
    times: FloatArray = ring_steps(one.key.family, sizes["ranks"]) * part / rate
    return times


def astra_sim(one: CollectiveSet, fitted: CollectiveSet | None) -> FloatArray | None:
    """Return ring steps by ASTRA-sim's file (n,); None for other devices."""
    file = tomllib.loads(ASTRA_SIM.read_text(encoding="utf-8"))
    if file["device"] != one.key.device:
        return None
    sizes = one.timings.sizes
    step = file["latency_s"] + sizes["bytes"] / sizes["ranks"] / file["bandwidth_bytes_per_s"]
    times: FloatArray = np.asarray(ring_steps(one.key.family, sizes["ranks"]) * step, float)
    return times


def alpha_beta(one: CollectiveSet, fitted: CollectiveSet | None) -> FloatArray | None:
    """Return launch, latency a step and bandwidth (n,), fitted to the set with relative errors."""
    from scipy.optimize import nnls

    if fitted is None:
        return None
    measured = fitted.timings.time_s
    found, _ = nnls(_terms(fitted) / measured[:, None], np.ones(len(measured)))
    times: FloatArray = np.maximum(_terms(one) @ found, measured.min() / 2)
    return times


def _terms(one: CollectiveSet) -> FloatArray:
    sizes = one.timings.sizes
    steps = ring_steps(one.key.family, sizes["ranks"])
    return np.stack([np.ones(len(steps)), steps, steps * sizes["bytes"] / sizes["ranks"]], axis=1)


def baseline(rule: Rule, suite: str) -> Predict:
    """Return a baseline that sees the same packaged rows as the model."""

    def run(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
        ids = set(calibration.get("case_ids", ()))
        packaged = find_suite(suite).cases() if ids else ()
        known, _ = sets_of([case for case in packaged if case.case_id in ids])
        fitted = {one.key: one for one in known}
        sets, skipped = sets_of(cases)
        answers: dict[int, Answer] = dict(skipped)
        for one in sets:
            answers |= _answers(one, rule(one, fitted.get(one.key)))
        return [answers[place] for place in range(len(cases))]

    return run


def _answers(one: CollectiveSet, times: FloatArray | None) -> dict[int, Answer]:
    if times is None:
        return dict.fromkeys(one.places, Skip("nothing of this device is known to this baseline"))
    return {place: Prediction(time) for place, time in zip(one.places, times.tolist(), strict=True)}


RULES: Mapping[str, Rule] = {
    "alpha-beta fit": alpha_beta,
    "ring on the datasheet": datasheet_ring,
    "ASTRA-sim's HGX-H100": astra_sim,
}


def baselines(suite: str) -> Mapping[str, Predict]:
    """Return all baselines of a suite of collectives."""
    return {name: baseline(rule, suite) for name, rule in RULES.items()}
