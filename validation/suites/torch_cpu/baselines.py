"""Predict the same cases more simply: rooflines, boosted trees, and each op timed by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from hwmodels.cpu import Cpu
from hwmodels.roofline import roofline_s
from hwmodels.this_machine import this_machine
from simulator.errors import InputError
from simulator.ops import DTYPES, PHASES, FloatArray, Graph
from simulator.workload import Workload
from validation.cases import Case, scenario_of
from validation.predict import workload_of
from validation.suite import Answer, Calibration, Predict, Prediction, Skip

BOOSTING_S = 40.0
"""How long random programs are timed for the boosted trees, seconds."""
StepTime = Callable[[Workload, int], float]


def ideal(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
    """Predict that n threads are n times as fast."""
    return [
        Prediction(case.number("plan.threads")) if case.metric == "speedup"
        else Skip("says nothing of times") for case in cases
    ]  # fmt: skip


def by_step_time(step_s: StepTime, most_threads: int = 2) -> Predict:
    """Return the prediction of cases from a function that gives the time of a step."""

    def run(cases: Sequence[Case], calibration: Calibration) -> Sequence[Answer]:
        return [_answer(case, step_s, most_threads) for case in cases]

    return run


def _answer(case: Case, step_s: StepTime, most_threads: int) -> Answer:
    threads = int(case.number("plan.threads"))
    if threads > most_threads:
        return Skip(f"is made for at most {most_threads} threads")
    workload = workload_of(case.text("workload"), scenario_of(case).under("workload"))
    if case.metric == "step_time_s":
        return Prediction(step_s(workload, threads))
    return Prediction(step_s(workload, 1) / step_s(workload, threads))


def datasheet_roofline_s(workload: Workload, threads: int) -> float:
    """Return the time of a step by the datasheet's peak and bandwidth, seconds."""
    return float(roofline_s(workload.graph, this_machine(), threads).sum())


def calibrated_roofline_s(workload: Workload, threads: int) -> float:
    """Return the time of a step by one measured peak and one measured bandwidth, seconds."""
    device = this_machine()
    if not isinstance(device, Cpu):
        raise InputError(f"'{device.name}' is no CPU: it has no measured peak and bandwidth")
    rates = device.rates
    peak = max(r.rate_per_s for (name, dtype), r in rates.families.items()
               if name in ("gemm", "addmm", "mm") and dtype == "float32")  # fmt: skip
    memory = rates.levels[-1]
    bandwidth = min(threads * memory.bandwidth_bytes_per_s, memory.shared_bytes_per_s)
    graph = workload.graph
    longer = np.maximum(graph.flops / (threads * peak), graph.bytes_moved / bandwidth)
    return float(longer.sum())


@lru_cache(maxsize=256)
def replayed_s(workload: Workload, threads: int) -> float:
    """Return the time of a step as the sum of its ops, each timed by itself, seconds.

    What the framework takes between the ops is added as this machine's calibration has it.
    """
    from validation.torch_insitu import Program
    from validation.torch_measure import hold_still
    from validation.torch_replay import replay_s
    from validation.torch_twins import twin

    made = twin(workload)
    hold_still(made)
    weights = list(made.module.parameters())
    ops = replay_s(Program(lambda set_phase: made.step(), weights), threads).sum()
    device = this_machine()
    between = device.rates.framework_s if isinstance(device, Cpu) else {}
    phases = [PHASES[phase] for phase in workload.graph.phase]
    return float(ops + sum(between.get(phase, 0.0) for phase in phases))


def boosted_s(workload: Workload, threads: int) -> float:
    """Return the time of a step as boosted trees have learned from random programs, seconds."""
    return float(np.exp(_boosted()(workload.graph)).sum())


@lru_cache(maxsize=1)
def _boosted() -> Callable[[Graph], FloatArray]:
    """Return the trees' logarithm of each op's time, fitted on programs that are timed now."""
    import time

    from sklearn.ensemble import HistGradientBoostingRegressor

    from validation.fit_cpu import Timing
    from validation.torch_timings import recipes, time_recipe

    timings: list[Timing] = []
    begin = time.perf_counter()
    for recipe in recipes():
        made = time_recipe(recipe)
        timings += [] if made is None else [made[1]]
        if time.perf_counter() - begin > BOOSTING_S:
            break
    names = sorted({name for timing in timings for name in timing.graph.names})
    features = np.concatenate([op_features(timing.graph, names) for timing in timings])
    logs = np.log(np.concatenate([timing.times_s for timing in timings]).clip(1e-9))
    trees = HistGradientBoostingRegressor(max_iter=400, random_state=0).fit(features, logs)
    return lambda graph: np.asarray(trees.predict(op_features(graph, names)), float)


def op_features(graph: Graph, names: Sequence[str]) -> FloatArray:
    """Return what the trees see of each op (n, features): name, dtype, amounts and sizes."""
    code = {name: number for number, name in enumerate(names)}
    named = np.array([code.get(name, -1) for name in graph.names])[graph.name]
    amounts = [graph.flops, graph.bytes_read, graph.bytes_written, graph.allocated_bytes]
    width = np.array([DTYPES.index("float32") == dtype for dtype in graph.dtype])
    return np.column_stack(
        [named, graph.kind, width, graph.phase, *map(np.log1p, amounts), np.log1p(graph.dims)]
    )


BASELINES: Mapping[str, Predict] = {
    "datasheet roofline": by_step_time(datasheet_roofline_s),
    "calibrated roofline": by_step_time(calibrated_roofline_s),
    "boosted trees": by_step_time(boosted_s, most_threads=1),
    "each op timed alone (replay)": by_step_time(replayed_s),
    "ideal scaling": ideal,
}
