"""Measure the real step of a workload in torch."""

from __future__ import annotations

from simulator.workload import Workload
from validation.clean import Clocks
from validation.machine_record import MachineRecord
from validation.measure import Effort, Measurement, measure
from validation.torch_threads import settle_allocator, torch_threads
from validation.torch_twins import Twin, twin


def measure_workload(
    workload: Workload,
    threads: int = 1,
    *,
    effort: Effort | None = None,
    seed: int = 0,
    clocks: Clocks | None = None,
    record: MachineRecord | None = None,
) -> Measurement:
    """Return how long one step of a workload takes on this machine.

    While it is measured the learning rate is 0, so that the same step can be repeated: training on
    one batch for long drives numbers to where the processor is slow (denormals).

    Parameters
    ----------
    workload : one that has a twin in torch
    threads : that torch may use for one op
    effort : how long to measure; None: the usual
    seed : of weights and inputs
    clocks, record : as of `validation.measure.measure`

    Raises
    ------
    UnknownNameError : no twin is registered for this workload
    InputError : fewer than one thread

    >>> from workloads.registry import find_workload
    >>> measure_workload(find_workload("mlp", batch=2, width=8)).clock
    'thread cpu time'
    """
    made = twin(workload, seed)
    hold_still(made)
    settle_allocator()
    with torch_threads(threads):
        return measure(made.step, name=workload.name, threads=threads, effort=effort,
                       clocks=clocks, record=record)  # fmt: skip


def hold_still(made: Twin) -> None:
    """Let the twin's optimizer work without changing the weights."""
    if made.optimizer is not None:
        for group in made.optimizer.param_groups:
            group["lr"] = 0.0
