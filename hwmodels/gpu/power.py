"""Say what an accelerator draws, and how much longer work takes under a power limit.

A *ready* device (full clocks, a program in memory) draws `ready_w`. What a program draws beyond
that at full clock is its *dynamic* power; it changes over time. Where ready and dynamic power would
exceed the limit, the clock falls until they do not, and the part of the time that follows the clock
lengthens.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from hwmodels.spec import Spec
from simulator.errors import InputError
from simulator.ops import FloatArray
from simulator.source import Source

_FILE = Path(__file__).parent.parent / "catalog" / "gpu_power.toml"
_LEVELS, _RAW = np.polynomial.hermite_e.hermegauss(7)
_SHARES = _RAW / _RAW.sum()
LEAST_LEVEL = 0.02
"""Least dynamic power at any time, over its mean; a large spread never makes it negative."""
LEAST_CLOCK = 0.1
"""Share of the clock below which it is not taken to fall."""

Amount = TypeVar("Amount", float, FloatArray)
"""One number, or one for each op."""


class Draw(NamedTuple):
    """Hold what programs (n,) do under a power limit.

    Parameters
    ----------
    power_w : mean over time, watts
    slowdown : time over that at full clock, at least 1
    """

    power_w: FloatArray
    slowdown: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Hold what programs (n,) ask of a device at full clock.

    Parameters
    ----------
    dynamic_w : beyond a ready device, mean over time, watts
    spread : standard deviation of it over time, over the mean
    sensitivity : share of the time that lengthens as the clock falls
    """

    dynamic_w: FloatArray
    spread: FloatArray
    sensitivity: FloatArray


@dataclass(frozen=True, slots=True)
class ClockLaw:
    """Say how dynamic power follows the clock.

    At a share x of the full clock it is s + (1 - s) (a x + (1 - a) x^3) of that at full clock.
    Power is capacitance times voltage squared times clock (Weste and Harris, CMOS VLSI Design,
    2011, equation 5.10); voltage falls with the clock (x^3) down to its least value (x); s is of
    what has a clock of its own, such as the memory.

    Parameters
    ----------
    linear_share : a, in (0, 1)
    still_share : s, in [0, 1)
    """

    linear_share: float
    still_share: float

    @property
    def least_dynamic(self) -> float:
        """Return the share of the dynamic power at `LEAST_CLOCK`."""
        return float(self.dynamic(np.array(LEAST_CLOCK)))

    def dynamic(self, clock: FloatArray) -> FloatArray:
        """Return the share of the dynamic power at a share of the clock (n,).

        >>> float(ClockLaw(0.5, 0.0).dynamic(np.array(0.5)))
        0.3125
        """
        cubic = self.linear_share * clock + (1 - self.linear_share) * clock**3
        share: FloatArray = self.still_share + (1 - self.still_share) * cubic
        return share

    def clock(self, dynamic: FloatArray) -> FloatArray:
        """Return the share of the clock that leaves a share of the dynamic power (n,).

        The cubic has one real root (in hyperbolic form: Holmes, The Mathematical Gazette 86, 2002).

        >>> float(ClockLaw(0.5, 0.0).clock(np.array(0.3125)).round(9))
        0.5
        """
        linear, cubic = self.linear_share, 1 - self.linear_share
        moving = np.clip((dynamic - self.still_share) / (1 - self.still_share), 0.0, 1.0)
        angle = np.arcsinh(1.5 * moving / linear * np.sqrt(3 * cubic / linear)) / 3
        root = 2 * np.sqrt(linear / (3 * cubic)) * np.sinh(angle)
        share: FloatArray = np.clip(root, LEAST_CLOCK, 1.0)
        return share


def draw(load: Load, room_w: FloatArray, ready_w: FloatArray, law: ClockLaw) -> Draw:
    """Return what programs (n,) draw, and how much longer they take, under a limit.

    The dynamic power of a program is taken as normal over time; at each of its levels the clock is
    as high as the limit allows (Gauss-Hermite quadrature over the levels).

    Parameters
    ----------
    load : what the programs ask
    room_w : what the limit leaves beyond a ready device (n,), watts
    ready_w : power of a ready device (n,), watts
    law : how power follows the clock
    """
    level = np.maximum(1 + load.spread[:, None] * _LEVELS, LEAST_LEVEL)
    asked = load.dynamic_w[:, None] * level
    clock = law.clock(room_w[:, None] / asked)
    times = _SHARES * (1 + load.sensitivity[:, None] * (1 / clock - 1))
    slowdown = times.sum(axis=1)
    mean = (times * np.minimum(asked, room_w[:, None])).sum(axis=1) / slowdown
    return Draw(ready_w + mean, slowdown)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuPower:
    """Hold the power of an accelerator; None where unknown.

    Parameters
    ----------
    idle_w : with resting clocks and no program, watts
    ready_w : with full clocks and a program, but no kernel, watts
    limit_w : power limit as sold, the highest that can be set, watts
    least_w : the lowest that can be set, watts; None: that is not known. None is set below what
        `LEAST_CLOCK` draws
    vector_w : what kernels on the ordinary units ask beyond `ready_w`, watts
    matrix_w : the same of kernels on the matrix units
    law : how dynamic power follows the clock
    limit_gain : mean power at the limit, over the limit
    sensitivity : share of the time that lengthens as the clock falls, as for training
    sources : of `ready_w`, and of all that busy units draw
    error_ratio : 5 % and 95 % quantiles of measured over predicted power of busy devices; None
        where that is unknown
    """

    idle_w: float | None
    ready_w: float | None
    limit_w: float | None
    least_w: float | None
    vector_w: float | None
    matrix_w: float | None
    law: ClockLaw
    limit_gain: float
    sensitivity: float
    sources: tuple[Source, ...]
    error_ratio: tuple[float, float] | None

    def power_w(self, limit_w: float | None = None, matrix: bool = False) -> float | None:
        """Return the mean power of a busy device, watts; None where unknown.

        Parameters
        ----------
        limit_w : power limit; None: as sold
        matrix : whether its matrix units are what is busy

        Raises
        ------
        InputError : a limit that cannot be set
        """
        busy = self._busy(limit_w, matrix)
        return None if busy is None else float(busy.power_w[0])

    def slowdown(self, limit_w: float, matrix: bool = False) -> float | None:
        """Return the time of busy programs under a limit over that at the limit as sold.

        None where unknown.

        Raises
        ------
        InputError : a limit that cannot be set
        """
        slow, fast = (self._busy(limit, matrix) for limit in (limit_w, None))
        if slow is None or fast is None:
            return None
        return float(slow.slowdown[0] / fast.slowdown[0])

    def energy_j(
        self, time_s: Amount, vector_s: Amount, matrix_s: Amount, limit_w: float | None = None
    ) -> dict[str, Amount | None]:
        """Return what is used in some time, joules by component; None where unknown.

        Parameters
        ----------
        time_s : ready power is drawn all the time, seconds
        vector_s : of which kernels on the ordinary units run, or wait for the memory, seconds
        matrix_s : the same of kernels on the matrix units; both together at most `time_s`
        limit_w : power limit; None: as sold. All times are those under it

        Raises
        ------
        InputError : a limit that cannot be set
        """
        vector, matrix = (self.power_w(limit_w, units) for units in (False, True))
        ready = self.ready_w
        if ready is None or vector is None or matrix is None:
            return {"idle": None if ready is None else ready * time_s, "compute": None}
        busy = (vector - ready) * vector_s + (matrix - ready) * matrix_s
        return {"idle": ready * time_s, "compute": busy}

    def _busy(self, limit_w: float | None, matrix: bool) -> Draw | None:
        """Return what a busy device does under a limit."""
        asked = self.matrix_w if matrix else self.vector_w
        limit = self.limit_w if limit_w is None else limit_w
        if self.ready_w is None or asked is None or limit is None or self.limit_w is None:
            return None
        if limit_w is not None:
            self._check(limit_w)
        least = self.law.least_dynamic * asked
        room = max(self.limit_gain * limit - self.ready_w, least)
        load = Load(
            dynamic_w=np.array([asked]),
            spread=np.zeros(1),
            sensitivity=np.array([self.sensitivity]),
        )
        return draw(load, np.array([room]), np.array([self.ready_w]), self.law)

    def _check(self, limit_w: float) -> None:
        """Raise where a limit cannot be set, or no clock keeps busy units below it."""
        assert self.ready_w is not None
        assert self.limit_w is not None
        asked = max(self.vector_w or 0.0, self.matrix_w or 0.0)
        low_w = (self.ready_w + self.law.least_dynamic * asked) / self.limit_gain
        why = f"which takes {100 * LEAST_CLOCK:.0f} % of its clock"
        if self.least_w is not None and self.least_w > low_w:
            low_w, why = self.least_w, "the lowest that can be set"
        if not low_w <= limit_w <= self.limit_w:
            raise InputError(f"power.limit_w: expected a power limit from {low_w:.4g} W, {why}, "
                             f"to {self.limit_w:g} W, as sold; got {limit_w:g} W")  # fmt: skip


def power_of(spec: Spec, clock: Mapping[str, Any] | None = None) -> GpuPower:
    """Return the power of an accelerator.

    Where nobody read what it draws when it is ready, that is a share of its power limit, by the
    kind of its memory. A busy CUDA device draws so much for each cycle of a multiprocessor,
    whichever it is (suite gpu-power: P100 and V100 predict each other); other makers' devices, and
    older ones, are taken to reach their limits.

    Parameters
    ----------
    spec : of the device
    clock : what is known of busy devices; None: what the file of power says

    >>> from hwmodels.devices import find_spec
    >>> power_of(find_spec("nvidia-a40")).ready_w
    90.0
    """
    clock, limit = clock or known()["clock"], spec.number("power.tdp_w")
    ready, source = _ready(spec, limit)
    left = None if limit is None or ready is None else clock["limit_gain"] * limit - ready
    alike = "compute_capability" in spec.values and (spec.number("year") or 0) >= clock["from_year"]
    vector, matrix = (
        clock[f"{unit}_j_per_sm_cycle"] * sm_cycles_per_s(spec) if alike else left
        for unit in ("vector", "matrix")
    )
    low, high = clock["error_ratio"]
    return GpuPower(
        idle_w=spec.number("power.idle_w"),
        ready_w=ready,
        limit_w=limit,
        least_w=spec.number("power.cap_low_w"),
        vector_w=vector,
        matrix_w=matrix,
        law=ClockLaw(clock["linear_share"], clock["still_share"]),
        limit_gain=clock["limit_gain"],
        sensitivity=clock["sensitivity"],
        sources=(source, _busy_source(alike)),
        error_ratio=None if None in (ready, vector, limit) else (low, high),
    )


def sm_cycles_per_s(spec: Spec) -> float:
    """Return the cycles of all multiprocessors together at boost clock, hertz.

    >>> from hwmodels.devices import find_spec
    >>> sm_cycles_per_s(find_spec("nvidia-v100-pcie-16gb")) / 1e9
    110.4
    """
    return spec.known("sms") * spec.known("clock.boost_hz")


def _busy_source(alike: bool) -> Source:
    """Return where the power of busy units is from, of a device like the measured ones or not."""
    clock = known()["clock"]
    origin = known()["sources"][clock["source"]]
    how = "for each cycle of a multiprocessor" if alike else "and taken to reach the power limit"
    return Source(
        f"power of busy units: {origin['text']}, {how}", licence=origin["licence"], kind="estimate"
    )


@functools.cache
def known() -> Mapping[str, Any]:
    """Return what the file of power says."""
    with _FILE.open("rb") as file:
        return tomllib.load(file)


def _ready(spec: Spec, limit_w: float | None) -> tuple[float | None, Source]:
    """Return the power of a device that is ready, and where it is from."""
    tables = known()
    row = tables["ready"].get(spec.name)
    if row is not None:
        origin = tables["sources"][row["source"]]
        text = f"{origin['text']}: {row['note']}"
        return row["ready_w"], Source(text, licence=origin["licence"], kind="measured")
    kind = "stacked" if str(spec.values.get("memory.type", "")).startswith("HBM") else "graphics"
    share = tables["ready_share"][kind]
    text = f"ready power: {share:g} of the power limit, as devices with {kind} memory"
    return None if limit_w is None else share * limit_w, Source(text, kind="estimate")
