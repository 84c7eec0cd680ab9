"""Say how wrong the time of a whole run may be, from what is known of the kernels that it runs.

Each family of kernels is wrong as its fit tells, the more where that is taken over from another
device; so is the time of launches. They add up in quadrature by their shares of the time. Errors of
kernels cancel in part (`model.run_share`), but nobody measured that of what is taken over from
another maker; and whole models differ by more than their kernels (`model.run_spread`).
"""

from __future__ import annotations

import zlib
from collections.abc import Container, Iterable

import numpy as np

from hwmodels.gpu.families import Timed
from hwmodels.spec import NINETY_PERCENT, FamilyFit, Spec
from simulator.ops import FloatArray, IntArray


def run_spreads(
    timed: Iterable[Timed], run: IntArray, time_s: FloatArray, spec: Spec,
    foreign: Container[tuple[str, str]] = (),
) -> FloatArray:  # fmt: skip
    """Return the standard deviation of the logarithm of measured over predicted time of runs (r,).

    Parameters
    ----------
    timed : the kernels of all runs
    run : of which run each op is (n,)
    time_s : of each run (r,), seconds; what kernels do not take of it waits for the host
    spec : of the device, with estimates
    foreign : families, and devices of other makers from which they are taken over
    """
    left = spec.known("model.run_share")
    busy_s = np.zeros_like(time_s)
    wrong_s: dict[tuple[str, str], FloatArray] = {}
    for one in timed:
        kernels_s = np.bincount(run[one.at], one.time_s, len(time_s))
        busy_s += kernels_s
        wrong_s.setdefault((one.family, one.dtype), np.zeros_like(time_s))
        share = 1.0 if (one.family, one.fit.device) in foreign else left
        wrong_s[one.family, one.dtype] += kernels_s * _spread(one.fit, spec) * share
    total_s = np.maximum(time_s, busy_s)
    launches_s = spec.known("model.launch_spread") * (total_s - busy_s)
    squares = launches_s**2 + sum(each**2 for each in wrong_s.values())
    shares = np.sqrt(squares) / np.where(total_s > 0, total_s, 1.0)
    spreads: FloatArray = np.hypot(spec.known("model.run_spread"), shares)
    return spreads


def drawn_error(family: str, fit: FamilyFit, seed: int, share: float) -> float:
    """Return measured over predicted time of a family's kernels in a run, drawn (log-normal).

    Equal seeds draw equal errors of what was measured on one device.

    Parameters
    ----------
    family : its name
    fit : with the interval of one kernel
    seed : of the draw
    share : of that error that is left in a run
    """
    low, high = np.log(fit.error_ratio or (1.0, 1.0))
    rng = np.random.default_rng([seed, zlib.crc32(f"{family} {fit.device}".encode())])
    spread = share * (high - low) / (2 * NINETY_PERCENT)
    return float(np.exp(share * (low + high) / 2 + spread * rng.standard_normal()))


def _spread(fit: FamilyFit, spec: Spec) -> float:
    """Return the spread of kernels; of those whose error is not known, that of another maker's."""
    return spec.known("model.foreign_spread") if fit.spread is None else fit.spread
