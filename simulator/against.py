"""Say how many times as fast one run is as another, and how sure that is.

Both runs are simulated again with their devices' calibrated numbers drawn from their spreads; the
same seed draws the same error for a number that both share, so that shared errors cancel. What
the calibration does not know (the error of whole runs) is drawn as well: once for both where
machine and workload are the same, else for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from simulator.errors import InputError
from simulator.ops import FloatArray
from simulator.protocols import Calibrated, Device, Machine, Network, Sourced
from simulator.run import Run
from simulator.simulate import simulate

DRAWS, DRAWS_OF_MANY = 200, 50
"""As many draws give P(faster) to about 3 %; those of runs of several ranks, which take longer, to
about 6 %."""

_Z_90 = 1.6448536269514722
"""A normal value lies within this many standard deviations in 90 % of cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Hold how many times as fast one run is as another.

    Parameters
    ----------
    value : throughput of the first over that of the second
    low, high : 5 % and 95 % quantile over the draws; None where a device has no spreads
    p_faster : share of the draws in which the first is faster (ties count half); None likewise
    draws : how many
    seed : of the draws
    """

    value: float
    low: float | None
    high: float | None
    p_faster: float | None
    draws: int
    seed: int

    def __str__(self) -> str:
        if self.low is None or self.p_faster is None:
            return f"{_times(self.value)} times as fast (how sure is unknown: no calibration)"
        return (f"{_times(self.value)} times as fast (90 %: {_times(self.low)} to "
                f"{_times(self.high)}); P(faster) = {self.p_faster:.1%}")  # fmt: skip


def _times(ratio: float | None) -> str:
    """Return a ratio as people read it, with more digits where it is nearly 1."""
    if ratio is None:
        return "unknown"
    return f"{ratio:.3g}" if abs(ratio - 1.0) >= 0.01 else f"{ratio:.5g}"


def against(
    first: Run,
    second: Run,
    *,
    draws: int | None = None,
    seed: int = 0,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> Ratio:
    """Return how many times as fast the first run is as the second.

    Costs two simulations a draw.

    Parameters
    ----------
    first, second : what is compared, by samples per second
    draws : how many times both are drawn, at least 20; None: 200, or 50 where there are several
        ranks
    seed : of the draws
    tell : is told how many simulations of how many are done

    Raises
    ------
    InputError : too few draws
    """
    if draws is None:
        draws = DRAWS if first.placement.size == second.placement.size == 1 else DRAWS_OF_MANY
    if draws < 20:
        raise InputError(f"draws: expected at least 20, got {draws}")
    value = first.throughput / second.throughput
    if not (_has_spreads(first) and _has_spreads(second)):
        return Ratio(value=value, low=None, high=None, p_faster=None, draws=0, seed=seed)
    ratios = _drawn_throughput(first, draws, seed, lambda done: tell(done, 2 * draws))
    ratios /= _drawn_throughput(second, draws, seed, lambda done: tell(draws + done, 2 * draws))
    ratios = ratios * _model_error(first, second, draws, seed)
    low, high = np.quantile(ratios, [0.05, 0.95])
    faster = (ratios > 1).mean() + (ratios == 1).mean() / 2
    return Ratio(value=value, low=min(float(low), value), high=max(float(high), value),
                 p_faster=float(faster), draws=draws, seed=seed)  # fmt: skip


def _has_spreads(run: Run) -> bool:
    return run.interval is not None and all(isinstance(d, Calibrated) for d in _devices(run))


def _devices(run: Run) -> Iterator[Device]:
    return (run.machine.devices[index] for index in set(run.placement.devices))


def _drawn_throughput(
    run: Run, draws: int, seed: int, tell: Callable[[int], None]
) -> FloatArray:  # fmt: skip
    """Return the throughput in each draw (draws,), samples per second."""
    times = []
    for draw in range(draws):
        again = simulate(run.workload, _drawn(run.machine, seed + draw), run.plan, steps=run.steps,
                         seed=run.seed, record=False)  # fmt: skip
        times.append(again.step_time_s)
        tell(draw + 1)
    return run.samples_per_step / np.array(times)


def _drawn(machine: Machine, seed: int) -> Machine:
    """Return the machine with all calibrated numbers drawn; equal devices stay one object."""
    new: dict[int, Device] = {}
    for device in machine.devices:
        if id(device) not in new:
            new[id(device)] = _part_drawn(device, seed)
    network = None if machine.network is None else _part_drawn(machine.network, seed)
    return replace(machine, devices=[new[id(d)] for d in machine.devices], network=network)


Part = TypeVar("Part", Device, Network)


def _part_drawn(part: Part, seed: int) -> Part:
    return part.drawn(seed) if isinstance(part, Sourced) else part


def _model_error(first: Run, second: Run, draws: int, seed: int) -> FloatArray:
    """Return factors of the ratio that come from the error of whole runs (draws,)."""
    if (first.machine.name, first.workload.name) == (second.machine.name, second.workload.name):
        return np.ones(draws)
    normal = np.random.default_rng([seed, 1]).standard_normal((2, draws))
    # Measured over predicted *time*: a longer time is a lower throughput.
    return np.exp(_log_error(second, normal[1]) - _log_error(first, normal[0]))


def _log_error(run: Run, normal: FloatArray) -> FloatArray:
    """Return the logarithm of measured over predicted time, whose quantiles are the interval."""
    assert run.interval is not None
    low, high = (math.log(end / run.step_time_s) for end in run.interval)
    return (low + high) / 2 + (high - low) / (2 * _Z_90) * normal
