"""Predict ops of the table by the model of the GPU and the fitted numbers of each op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hwmodels.devices import find_device
from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.device import Gpu
from hwmodels.gpu.families import costs_of
from simulator.errors import InputError, UnknownNameError
from simulator.ops import FloatArray
from validation.cases import Case
from validation.kernel_suite import spec_of
from validation.suite import Answer, Calibration, Prediction, Skip
from validation.suites.gpu_llm_ops.ops import DTYPE, FORMS, graph_of

GROUP = "workload.model"
"""All cases of a model are fitted together or held out together."""


class OpFit(NamedTuple):
    """Hold the numbers of an op.

    Parameters
    ----------
    times : how many times as long as by the model a product takes
    floor_s, share : time of an empty kernel, seconds, and share of the memory bandwidth; None: the
        op is timed by the model
    """

    times: float = 1.0
    floor_s: float | None = None
    share: float | None = None

    def table(self) -> dict[str, float]:
        """Return the numbers that are known, by name."""
        named = zip(self._fields, self, strict=True)
        return {name: value for name, value in named if value is not None}


def kernels_s(cases: Sequence[Case]) -> FloatArray:
    """Return the time of each case's kernel (n,) by the model of its GPU alone, seconds.

    Raises
    ------
    InputError : a device without half precision, or none that runs kernels
    """
    times = np.zeros(len(cases))
    for name in dict.fromkeys(case.text("on") for case in cases):
        at = [place for place, case in enumerate(cases) if case.text("on") == name]
        device = find_device(name)
        if not isinstance(device, Gpu):
            raise InputError(f"device '{device.name}' is no accelerator")
        graph = graph_of([cases[place] for place in at])
        times[at] = costs_of(graph, device.chip, device.fits).time_s
    return times


def streamed_bytes(cases: Sequence[Case]) -> FloatArray:
    """Return what each case moves (n,), bytes; 0 where it is a product."""
    graph = graph_of(cases)
    moved: FloatArray = np.where(graph.flops > 0, 0.0, graph.bytes_moved)
    return moved


def op_s(cases: Sequence[Case], fit: OpFit) -> FloatArray:
    """Return the time of cases of one op (n,) by its numbers, seconds."""
    if fit.share is None or fit.floor_s is None:
        return kernels_s(cases) * fit.times
    rates = [chip_of(spec_of(case.text("on"))).bandwidth_bytes_per_s for case in cases]
    time: FloatArray = fit.floor_s + streamed_bytes(cases) / (np.array(rates) * fit.share)
    return time


def predict(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict ops; those whose numbers were not fitted by the model of the GPU alone."""
    answers: dict[int, Answer] = {}
    places: dict[str, list[int]] = {}
    for place, case in enumerate(cases):
        why = _unknown(case)
        if why:
            answers[place] = Skip(why)
        else:
            places.setdefault(case.text("workload"), []).append(place)
    for name, at in places.items():
        fitted = dict(calibration.get("op", {}).get(name, {}))
        low, high = fitted.pop("error_ratio", (None, None))
        times = op_s([cases[place] for place in at], OpFit(**fitted))
        for place, time in zip(at, times.tolist(), strict=True):
            ends = (None if end is None else end * time for end in (low, high))
            answers[place] = Prediction(time, *ends)
    return [answers[place] for place in range(len(cases))]


def _unknown(case: Case) -> str:
    """Return why a case cannot be predicted; "" if it can."""
    if case.text("workload") not in FORMS:
        return f"no op is called '{case.text('workload')}'"
    try:
        chip_of(spec_of(case.text("on"))).peak_flop_per_s(DTYPE)
    except (InputError, UnknownNameError) as error:
        return str(error)
    return ""
