"""Bind what the simulator leaves open to the catalog and the registry of workloads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.scenario import Scenario, Value
from simulator.sweep_chunks import Evaluate
from simulator.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

    from simulator.sweep import Progress


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
    from validation.what_if import WhatIf

    evaluate = WhatIf() if evaluate is None else evaluate
    return swept(grid, evaluate, base, out=out, executor=executor, progress=progress)


def capture(module: Any, inputs: Any, **options: Any) -> Workload:
    """Return the workload of a torch module, which can be measured by its name from then on.

    See `workloads.capture.capture` for the options.
    """
    from validation.torch_capture import capture_and_register

    return capture_and_register(module, inputs, **options)
