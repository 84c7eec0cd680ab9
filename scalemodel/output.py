"""Print the payload on stdout: as a table for people, as JSON or CSV for programs.

A *table* is columns and rows of plain values; how a value looks to a person follows from the
column's name ("time_s" is seconds). Nothing is ever cut off: a table that is wider than the
terminal is wider.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from simulator.run import show_metric, show_number
from simulator.units import dimension_of

if TYPE_CHECKING:
    from rich.table import Table as RichTable


class Output(StrEnum):
    """Say how the payload is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Table:
    """Hold what is printed as a table.

    Parameters
    ----------
    columns : their names
    rows : one value a column; None is unknown
    title : above the table; "" for none
    notes : below the table, a line each
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    notes: Sequence[str] = ()

    def records(self) -> list[dict[str, Any]]:
        """Return the rows as JSON objects."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def table_of(records: Sequence[Mapping[str, Any]], title: str = "") -> Table:
    """Return the table of some records; its columns are all keys, in order of appearance.

    >>> table_of([{"name": "a"}, {"name": "b", "kind": "cpu"}]).rows
    [['a', None], ['b', 'cpu']]
    """
    columns = list(dict.fromkeys(key for record in records for key in record))
    return Table(columns, [[record.get(key) for key in columns] for record in records], title)


def emit(output: Output, table: Table, document: Any = None) -> None:
    """Print a table, or the document that says the same (None: the table's records) as JSON."""
    if output is Output.JSON:
        sys.stdout.write(json_text(table.records() if document is None else document) + "\n")
    elif output is Output.CSV:
        sys.stdout.write(csv_text(table))
    else:
        print_table(table)


def json_text(document: Any) -> str:
    r"""Return a document as JSON; NaN and infinity, which JSON lacks, are null.

    >>> json_text({"value": float("nan")})
    '{\n  "value": null\n}'
    """
    return json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    if hasattr(data, "tolist"):  # numpy's scalars and arrays
        return _finite(data.tolist())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data


def csv_text(table: Table) -> str:
    r"""Return a table as CSV with a header; unknown is an empty cell.

    >>> csv_text(Table(["a", "b"], [[1.5, None]]))
    'a,b\n1.5,\n'
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return file.getvalue()


def print_table(table: Table) -> None:
    """Print a table for people."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    rich = _rich_table(table)
    # Piped output is never wrapped; on a terminal only what may be folded is.
    wide = Measurement.get(console, console.options.update_width(WIDEST), rich)
    console.width = max(wide.minimum, console.width) if console.is_terminal else wide.maximum
    # Captured, for rich would end the program where the reader of a pipe has gone.
    with console.capture() as captured:
        if table.title:
            console.print(Text(table.title, style="bold"), soft_wrap=True)
            console.print()
        console.print(rich)
    text = captured.get()
    # Padding at the end of a line is noise to whoever reads it from a pipe.
    sys.stdout.write(text if console.is_terminal else _without_padding(text))
    sys.stdout.write("".join(f"{note}\n" for note in table.notes))


WIDEST = 100_000
"""Columns that no table needs."""


def _rich_table(table: Table) -> RichTable:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable

    rich = RichTable(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in table.columns:
        numeric = _is_numeric(table, name)
        rich.add_column(name, justify="right" if numeric else "left", overflow="fold",
                        no_wrap=numeric or name == table.columns[0])  # fmt: skip
    for row in table.rows:
        rich.add_row(*(cell(n, value) for n, value in zip(table.columns, row, strict=True)))
    return rich


def _without_padding(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n"))


def _is_numeric(table: Table, name: str) -> bool:
    place = list(table.columns).index(name)
    values = [row[place] for row in table.rows if row[place] is not None]
    return bool(values) and all(isinstance(value, (int, float)) for value in values)


def cell(name: str, value: Any) -> str:
    """Return a value as a person would write it, by the name of its column.

    >>> cell("step_time_s", 0.0123), cell("error_pct", 12.345), cell("batch", 8), cell("x", None)
    ('12.3 ms', '12.3', '8', '')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "; ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    if name.endswith("_pct"):
        return f"{value:.1f}"
    if name.endswith("_share") or dimension_of(name) is not None:
        return show_metric(name, value)
    return str(value) if isinstance(value, int) else show_number(value)
