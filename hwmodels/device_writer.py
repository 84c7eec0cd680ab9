"""Write device files in the form that `hwmodels.device_file` reads; whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from hwmodels.schema import Value
from hwmodels.spec import Calibration, FamilyFit, Number, Spec
from simulator.files import write_text
from simulator.source import Source

PER_LINE = 12
"""Numbers of a correction on one line."""


def write_device(path: Path, spec: Spec, like: Spec | None = None) -> None:
    """Write a device file atomically; its folder is made where missing.

    Parameters
    ----------
    path : of the file; its stem is the device's name
    spec : what is known of the device
    like : only what differs from this device is written, which readers then find by its name
    """
    write_text(path, device_text(spec, like))


def device_text(spec: Spec, like: Spec | None = None) -> str:
    """Return the text of a device file; arguments as of `write_device`.

    >>> from hwmodels.devices import find_spec
    >>> pi = find_spec("rpi4-bcm2711")
    >>> print(device_text(pi.with_fields({"cores": 8}), like=pi))
    size = 1
    like = "rpi4-bcm2711"
    title = "Raspberry Pi 4 Model B (BCM2711)"
    architecture = "cortex-a72"
    cores = { value = 8, source = "user" }
    <BLANKLINE>
    [sources.user]
    text = "set by the user"
    kind = "user"
    """
    changed = [key for key in spec.values if like is None or not _same(spec, like, key)]
    names = _source_names(spec, changed)
    head = f"kind = {_quoted(spec.kind)}" if like is None else f"like = {_quoted(like.name)}"
    calibration = spec.calibration
    if like is not None and like.calibration is calibration:
        calibration = None
    lines = [
        f"size = {len(changed) + (calibration.size if calibration else 0)}",
        head,
        f"title = {_quoted(spec.title)}",
        f"architecture = {_quoted(spec.architecture)}",
        *_fields(spec, changed, names),
        *_sources(names),
    ]
    if calibration is not None:
        lines += _calibration(calibration)
    return "\n".join(lines) + "\n"


def _same(spec: Spec, like: Spec, key: str) -> bool:
    return like.values.get(key) == spec.values[key] and like.sources[key] == spec.sources[key]


_Names = dict[tuple[str, str, str], str]


def _source_names(spec: Spec, keys: Iterable[str]) -> _Names:
    """Give each source that is used a name of its own: its kind, numbered from the second on."""
    names: _Names = {}
    for key in keys:
        for source in (spec.sources[key], *(other for _, other in spec.others.get(key, ()))):
            if _identity(source) not in names:
                same = sum(kind == source.kind for _, _, kind in names)
                names[_identity(source)] = source.kind + (str(same + 1) if same else "")
    return names


def _identity(source: Source) -> tuple[str, str, str]:
    return source.text, source.licence, source.kind


def _fields(spec: Spec, keys: Iterable[str], names: _Names) -> Iterator[str]:
    table = ""
    ordered = sorted(keys, key=lambda key: (key.rpartition(".")[0], list(spec.values).index(key)))
    for key in ordered:
        group, _, last = key.rpartition(".")
        if group != table:
            yield f"\n[{group}]"
            table = group
        others = [_entry(value, source, names) for value, source in spec.others.get(key, ())]
        also = f", also = [{', '.join(others)}]" if others else ""
        entry = _entry(spec.values[key], spec.sources[key], names)
        yield f"{last} = {entry[:-2]}{also} }}"


def _entry(value: Value, source: Source, names: _Names) -> str:
    shown = _quoted(value) if isinstance(value, str) else repr(value)
    note = f", note = {_quoted(source.note)}" if source.note else ""
    return f"{{ value = {shown}, source = {_quoted(names[_identity(source)])}{note} }}"


def _sources(names: _Names) -> Iterator[str]:
    for (text, licence, kind), name in names.items():
        yield f"\n[sources.{name}]"
        yield f"text = {_quoted(text)}"
        if licence:
            yield f"licence = {_quoted(licence)}"
        yield f"kind = {_quoted(kind)}"


def _calibration(calibration: Calibration) -> Iterator[str]:
    yield "\n[calibration]"
    for name in ("data", "date", "machine", "software"):
        if getattr(calibration, name):
            yield f"{name} = {_quoted(getattr(calibration, name))}"
    yield from _error_ratio(calibration.error_ratio)
    yield from _numbers(calibration.numbers)
    for (family, dtype), fit in sorted(calibration.families.items()):
        yield from _family(f"calibration.families.{_key(family)}.{_key(dtype)}", fit)


def _error_ratio(ratio: tuple[float, float] | None) -> Iterator[str]:
    if ratio is not None:
        yield f"error_ratio = [{ratio[0]:.4g}, {ratio[1]:.4g}]"


def write_family_fit(path: Path, fit: FamilyFit) -> None:
    """Write what was fitted of one family of kernels, atomically; numbers to four digits."""
    lines = [*_fit(fit), "\n[numbers]", *_fit_numbers(fit)]
    write_text(path, "\n".join(lines) + "\n")


def _family(table: str, fit: FamilyFit) -> Iterator[str]:
    yield f"\n[{table}]"
    yield from _fit(fit)
    yield f"\n[{table}.numbers]"
    yield from _fit_numbers(fit)


def _fit(fit: FamilyFit) -> Iterator[str]:
    yield f"data = {_quoted(fit.data)}"
    yield f"device = {_quoted(fit.device)}"
    yield from _error_ratio(fit.error_ratio)
    if fit.correction:
        yield "correction = ["
        for row in range(0, len(fit.correction), PER_LINE):
            yield "  " + " ".join(f"{one!r}," for one in fit.correction[row : row + PER_LINE])
        yield "]"


def _fit_numbers(fit: FamilyFit) -> Iterator[str]:
    for name, value in fit.numbers.items():
        spread = fit.spreads.get(name, 0.0)
        yield f"{_key(name)} = {{ value = {value:.4g}, spread = {spread:.2g} }}"


def _numbers(numbers: Mapping[str, Number]) -> Iterator[str]:
    table = None
    for name in sorted(numbers, key=lambda name: (name.rpartition(".")[0], name)):
        group, _, last = name.rpartition(".")
        if group != table:
            path = ".".join(_key(part) for part in group.split(".")) if group else ""
            yield f"\n[calibration.numbers{'.' if path else ''}{path}]"
            table = group
        number = numbers[name]
        yield f"{_key(last)} = {{ value = {number.value!r}, spread = {number.spread!r} }}"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
