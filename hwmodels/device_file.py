"""Read device files: TOML with a source on every number that is not the file's own word.

    kind = "cpu"
    title = "Raspberry Pi 4 Model B"
    architecture = "cortex-a72"
    cores = { value = 4, source = "rpi" }

    [memory]
    bandwidth_bytes_per_s = { value = "12.8 GB/s", source = "estimate", note = "two 16-bit ..." }

    [sources.rpi]
    text = "raspberrypi/documentation, bcm2711.adoc"
    licence = "CC-BY-SA-4.0"

A bare value, `cores = 4`, has the file itself as its source: for devices of one's own; the catalog
has none. A file with `like = "NAME"` takes over from that device whatever it does not say itself.
What other sources say of a number stands beside it: `also = [{ value = 6, source = "other" }]`.
Fitted numbers stand under `[calibration.numbers]`, each with its `spread`; where they come from is
said once. `size = 143` on top, if there, counts the numbers of the file, so that a cut-off copy is
noticed.
A file is data: nothing in it is run.
"""

from __future__ import annotations

import datetime
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwmodels.schema import SCHEMAS, Schema, Value
from hwmodels.spec import Calibration, FamilyFit, Number, Spec
from simulator.errors import FileError, InputError, UnknownNameError, nearest
from simulator.source import Source
from simulator.units import dimension_of, parse_quantity

_HEADER = ("size", "kind", "like", "title", "architecture", "sources", "calibration")
_ENTRY = ("value", "source", "note", "also")
_SOURCE = ("text", "licence", "kind")
_SOURCE_KINDS = ("datasheet", "measured", "calibrated", "estimate", "user")
_CALIBRATION = ("data", "date", "machine", "software", "error_ratio", "numbers", "families")
_FAMILY = ("data", "device", "error_ratio", "correction", "numbers")
_NUMBER = ("value", "spread")

FindSpec = Callable[[str], Spec]
OTHER_VERSION = "{}: a calibration of another version; delete the file and calibrate again"
"""What is said of a fit that is none of its family."""


@dataclass(slots=True)
class _Reader:
    """Read one file; every problem is an error that names the file and the key."""

    path: Path
    schema: Schema
    sources: dict[str, Source] = field(default_factory=dict)

    @property
    def itself(self) -> Source:
        """Return the source of a number of which the file names none."""
        return Source(f"{self.path.name}, which names no source", kind="user")

    def error(self, key: str, problem: str) -> FileError:
        return FileError(self.path, problem, key)

    def known(self, table: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
        """Check that a table has no other keys than these."""
        for key in table:
            if key not in allowed:
                near = nearest(key, allowed)
                hint = f"did you mean '{near}'?" if near else f"known: {', '.join(allowed)}"
                raise self.error(f"{where}{key}", f"unknown key; {hint}")

    def table(self, raw: object, key: str) -> Mapping[str, Any]:
        if not isinstance(raw, dict):
            raise self.error(key, f"expected a table, got {raw!r}")
        return raw

    def text(self, table: Mapping[str, Any], name: str, where: str, default: str = "") -> str:
        raw = table.get(name, default)
        if isinstance(raw, datetime.date):
            return raw.isoformat()
        if not isinstance(raw, str):
            raise self.error(f"{where}{name}", f"expected a text, got {raw!r}")
        return raw

    def needed_text(self, table: Mapping[str, Any], name: str, where: str) -> str:
        text = self.text(table, name, where)
        if not text.strip():
            raise self.error(f"{where}{name}", "missing; expected a text")
        return text


def read_spec(path: Path, find: FindSpec) -> Spec:
    """Return what a device file says, checked key by key.

    Parameters
    ----------
    path : of the file
    find : gives the spec of the device that the file is `like`

    Raises
    ------
    FileError : the file cannot be read, or a key is unknown, missing or impossible
    """
    return spec_from(read_file(path), path, find)


def spec_from(
    raw: Mapping[str, Any], path: Path, find: FindSpec, schemas: Mapping[str, Schema] = SCHEMAS
) -> Spec:
    """Return what a file says that was read.

    Parameters
    ----------
    raw : its tables
    path : of the file
    find : gives the spec of what the file is `like`
    schemas : of what it may be, by kind

    Raises
    ------
    FileError : a key is unknown, missing or impossible
    """
    base = _base(path, raw, find)
    kind = raw.get("kind", base.kind if base else None)
    if not isinstance(kind, str) or kind not in schemas:
        more = " (or system: many devices)" if schemas is SCHEMAS and kind != "system" else ""
        raise FileError(path, f"expected one of {', '.join(schemas)}{more}, got {kind!r}", "kind")
    reader = _Reader(path, schemas[kind])
    reader.sources = _sources(reader, raw)
    values, sources, others = _fields(reader, raw)
    spec = Spec(
        kind=kind,
        name=path.stem,
        title=reader.text(raw, "title", "", base.title if base else path.stem),
        architecture=reader.text(raw, "architecture", "", base.architecture if base else ""),
        values={**(base.values if base else {}), **values},
        sources={**(base.sources if base else {}), **sources},
        others={**_still(base, values), **others},
        calibration=base.calibration if base else None,
    )
    _check(reader, spec)
    spec = _calibrated(reader, raw, spec)
    _check_size(reader, raw, len(values), spec)
    return spec


def read_family_fit(path: Path) -> FamilyFit:
    """Return what a file says of one family of kernels: the table that calibrations have of it.

    Raises
    ------
    FileError : the file cannot be read, or a key is unknown, missing or impossible
    """
    return _family(_Reader(path, SCHEMAS["gpu"]), read_file(path), "")


def read_estimates(path: Path) -> tuple[Mapping[str, Value], Mapping[str, Source]]:
    """Return the values, with sources, that a file of estimates gives for devices of its kind.

    Raises
    ------
    FileError : the file cannot be read, or a key is unknown or impossible
    """
    raw = read_file(path)
    reader = _Reader(path, SCHEMAS[path.stem])
    reader.sources = _sources(reader, raw)
    values, sources, _ = _fields(reader, raw)
    return values, sources


def read_file(path: Path) -> dict[str, Any]:
    """Return the tables of a file.

    Raises
    ------
    FileError : the file cannot be read
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise FileError(path, f"cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(path, f"is not TOML (cut off?): {error}") from None
    except RecursionError:
        raise FileError(path, "is not TOML: tables or lists lie too deep") from None


def _base(path: Path, raw: Mapping[str, Any], find: FindSpec) -> Spec | None:
    if "like" not in raw:
        return None
    if not isinstance(raw["like"], str):
        raise FileError(path, f"expected the name of a device, got {raw['like']!r}", "like")
    try:
        return find(raw["like"])
    except UnknownNameError as error:
        raise FileError(path, str(error), "like") from None


def _still(base: Spec | None, replaced: Mapping[str, Value]) -> dict[str, Any]:
    others = base.others if base else {}
    return {key: other for key, other in others.items() if key not in replaced}


def _sources(reader: _Reader, raw: Mapping[str, Any]) -> dict[str, Source]:
    sources: dict[str, Source] = {}
    for name, entry in reader.table(raw.get("sources", {}), "sources").items():
        where = f"sources.{name}."
        table = reader.table(entry, f"sources.{name}")
        reader.known(table, _SOURCE, where)
        kind = reader.text(table, "kind", where, "datasheet")
        if kind not in _SOURCE_KINDS:
            raise reader.error(f"{where}kind", f"expected one of {', '.join(_SOURCE_KINDS)}, "
                                               f"got '{kind}'")  # fmt: skip
        needed = kind in ("datasheet", "measured")
        licence = (reader.needed_text if needed else reader.text)(table, "licence", where)
        text = reader.needed_text(table, "text", where)
        sources[name] = Source(text, licence, kind)
    return sources


def _fields(
    reader: _Reader, raw: Mapping[str, Any]
) -> tuple[dict[str, Value], dict[str, Source], dict[str, tuple[tuple[Value, Source], ...]]]:
    values: dict[str, Value] = {}
    sources: dict[str, Source] = {}
    others: dict[str, tuple[tuple[Value, Source], ...]] = {}
    for key, entry in _entries(reader, raw):
        if not isinstance(entry, dict):
            values[key], sources[key] = _parsed(reader, key, entry), reader.itself
            continue
        values[key], sources[key] = _entry(reader, key, entry)
        if "also" in entry:
            others[key] = tuple(_also(reader, key, entry["also"]))
    return values, sources, others


def _entries(reader: _Reader, raw: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Give the keys of fields, dotted, with what stands there; unknown keys are errors."""
    groups = {key.partition(".")[0] for key in reader.schema.fields if "." in key}
    top = (*_HEADER, *groups, *(key for key in reader.schema.fields if "." not in key))
    reader.known(raw, top, "")
    for name, entry in raw.items():
        if name in groups:
            inside = reader.table(entry, name)
            tails = tuple(key[len(name) + 1 :] for key in reader.schema.fields
                          if key.startswith(f"{name}."))  # fmt: skip
            reader.known(inside, tails, f"{name}.")
            yield from ((f"{name}.{tail}", one) for tail, one in inside.items())
        elif name not in _HEADER:
            yield name, entry


def _entry(reader: _Reader, key: str, entry: Mapping[str, Any]) -> tuple[Value, Source]:
    reader.known(entry, _ENTRY, f"{key}.")
    if "value" not in entry:
        raise reader.error(key, "has no value")
    source = _source_of(reader, key, entry)
    return _parsed(reader, key, entry["value"]), source


def _parsed(reader: _Reader, key: str, raw: object) -> Value:
    try:
        return reader.schema.field(key).parse(raw)
    except InputError as error:
        raise reader.error(key, str(error).removeprefix(f"{key}: ")) from None


def _source_of(reader: _Reader, key: str, entry: Mapping[str, Any]) -> Source:
    name = entry.get("source")
    if name is None:
        raise reader.error(key, 'has no source; write { value = ..., source = "NAME" } with '
                                "[sources.NAME] below")  # fmt: skip
    if name not in reader.sources:
        hint = nearest(str(name), reader.sources)
        better = f"; did you mean '{hint}'?" if hint else ""
        raise reader.error(key, f"names the source {name!r}, which [sources] lacks{better}")
    source = reader.sources[name]
    return Source(source.text, source.licence, source.kind,
                  reader.text(entry, "note", f"{key}."))  # fmt: skip


def _also(reader: _Reader, key: str, raw: object) -> Iterator[tuple[Value, Source]]:
    if not isinstance(raw, list):
        raise reader.error(f"{key}.also", f"expected a list of tables, got {raw!r}")
    for entry in raw:
        yield _entry(reader, key, reader.table(entry, f"{key}.also"))


def _check(reader: _Reader, spec: Spec) -> None:
    for key in reader.schema.required:
        if key not in spec.values:
            raise reader.error(key, f"missing; it says: {reader.schema.fields[key].doc}")
    if not spec.architecture and spec.kind in SCHEMAS:
        raise reader.error("architecture", "missing; expected a text")
    try:
        reader.schema.check(spec.values)
    except InputError as error:
        key, _, problem = str(error).partition(" ")
        known = key in reader.schema.fields
        raise reader.error(key if known else "", problem if known else str(error)) from None


def _check_size(reader: _Reader, raw: Mapping[str, Any], fields: int, spec: Spec) -> None:
    calibration = spec.calibration if "calibration" in raw else None
    size = fields + (calibration.size if calibration else 0)
    if raw.get("size", size) != size:
        raise reader.error("size", f"the file says that it has {raw['size']} numbers, but has "
                                   f"{size}: cut off?")  # fmt: skip


def _calibrated(reader: _Reader, raw: Mapping[str, Any], spec: Spec) -> Spec:
    if "calibration" not in raw:
        return spec
    table = reader.table(raw["calibration"], "calibration")
    reader.known(table, _CALIBRATION, "calibration.")
    numbers = reader.table(table.get("numbers", {}), "calibration.numbers")
    where = "calibration."
    calibration = Calibration(
        numbers=dict(_numbers(reader, numbers, "")),
        data=reader.needed_text(table, "data", where),
        date=reader.needed_text(table, "date", where),
        machine=reader.text(table, "machine", where),
        software=reader.text(table, "software", where),
        error_ratio=_error_ratio(reader, table, where),
        families=dict(_families(reader, table)),
        reference=spec.values,
        reference_name=spec.name,
        reference_architecture=spec.architecture,
    )
    if not calibration.numbers and not calibration.families:
        raise reader.error("calibration.numbers", "missing or empty")
    return spec.replaced(calibration=calibration)


def _numbers(
    reader: _Reader, table: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, Number]]:
    """Give fitted numbers by dotted name; a table with a `value` is a number."""
    for key, entry in table.items():
        name = f"{prefix}{key}"
        inside = reader.table(entry, f"calibration.numbers.{name}")
        if "value" not in inside:
            yield from _numbers(reader, inside, f"{name}.")
        else:
            yield name, _number(reader, name, inside)


def _number(
    reader: _Reader, name: str, entry: Mapping[str, Any], table: str = "calibration."
) -> Number:
    where = f"{table}numbers.{name}"
    reader.known(entry, _NUMBER, f"{where}.")
    dimension = dimension_of(name)
    spread = entry.get("spread", 0.0)
    try:
        raw = entry["value"]
        value = parse_quantity(raw, dimension or "s", name) if _is_number(raw, dimension) else None
    except InputError as error:
        raise reader.error(where, str(error).removeprefix(f"{name}: ")) from None
    if value is None or value < 0:
        raise reader.error(where, f"expected a number, 0 or more, got {entry['value']!r}")
    if not isinstance(spread, (int, float)) or isinstance(spread, bool) or not 0 <= spread < 10:
        raise reader.error(f"{where}.spread", f"expected a number from 0 to 10, got {spread!r}")
    return Number(value, float(spread))


def _is_number(raw: object, dimension: str | None) -> bool:
    plain = isinstance(raw, (int, float)) and not isinstance(raw, bool) and math.isfinite(raw)
    return plain or (isinstance(raw, str) and dimension is not None)


def _error_ratio(
    reader: _Reader, table: Mapping[str, Any], where: str
) -> tuple[float, float] | None:
    raw = table.get("error_ratio")
    if raw is None:
        return None
    right = isinstance(raw, list) and len(raw) == 2 and all(_is_number(x, None) for x in raw)
    if not right or not 0 < raw[0] <= raw[1]:
        raise reader.error(f"{where}error_ratio", f"expected two positive numbers, the smaller "
                                                  f"first, got {raw!r}")  # fmt: skip
    return float(raw[0]), float(raw[1])


def _families(
    reader: _Reader, calibration: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, str], FamilyFit]]:
    """Give what was fitted of families of kernels: tables by family and dtype."""
    families = reader.table(calibration.get("families", {}), "calibration.families")
    for name, dtypes in families.items():
        for dtype, entry in reader.table(dtypes, f"calibration.families.{name}").items():
            where = f"calibration.families.{name}.{dtype}."
            fit = _family(reader, entry, where)
            _check_family(reader, name, fit, where)
            yield (name, dtype), fit


def _check_family(reader: _Reader, name: str, fit: FamilyFit, where: str) -> None:
    """Check that a fit has the numbers that its family is timed by, which versions may change."""
    from hwmodels.gpu.families import FAMILIES

    if name not in FAMILIES:
        raise reader.error(where[:-1], str(UnknownNameError("family of kernels", name, FAMILIES)))
    if wrong := FAMILIES[name].misfits(fit):
        raise reader.error(where[:-1], OTHER_VERSION.format(", ".join(wrong)))


def _family(reader: _Reader, entry: object, where: str) -> FamilyFit:
    table = reader.table(entry, where)
    reader.known(table, _FAMILY, where)
    numbers = reader.table(table.get("numbers", {}), f"{where}numbers")
    found = {
        name: _number(reader, name, reader.table(one, f"{where}numbers.{name}"), where)
        for name, one in numbers.items()
    }
    correction = table.get("correction", [])
    if not isinstance(correction, list) or not all(_is_number(one, None) for one in correction):
        raise reader.error(f"{where}correction", "expected a list of numbers")
    return FamilyFit(
        numbers={name: number.value for name, number in found.items()},
        spreads={name: number.spread for name, number in found.items()},
        correction=tuple(float(one) for one in correction),
        error_ratio=_error_ratio(reader, table, where),
        data=reader.needed_text(table, "data", where),
        device=reader.needed_text(table, "device", where),
    )
