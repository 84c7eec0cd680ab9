"""Turn the table of classic ML scaling into cases: boosting on one machine, by core list.

A *row* is one training run: algorithm, tool, data set, cores, machine, date, seconds. A *cliff* is
a place where published runs collapse (threads spin in barriers while others wait to be scheduled):
such times tell of the scheduler, not of the program, and repeats differ by up to nine times.
"""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwmodels.devices import find_spec
from hwmodels.thread_team import Layout, Team, format_cpu_list, parse_cpu_list
from simulator.errors import InputError, UnknownNameError
from validation.cases import Case, Conversion, convert_rows, setting
from validation.suite import Row

SUITE = "multicore"
FEW_CORES = 12
"""Counts above this are predicted from those up to it."""
COLUMNS = (
    "algorithm", "tool", "dataset", "n_rows", "n_nodes", "n_cores", "core_list", "hardware", "date",
    "time_s", "metric", "source", "licence",
)  # fmt: skip
SIZE_INDEX = "size index "
"""Ends the name of a data set whose rows the table does not say, before a number."""
ONE_SOCKET = "one socket without SMT"
MORE = "SMT or more sockets"
FEW = f"{FEW_CORES} cores and fewer"


@dataclass(frozen=True, slots=True)
class Cliff:
    """Name runs that collapse: a tool's on a machine from some date, above a number of threads."""

    tool: str
    machine: str
    date: str
    above: int

    def holds(self, case: Case) -> bool:
        """Say whether a case lies beyond the cliff."""
        return (
            case.text("workload.tool") == self.tool
            and case.text("on") == self.machine
            and case.text("workload.date").startswith(self.date)
            and case.number("plan.threads") > self.above
        )

    @property
    def reason(self) -> str:
        """Return why these rows are out of scope."""
        when = f" of {self.date}" if self.date else ""
        return f"{self.tool}{when} on {self.machine} above {self.above} threads: spinning barriers"


CLIFFS = (
    Cliff("xgboost", "r4-16xlarge", "2019", 16),
    Cliff("xgboost", "x1-32xlarge", "", 16),
    Cliff("lightgbm", "c7a-metal-48xl", "", 191),
    Cliff("lightgbm", "r4-16xlarge", "2019", 63),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Be a machine of the table.

    Parameters
    ----------
    name : in the case files
    hardware : how the table's column `hardware` begins
    device : in the catalog
    layout : where its hardware threads lie
    """

    name: str
    hardware: str
    device: str
    layout: Layout


@functools.cache
def machines() -> Mapping[str, Machine]:
    """Return the machines of the table by name.

    >>> machines()["r4-16xlarge"].layout.cores
    32
    """
    tables = tomllib.loads((Path(__file__).parent / "machines.toml").read_text(encoding="utf-8"))
    return {name: _machine(name, table) for name, table in tables.items()}


def _machine(name: str, table: Mapping[str, str]) -> Machine:
    spec = find_spec(table["device"])
    layout = Layout(
        sockets=int(spec.number("sockets") or 1),
        cores_per_socket=int(spec.known("cores")),
        threads_per_core=int(spec.known("threads_per_core")),
        cores_per_cache=int(spec.number("cache.l3_cores") or 0),
    )
    return Machine(name, table["hardware"], table["device"], layout)


def team_of(case: Case) -> Team:
    """Return the team of threads of a case.

    Raises
    ------
    UnknownNameError : a machine whose layout is not known
    InputError : no core list, or one that the machine does not have
    """
    name, where = case.text("on"), f"case {case.case_id}"
    if name not in machines():
        raise UnknownNameError("machine", name, machines(), where=where)
    try:
        return machines()[name].layout.team(case.text("plan.cores"))
    except InputError as error:
        raise InputError(f"{where}, plan.cores: {error}") from error


def convert(rows: Sequence[Row]) -> Conversion:
    """Return the cases of a table, and how many rows are out of scope, by reason.

    Raises
    ------
    InputError : the table lacks a column, or a number is none
    """
    return convert_rows(SUITE, rows, COLUMNS, _read)


def _read(row: Row, where: str) -> Case | str:
    """Return the case of a row, or why it is out of scope."""
    reason = _foreign(row)
    if reason:
        return reason
    machine = next((m for m in machines().values() if row["hardware"].startswith(m.hardware)), None)
    if machine is None:
        return "a machine whose sockets and caches are not known"
    used = _cpus(row, where)
    if max(used) >= machine.layout.threads:
        return "a core list that goes beyond the machine as it is known"
    if len(used) != _number(row, "n_cores", where):
        return "core list and number of cores disagree"
    case = _case(row, machine, used, where)
    return next((cliff.reason for cliff in CLIFFS if cliff.holds(case)), case)


def _foreign(row: Row) -> str:
    """Return why a row is no boosting on chosen cores of one machine, "" if it is."""
    if not row["algorithm"].startswith("gradient boosting"):
        return "another algorithm than gradient boosting"
    if not row["core_list"].strip():
        return "no core list (a GPU, a cluster, or cores not pinned)"
    if row["n_nodes"] not in ("1", "1.0"):
        return "not on one node"
    if row["metric"] != "training time s":
        return f"metric {row['metric']}"
    if not row["n_rows"] and not row["dataset"].rpartition(SIZE_INDEX)[2].isdecimal():
        return "a data set of unknown size"
    return ""


def _cpus(row: Row, where: str) -> tuple[int, ...]:
    try:
        return parse_cpu_list(row["core_list"])
    except InputError as error:
        raise InputError(f"{where}, column core_list: {error}") from error


def _case(row: Row, machine: Machine, used: Sequence[int], where: str) -> Case:
    cpu_list = format_cpu_list(used)
    settings: dict[str, str | float] = {
        "workload": "gradient-boosting",
        "workload.tool": row["tool"],
        "workload.algorithm": row["algorithm"],
        "workload.dataset": row["dataset"],
        "on": machine.name,
        "plan": "threads",
        "plan.threads": float(len(used)),
        "plan.cores": setting(cpu_list),
    }
    if row["date"]:
        settings["workload.date"] = setting(row["date"])
    if row["n_rows"]:
        settings["workload.rows"] = _number(row, "n_rows", where)
    return Case(
        suite=SUITE,
        group=group_of(len(used), machine.layout.team(cpu_list)),
        settings=settings,
        metric="time_s",
        measured=_number(row, "time_s", where),
        unit="s",
        source=row["source"],
        licence=row["licence"],
    )


def group_of(threads: float, team: Team) -> str:
    """Return the part of the report that a team belongs to."""
    if threads <= FEW_CORES:
        return FEW
    return ONE_SOCKET if team.sockets == 1 and not team.siblings else MORE


def _number(row: Row, column: str, where: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(
            f"{where}, column {column}: expected a number above 0, got '{row[column]}'"
        )
    return value
