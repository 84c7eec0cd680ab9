"""Measure the energy of a workload's real step, where this machine has a meter."""

from __future__ import annotations

import time
from collections.abc import Sequence

from simulator.workload import Workload
from validation.meters import Meter, find_meters, metered
from validation.torch_measure import hold_still
from validation.torch_threads import settle_allocator, torch_threads
from validation.torch_twins import Twin, twin

METERED_S = 1.0
"""Counters of energy change about a thousand times a second; this long, that is 0.1 %."""


def measure_energy_j(workload: Workload, threads: int = 1, *, seed: int = 0) -> float | None:
    """Return the energy of one step, of the whole machine, joules; None where there is no meter.

    Parameters
    ----------
    workload : one that has a twin in torch
    threads : that torch may use for one op
    seed : of weights and inputs

    Raises
    ------
    UnknownNameError : no twin is registered for this workload
    InputError : fewer than one thread
    """
    meters = find_meters()
    if not meters:
        return None
    made = twin(workload, seed)
    hold_still(made)
    settle_allocator()
    with torch_threads(threads):
        return energy_of_step_j(made, meters)


def energy_of_step_j(made: Twin, meters: Sequence[Meter]) -> float | None:
    """Return the energy of one step of a twin by these meters, joules; None without any."""
    made.step()
    steps = 0
    begin = time.perf_counter()
    with metered(meters) as reading:
        while time.perf_counter() - begin < METERED_S or not steps:
            made.step()
            steps += 1
    return None if reading.total_j is None else reading.total_j / steps
