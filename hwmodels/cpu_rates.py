"""Get the rates of a CPU: from its own calibration, from a relative's, or from the datasheet.

A calibration holds for one machine. For a relative the numbers are scaled by what the two
datasheets say: arithmetic by operations per cycle and clock, memory by bandwidth, all else by
clock. Without any calibration only the datasheet is left, which is too fast by a factor of 2 to 4.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from typing import Any

import numpy as np

from hwmodels.cpu_cost import CpuRates, FamilyRate, Level
from hwmodels.cpu_forms import FLOP_KINDS, FORMS
from hwmodels.schema import Value
from hwmodels.spec import Calibration, Number, Spec
from simulator.errors import FileError, InputError, UnknownNameError
from simulator.ops import DTYPES, KINDS, PHASES

RESOURCES = ("arithmetic", "cache.bandwidth", "memory.bandwidth", "dispatch")
"""What can bind a graph on a CPU; no two of them speed up the same thing."""


def numbers_of(rates: CpuRates, spreads: Mapping[str, float] | None = None) -> dict[str, Number]:
    """Return all numbers of the rates by dotted name, as a calibration stores them.

    Parameters
    ----------
    rates : what calibration found
    spreads : standard deviation of the logarithm, by dotted name; 0 where absent
    """
    flat = _flat(rates.to_table())
    spreads = spreads or {}
    return {name: Number(value, spreads.get(name, 0.0)) for name, value in flat.items()}


def _flat(table: Mapping[str, Any], where: str = "") -> dict[str, float]:
    """Return the leaves of nested tables by dotted name."""
    flat: dict[str, float] = {}
    for name, value in table.items():
        inside = isinstance(value, Mapping)
        flat |= _flat(value, f"{where}{name}.") if inside else {where + name: float(value)}
    return flat


@functools.lru_cache(maxsize=32)
def rates_of(calibration: Calibration) -> CpuRates:
    """Return the rates that a calibration stores.

    Raises
    ------
    InputError : a number that no CPU has, or one that is missing or impossible; `UnknownNameError`
        if the former
    """
    tree = _tree(calibration.numbers)
    family, level = tree.pop("family", {}), tree.pop("level", {})
    single = _checked(CpuRates, tree, "")
    families = {
        (name, dtype): FamilyRate(**_checked(FamilyRate, numbers, f"family.{name}.{dtype}."))
        for name, dtypes in _tables(family, "family")
        for dtype, numbers in _tables(dtypes, f"family.{name}")
    }
    levels = tuple(_levels(level))
    for what, found in (("family", families), ("level", levels)):
        if not found:
            raise InputError(f"calibrated number '{what}. ...' is missing (cut off?)")
    return CpuRates(families=families, levels=levels, **single)


def _levels(table: object) -> Iterable[Level]:
    """Give the levels, nearest first; they stand under their place, 0 is the nearest."""
    places = dict(_tables(table, "level"))
    for place in places:
        if not place.isdecimal():
            raise UnknownNameError("calibrated number", f"level.{place}", ["level.0"])
    for place in sorted(places, key=int):
        for name, numbers in _tables(places[place], f"level.{place}"):
            known = {"capacity_bytes": np.inf, **numbers}
            yield Level(name=name, **_checked(Level, known, f"level.{place}.{name}."))


def _tree(flat: Mapping[str, Number]) -> dict[str, Any]:
    """Return the numbers as nested tables."""
    tree: dict[str, Any] = {}
    for name, number in flat.items():
        *path, last = name.split(".")
        inside: Any = tree
        for part in path:
            inside = inside.setdefault(part, {})
            if not isinstance(inside, dict):
                raise InputError(f"calibrated number '{name}' lies inside another number")
        inside[last] = number.value
    return tree


def _tables(table: object, where: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    entries = table.items() if isinstance(table, dict) else [("", table)]
    for name, inside in entries:
        if not isinstance(inside, dict):
            raise InputError(f"calibrated number '{where}.{name}' is not inside a table")
        yield name, inside


_APART = ("families", "levels", "name")
"""Fields of the classes that are not numbers, or are stored under names of their own."""

_POSITIVE = ("rate_per_s", "capacity_bytes", "bandwidth_bytes_per_s", "shared_bytes_per_s")
_INSIDE: Mapping[str, Sequence[str]] = {
    "half": sorted({size for form in FORMS.values() for size in form.sizes}),
    "framework_s": PHASES,
}
"""What the tables among the numbers may hold."""


def _checked(
    kind: type[CpuRates | FamilyRate | Level], numbers: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Return the numbers of a class, known, complete and possible; a share is at most 1."""
    known = {one.name: one for one in fields(kind) if one.name not in _APART}
    _check_names(numbers, known, where)
    for name, one in known.items():
        if one.default is MISSING and one.default_factory is MISSING and name not in numbers:
            raise InputError(f"calibrated number '{where}{name}' is missing")
    for name, value in numbers.items():
        if isinstance(value, dict) != (name in _INSIDE):
            what = "a table" if name in _INSIDE else "a number"
            raise InputError(f"calibrated number '{where}{name}': expected {what}, got {value!r}")
        if name in _INSIDE:
            _check_names(value, _INSIDE[name], f"{where}{name}.")
        if name in _POSITIVE and not value > 0:
            raise InputError(f"calibrated number '{where}{name}': expected more than 0")
    shares = {name: min(numbers[name], 1.0) for name in ("parallel",) if name in numbers}
    return {**numbers, **shares}


def _check_names(numbers: Iterable[str], known: Iterable[str], where: str) -> None:
    for name in numbers:
        if name not in known:
            raise UnknownNameError("calibrated number", where + name, [where + k for k in known])


def rates_for(spec: Spec) -> CpuRates:
    """Return the rates of one thread of this CPU.

    Raises
    ------
    FileError : the calibration is not of a CPU
    """
    calibration = spec.calibration
    if calibration is None:
        return datasheet_rates(spec)
    try:
        stored = rates_of(calibration)
    except InputError as error:
        device = calibration.reference_name or spec.name
        raise FileError(f"device '{device}'", str(error), "calibration.numbers") from None
    rates = scaled_rates(stored, spec.values, calibration.reference)
    return _with_own_memory(rates, spec) if calibration.is_borrowed else rates


def _with_own_memory(rates: CpuRates, spec: Spec) -> CpuRates:
    """Return the rates with what this CPU's threads share, not the few cores that were measured."""
    shared = spec.known("memory.bandwidth_bytes_per_s") * (spec.number("model.memory_share") or 1.0)
    *caches, memory = rates.levels
    free = (replace(cache, shared_bytes_per_s=np.inf) for cache in caches)
    return replace(rates, levels=(*free, replace(memory, shared_bytes_per_s=shared)))


def with_more(rates: CpuRates, resource: str, factor: float) -> CpuRates:
    """Return the rates with so many times of one of `RESOURCES`."""
    if resource == "arithmetic":
        quicker = {key: replace(rate, rate_per_s=rate.rate_per_s * factor)
                   for key, rate in rates.families.items()}  # fmt: skip
        return replace(rates, families=quicker)
    if resource == "dispatch":
        return _quicker_dispatch(rates, factor)
    *caches, memory = rates.levels
    if resource == "memory.bandwidth":
        return replace(rates, levels=(*caches, _wider(memory, factor)))
    return replace(rates, levels=(*(_wider(cache, factor) for cache in caches), memory))


def _quicker_dispatch(rates: CpuRates, factor: float) -> CpuRates:
    families = {
        key: replace(rate, dispatch_s=rate.dispatch_s / factor,
                     far_dispatch_s=rate.far_dispatch_s / factor)
        for key, rate in rates.families.items()
    }  # fmt: skip
    return replace(
        rates,
        families=families,
        fork_s=rates.fork_s / factor,
        fork_per_thread_s=rates.fork_per_thread_s / factor,
        framework_s={phase: time / factor for phase, time in rates.framework_s.items()},
    )


def _wider(level: Level, factor: float) -> Level:
    return replace(
        level,
        bandwidth_bytes_per_s=level.bandwidth_bytes_per_s * factor,
        shared_bytes_per_s=level.shared_bytes_per_s * factor,
    )


def datasheet_rates(spec: Spec) -> CpuRates:
    """Return the rates that a datasheet promises: every op at peak or at memory bandwidth.

    >>> from hwmodels.devices import find_spec
    >>> datasheet_rates(find_spec("rpi4-bcm2711")).families["gemm", "float32"].rate_per_s
    12000000000.0
    """
    clock = spec.known("clock.boost_hz")
    peaks = tuple(clock * flops_per_cycle(spec.values, dtype) for dtype in DTYPES)
    bandwidth = spec.known("memory.bandwidth_bytes_per_s")
    one = spec.number("memory.core_bandwidth_bytes_per_s") or bandwidth
    memory = Level(name="DRAM", capacity_bytes=np.inf, bandwidth_bytes_per_s=one,
                   shared_bytes_per_s=bandwidth)  # fmt: skip
    return CpuRates(families=_datasheet_families(peaks), levels=(memory,))


@functools.lru_cache(maxsize=256)
def _datasheet_families(peaks: tuple[float, ...]) -> Mapping[tuple[str, str], FamilyRate]:
    """Return every family at the peak of its dtype; without multiply-add at half of it."""
    return {
        (kind, dtype): FamilyRate(rate_per_s=peak if kind in FLOP_KINDS else peak / 2)
        for dtype, peak in zip(DTYPES, peaks, strict=True)
        for kind in KINDS
    }


def flops_per_cycle(values: Mapping[str, Value], dtype: str) -> float:
    """Return operations per cycle of one core; a dtype without units of its own runs as float32."""
    own = values.get(f"flops_per_cycle.{dtype}")
    return float(values["flops_per_cycle.float32"] if own is None else own)


def scaled_rates(
    rates: CpuRates, here: Mapping[str, Value], there: Mapping[str, Value]
) -> CpuRates:
    """Return rates found on one CPU as they would be on another.

    Parameters
    ----------
    rates : what calibration found there
    here : fields of the CPU that is asked for
    there : fields of the CPU that was measured
    """
    clock = _ratio(here, there, "clock.boost_hz")
    families = {
        (family, dtype): replace(
            rate,
            rate_per_s=rate.rate_per_s
            * clock * flops_per_cycle(here, dtype) / flops_per_cycle(there, dtype),
            dispatch_s=rate.dispatch_s / clock,
            far_dispatch_s=rate.far_dispatch_s / clock,
        )
        for (family, dtype), rate in rates.families.items()
    }  # fmt: skip
    return replace(
        rates,
        families=families,
        levels=tuple(_scaled_level(level, here, there) for level in rates.levels),
        fork_s=rates.fork_s / clock,
        fork_per_thread_s=rates.fork_per_thread_s / clock,
        fault_s_per_byte=rates.fault_s_per_byte / clock,
        framework_s={phase: time / clock for phase, time in rates.framework_s.items()},
    )


_SIZES = {"L1": "cache.l1d_bytes", "L2": "cache.l2_bytes", "L3": "cache.l3_bytes"}


def _scaled_level(level: Level, here: Mapping[str, Value], there: Mapping[str, Value]) -> Level:
    if level.name in _SIZES:
        clock = _ratio(here, there, "clock.boost_hz")
        size = _ratio(here, there, _SIZES[level.name])
        return replace(
            level,
            capacity_bytes=level.capacity_bytes * size,
            bandwidth_bytes_per_s=level.bandwidth_bytes_per_s * clock,
            shared_bytes_per_s=level.shared_bytes_per_s * clock,
        )
    one = _ratio(here, there, "memory.core_bandwidth_bytes_per_s")
    all_cores = _ratio(here, there, "memory.bandwidth_bytes_per_s")
    return replace(
        level,
        bandwidth_bytes_per_s=level.bandwidth_bytes_per_s * one,
        shared_bytes_per_s=level.shared_bytes_per_s * all_cores,
    )


def _ratio(here: Mapping[str, Value], there: Mapping[str, Value], key: str) -> float:
    if key not in here or key not in there:
        return 1.0
    return float(here[key]) / float(there[key])
