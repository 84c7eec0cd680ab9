"""Keep timings in a file while they are made, so that an interrupted calibration can go on.

The file has one JSON object a line. The first says under which conditions it was made; each other
line is one entry, told by its key. A line that is cut off is what was being written when the
process ended, and is done again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from simulator.files import write_text

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
        first = {"conditions": dict(conditions)}
        if lines and lines[0] == first:
            self._entries = {line["key"]: line for line in lines[1:] if "key" in line}
        # Written anew: after a line that is cut off the next one could not be read.
        write_text(path, "".join(json.dumps(one) + "\n" for one in (first, *self)))

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

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
