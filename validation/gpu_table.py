"""Read kernels that were timed on a GPU from a table, each row checked.

Two kinds of table are read. One has a row for each kernel: `op` (a family of kernels, such as
"gemm"), `dtype`, the family's sizes by name, `time_s`, and optionally `gpu`. The other is a table
that a suite of kernels knows how to convert, as it was published; it is known by its columns.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from hwmodels.devices import find_spec
from hwmodels.gpu.chip import Chip
from hwmodels.gpu.families import FAMILIES
from hwmodels.gpu.family import Family
from hwmodels.gpu.fits import SetKey
from simulator.errors import FileError, InputError, UnknownNameError
from simulator.ops import DTYPES, KINDS, FloatArray
from validation.cases import Case, read_table
from validation.fit_gpu import Timings
from validation.kernel_suite import key_of, sets_of
from validation.suite import Row, Skip, Suite, find_suite, list_suites
from validation.timings_file import KERNEL_KINDS, OPTIONAL_SIZES

NEEDED = ("op", "dtype", "time_s")
DEVICES = ("gpu", "device")
"""Columns that name the device of a row, where there are several."""

FLAGS = ("causal",)
"""Sizes that say yes or no."""

Where: TypeAlias = Callable[[int], str]
"""From the place of a kernel in its set to the row of the table that it stands in."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Hold timed kernels of one family and dtype.

    Parameters
    ----------
    family : of all
    dtype : of all
    timings : sizes and times, (n,) each
    where : says in which row a kernel stands
    """

    family: Family
    dtype: str
    timings: Timings
    where: Where = "kernel {}".format

    def __len__(self) -> int:
        return len(self.timings)

    @property
    def label(self) -> str:
        """Return family and dtype in words."""
        return f"{self.family.name} in {self.dtype}"


@dataclass(frozen=True, slots=True)
class Table:
    """Hold the kernels of a table that were timed on one device.

    Parameters
    ----------
    path : of the table
    sets : by family and dtype
    suite : that knows the table; "" where it has a row for each kernel
    notes : what became of rows that are not among them
    """

    path: Path
    sets: tuple[Timed, ...]
    suite: str = ""
    notes: tuple[str, ...] = ()

    def wrong_time(self, one: Timed, place: int, problem: str) -> FileError:
        """Return the error that the time of a kernel of a set cannot be right."""
        column = "of the time" if self.suite else "time_s"
        value = _shown(one.timings.time_s[place])
        return FileError(self.path, f"{value} is {problem}",
                         f"{one.where(place)}, column {column}")  # fmt: skip


# --- which table is it ---------------------------------------------------------------------------


def device_of(path: Path, like: str | None) -> str | None:
    """Return the GPU on which a table was timed; None where it is a CPU.

    Parameters
    ----------
    path : of the table
    like : the device that the user names; None: the table tells

    Raises
    ------
    UnknownNameError : no device has this name
    FileError : the table is of GPUs and `like` a CPU, or it is not of exactly one GPU
    """
    kind = None if like is None else find_spec(like).kind
    if kind == "gpu":
        return like
    try:
        rows = read_table(path)
    except FileError:
        return None  # Whoever reads it next says what is wrong with it.
    if like is not None:
        _check_of_cpu(path, rows, like)
        return None
    if "op" in rows[0] and "time_s" in rows[0]:
        names = _devices(rows)
        if names:
            name = _only(path, names)
            return None if _kind(name) == "cpu" else name
        ops = {row["op"].strip() for row in rows}
        if ops <= set(FAMILIES) and not any(is_cpu_op(op) for op in ops):
            raise FileError(path, f"has kernels of GPUs ({', '.join(sorted(ops))}); name the GPU "
                                  "that they were timed on by --like DEVICE")  # fmt: skip
        return None
    found = _converted(path, _samples(rows))
    return None if found is None else _only(path, {case.text("on") for case in found.cases})


def _check_of_cpu(path: Path, rows: Sequence[Row], like: str) -> None:
    """Refuse a table of kernels of GPUs for a CPU."""
    for number, row in enumerate(rows, start=2):
        name = row.get("op", "").strip()
        if name in FAMILIES and not is_cpu_op(name):
            raise FileError(path, f"'{name}' is a kernel of GPUs; --like {like} is a CPU",
                            f"row {number}, column op")  # fmt: skip
    gpus = [name for name in sorted(_devices(rows)) if _kind(name) == "gpu"]
    if gpus:
        found = ", ".join(gpus)
        raise FileError(path, f"has timings of GPUs ({found}); --like {like} is a CPU")


def _kind(name: str) -> str | None:
    try:
        return find_spec(name).kind
    except UnknownNameError:
        return None


def is_cpu_op(name: str) -> bool:
    """Say whether tables of CPUs may have an op of this name."""
    return name in KINDS or name in KERNEL_KINDS


def _only(path: Path, names: set[str]) -> str:
    if len(names) == 1:
        return next(iter(names))
    raise FileError(path, f"has timings of {len(names)} GPUs; choose one by --like DEVICE: "
                          f"{', '.join(sorted(names))}")  # fmt: skip


def read_kernels(path: Path, device: str, chip: Chip) -> Table:
    """Return the kernels of a table that were timed on a device.

    Parameters
    ----------
    path : of the table
    device : its name; rows of other devices are left out
    chip : of it

    Raises
    ------
    FileError : unreadable, no table of kernels, nothing of this device in it, or a row that makes
        no sense; names row and column
    """
    rows = read_table(path)
    if "time_s" not in rows[0] or "op" not in rows[0]:
        found = _converted(path, _of_device(rows, device) or _samples(rows))
        if found is not None:
            return _of_suite(path, rows, found, device)
    return _of_ops(path, rows, device, chip)


# --- a row for each kernel -----------------------------------------------------------------------


def _of_ops(path: Path, rows: Sequence[Row], device: str, chip: Chip) -> Table:
    missing = [name for name in NEEDED if name not in rows[0]]
    if missing:
        raise FileError(path, f"needs the columns {', '.join(NEEDED)} and sizes, or those of a "
                              f"table that a suite converts; it lacks {', '.join(missing)}"
                              f"{_other_unit(rows[0])}")  # fmt: skip
    mine = _of_device(rows, device)
    if not mine:
        raise _nothing_of(path, device, _devices(rows))
    reader, places = _Reader(path, rows, chip), dict[tuple[str, str], list[int]]()
    for number in mine:
        places.setdefault((reader.op(number), reader.dtype(number)), []).append(number)
    sets = tuple(reader.timed(key, at) for key, at in places.items())
    return Table(path, sets, notes=_left_out(rows, mine))


def _left_out(rows: Sequence[Row], mine: Mapping[int, Row]) -> tuple[str, ...]:
    left = len(rows) - len(mine)
    return (f"{left} rows of other devices left out",) if left else ()


def _devices(rows: Sequence[Row]) -> set[str]:
    """Return the names of devices in a table; none where no column has them."""
    column = next((name for name in DEVICES if name in rows[0]), None)
    return set() if column is None else {row[column] for row in rows}


def _other_unit(row: Row) -> str:
    found = next((name for name in ("time_us", "time_ms", "time_ns") if name in row), None)
    if found is None:
        return ""
    return f" (turn {found} into seconds, and name the column time_s)"


def _nothing_of(path: Path, device: str, others: set[str]) -> FileError:
    known = sorted(others)
    return FileError(path, f"has no timings of '{device}'; it has {', '.join(known)}")


def _canonical(name: str) -> str:
    """Return the name of a device in the catalog, the name itself where there is none."""
    try:
        return find_spec(name).name
    except UnknownNameError:
        return name


@dataclass(frozen=True, slots=True)
class _Reader:
    """Read the cells of a table; every problem is an error that names row and column."""

    path: Path
    rows: Sequence[Row]
    chip: Chip

    def error(self, number: int, column: str, problem: str) -> FileError:
        return FileError(self.path, problem, f"row {number}, column {column}")

    def cell(self, number: int, column: str) -> str:
        return self.rows[number - 2].get(column, "").strip()

    def op(self, number: int) -> str:
        name = self.cell(number, "op")
        if name in FAMILIES:
            return name
        if is_cpu_op(name):
            raise self.error(number, "op", f"'{name}' is timed on CPUs; kernels of GPUs are "
                                           f"{', '.join(FAMILIES)} (is --like a CPU?)")  # fmt: skip
        raise UnknownNameError("op", name, FAMILIES, f"{self.path}: row {number}, column op")

    def dtype(self, number: int) -> str:
        name = self.cell(number, "dtype")
        if name not in DTYPES:
            where = f"{self.path}: row {number}, column dtype"
            raise UnknownNameError("dtype", name, DTYPES, where)
        return name

    def timed(self, key: tuple[str, str], at: Sequence[int]) -> Timed:
        """Return the kernels of one family and dtype, which stand in these rows."""
        family, dtype = FAMILIES[key[0]], key[1]
        try:
            if _computes(family, dtype):
                self.chip.peak_flop_per_s(dtype)
        except InputError as error:
            raise self.error(at[0], "dtype", str(error)) from None
        sizes = {name: np.array([self.size(number, family, name) for number in at])
                 for name in family.sizes}  # fmt: skip
        times = np.array([self.time_s(number) for number in at])
        made = Timed(family, dtype, Timings(sizes=sizes, time_s=times), _rows(at))
        self.check_sizes(at, made)
        return made

    def size(self, number: int, family: Family, name: str) -> float:
        text = self.cell(number, name)
        if not text and name in OPTIONAL_SIZES:
            return float(OPTIONAL_SIZES[name])
        if not text:
            needed = ", ".join(family.sizes)
            raise self.error(number, name, f"missing; {family.name} needs {needed}")
        value = _number(text)
        if not (math.isfinite(value) and value >= 0 and value == int(value)):
            raise self.error(number, name, f"expected a whole number, 0 or more, got '{text}'")
        if name in FLAGS and value > 1:
            raise self.error(number, name, f"expected 0 (no) or 1 (yes), got '{text}'")
        return value

    def time_s(self, number: int) -> float:
        text = self.cell(number, "time_s")
        value = _number(text)
        if not (math.isfinite(value) and value > 0):
            raise self.error(number, "time_s", f"expected a number above 0, got '{text}'")
        return value

    def check_sizes(self, at: Sequence[int], made: Timed) -> None:
        """Refuse a size of 0 where it leaves nothing to do."""
        sizes = made.timings.sizes
        flops, nbytes = made.family.amounts(made.dtype, sizes)
        nothing = (nbytes <= 0) | ((flops <= 0) & _computes(made.family, made.dtype))
        if nothing.any():
            place = int(np.flatnonzero(nothing)[0])
            zero = [n for n, size in sizes.items() if size[place] == 0 and n not in FLAGS]
            raise self.error(at[place], ", ".join(zero), "expected at least 1, got 0")


def _rows(at: Sequence[int]) -> Where:
    return lambda place: f"row {at[place]}"


def _computes(family: Family, dtype: str) -> bool:
    """Say whether kernels of a family have arithmetic that counts."""
    ones = {name: np.ones(1) for name in family.sizes}
    return bool(family.amounts(dtype, ones)[0] > 0)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


# --- a table as a suite converts it --------------------------------------------------------------

OTHER_KERNELS = "kernels that no family describes"

_Rows: TypeAlias = Mapping[int, Row]
"""Rows of a table by their number in it."""


@dataclass(frozen=True, slots=True)
class _Converted:
    """Hold the kernels that a suite found in a table.

    Parameters
    ----------
    suite : that knows the table
    rows : that it was given
    cases : kernels among them
    out_of_scope : how many rows are none, by reason
    """

    suite: Suite
    rows: _Rows
    cases: tuple[Case, ...]
    out_of_scope: Mapping[str, int]

    def row_of(self, case: Case) -> str:
        """Return the row that a case was made of; converts again, for an error only."""
        assert self.suite.convert is not None
        for number, row in self.rows.items():
            if any(one.case_id == case.case_id for one in self.suite.convert([row]).cases):
                return f"row {number}"
        return f"case {case.case_id}"


def _of_device(rows: Sequence[Row], device: str) -> _Rows:
    """Return the rows that name the device; all where no column does.

    A table of one device that nobody knows is taken for one of the device that it is like.
    """
    column = next((name for name in DEVICES if name in rows[0]), None)
    numbered = dict(enumerate(rows, start=2))
    if column is None:
        return numbered
    names = _devices(rows)
    mine = {name for name in names if _canonical(name) == device}
    if not mine and len(names) == 1 and _kind(next(iter(names))) is None:
        return {number: {**row, column: device} for number, row in numbered.items()}
    return {number: row for number, row in numbered.items() if row[column] in mine}


def _samples(rows: Sequence[Row]) -> _Rows:
    """Return a row for each device that is named, which tell what table this is."""
    column = next((name for name in DEVICES if name in rows[0]), None)
    first: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        first.setdefault("" if column is None else row[column], number)
    return {number: rows[number - 2] for number in first.values()}


def _converted(path: Path, rows: _Rows) -> _Converted | None:
    """Return the kernels that a suite finds in a table; None where none knows its columns.

    Raises
    ------
    FileError : a suite knows the table, but a row is wrong
    """
    wrong, numbers = "", list(rows)
    for name in list_suites():
        suite = find_suite(name)
        if suite.convert is None:
            continue
        try:
            made = suite.convert(list(rows.values()))
        except InputError as error:
            # Only a suite that knows the columns finds a row to complain of.
            found = re.search(r"row (\d+)", str(error))
            if found is not None:
                wrong = str(error).replace(found[0], f"row {numbers[int(found[1]) - 2]}")
            continue
        kernels = tuple(case for case in made.cases if _family_of(case) in FAMILIES)
        if kernels:
            others = len(made.cases) - len(kernels)
            reasons = dict(made.out_of_scope) | ({OTHER_KERNELS: others} if others else {})
            return _Converted(suite, rows, kernels, reasons)
    if wrong:
        raise FileError(path, wrong)
    return None


def _family_of(case: Case) -> str:
    """Return the family that a case names: the workload, or its phase with its kernel."""
    name = case.text("workload")
    if name not in FAMILIES:
        name = f"{case.text('workload.phase')}_{case.text('workload.kernel')}"
    return name if case.metric == "time_s" else ""


def _key_of(case: Case) -> SetKey | Skip:
    settings = {**case.settings, "workload": _family_of(case)}
    return key_of(replace(case, settings=settings))


def _of_suite(path: Path, rows: Sequence[Row], found: _Converted, device: str) -> Table:
    names = {name: _canonical(name) for name in {case.text("on") for case in found.cases}}
    mine = [case for case in found.cases if names[case.text("on")] == device]
    if not mine:
        raise _nothing_of(path, device, _devices(rows) or set(names))
    sets, skipped = sets_of(mine, _key_of)
    notes = [f"{count} rows left out: {why}" for why, count in found.out_of_scope.items()]
    reasons = Counter(skip.reason for skip in skipped.values())
    notes += [f"{count} kernels left out: {why}" for why, count in reasons.items()]
    notes += _left_out(rows, found.rows)

    def where(places: Sequence[int]) -> Where:
        return lambda place: found.row_of(mine[places[place]])

    made = tuple(Timed(one.family, one.key.dtype, one.timings, where(one.places)) for one in sets)
    return Table(path, made, found.suite.name, tuple(notes))


# --- what times and sizes can be -----------------------------------------------------------------

LONGEST_S = 1e3
SHORTEST_S = 1e-7
"""No kernel is done in less: a hundred cycles."""
SLOWEST = 300.0
"""A kernel does not take so many times what is expected of it; a wrong unit does."""
FASTEST = 0.1
"""Nor this share of what peak and bandwidth allow. Cached operands, Winograd's algorithm and zeros
that are left out explain more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Hold what is known of kernels (n,) before their timings are looked at.

    Parameters
    ----------
    expected_s : what they take by what was known before, seconds
    bound_s : what they take at least by the datasheet, seconds
    nbytes : that they move at least
    memory_bytes : of the device; None: not known
    """

    expected_s: FloatArray
    bound_s: FloatArray
    nbytes: FloatArray
    memory_bytes: float | None


def check(table: Table, one: Timed, limits: Limits) -> None:
    """Refuse sizes that the device cannot hold, and times whose unit must be another one.

    Parameters
    ----------
    table, one : the table, and the set of it that is checked
    limits : of its kernels

    Raises
    ------
    FileError : names the first such row
    """
    _check_fits(table, one, limits)
    time_s = one.timings.time_s
    over = time_s / limits.expected_s
    slow = (over > SLOWEST) | (time_s > LONGEST_S)
    if slow.any():
        place = int(np.flatnonzero(slow)[0])
        orders = round(float(np.log10(over[place])))
        unit = _unit(float(np.median(np.log10(over[slow]))))
        raise table.wrong_time(one, place, f"{orders} orders above what this kernel takes there "
                               f"({_shown(limits.expected_s[place])} expected): are these "
                               f"{unit}?")  # fmt: skip
    quick = time_s < np.maximum(limits.bound_s * FASTEST, SHORTEST_S)
    if quick.any():
        place = int(np.flatnonzero(quick)[0])
        least = max(float(limits.bound_s[place]), SHORTEST_S)
        orders = max(round(math.log10(least / time_s[place])), 1)
        raise table.wrong_time(one, place, f"{orders} orders below what it takes at least "
                               f"({_shown(least)} by the datasheet): are these seconds, sizes "
                               "and device right?")  # fmt: skip


def _check_fits(table: Table, one: Timed, limits: Limits) -> None:
    """Refuse sizes whose operands the device cannot hold."""
    most = math.inf if limits.memory_bytes is None else limits.memory_bytes
    if not (limits.nbytes > most).any():
        return
    place = int(np.flatnonzero(limits.nbytes > most)[0])
    sizes = ", ".join(f"{name} {size[place]:g}" for name, size in one.timings.sizes.items())
    raise FileError(
        table.path,
        f"{one.label} of {sizes} needs {limits.nbytes[place]:.3g} bytes; the device has "
        f"{most:.3g}: sizes out of range",
        f"{one.where(place)}, column {', '.join(one.timings.sizes)}",
    )


def _shown(time_s: float) -> str:
    return f"{time_s:.3g} s"


def _unit(orders: float) -> str:
    if orders < 4.5:
        return "milliseconds"
    return "microseconds" if orders < 7.5 else "nanoseconds"


def joined(one: Timed) -> Timed:
    """Return each kernel once, with the median of its times."""
    names = list(one.timings.sizes)
    rows = np.stack([one.timings.sizes[name] for name in names], axis=1)
    _, first, back = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    if len(first) == len(rows):
        return one
    back = back.reshape(-1)
    times = [np.median(one.timings.time_s[back == place]) for place in range(len(first))]
    timings = Timings(sizes=one.timings.at(first).sizes, time_s=np.array(times))
    return Timed(one.family, one.dtype, timings)
