"""Fit a suite anew and keep what was fitted: `python -m validation.refit SUITE`.

The cases are the packaged ones, or those of a case file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hwmodels.device_writer import write_family_fit
from hwmodels.gpu.fits import PACKAGED, SetKey, fits_file
from hwmodels.spec import FamilyFit
from simulator.errors import InputError, ScalemodelError
from simulator.files import write_text
from validation.cases import read_cases
from validation.suite import Calibration, find_suite, list_suites

DIGITS = 6
"""Significant digits kept of a fitted number."""


def refit(suite: str, cases: Path | None = None, out: Path | None = None) -> Path:
    """Fit a suite and write its calibration, whole or not at all; return where.

    Parameters
    ----------
    suite : its name
    cases : a case file; None: the packaged cases
    out : the calibration file; None: the packaged one. Fits of kernels ("fits") go to files of
        their own: the packaged ones (in "fits_folder"), or below the folder of this file

    Raises
    ------
    InputError : a suite that fits nothing
    FileError : the cases cannot be read
    """
    found = find_suite(suite)
    if found.fit is None:
        raise InputError(f"suite {suite} fits nothing")
    path = out or found.folder / "calibration.toml"
    chosen = found.cases() if cases is None else read_cases(cases, suite)
    tables = dict(found.fit(chosen))
    fits: Mapping[SetKey, FamilyFit] = tables.pop("fits", {})
    packaged: Path = tables.pop("fits_folder", PACKAGED)
    for key, fit in fits.items():
        write_family_fit(fits_file(key, packaged if out is None else path.parent), fit)
    write_text(path, calibration_text(tables))
    return path


def calibration_text(tables: Calibration) -> str:
    """Return a calibration as TOML: plain values first, then its tables.

    >>> print(calibration_text({"case_ids": ["a"], "curve": {"c5 | 2020": {"work_s": 1.23456789}}}))
    case_ids = ["a"]
    <BLANKLINE>
    [curve."c5 | 2020"]
    work_s = 1.23457
    <BLANKLINE>
    """
    return "\n".join(_lines(tables, ())) + "\n"


def _lines(tables: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    plain = {key: value for key, value in tables.items() if not isinstance(value, Mapping)}
    if plain and path:
        yield f"\n[{'.'.join(path)}]"
    for key, value in plain.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from _lines(value, (*path, _key(key)))


def _key(name: str) -> str:
    bare = name.replace("-", "").replace("_", "")
    return name if bare.isascii() and bare.isalnum() else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, Sequence):
        items = [_value(item) for item in value]
        if len(items) > 8:
            return "[\n" + "".join(f"  {item},\n" for item in items) + "]"
        return f"[{', '.join(items)}]"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, int) else repr(float(f"{value:.{DIGITS}g}"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m validation.refit", description=__doc__)
    parser.add_argument("suite", help=f"one of {', '.join(list_suites())}")
    parser.add_argument("--cases", type=Path, help="case file; otherwise the packaged cases")
    parser.add_argument("--out", type=Path, help="calibration; otherwise the packaged one")
    given = parser.parse_args(arguments)
    try:
        path = refit(given.suite, given.cases, given.out)
    except ScalemodelError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    print(path, file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
