"""`scalemodel convert`: a raw table of measurements becomes a case file of a suite."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from scalemodel.console import say
from scalemodel.options import command

EXAMPLES = """
  scalemodel convert multicore classic_ml_scaling.csv --out cases.csv
"""


def add(app: Typer) -> None:
    """Add the command."""
    command(app, "convert", convert, EXAMPLES)


def convert(
    suite: Annotated[str, Argument(metavar="SUITE", help="as `list suites` names it")],
    raw: Annotated[Path, Argument(metavar="RAW.csv", help="the table; known by its columns")],
    out: Annotated[Path, Option(metavar="CASES.csv", help="the case file to write")],
) -> None:
    """Convert a raw table into a case file of a suite.

    The table is known by its columns; rows out of scope are counted on stderr.
    """
    from validation.convert import convert as converted
    from validation.convert import summary

    say(summary(converted(suite, raw, out), out))
