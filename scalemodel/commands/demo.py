"""`scalemodel demo`: calibrate this machine, predict, measure, and see how wrong it was."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option, Typer

from scalemodel.console import progress, say
from scalemodel.options import OutputOption, command
from scalemodel.output import Output, emit
from simulator.files import check_can_write

EXAMPLES = """
  scalemodel demo
  scalemodel demo --out pictures
"""


def add(app: Typer) -> None:
    """Add the command."""
    command(app, "demo", demo, EXAMPLES)


def demo(
    out: Annotated[Path, Option(metavar="FOLDER", help="for the table and the picture")] = Path(
        "demo"
    ),
    output: OutputOption = Output.TABLE,
) -> None:
    """Calibrate, predict, measure and compare on this machine.

    Takes about three minutes. A calibration that is there already is kept and used.
    """
    from hwmodels.this_machine import this_machine
    from scalemodel import demo as showing
    from scalemodel.commands.calibrate import calibrated_already, run_calibration

    check_can_write(out / showing.NUMBERS)
    if calibrated_already() is None:
        run_calibration(quick=True)
    else:
        say(f"using the calibration in {calibrated_already()}")
    most = this_machine().max_threads
    with progress("workloads") as tell:
        shown = list(showing.showings([1, most] if most > 1 else [1], tell))
    numbers, picture = showing.write(shown, out)
    table = showing.table_of(shown)
    emit(output, table)
    say(f"the table is in {numbers}, the picture in {picture}")
