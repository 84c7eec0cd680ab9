"""Say what a suite is: cases of one kind, a way to predict them, and what to compare that with.

Suite `gpu-gemm` lives in the folder `validation/suites/gpu_gemm`: `suite.py` (defines `SUITE`),
`cases.csv`, `calibration.toml` (what was fitted, the case_ids of all rows it was fitted on, and
`remarks`: sentences that the accuracy report shall hold beside the figures).
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from simulator.errors import FileError, UnknownNameError
from validation.cases import Case, Conversion, read_cases

Row: TypeAlias = Mapping[str, str]
Calibration: TypeAlias = Mapping[str, Any]
FOLDER = Path(__file__).parent / "suites"


@dataclass(frozen=True, slots=True)
class Prediction:
    """Be a predicted value with its 90 % interval, in the unit of the case.

    Parameters
    ----------
    value : predicted
    low, high : interval that shall hold the measured value in 90 % of cases; None: not given
    """

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Skip:
    """Say why a case cannot be predicted."""

    reason: str


Answer: TypeAlias = Prediction | Skip
Predict: TypeAlias = Callable[[Sequence[Case], Calibration], Sequence[Answer]]


def own_group(case: Case) -> Sequence[str]:
    """Return the group that the case file names."""
    return (case.group,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Be a suite: functions over cases, and files beside them.

    Parameters
    ----------
    name : "gpu-gemm"
    summary : one line on what is measured
    predict : from cases and the calibration to an answer each, in order
    baselines : simpler ways to predict the same, by name
    convert : from rows of a raw table to cases; None where all cases are measured live
    fit : from cases to the tables of `calibration.toml`; None where nothing is fitted
    measure : measure the cases on this machine; None where they are recorded
    groups : the groups of the report that a case belongs to; the one that its file names if not
        said otherwise
    """

    name: str
    summary: str
    predict: Predict
    baselines: Mapping[str, Predict] = field(default_factory=dict)
    convert: Callable[[Sequence[Row]], Conversion] | None = None
    fit: Callable[[Sequence[Case]], Calibration] | None = None
    measure: Callable[[Callable[[str], None]], Sequence[Case]] | None = None
    groups: Callable[[Case], Sequence[str]] = own_group

    @property
    def live(self) -> bool:
        """Say whether the suite measures this machine."""
        return self.measure is not None

    @property
    def folder(self) -> Path:
        """Return where the suite's files are."""
        return FOLDER / self.name.replace("-", "_")

    def cases(self) -> tuple[Case, ...]:
        """Return the packaged cases; none where all are measured live."""
        path = self.folder / "cases.csv"
        return read_cases(path, self.name) if path.exists() else ()

    def calibration(self) -> Calibration:
        """Return the packaged calibration; {} where nothing is fitted."""
        path = self.folder / "calibration.toml"
        return read_calibration(path) if path.exists() else {}


def read_calibration(path: Path) -> Calibration:
    """Return the tables of a calibration file.

    Raises
    ------
    FileError : unreadable, not TOML (truncated), or without the case_ids it was fitted on
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FileError(path, f"is not a calibration; is it truncated? ({error})") from error
    fitted = tables.get("case_ids")
    if not isinstance(fitted, list) or not all(isinstance(name, str) for name in fitted):
        raise FileError(path, "must list the case_ids it was fitted on", "case_ids")
    return tables


def list_suites() -> list[str]:
    """Return the names of all suites."""
    return sorted(path.parent.name.replace("_", "-") for path in FOLDER.glob("*/suite.py"))


def find_suite(name: str) -> Suite:
    """Return a suite by its name.

    Raises
    ------
    UnknownNameError : no such suite
    """
    if name not in list_suites():
        raise UnknownNameError("suite", name, list_suites())
    module = importlib.import_module(f"validation.suites.{name.replace('-', '_')}.suite")
    suite: Suite = module.SUITE
    return suite
