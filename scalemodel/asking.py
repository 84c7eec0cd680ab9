"""Bind what the simulator leaves open to the catalog and the registry of workloads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import InputError
from simulator.formula import check_whole
from simulator.scenario import Scenario, Value

if TYPE_CHECKING:
    import pandas as pd

    from simulator.sweep import Progress
    from simulator.sweep_chunks import Evaluate
    from simulator.workload import Workload
    from validation.measure import Measurement


def sweep(
    grid: Mapping[str, Iterable[Value]],
    base: Scenario,
    evaluate: Evaluate | None = None,
    *,
    out: str | Path | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return one row a point of a grid; see `simulator.sweep.sweep`.

    Parameters
    ----------
    grid : the values of each name, dotted or one of the scenario's fields
    base : what holds at every point
    evaluate : None: predict
    out, executor, progress : as of `simulator.sweep.sweep`

    >>> from scalemodel import Scenario
    >>> base = Scenario(workload="mlp", on="raspberry-pi-4")
    >>> frame = sweep({"plan.threads": [1, 2, 4], "workload.batch": [1, 64]}, base)
    >>> len(frame), bool((frame["step_time_s"] > 0).all())
    (6, True)
    """
    from simulator.sweep import sweep as swept
    from validation.what_if import WhatIf, stamp_of

    if not isinstance(base, Scenario):
        raise InputError(f"base: expected a Scenario, got {base!r}")
    stamp = stamp_of([base.on, *map(str, grid.get("on", ()))]) if evaluate is None else ""
    return swept(grid, evaluate or WhatIf(), base, out=out, executor=executor, progress=progress,
                 stamp=stamp)  # fmt: skip


def capture(module: Any, inputs: Any, **options: Any) -> Workload:
    """Return the workload of a step of the user's own torch module, which can be measured too.

    Parameters
    ----------
    module : any module
    inputs : what it is called with: a tensor, a shape, a sequence or a mapping of them
    options : loss, target, optimizer, training, name: as of `workloads.capture.capture`

    Raises
    ------
    InputError : torch is not installed, or the step cannot be captured
    """
    with torch_needed("capturing"):
        from validation.torch_capture import capture_and_register
    return capture_and_register(module, inputs, **options)


def measure(
    workload: Workload, threads: int = 1, *, budget_s: float = 2.0, seed: int = 0
) -> Measurement:
    """Return what one step of a workload takes on this machine, done in torch.

    Parameters
    ----------
    workload : of the registry, or captured
    threads : that torch may use
    budget_s : how long to measure, seconds
    seed : of weights and inputs

    Raises
    ------
    InputError : torch is not installed, fewer than one thread, or a seed that torch does not take
    DoesNotFitError : the step needs more memory than this machine has
    """
    check_whole("threads", threads, 1)
    check_whole("seed", seed, 0)
    if seed >= TOO_LARGE_SEED:
        raise InputError(f"seed: torch takes seeds below 2**63, got {seed}")
    with torch_needed("measuring"):
        from validation.torch_measure import measure_workload
    from validation.measure import Effort

    _check_fits(workload, threads)
    return measure_workload(workload, threads, effort=Effort(budget_s=budget_s), seed=seed)


TOO_LARGE_SEED = 2**63
"""torch keeps seeds in 64 bits with a sign."""


def _check_fits(workload: Workload, threads: int) -> None:
    """Raise before memory or threads are asked for that this machine does not have."""
    from hwmodels.this_machine import this_machine
    from simulator.memory import peak_memory
    from simulator.workload import Workload
    from validation.ranks import check_fits_here

    if not isinstance(workload, Workload):
        raise InputError(f"workload: expected a Workload, got {workload!r}; find_workload gives "
                         "one by its name")  # fmt: skip
    most = this_machine().max_threads
    if threads > most:
        raise InputError(f"threads: this machine has {most} threads, got {threads}")
    check_fits_here(workload.name, peak_memory(workload)["total"])


def measure_energy_j(workload: Workload, threads: int = 1, *, seed: int = 0) -> float | None:
    """Return the energy of one step on this machine, joules; None where it has no meter.

    Arguments and errors as of `measure`.
    """
    with torch_needed("measuring"):
        from validation.torch_energy import measure_energy_j as measured_j
    return measured_j(workload, threads, seed=seed)


@contextmanager
def torch_needed(what: str) -> Iterator[None]:
    """Say that torch is not installed where an import inside the block fails for it."""
    try:
        yield
    except ImportError as error:
        if (error.name or "").split(".")[0] != "torch":
            raise
        raise InputError(f"{what} needs torch, which is not installed: "
                         "pip install 'scalemodel[torch]'") from None  # fmt: skip
