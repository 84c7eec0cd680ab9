"""Hold measured facts as cases, and read and write them as CSV.

A *case* is one measured fact: a scenario (its *settings*), a metric, the measured value, its unit
and its source. Rows of a table with equal suite, metric and settings are *repeats*: one case, with
the median of the values and their spread.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from simulator.errors import FileError, InputError, UnknownNameError
from simulator.files import write_text
from simulator.scenario import Scenario, Value

FIXED = ("case_id", "suite", "group", "metric", "measured", "unit", "source", "licence")
SCENARIO = ("workload", "on", "plan")
MOST = 100_000
"""Of devices, nodes or servers: no machine has as many, and no memory holds many more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Be one measured fact.

    Parameters
    ----------
    suite : name of the suite, "gpu-gemm"
    group : part of the suite's report that it belongs to
    settings : "workload", "on", "plan" and their dotted parameters; numbers as numbers
    metric : what was measured, such as "time_s"
    measured : the value (median of repeats), in `unit`
    unit : inside unit, such as "s"
    source, licence : where the value was published
    repeats : number of rows behind it
    spread : (largest - smallest) / median of the repeats; None for one row
    """

    suite: str
    group: str
    settings: Mapping[str, str | float]
    metric: str
    measured: float
    unit: str
    source: str
    licence: str
    repeats: int = 1
    spread: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.measured) and self.measured > 0):
            raise InputError(f"suite {self.suite}: {self.metric} must be finite and positive; "
                             f"got {self.measured}")  # fmt: skip
        for name in self.settings:
            if name.split(".")[0] not in SCENARIO:
                raise InputError(f"suite {self.suite}: setting '{name}' must begin with "
                                 f"{', '.join(SCENARIO)}")  # fmt: skip

    @property
    def case_id(self) -> str:
        """Return the hash of suite, metric and settings: of neither value nor source."""
        identity = [self.suite, self.metric, sorted(self.settings.items())]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]

    def number(self, name: str) -> float:
        """Return a setting that must be a number."""
        value = self.settings.get(name)
        if not isinstance(value, float):
            raise InputError(f"case {self.case_id}: setting '{name}' must be a number; "
                             f"got {value!r}")  # fmt: skip
        return value

    def count(self, name: str, most: int = MOST) -> int:
        """Return a setting that must be a whole number from 1 to `most`."""
        value = self.number(name)
        if not 1 <= value <= most or not value.is_integer():
            raise InputError(f"case {self.case_id}: setting '{name}' must be a whole number from 1 "
                             f"to {most:,}; got {value:g}")  # fmt: skip
        return int(value)

    def text(self, name: str) -> str:
        """Return a setting as text, "" where it is absent."""
        value = self.settings.get(name, "")
        return value if isinstance(value, str) else f"{value:g}"


@dataclass(frozen=True, slots=True)
class Conversion:
    """Hold what a converter made of a raw table.

    Parameters
    ----------
    cases : repeats joined
    out_of_scope : how many rows were left out, by reason
    """

    cases: tuple[Case, ...]
    out_of_scope: Mapping[str, int] = field(default_factory=Counter)


Read: TypeAlias = Callable[[Mapping[str, str], str], Case | Iterable[Case] | str]
"""What makes cases of a row and where it stands, or says why the row is out of scope."""
Tables: TypeAlias = Sequence[tuple[str, Sequence[str], Read]]


def convert_rows(
    suite: str, rows: Sequence[Mapping[str, str]], columns: Sequence[str], read: Read
) -> Conversion:
    """Return the cases of a table, repeats joined, and how many rows are out of scope, by reason.

    Parameters
    ----------
    suite : its name
    rows : of the table
    columns : that the table must have
    read : from a row and where it stands to its case, or several, or why it is out of scope; a
        name that nothing carries (`UnknownNameError`) is such a reason

    Raises
    ------
    InputError : the table lacks a column
    """
    missing = [name for name in columns if rows and name not in rows[0]]
    if missing:
        raise InputError(f"suite {suite}: the table lacks the columns {', '.join(missing)}")
    reasons: Counter[str] = Counter()
    cases: list[Case] = []
    for line, row in enumerate(rows, start=2):
        try:
            found = read(row, f"row {line}")
        except UnknownNameError as error:
            found = str(error)
        if isinstance(found, str):
            reasons[found] += 1
        else:
            cases += [found] if isinstance(found, Case) else found
    return Conversion(join_repeats(cases), reasons)


def convert_table(suite: str, rows: Sequence[Mapping[str, str]], tables: Tables) -> Conversion:
    """Return the cases of the table, of several that a suite knows, that has a column of its own.

    Parameters
    ----------
    suite : its name
    rows : of the table
    tables : of each a column that no other has, the columns that are read, and what reads a row

    Raises
    ------
    InputError : none of the tables, or it lacks a column
    """
    for mark, columns, read in tables:
        if rows and mark in rows[0]:
            return convert_rows(suite, rows, columns, read)
    marks = ", ".join(mark for mark, _, _ in tables)
    raise InputError(f"suite {suite}: the table must have one of the columns {marks}")


def once(columns: Sequence[str], read: Read) -> Read:
    """Return what reads a row, but puts out of scope one that says what a row before has said.

    A table that stands for several closed forms says the same measurement more than once.

    Parameters
    ----------
    columns : in which rows of one measurement are equal
    read : as of `convert_rows`
    """
    seen: set[tuple[str, ...]] = set()

    def read_once(row: Mapping[str, str], where: str) -> Case | Iterable[Case] | str:
        said = tuple(row[name] for name in columns)
        if said in seen:
            return "the same measurement as in a row before"
        seen.add(said)
        return read(row, where)

    return read_once


def number(row: Mapping[str, str], column: str, where: str) -> float:
    """Return a cell as a number above 0.

    Raises
    ------
    InputError : it is none
    """
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{where}, column {column}: expected a number above 0, "
                         f"got '{row[column]}'")  # fmt: skip
    return value


def setting(text: str) -> str | float:
    """Return a CSV cell as a number if it is one, so that "8" and "8.0" are the same setting.

    >>> setting("8"), setting("8.0"), setting("adamw")
    (8.0, 8.0, 'adamw')
    """
    try:
        number = float(text)
    except ValueError:
        return text.strip()
    return number if math.isfinite(number) else text.strip()


def setting_of(value: Value) -> str | float:
    """Return the value of a scenario's parameter as a case holds it: all numbers alike.

    >>> setting_of(8), setting_of(True), setting_of("adamw")
    (8.0, 'true', 'adamw')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return float(value) if isinstance(value, (int, float)) else str(value)


def scenario_of(case: Case) -> Scenario:
    """Return the scenario of a case, its parameters as `setting_of` was given them.

    Raises
    ------
    InputError : a case without workload, on or plan

    >>> settings = {"workload": "mlp", "workload.batch": 8.0, "on": "laptop", "plan": "single"}
    >>> scenario_of(Case(suite="mine", group="", settings=settings, metric="step_time_s",
    ...                  measured=1.0, unit="s", source="", licence="")).under("workload")
    {'batch': 8}
    """
    dotted = {name: _parameter(value) for name, value in case.settings.items() if "." in name}
    return Scenario(workload=case.text("workload"), on=case.text("on"), plan=case.text("plan"),
                    parameters=dotted)  # fmt: skip


def _parameter(value: str | float) -> Value:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    return value == "true" if value in ("true", "false") else value


def join_repeats(cases: Iterable[Case]) -> tuple[Case, ...]:
    """Return one case for all that are equal in suite, metric and settings, in first-seen order."""
    rows: dict[str, list[Case]] = {}
    for case in cases:
        rows.setdefault(case.case_id, []).append(case)
    return tuple(_joined(same) for same in rows.values())


def _joined(same: list[Case]) -> Case:
    if len(same) == 1:
        return same[0]
    values = [case.measured for case in same]
    middle = statistics.median(values)
    first = same[0]
    return Case(
        suite=first.suite,
        group=first.group,
        settings=first.settings,
        metric=first.metric,
        measured=middle,
        unit=first.unit,
        source="; ".join(dict.fromkeys(case.source for case in same)),
        licence="; ".join(dict.fromkeys(case.licence for case in same)),
        repeats=len(same),
        spread=(max(values) - min(values)) / middle,
    )


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header.

    Marks and blank lines that spreadsheets leave at the ends of a file are no part of it.

    Raises
    ------
    FileError : unreadable, empty, or a row with too many or too few cells
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig").rstrip()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(path, f"cannot be read ({getattr(error, 'strerror', error)})") from error
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise FileError(path, f"is not a CSV table ({error})", f"line {reader.line_num}") from error
    if len(rows) < 2:
        raise FileError(path, "has no rows below its header")
    header = rows[0]
    twice = [name for name, times in Counter(header).items() if times > 1]
    if twice:
        raise FileError(path, f"has more than one column named '{twice[0]}'")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise FileError(path, f"has {len(row)} cells where the header has {len(header)}; "
                            "is the file truncated?", f"row {number}")  # fmt: skip
    return [dict(zip(header, row, strict=True)) for row in rows[1:]]


def read_cases(path: Path, suite: str | None = None) -> tuple[Case, ...]:
    """Return the cases of a CSV file, repeats joined.

    Parameters
    ----------
    path : a case file: `FIXED` columns (case_id is made anew) and settings
    suite : the suite that all rows must belong to; None: any

    Raises
    ------
    FileError : a missing column, a bad number, a row of another suite; names the row
    """
    rows = read_table(path)
    missing = [name for name in FIXED[1:] if name not in rows[0]]
    if missing:
        raise FileError(path, f"is not a case file: it lacks the columns {', '.join(missing)}")
    unknown = [n for n in rows[0] if n not in FIXED + EXTRA and n.split(".")[0] not in SCENARIO]
    if unknown:
        raise FileError(path, f"has unknown columns: {', '.join(unknown)}")
    return join_repeats(_case(path, i, row, suite) for i, row in enumerate(rows, start=2))


EXTRA = ("repeats", "spread")


def _case(path: Path, number: int, row: Mapping[str, str], suite: str | None) -> Case:
    where = f"row {number}"
    if suite is not None and row["suite"] != suite:
        raise FileError(path, f"belongs to suite '{row['suite']}', not '{suite}'", where)
    settings = {n: setting(v) for n, v in row.items() if n.split(".")[0] in SCENARIO and v != ""}
    try:
        return Case(
            suite=row["suite"],
            group=row["group"],
            settings=settings,
            metric=row["metric"],
            measured=float(row["measured"]),
            unit=row["unit"],
            source=row["source"],
            licence=row["licence"],
            repeats=int(row.get("repeats") or 1),
            spread=float(row["spread"]) if row.get("spread") else None,
        )
    except ValueError as error:
        raise FileError(path, str(error), where) from error


def write_cases(cases: Sequence[Case], path: Path) -> None:
    """Write a case file, whole or not at all."""
    names = sorted({name for case in cases for name in case.settings}, key=_order)
    columns = ["case_id", "suite", "group", *names, *FIXED[3:], *EXTRA]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for case in cases:
        row = {name: _cell(value) for name, value in case.settings.items()}
        row |= {name: _cell(getattr(case, name)) for name in FIXED + EXTRA}
        writer.writerow(row)
    write_text(path, text.getvalue())


def _order(name: str) -> tuple[int, str]:
    return SCENARIO.index(name.split(".", maxsplit=1)[0]), name


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)
