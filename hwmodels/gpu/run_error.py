"""Say how wrong the time of a whole run may be, from what is known of the kernels that it runs.

What a fit leaves over on its own device differs from kernel to kernel and averages out over them.
What is taken over from another device is wrong for all kernels of a family alike, and so is the
time of launches. All add up in quadrature by their shares of the time. Errors of kernels cancel in
part (`model.run_share`), and whole models differ by more than their kernels (`model.run_spread`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from hwmodels.gpu.families import Timed
from hwmodels.spec import Spec
from simulator.ops import FloatArray


def run_spread(timed: Iterable[Timed], time_s: float, spec: Spec) -> float:
    """Return the standard deviation of the logarithm of measured over predicted time of a run.

    Parameters
    ----------
    timed : its kernels
    time_s : of the run, seconds; what kernels do not take of it waits for the host to launch them
    spec : of the device, with estimates
    """
    kernels = _by_family(timed)
    busy_s = sum(float(one.time_s.sum()) for one in kernels)
    total_s = max(time_s, busy_s)
    if not total_s:
        return spec.known("model.run_spread")
    squares = 0.0
    for one in kernels:
        own, borrowed = one.fit.own_spread, one.fit.borrowed_spread
        if own is None:
            own, borrowed = 0.0, spec.known("model.foreign_spread")
        squares += (own * _root_of_squares(one.time_s)) ** 2
        squares += (borrowed * float(one.time_s.sum())) ** 2
    left = spec.known("model.run_share") * math.sqrt(squares)
    launches = spec.known("model.launch_spread") * (total_s - busy_s)
    return math.hypot(spec.known("model.run_spread"), left / total_s, launches / total_s)


def _by_family(timed: Iterable[Timed]) -> list[Timed]:
    """Return the kernels of each family and dtype together."""
    found: dict[tuple[str, str], list[Timed]] = {}
    for one in timed:
        found.setdefault((one.family, one.dtype), []).append(one)
    return [each[0]._replace(time_s=np.concatenate([one.time_s for one in each]))
            for each in found.values()]  # fmt: skip


def _root_of_squares(time_s: FloatArray) -> float:
    """Return the root of the summed squares of the times of different kernels.

    Kernels that take equally long are taken for one that runs as often.
    """
    each, counts = np.unique(time_s, return_counts=True)
    return float(np.linalg.norm(each * counts))
