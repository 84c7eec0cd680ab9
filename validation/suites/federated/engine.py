"""Say how long a phone's training engine takes: cycles of its quick cores for each kind of op.

A training engine in Java is far from what a phone's vector units could do: what it does in a cycle
of a core is much the same on all phones, so that clocks and cores say how they differ. Products
(convolutions, linear layers) and what passes over whole maps go to all quick cores; recurrences,
which wait for their last step, to one. Updates are left out: one pass over all weights, which the
memory of any of the phones does in 3 % of the time or less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hwmodels.devices import find_spec
from hwmodels.spec import Spec
from simulator.errors import InputError
from simulator.ops import FloatArray, Graph
from validation.cases import Case, scenario_of
from validation.predict import workload_of

NUMBERS = ("product_flops_per_cycle", "recurrence_flops_per_cycle", "moved_bytes_per_cycle")
"""What is fitted: one of each for all phones and networks."""
PRODUCTS, RECURRENCES = ("conv2d", "gemm"), ("rnn",)

Numbers = Mapping[str, float]


def cycles_of(cases: Sequence[Case]) -> FloatArray:
    """Return the cycles of the steps of cases (cases, 3), as `cycles_s`."""
    found = [cycles_s(graph_of(case), find_spec(case.text("on"))) for case in cases]
    return np.array(found).reshape(len(cases), len(NUMBERS))


def graph_of(case: Case) -> Graph:
    """Return the ops of a case's step."""
    return workload_of(case.text("workload"), scenario_of(case).under("workload")).graph


def cycles_s(graph: Graph, phone: Spec) -> FloatArray:
    """Return how long an engine takes that does 1 of each of `NUMBERS` (3,), seconds."""
    one_hz = phone.known("clock.boost_hz")
    all_hz = phone.known("cores") * (phone.number("clock.all_core_hz") or one_hz)
    products, recurrences, moved = 0.0, 0.0, 0.0
    for op in graph:
        if op.kind in PRODUCTS:
            products += op.flops
        elif op.kind in RECURRENCES:
            recurrences += op.flops
        elif op.phase != "update":
            moved += op.bytes_read + op.bytes_written
    return np.array([products / all_hz, recurrences / one_hz, moved / all_hz])


def step_s(numbers: Numbers, cycles: FloatArray) -> FloatArray:
    """Return the times of steps that take so many cycles (steps, 3), seconds (steps,)."""
    times: FloatArray = cycles @ np.array([1.0 / numbers[name] for name in NUMBERS])
    return times


def fit_numbers(times_s: FloatArray, cycles: FloatArray) -> dict[str, float]:
    """Return the numbers by name that make the relative errors (their logarithms' squares) least.

    Parameters
    ----------
    times_s : measured (steps,)
    cycles : of the steps (steps, 3)

    Raises
    ------
    InputError : a number that no step tells anything about
    """
    from scipy.optimize import least_squares

    silent = [name for name, column in zip(NUMBERS, cycles.T, strict=True) if not column.any()]
    if silent:
        raise InputError(f"suite federated: no case to fit {', '.join(silent)} on")

    def errors(logs: FloatArray) -> FloatArray:
        found: FloatArray = np.log(cycles @ np.exp(-logs) / times_s)
        return found

    begin = np.log(cycles.sum(axis=0) / times_s.sum())
    return dict(zip(NUMBERS, np.exp(least_squares(errors, begin).x).tolist(), strict=True))
