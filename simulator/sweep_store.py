"""Keep the rows of a sweep in a folder, so that an interrupted sweep continues.

The folder holds `sweep.json` (which sweep it is), `rows-*.json` (rows by the number of their
point, one file a chunk, each written whole or not at all) and at the end `table.csv`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from simulator.errors import FileError
from simulator.files import write_text
from simulator.scenario import Grid, Scenario
from simulator.version import VERSION

Row: TypeAlias = Mapping[str, float | str | None]
"""What a point gave: metrics by name; or "reason" and "error" where it cannot be."""

REASON = "reason"
"""The key that says why a point cannot be."""
ERROR = "error"
"""The key that says of which kind the reason is: "fit" or "input"."""

IDENTITY = "sweep.json"
TABLE = "table.csv"


@dataclass(frozen=True, slots=True)
class SweepStore:
    """Be the folder of one sweep."""

    folder: Path

    @classmethod
    def open(cls, folder: Path, base: Scenario, grid: Grid, stamp: str = "") -> SweepStore:
        """Return the folder of this sweep, made where it is missing.

        Raises
        ------
        FileError : the folder holds another sweep or other files, or cannot be written
        """
        asked = {"base": base.as_dict(), "grid": grid}
        identity = _plain({"version": VERSION, "stamp": stamp, **asked})
        path = folder / IDENTITY
        if folder.exists() and not folder.is_dir():
            raise FileError(folder, "expected a folder for the sweep's results, got a file")
        if path.is_file():
            _check_same(folder, _read(path), identity)
        elif folder.is_dir() and any(folder.iterdir()):
            raise FileError(folder, f"holds other files and no {IDENTITY}; choose another folder")
        else:
            write_text(path, json.dumps(identity, indent=1))
        return cls(folder)

    def rows(self, points: int) -> dict[int, Row]:
        """Return the rows that are done, by the number of their point, of so many points.

        Raises
        ------
        FileError : a file of rows is broken
        """
        found: dict[int, Row] = {}
        for path in sorted(self.folder.glob("rows-*.json")):
            try:
                found |= dict(_row(index, row, points) for index, row in _read(path).items())
            except (ValueError, AttributeError):
                raise FileError(path, "is not a file of rows; remove it to do them again") from None
        return found

    def add(self, rows: Mapping[int, Row]) -> None:
        """Write some rows."""
        if rows:
            path = self.folder / f"rows-{min(rows):07d}.json"
            write_text(path, json.dumps(_plain(rows)))

    def finish(self, table: str) -> None:
        """Write the whole table."""
        write_text(self.folder / TABLE, table)


def _row(index: str, row: Mapping[str, Any], points: int) -> tuple[int, Row]:
    """Return a row as it was written; ValueError or AttributeError where it was not."""
    for name, value in row.items():
        wanted = str if name in (REASON, ERROR) else (int, float)
        if value is not None and not isinstance(value, wanted):
            raise ValueError(name)
    if int(index) not in range(points):
        raise ValueError(index)
    return int(index), row


def _plain(data: Any) -> Any:
    """Return data as JSON would give it back."""
    return json.loads(json.dumps(data, default=lambda value: value.item()))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(path, f"cannot be read ({error}); remove it to do its points again") from (
            None
        )


def _check_same(folder: Path, held: Any, wanted: Mapping[str, Any]) -> None:
    """Raise where the folder holds another sweep; the error says in what it differs."""
    held = held if isinstance(held, dict) else {}
    for part in ("version", "base", "grid", "stamp"):
        if held.get(part) != wanted[part]:
            what = _difference(held.get(part), wanted[part], part)
            raise FileError(
                folder, f"holds another sweep ({what}); choose another folder or remove it"
            )


def _difference(held: Any, wanted: Any, name: str) -> str:
    if isinstance(held, dict) and isinstance(wanted, dict):
        for key in (*wanted, *held):
            if held.get(key) != wanted.get(key):
                return _difference(held.get(key), wanted.get(key), f"{name}.{key}")
    return f"{name} is {_short(held)} there and {_short(wanted)} here"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:56] + " ..."
