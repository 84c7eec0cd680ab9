"""Suite federated: how long phones take to train on a batch, the work of a federated client.

Three numbers say what the training engine does in a cycle (`engine`); nothing is fitted for a phone
or for a network. Which phones are held out stands in `split.toml`.
"""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from hwmodels.devices import find_spec
from hwmodels.spec import NINETY_PERCENT
from simulator.errors import InputError, UnknownNameError
from simulator.ops import FloatArray
from validation.cases import Case
from validation.suite import Answer, Calibration, Prediction, Skip, Suite
from validation.suites.federated.baselines import BASELINES
from validation.suites.federated.convert import SUITE as NAME
from validation.suites.federated.convert import convert
from validation.suites.federated.engine import cycles_of, fit_numbers, step_s

Group = Callable[[Case], str]


@functools.cache
def held_out_phones() -> frozenset[str]:
    """Return the phones of which no case is fitted."""
    path = Path(__file__).parent / "split.toml"
    return frozenset(tomllib.loads(path.read_text(encoding="utf-8"))["held_out_phones"])


def phone_of(case: Case) -> str:
    """Return the catalog's name of a case's phone."""
    return find_spec(case.text("on")).name


def network_of(case: Case) -> str:
    """Return the network of a case, as its table calls it."""
    return case.group


GROUPS: Mapping[str, Group] = {"phone": phone_of, "network": network_of}


def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict the cycles of a step at what the engine does in one."""
    return [_predicted(case, calibration) for case in cases]


def _predicted(case: Case, calibration: Calibration) -> Answer:
    if "engine" not in calibration:
        return Skip("nothing was fitted")
    try:
        value = float(step_s(calibration["engine"], cycles_of([case]))[0])
    except (InputError, UnknownNameError) as error:
        return Skip(str(error))
    wide = math.exp(NINETY_PERCENT * float(calibration["spread"]["new_phone"]))
    return Prediction(value, value / wide, value * wide)


def fit(cases: Sequence[Case]) -> Calibration:
    """Return the engine's numbers, their spread on new phones, the fitted cases, and remarks.

    Raises
    ------
    InputError : too few cases to fit
    """
    chosen = [case for case in cases if phone_of(case) not in held_out_phones()]
    if not chosen:
        raise InputError("suite federated: no case to fit")
    apart = ratios_apart(chosen, phone_of)
    return {
        "case_ids": sorted(case.case_id for case in chosen),
        "remarks": [
            *remarks(cases),
            "The form of the model (which ops go to one core, that updates do not count) and the "
            "phone that is held out were chosen after the errors of all 12 cases had been seen, so "
            "that the held-out phone tests the three fitted numbers, not the form.",
            "FLASH names the phones by the nearest of AI Benchmark's list; tables of single layers "
            "beside them are of a Nexus 6, a Redmi Note 8 and a Galaxy Note 10 "
            "(models/utils/device_util/regression.py), so that the slowest may be another phone.",
        ],
        "engine": fit_numbers(_measured(chosen), cycles_of(chosen)),
        "spread": {"new_phone": float(np.sqrt(np.mean(np.log(apart) ** 2)))},
    }


def ratios_apart(cases: Sequence[Case], group: Group) -> FloatArray:
    """Return predicted over measured of cases, each by a fit without its group (cases,)."""
    measured, cycles = _measured(cases), cycles_of(cases)
    names = np.array([group(case) for case in cases])
    found = np.empty(len(cases))
    for name in np.unique(names):
        out = names == name
        if out.all():
            raise InputError(f"suite federated: nothing but '{name}' to fit")
        numbers = fit_numbers(measured[~out], cycles[~out])
        found[out] = step_s(numbers, cycles[out]) / measured[out]
    return found


def _measured(cases: Sequence[Case]) -> FloatArray:
    return np.array([case.measured for case in cases])


def remarks(cases: Sequence[Case]) -> Iterable[str]:
    """Say how wrong the model is on phones and networks that are left out of the fit."""
    numbers = fit_numbers(_measured(cases), cycles_of(cases))
    every = step_s(numbers, cycles_of(cases)) / _measured(cases)
    lines: list[tuple[str, FloatArray, Group]] = [("All cases fitted", every, phone_of)]
    for what, group in GROUPS.items():
        try:
            apart = ratios_apart(cases, group)
        except InputError:
            continue
        lines.append((f"Each {what} left out in turn", apart, group))
    for what, ratios, by in lines:
        errors = 100 * np.abs(ratios - 1)
        names = [by(case) for case in cases]
        each = ", ".join(
            f"{name} {errors[[one == name for one in names]].mean():.1f} %"
            for name in dict.fromkeys(names)
        )
        yield f"{what}: MAPE {errors.mean():.1f} % ({each})."


def groups(case: Case) -> Sequence[str]:
    """Return the groups of a case: its network and its phone."""
    return (network_of(case), phone_of(case))


SUITE = Suite(
    name=NAME,
    summary="a phone's training on one batch, as clients of federated learning do it",
    predict=predict,
    baselines=BASELINES,
    convert=convert,
    fit=fit,
    groups=groups,
)
