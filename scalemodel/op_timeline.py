"""Look into a step: a timeline of its ops, where one rank does one op after another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulator.errors import InputError
from simulator.run import Run
from simulator.timeline import Span, Timeline


def op_timeline(run: Run) -> Timeline:
    """Return the run's timeline; where one rank does whole steps alone, with a span for each op.

    Raises
    ------
    InputError : the run was made without a timeline

    >>> from simulator.scenario import Scenario
    >>> from validation.predict import predict
    >>> run = predict(Scenario(workload="mlp", on="raspberry-pi-4"), record=True)
    >>> [span.name for span in op_timeline(run)][:2]
    ['addmm', 'relu']
    """
    if run.timeline is None:
        raise InputError("this run was made without a timeline; predict with record=True")
    if run.placement.size > 1:
        return run.timeline
    device = run.machine.devices[run.placement.devices[0]]
    times = device.times_s(run.workload.graph, run.placement.threads[0])
    whole = float(times.sum())
    steps = [span for span in run.timeline if span.kind == "compute"]
    if not all(np.isclose(span.duration_s, whole, rtol=1e-6) for span in steps):
        return run.timeline
    return Timeline.of(op for step in steps for op in _ops(run, step, np.cumsum(times)))


def _ops(run: Run, step: Span, ends_s: np.ndarray) -> Iterator[Span]:
    graph, start = run.workload.graph, step.start_s
    for name, end in zip(graph.name.tolist(), (step.start_s + ends_s).tolist(), strict=True):
        yield Span(start, end, step.rank, "compute", graph.names[name])
        start = end
