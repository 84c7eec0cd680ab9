"""Turn a raw table into a case file: `python -m validation.convert SUITE RAW.csv --out CASES.csv`.

A suite that has several tables knows which one a file is by its columns, never by its name.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from simulator.errors import FileError, InputError, ScalemodelError
from validation.cases import Conversion, read_table, write_cases
from validation.suite import find_suite, list_suites


def convert(suite: str, raw: Path, out: Path) -> Conversion:
    """Convert a raw table and write the case file, whole or not at all.

    Raises
    ------
    InputError : the suite takes no table, or no row is in scope
    FileError : the table cannot be read or lacks a column
    """
    found = find_suite(suite)
    if found.convert is None:
        raise InputError(f"suite {suite} measures this machine and takes no table")
    rows = read_table(raw)
    try:
        conversion = found.convert(rows)
    except FileError:
        raise
    except InputError as error:
        raise FileError(raw, str(error)) from None
    if not conversion.cases:
        reasons = "; ".join(f"{n} {why}" for why, n in conversion.out_of_scope.items())
        raise InputError(f"{raw}: no row is in the scope of suite {suite} ({reasons})")
    write_cases(conversion.cases, out)
    return conversion


def summary(conversion: Conversion, out: Path) -> str:
    """Return what became of the rows, a line each."""
    rows = sum(case.repeats for case in conversion.cases)
    lines = [f"{out}: {len(conversion.cases)} cases from {rows} rows"]
    lines += [f"out of scope: {n} rows: {why}" for why, n in conversion.out_of_scope.items()]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m validation.convert", description=__doc__)
    parser.add_argument("suite", help=f"one of {', '.join(list_suites())}")
    parser.add_argument("raw", type=Path, help="raw table, CSV")
    parser.add_argument("--out", type=Path, required=True, help="case file to write")
    given = parser.parse_args(arguments)
    try:
        conversion = convert(given.suite, given.raw, given.out)
    except ScalemodelError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    print(summary(conversion, given.out), file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
