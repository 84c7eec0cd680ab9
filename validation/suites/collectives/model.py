"""Predict collectives on many systems, and fit what their library and network add.

The GPUs' numbers are those of suite nccl. A system that was timed by an older library, or by calls
from Python, has three numbers of its own: what its launch adds, and factors of the latencies and of
the data's times. A network has two, in `hwmodels/catalog/calibrated/nccl/fabrics.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hwmodels.gpu.family import Parts
from hwmodels.network.nccl import parts_of
from hwmodels.network.nccl_nodes import Fabric, between_nodes, fabrics, find_fabric
from hwmodels.network.nccl_plan import Calls, Nodes, tuning, wires_of
from hwmodels.spec import FamilyFit
from simulator.errors import InputError, UnknownNameError
from simulator.ops import FloatArray
from validation.cases import Case
from validation.collective_suite import key_of, packaged_fit
from validation.conformal import ratio_interval
from validation.kernel_suite import spec_of
from validation.suite import Answer, Calibration, Prediction, Skip

ALL = (2, 3, 4, 5, 6, 7, 8)
OWN = {
    ("vTrain profiling node", "A100"): (2, 4, 8),
    ("vTrain profiling node", "V100"): ALL,
    ("vidur a100_dgx", "a100"): (2, 8),
    ("vidur h100_dgx", "h100"): (2, 8),
}
"""Systems (and GPUs) with numbers of their own, and the counts that these are fitted on.

All of the V100: what its mesh carries between so many was taken from the same rows.
"""
CALLED_FROM_PYTHON = ("vidur a100_dgx", "vidur h100_dgx")
"""Systems whose times hold launches by Python, which says nothing of others."""
NETWORKS = ("AWS p4de.24xlarge", "AWS p5.48xlarge", "CoreWeave HGX H100", "CSCS Alps")
"""Systems that tell the numbers of fabrics."""
LARGE_BYTES = 2**20
"""Messages from which on launch and latency matter less than wires."""
REMARKS = (
    "Calls of torch (vidur) below 512 KiB take 20 us at one size and 37 us at the next on the same "
    "GPUs: launches by Python, which no model of sizes tells apart.",
    "AWS p5 on EKS takes up to twice as long as AWS publishes of p5 elsewhere, on the same cards; "
    "nothing in the table says why.",
)
USUAL_SHARE = 0.85
"""Share of its cards' rate that a network is taken to reach before it was timed."""
PRIOR_SPREAD = 0.5
WILD = 0.1
"""Errors of the logarithm beyond this count less."""
UNTOUCHED = {"launch_s": 0.0, "latency": 1.0, "data": 1.0}
"""Numbers of a system that is as suite nccl measured it."""


def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict by the GPUs' packaged fits, and by the systems' numbers where they have some."""
    answers: dict[int, Answer] = {}
    alike: dict[tuple[str, ...], list[int]] = {}
    for place, case in enumerate(cases):
        found = key_of(case)
        if isinstance(found, Skip):
            answers[place] = found
        else:
            alike.setdefault(_alike(case), []).append(place)
    for places in alike.values():
        answers |= dict(zip(places, _answers([cases[i] for i in places], calibration), strict=True))
    return [answers[place] for place in range(len(cases))]


def _alike(case: Case) -> tuple[str, ...]:
    names = ("workload", "workload.dtype", "on", "on.system", "on.nodes", "on.fabric")
    return tuple(case.text(name) for name in names)


def _answers(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Return the answers to cases that differ in bytes, ranks and cards only."""
    fabric = cases[0].text("on.fabric")
    try:
        parts = system_parts(cases, find_fabric(fabric) if fabric else None)
    except (UnknownNameError, InputError) as error:
        return [Skip(str(error))] * len(cases)
    numbers = calibration.get("system", {}).get(system_of(cases[0]), UNTOUCHED)
    times = with_numbers(parts, numbers)
    low, high = _interval(cases[0], calibration)
    return [Prediction(time, time * low, time * high) for time in times.tolist()]


def _interval(case: Case, calibration: Calibration) -> tuple[float, float]:
    """Return the lowest and highest ratio of measured over predicted to expect."""
    ratios = calibration.get("error_ratio", {})
    known = ratios.get(f"{system_of(case)} | {_size(case)}") or ratios.get(_other(case))
    if known is None:
        return _fit(case).error_ratio or (1.0, 1.0)
    return known[0], known[1]


def _other(case: Case) -> str:
    return f"other systems | {_size(case)}"


def _size(case: Case) -> str:
    return "large" if case.number("workload.bytes") >= LARGE_BYTES else "small"


def _fit(case: Case) -> FamilyFit:
    key = key_of(case)
    assert not isinstance(key, Skip)
    return packaged_fit(key)


def system_of(case: Case) -> str:
    """Return whose numbers a case goes by: a system's, on a GPU, of a kind."""
    name = spec_of(case.text("on")).name
    return f"{case.text('on.system')} | {name} | {case.text('workload')}"


def system_parts(cases: Sequence[Case], fabric: Fabric | None = None) -> Parts:
    """Return what cases of one kind and GPU spend time on by the packaged numbers (n,)."""
    first, fit = cases[0], _fit(cases[0])
    calls = Calls(first.text("workload"), first.text("workload.dtype"),
                  wires_of(spec_of(first.text("on"))), _column(cases, "workload.bytes"),
                  _column(cases, "on.devices"))  # fmt: skip
    if fabric is None:
        return parts_of(calls, fit)
    nodes = Nodes(_column(cases, "on.nodes"), _column(cases, "on.nic_bytes_per_s"))
    return between_nodes(calls, nodes, fit, fabric)


def _column(cases: Sequence[Case], name: str) -> FloatArray:
    return np.array([case.number(name) for case in cases])


def with_numbers(parts: Parts, numbers: Mapping[str, float]) -> FloatArray:
    """Return the times of parts (n,) on a system with numbers of its own, seconds."""
    times: FloatArray = (numbers["launch_s"] + numbers["latency"] * parts.overhead_s
                         + numbers["data"] * parts.memory_s)  # fmt: skip
    return times


def fit(cases: Sequence[Case]) -> Calibration:
    """Return the numbers of systems and of fabrics, and by how much predictions err."""
    own = [case for case in cases if case.number("on.devices") in OWN.get(_place(case), ())]
    networks = [case for case in cases if case.text("on.system") in NETWORKS]
    found = {name: _network(networks, name) for name in fabrics()}
    return {
        "case_ids": sorted(case.case_id for case in (*own, *networks)),
        "remarks": REMARKS,
        "system": {name: _system(some) for name, some in _by_system(own).items()},
        "fabric": {name: numbers for name, numbers in found.items() if numbers},
        "error_ratio": _error_ratios(own, networks),
    }


def _place(case: Case) -> tuple[str, str]:
    return case.text("on.system"), case.text("on")


def _by_system(cases: Sequence[Case]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(system_of(case), []).append(case)
    return found


def _error_ratios(own: Sequence[Case], networks: Sequence[Case]) -> dict[str, list[float]]:
    """Return the ratios of measured over predicted to expect, by whose system and by size.

    Systems with numbers of their own are fitted without the count that is then predicted; those
    without are predicted as if none had any.
    """
    ratios: dict[str, list[float]] = {}
    for mine in _by_system(own).values():
        for some, rest in _counts_apart(mine):
            times = with_numbers(system_parts(some), _system(rest))
            _collect(ratios, lambda case: f"{system_of(case)} | {_size(case)}", some, times)
    for mine in _by_system((*own, *networks)).values():
        fabric = mine[0].text("on.fabric")
        parts = system_parts(mine, find_fabric(fabric) if fabric else None)
        if mine[0].text("on.system") not in CALLED_FROM_PYTHON:
            _collect(ratios, _other, mine, parts.time_s)
    return {name: list(ratio_interval(some)) for name, some in ratios.items() if len(some) > 1}


def _counts_apart(cases: Sequence[Case]) -> Iterator[tuple[list[Case], list[Case]]]:
    """Yield the cases of each count of GPUs, and all others."""
    counts = dict.fromkeys(case.number("on.devices") for case in cases)
    for count in counts if len(counts) > 1 else ():
        yield ([case for case in cases if case.number("on.devices") == count],
               [case for case in cases if case.number("on.devices") != count])  # fmt: skip


def _collect(
    ratios: dict[str, list[float]], name: Callable[[Case], str], cases: Sequence[Case],
    times: FloatArray,
) -> None:  # fmt: skip
    for case, time in zip(cases, times.tolist(), strict=True):
        ratios.setdefault(name(case), []).append(case.measured / time)


def _system(cases: Sequence[Case]) -> dict[str, float]:
    """Return the numbers of a system on one node."""
    parts, measured = system_parts(cases), _measured(cases)
    start = np.log([5e-6, 1.0, 1.0])

    def times(logs: FloatArray) -> FloatArray:
        return with_numbers(parts, dict(zip(UNTOUCHED, np.exp(logs), strict=True)))

    return dict(zip(UNTOUCHED, _fitted(times, measured, start), strict=True))


def _network(cases: Sequence[Case], name: str) -> dict[str, float]:
    """Return step and share of a fabric by what was timed on it; {} where nothing was."""
    mine = [case for case in cases if case.text("on.fabric") == name]
    if not mine:
        return {}
    # Where only large messages were timed, a step stays near what NCCL takes it for.
    begin_s = tuning()["step_us"]["network"]["tree"][0] * 1e-6
    pipeline_bytes = fabrics()[name].pipeline_bytes
    by_gpu = [[case for case in mine if _alike(case) == key]
              for key in dict.fromkeys(_alike(case) for case in mine)]  # fmt: skip
    measured = np.concatenate([_measured(some) for some in by_gpu])

    def times(logs: FloatArray) -> FloatArray:
        step_s, share = np.exp(logs)
        fabric = Fabric(name=name, step_s=step_s, share=min(share, 1.0),
                        pipeline_bytes=pipeline_bytes)  # fmt: skip
        return np.concatenate([system_parts(some, fabric).time_s for some in by_gpu])

    step_s, share = _fitted(times, measured, np.log([begin_s, USUAL_SHARE]))
    return {"step_s": step_s, "share": min(share, 1.0)}


def _measured(cases: Sequence[Case]) -> FloatArray:
    return np.array([case.measured for case in cases])


def _fitted(times: Any, measured: FloatArray, start: FloatArray) -> list[float]:
    """Return numbers whose logarithms stay near the first ones as far as the timings let them."""
    from scipy.optimize import least_squares

    def residuals(logs: FloatArray) -> FloatArray:
        told = (logs - start) / PRIOR_SPREAD * WILD
        return np.concatenate([np.log(times(logs)) - np.log(measured), told])

    found = least_squares(residuals, start, loss="soft_l1", f_scale=WILD, diff_step=1e-3)
    numbers: list[float] = np.exp(found.x).tolist()
    return numbers
