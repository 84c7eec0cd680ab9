"""Read what NVIDIA's nccl-tests print: `all_reduce_perf -b 8 -e 8G -f 2 -g 8 > LOG`.

A log has a header that begins with "#" (which test, a line a rank with its host and GPU, the names
of the columns), then a line a size: bytes, elements, dtype, reduction, root, and out of place and
in place the time in microseconds, the algorithm's and the bus bandwidth. Several logs may stand in
one file; lines of a launcher around and between are passed over, and what it puts before a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from simulator.errors import FileError
from simulator.ops import FloatArray

TESTS = {
    "all_reduce_perf": "all_reduce",
    "all_gather_perf": "all_gather",
    "reduce_scatter_perf": "reduce_scatter",
    "alltoall_perf": "all_to_all",
    "broadcast_perf": "broadcast",
    "reduce_perf": "reduce",
    "sendrecv_perf": "send_recv",
}
"""Kinds of collectives by the test's program."""
DTYPES = {"float": "float32", "double": "float64", "half": "float16", "bfloat16": "bfloat16",
          "int8": "int8", "uint8": "uint8", "int32": "int32", "uint32": "int32", "int64": "int64",
          "uint64": "int64", "f8e4m3": "float8", "f8e5m2": "float8"}  # fmt: skip
"""Dtypes as the tests spell them."""
_TEST = re.compile(r"#\s*Collective test starting:\s*(\S+)")
_RANK = re.compile(r"#\s*Rank\s+(\d+)\b.*?\bon\s+(\S+)\s+device\s+\d+\s+\[[^\]]*\]\s+(.*\S)")
_NAMES = re.compile(r"#\s+size\s+count\s+type\b.*\btime\b")
_LAUNCHER = re.compile(r"^\[\d+,\d+\]<std\w+>:\s?")
_ROW = re.compile(r"\d+\s+\d+\s+[a-z]\w*\s")


@dataclass(frozen=True, slots=True, eq=False)
class NcclRun:
    """Be one test: a kind of collective of several sizes on one group.

    Parameters
    ----------
    kind : "all_reduce"
    dtype : of the elements
    gpu : as the driver names it, "" where the log does not
    ranks, nodes : of the group
    nbytes : size of each message (n,), bytes
    time_s : out of place, else in place (n,), seconds
    """

    kind: str
    dtype: str
    gpu: str
    ranks: int
    nodes: int
    nbytes: FloatArray
    time_s: FloatArray


@dataclass(slots=True)
class _Section:
    """Collect the lines of one test."""

    test: str = ""
    ranks: dict[int, tuple[str, str]] = field(default_factory=dict)
    columns: Sequence[str] = ()
    rows: list[tuple[int, list[str]]] = field(default_factory=list)


def is_nccl_log(path: Path) -> bool:
    """Say whether a file looks like a log of nccl-tests."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(_NAMES.search(line) or _TEST.search(line) for line in text.splitlines())


def read_nccl_log(path: Path) -> tuple[NcclRun, ...]:
    """Return the tests of a log.

    Raises
    ------
    FileError : unreadable, without timings, a line cut off or with impossible numbers, or a log
        that does not say which collective or how many ranks it is of
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(path, f"cannot be read ({getattr(error, 'strerror', error)})") from error
    runs = [_run(path, section) for section in _sections(text) if section.rows]
    if not runs:
        raise FileError(path, "has no timings of nccl-tests; is it cut off?")
    return tuple(runs)


def _sections(text: str) -> Iterator[_Section]:
    section = _Section()
    for number, raw in enumerate(text.splitlines(), start=1):
        line = _LAUNCHER.sub("", raw).strip()
        begins = _TEST.search(line) or _RANK.search(line) or _NAMES.search(line)
        if section.rows and begins:
            yield section
            section = _Section()
        _take(section, number, line)
    yield section


def _take(section: _Section, number: int, line: str) -> None:
    """Add what a line says to the section."""
    if test := _TEST.search(line):
        section.test = test[1]
    elif rank := _RANK.search(line):
        section.ranks[int(rank[1])] = rank[2], rank[3]
    elif _NAMES.search(line):
        section.columns = line.lstrip("# ").split()
    elif section.columns and _ROW.match(line):
        section.rows.append((number, line.split()))


def _run(path: Path, section: _Section) -> NcclRun:
    timed = [one for one in (_timed(path, section, *row) for row in section.rows) if one]
    if not timed:
        raise FileError(path, "has no message of more than 0 bytes", f"line {section.rows[0][0]}")
    nbytes, time_s = (np.array(column) for column in zip(*timed, strict=True))
    dtypes = {row[2] for _, row in section.rows}
    where = f"line {section.rows[0][0]}"
    if len(dtypes) > 1 or not dtypes <= set(DTYPES):
        raise FileError(path, f"expected one dtype of {', '.join(DTYPES)}; "
                              f"got {', '.join(sorted(dtypes))}", where)  # fmt: skip
    ranks = len(section.ranks) or _ranks(path, section, where)
    if ranks < 2:
        raise FileError(path, f"expected a group of at least 2 ranks; got {ranks}", where)
    names = {gpu for _, gpu in section.ranks.values()}
    if len(names) > 1:
        raise FileError(path, f"expected GPUs of one kind; got {', '.join(sorted(names))}", where)
    return NcclRun(
        kind=_kind(path, section, where),
        dtype=DTYPES[dtypes.pop()],
        gpu=names.pop() if names else "",
        ranks=ranks,
        nodes=len({host for host, _ in section.ranks.values()}) or 1,
        nbytes=nbytes,
        time_s=time_s,
    )


def _timed(
    path: Path, section: _Section, number: int, row: Sequence[str]
) -> tuple[float, float] | None:
    """Return bytes and seconds of a line; None for an empty message."""
    where = f"line {number}"
    if len(row) != len(section.columns):
        raise FileError(path, f"expected {len(section.columns)} columns, got {len(row)}; "
                              "is the log cut off?", where)  # fmt: skip
    if row[0] == "0":
        return None
    text, rate, wrong = _cells(section, row)
    nbytes, time_us = float(row[0]), _number(text)
    if not (np.isfinite(time_us) and time_us > 0):
        raise FileError(path, f"expected a time in microseconds above 0, got '{text}'", where)
    if _number(wrong) > 0:
        raise FileError(path, f"{wrong} elements came out wrong; its times mean nothing", where)
    if _number(rate) > 1 and not 0.5 < nbytes / time_us / 1e3 / _number(rate) < 2:
        raise FileError(path, f"{row[0]} B in {text} us are not the {rate} GB/s beside them; "
                              "are these the units?", where)  # fmt: skip
    return nbytes, time_us * 1e-6


def _cells(section: _Section, row: Sequence[str]) -> tuple[str, str, str]:
    """Return time, algorithm bandwidth and wrong elements out of place, else in place."""
    named: dict[str, list[str]] = {"time": [], "algbw": [], "#wrong": []}
    for name, cell in zip(section.columns, row, strict=True):
        named.get(name, []).append(cell)
    place = next((at for at, cell in enumerate(named["time"]) if cell != "N/A"), 0)
    time, rate, wrong = ((cells + ["N/A"] * (place + 1))[place] for cells in named.values())
    return time, rate, wrong


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _bus_ratio(section: _Section) -> float | None:
    """Return bus over algorithm bandwidth of the largest message; None if it says nothing."""
    _, row = section.rows[-1]
    rates = dict(zip(section.columns, row, strict=False))
    try:
        algorithm, bus = float(rates["algbw"]), float(rates["busbw"])
    except (KeyError, ValueError):
        return None
    return bus / algorithm if algorithm > 1 else None


def _kind(path: Path, section: _Section, where: str) -> str:
    """Return the kind of collective by the test's name, else by what only one kind can be."""
    if section.test:
        if section.test not in TESTS:
            raise FileError(path, f"expected a test of {', '.join(TESTS)}; "
                                  f"got '{section.test}'", where)  # fmt: skip
        return TESTS[section.test]
    ratio, row = _bus_ratio(section), section.rows[-1][1]
    operation = dict(zip(section.columns, row, strict=False)).get("redop", "none")
    if operation != "none" and ratio is not None:
        if ratio > 1.01 or len(section.ranks) == 2:
            return "all_reduce"
        return "reduce_scatter" if ratio < 0.99 else "reduce"
    raise FileError(path, "does not say which collective it is of; put the test's name above: "
                          "'# Collective test starting: all_reduce_perf'", where)  # fmt: skip


def _ranks(path: Path, section: _Section, where: str) -> int:
    """Return the ranks of a test whose header is lost, by its bus bandwidth."""
    ratio, kind = _bus_ratio(section), _kind(path, section, where)
    around = {"all_reduce": 2.0, "all_gather": 1.0, "reduce_scatter": 1.0, "all_to_all": 1.0}
    if ratio is None or kind not in around or ratio >= around[kind]:
        raise FileError(path, "does not say how many ranks; its lines '# Rank 0 ... on HOST "
                              "device 0 [..] GPU' are missing", where)  # fmt: skip
    return round(1 / (1 - ratio / around[kind]))
