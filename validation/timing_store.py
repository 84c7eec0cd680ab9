"""Keep timings in a file while they are made, so that an interrupted calibration can go on.

The file has one JSON object a line. The first says under which conditions it was made; each other
line is one entry, told by its key. A line that is cut off is what was being written when the
process ended, and is done again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class TimingStore:
    """Be the timings of one calibration.

    Parameters
    ----------
    path : of the file; it is made where missing
    conditions : machine, software and plan; a file of others is begun anew
    """

    def __init__(self, path: Path, conditions: Mapping[str, Any]) -> None:
        self.path = path
        self._entries: dict[str, Entry] = {}
        lines = _lines(path)
        if lines and lines[0] == {"conditions": dict(conditions)}:
            self._entries = {line["key"]: line for line in lines[1:] if "key" in line}
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"conditions": dict(conditions)}) + "\n", encoding="utf-8")

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Entry | None:
        """Return the entry of a key, None where it is still to be made."""
        return self._entries.get(key)

    def put(self, key: str, entry: Mapping[str, Any]) -> None:
        """Add an entry to the file."""
        line = {"key": key, **entry}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._entries[key] = line

    def close(self) -> None:
        """Remove the file: what it was kept for is done."""
        self.path.unlink(missing_ok=True)


def _lines(path: Path) -> list[Entry]:
    """Return the whole lines of a file; what cannot be read counts as not there."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    found: list[Entry] = []
    for line in text.splitlines():
        try:
            read = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(read, dict):
            found.append(read)
    return found
