"""Say how wrong the time of a whole run may be, from what is known of the kernels that it runs.

Each family of kernels is wrong as its fit tells, the more where that is taken over from another
device; so is the time of launches. They add up in quadrature by their shares of the time. Errors of
kernels cancel in part (`model.run_share`), and whole models differ by more than their kernels
(`model.run_spread`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from hwmodels.gpu.families import Timed
from hwmodels.spec import FamilyFit, Spec


def run_spread(timed: Iterable[Timed], time_s: float, spec: Spec) -> float:
    """Return the standard deviation of the logarithm of measured over predicted time of a run.

    Parameters
    ----------
    timed : its kernels
    time_s : of the run, seconds; what kernels do not take of it waits for the host to launch them
    spec : of the device, with estimates
    """
    busy_s, wrong_s = 0.0, defaultdict[tuple[str, str], float](float)
    for one in timed:
        kernels_s = float(one.time_s.sum())
        busy_s += kernels_s
        wrong_s[one.family, one.dtype] += kernels_s * _spread(one.fit, spec)
    total_s = max(time_s, busy_s)
    if not total_s:
        return spec.known("model.run_spread")
    kernels = spec.known("model.run_share") * math.hypot(*wrong_s.values()) / total_s
    launches = spec.known("model.launch_spread") * (total_s - busy_s) / total_s
    return math.hypot(spec.known("model.run_spread"), kernels, launches)


def _spread(fit: FamilyFit, spec: Spec) -> float:
    """Return the spread of kernels; of those whose error is not known, that of another maker's."""
    return spec.known("model.foreign_spread") if fit.spread is None else fit.spread
