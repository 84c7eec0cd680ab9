"""Fit one number for each GPU on half of the cases, and judge it by leaving out GPUs and networks.

The number says how many times as long steps take as the model says. It is drawn towards 1 as if
`PRIOR` more had been as predicted, so that one step alone says little. All cases of one
network on one GPU are fitted together or held out together; of some GPUs all are held out.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from hwmodels.devices import find_spec
from simulator.errors import InputError
from validation.cases import Case
from validation.suite import Calibration
from validation.suites.gpu_model.steps import predicted_step

PARTS = 2
"""One in so many groups is held out."""
PRIOR = 1.0
"""So many steps as predicted are added to those of a GPU."""

Scales = Mapping[str, float]
"""How many times as long steps take, by GPU."""


def held_out(case: Case) -> bool:
    """Say whether a case is held out: by its GPU alone, or by its GPU and network."""
    if gpu_of(case) in new_gpus():
        return True
    group = f"{gpu_of(case)}|{network_of(case)}"
    return int(hashlib.sha256(group.encode()).hexdigest(), 16) % PARTS == 0


@functools.cache
def new_gpus() -> frozenset[str]:
    """Return the GPUs of which all cases are held out."""
    path = Path(__file__).parent / "split.toml"
    return frozenset(tomllib.loads(path.read_text(encoding="utf-8"))["held_out_gpus"])


def gpu_of(case: Case) -> str:
    """Return the catalog's name of a case's GPU, however the case spells it."""
    return find_spec(case.text("on")).name


def network_of(case: Case) -> str:
    """Return the network of a case, with its width where that is not the workload's own."""
    width = case.settings.get("workload.width")
    return case.text("workload") + (f" {width:g} wide" if isinstance(width, float) else "")


def fit(cases: Sequence[Case]) -> Calibration:
    """Return the numbers of all GPUs, the spreads, the cases they were fitted on, and remarks.

    Raises
    ------
    InputError : no case to fit
    """
    chosen = [case for case in cases if not held_out(case)]
    if not chosen:
        raise InputError("suite gpu-model: no case to fit")
    ratios = measured_over_predicted(cases)
    own = {case.case_id: ratios[case.case_id] for case in chosen}
    return {
        "case_ids": sorted(case.case_id for case in chosen),
        "remarks": list(remarks(cases, ratios)),
        "scale": scales(chosen, own),
        "spread": {
            "known_gpu": _spread(np.array(list(without_network(chosen, own).values()))),
            "new_gpu": _spread(np.array(list(own.values()))),
        },
    }


def measured_over_predicted(cases: Iterable[Case]) -> Mapping[str, float]:
    """Return measured time over that of the model alone, by case_id."""
    return {case.case_id: case.measured / predicted_step(case).value for case in cases}


def scales(cases: Sequence[Case], ratios: Mapping[str, float]) -> dict[str, float]:
    """Return each GPU's number: the mean of the logarithms of its ratios, drawn towards 0."""
    found: dict[str, list[float]] = {}
    for case in cases:
        found.setdefault(gpu_of(case), []).append(float(np.log(ratios[case.case_id])))
    return {name: float(np.exp(sum(logs) / (len(logs) + PRIOR))) for name, logs in found.items()}


def scale_of(case: Case, known: Scales) -> tuple[float, bool]:
    """Return a case's number, and whether its GPU has one: its own, or one of its architecture."""
    spec = find_spec(case.text("on"))
    if spec.name in known:
        return float(known[spec.name]), True
    alike = [float(scale) for name, scale in known.items()
             if find_spec(name).architecture == spec.architecture]  # fmt: skip
    return (float(np.median(alike)), True) if alike else (1.0, False)


def without_network(cases: Sequence[Case], ratios: Mapping[str, float]) -> dict[str, float]:
    """Return measured over predicted of each case, by numbers fitted without its network."""
    found: dict[str, float] = {}
    for network in dict.fromkeys(network_of(case) for case in cases):
        known = scales([case for case in cases if network_of(case) != network], ratios)
        for case in cases:
            if network_of(case) == network:
                found[case.case_id] = ratios[case.case_id] / scale_of(case, known)[0]
    return found


def _spread(ratios: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Return the root mean square of the logarithms of ratios."""
    return float(np.sqrt(np.mean(np.log(ratios) ** 2)))


def remarks(cases: Sequence[Case], ratios: Mapping[str, float]) -> Iterable[str]:
    """Say how wrong the model is on GPUs and networks that are left out."""
    lines = (
        ("As if no step had been measured on any GPU", ratios, gpu_of),
        ("GPUs known, each network left out in turn", without_network(cases, ratios), network_of),
    )
    for what, found, group in lines:
        errors: dict[str, list[float]] = {}
        for case in cases:
            errors.setdefault(group(case), []).append(abs(1 / found[case.case_id] - 1))
        listed = ", ".join(f"{name} {100 * np.mean(each):.1f} %" for name, each in errors.items())
        every = 100 * np.mean([error for each in errors.values() for error in each])
        yield f"{what}: MAPE {every:.1f} % ({listed})."
