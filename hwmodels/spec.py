"""Hold what is known of a device: numbers with their sources, apart from any model of it.

A `Spec` has two kinds of number: *fields* (datasheet facts, keys as in `hwmodels.schema`) and the
numbers of a `Calibration` (fitted to measurements, each with its spread).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hwmodels.schema import SCHEMAS, Schema, Value
from hwmodels.system_schema import PART_SCHEMAS
from simulator.errors import InputError
from simulator.protocols import Device
from simulator.source import Source

NINETY_PERCENT = 1.645
"""Standard deviations from the middle to either end of a 90 % interval of a normal variable."""

USER = Source("set by the user", kind="user")


@dataclass(frozen=True, slots=True)
class Number:
    """Hold a fitted number.

    Parameters
    ----------
    value : in the inside unit that its name says
    spread : standard deviation of the logarithm of the value (0.05: about 5 %)
    """

    value: float
    spread: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FamilyFit:
    """Hold what was fitted of one family of kernels in one dtype.

    Parameters
    ----------
    numbers : of the family's form, by name
    spreads : standard deviation of the logarithm of each number; 0 where absent
    correction : logarithms on the grid of the family's axes, flat; () is none
    error_ratio : 5 % and 95 % quantiles of measured over predicted time of one kernel; None:
        unknown
    data : what it was fitted on
    device : that was measured; for another one it is borrowed
    """

    numbers: Mapping[str, float]
    spreads: Mapping[str, float] = field(default_factory=dict)
    correction: tuple[float, ...] = ()
    error_ratio: tuple[float, float] | None = None
    data: str = ""
    device: str = ""

    @property
    def spread(self) -> float | None:
        """Return the standard deviation of the logarithm of a kernel's time; None: unknown."""
        if self.error_ratio is None:
            return None
        low, high = self.error_ratio
        return math.log(high / low) / (2 * NINETY_PERCENT)

    def widened(self, spread: float) -> FamilyFit:
        """Return what another device takes over: its errors have so much more spread."""
        low, high = self.error_ratio or (1.0, 1.0)
        wider = math.exp(NINETY_PERCENT * spread)
        return replace(self, error_ratio=(low / wider, high * wider))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """Hold the numbers fitted to one machine.

    Parameters
    ----------
    numbers : by dotted name ("gemm.float32.peak_flop_per_s")
    data : what was fitted: which measurements, how many
    date : day of the measurements, "2026-11-23"
    machine : what was measured
    software : library and build that was measured
    error_ratio : 5 % and 95 % quantiles of measured over predicted time of whole runs; None: not
        known
    reference : the fields of the device that was measured; a device with other fields (another
        clock, wider vectors) scales the numbers by their ratio
    reference_name, reference_architecture : of that device
    is_borrowed : whether it is of another machine than the one that uses it
    families : what was fitted of families of kernels, by (family, dtype)
    """

    numbers: Mapping[str, Number]
    data: str
    date: str
    machine: str = ""
    software: str = ""
    error_ratio: tuple[float, float] | None = None
    reference: Mapping[str, Value] = field(default_factory=dict)
    reference_name: str = ""
    reference_architecture: str = ""
    is_borrowed: bool = False
    families: Mapping[tuple[str, str], FamilyFit] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Return how many numbers there are."""
        fits = self.families.values()
        return len(self.numbers) + sum(len(fit.numbers) + len(fit.correction) for fit in fits)

    def drawn(self, seed: int) -> Calibration:
        """Return the calibration with each number drawn from its spread (log-normal).

        Equal seeds draw equal errors for calibrations of one and the same machine.
        """
        names = sorted(self.numbers)
        machine = zlib.crc32(f"{self.reference_name} {self.date}".encode())
        errors = np.random.default_rng([seed, machine]).standard_normal(len(names))
        drawn = {
            name: Number(self.numbers[name].value * math.exp(self.numbers[name].spread * error))
            for name, error in zip(names, errors.tolist(), strict=True)
        }
        return replace(self, numbers=drawn)

    def borrowed(self, spread: float) -> Calibration:
        """Return the calibration as another machine takes it over: with wider spreads.

        Parameters
        ----------
        spread : standard deviation of the logarithm, of what the other machine does differently
        """
        numbers = {name: replace(number, spread=math.hypot(number.spread, spread))
                   for name, number in self.numbers.items()}  # fmt: skip
        ratio = self.error_ratio or (1.0, 1.0)
        wider = math.exp(NINETY_PERCENT * spread)
        return replace(self, numbers=numbers, error_ratio=(ratio[0] / wider, ratio[1] * wider),
                       is_borrowed=True)  # fmt: skip

    @property
    def source(self) -> Source:
        """Return where the numbers come from."""
        parts = (self.data, self.machine, self.software, self.date)
        note = ""
        if self.is_borrowed:
            note = (f"taken over from {self.reference_name} ({self.reference_architecture}), "
                    "scaled by clock, vector width and memory bandwidth")  # fmt: skip
        return Source(", ".join(part for part in parts if part), kind="calibrated", note=note)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spec:
    """Hold what is known of one device, link or system.

    Parameters
    ----------
    kind : one of `hwmodels.schema.SCHEMAS`, or of `hwmodels.system_schema.PART_SCHEMAS`
    name : in the catalog
    title : the maker's name
    architecture : the maker's or designer's name of the core ("zen3")
    values : fields by key, in inside units; what is absent is unknown
    sources : where each field comes from, by key
    others : what other sources say of a field, by key
    calibration : fitted numbers; None where the device was not measured
    """

    kind: str
    name: str
    title: str
    architecture: str
    values: Mapping[str, Value]
    sources: Mapping[str, Source]
    others: Mapping[str, tuple[tuple[Value, Source], ...]] = field(default_factory=dict)
    calibration: Calibration | None = None

    @property
    def schema(self) -> Schema:
        """Return what fields a thing of this kind has."""
        return SCHEMAS.get(self.kind) or PART_SCHEMAS[self.kind]

    @property
    def called(self) -> str:
        """Return its name with what it is, for errors."""
        return f"{'device' if self.kind in SCHEMAS else self.kind} '{self.name}'"

    def number(self, key: str) -> float | None:
        """Return a number, None where unknown."""
        value = self.values.get(key)
        return None if value is None else float(value)

    def known(self, key: str) -> float:
        """Return a number that the model cannot do without.

        Raises
        ------
        InputError : it is unknown
        """
        value = self.values.get(key)
        if value is None:
            raise InputError(f"{self.called} does not say {key}")
        return float(value)

    def replaced(self, **changes: Any) -> Spec:
        """Return the spec with other attributes."""
        return replace(self, **changes)

    def with_estimates(self, values: Mapping[str, Value], sources: Mapping[str, Source]) -> Spec:
        """Return the spec with these values where its own are unknown."""
        new = {key: value for key, value in values.items() if key not in self.values}
        if not new:
            return self
        origin = {key: sources[key] for key in new}
        return replace(self, values={**self.values, **new}, sources={**self.sources, **origin})

    def with_fields(self, changes: Mapping[str, object]) -> Spec:
        """Return the spec with other values, by dotted key; strings may carry units.

        Raises
        ------
        UnknownNameError : a key that a device of this kind does not have
        InputError : a value that is impossible, alone or beside the others
        """
        where = self.called
        values = dict(self.values)
        for key, raw in changes.items():
            one = self.schema.field(key, where)
            values[key] = one.parse(_plain(raw))
        try:
            self.schema.check(values)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        sources = dict(self.sources) | dict.fromkeys(changes, USER)
        return replace(self, values=values, sources=sources)


def spec_of(device: Device) -> Spec:
    """Return what is known of a device that `hwmodels.devices` made.

    Raises
    ------
    InputError : a device that has no datasheet
    """
    spec = getattr(device, "spec", None)
    if not isinstance(spec, Spec):
        raise InputError(f"device '{device.name}' has no datasheet: no fields that could be shown "
                         "or changed")  # fmt: skip
    return spec


def _plain(raw: object) -> object:
    return raw.item() if isinstance(raw, np.generic) else raw
