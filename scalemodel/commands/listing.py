"""`scalemodel list`: what there is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from typer import Argument, Typer

from scalemodel.options import OutputOption, command
from scalemodel.output import Output, emit, table_of

EXAMPLES = """
  scalemodel list
  scalemodel list devices
  scalemodel list workloads -o json
"""


class Listable(StrEnum):
    """Say what can be listed."""

    ALL = "all"
    DEVICES = "devices"
    SYSTEMS = "systems"
    LINKS = "links"
    SHAPES = "shapes"
    WORKLOADS = "workloads"
    PLANS = "plans"
    SUITES = "suites"
    LAWS = "laws"


def add(app: Typer) -> None:
    """Add the command."""
    command(app, "list", show_list, EXAMPLES)


def show_list(
    what: Annotated[Listable, Argument(help="of what kind")] = Listable.ALL,
    output: OutputOption = Output.TABLE,
) -> None:
    """List devices, systems, links, shapes of networks, workloads, plans, suites and laws."""
    from scalemodel import names

    found: list[dict[str, Any]] = []
    for kind, records in names.RECORDS.items():
        if what is Listable.ALL or what.value == f"{kind}s":
            found += records()
    columns = ("name", "kind", "about")
    shown = [{column: record[column] for column in columns} for record in found]
    emit(output, table_of(shown), found)
