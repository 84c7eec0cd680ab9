"""Write device files in the form that `hwmodels.device_file` reads; whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from hwmodels.schema import Value
from hwmodels.spec import Calibration, Number, Spec
from simulator.files import write_text
from simulator.source import Source


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
        f"size = {len(changed) + (len(calibration.numbers) if calibration else 0)}",
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
    if calibration.error_ratio is not None:
        low, high = calibration.error_ratio
        yield f"error_ratio = [{low!r}, {high!r}]"
    yield from _numbers(calibration.numbers)


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
