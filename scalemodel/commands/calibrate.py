"""`scalemodel calibrate`: fit this machine's numbers to measurements, with spreads and date."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Option, Typer

from scalemodel.console import say
from scalemodel.options import OutputOption, command
from scalemodel.output import Output
from simulator.errors import InputError

EXAMPLES = """
  scalemodel calibrate                       (about three minutes; best while nothing else runs)
  scalemodel calibrate --quick
  scalemodel calibrate --from timings.csv --like aws-graviton3     (timed elsewhere)
"""


def add(app: Typer) -> None:
    """Add the command."""
    command(app, "calibrate", calibrate, EXAMPLES)


def calibrate(
    quick: Annotated[
        bool, Option("--quick", help="under 40 s, with wider spreads and intervals")
    ] = False,
    timings: Annotated[
        Path | None,
        Option(
            "--from",
            metavar="TIMINGS.csv",
            help="timings taken elsewhere: op, dtype, its dims, time_s",
        ),
    ] = None,
    like: Annotated[
        str | None, Option(metavar="DEVICE", help="the device that the timings were taken on")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Fit this machine's numbers to measurements.

    Afterwards --on this-machine uses them. The file has each number's spread, and the date.
    """
    from scalemodel.commands.show import show

    path = run_calibration(quick, timings, like)
    if output is Output.TABLE:
        sys.stdout.write(f"{path}\n")
    else:
        show(str(path), [], output)


def run_calibration(
    quick: bool = False, timings: Path | None = None, like: str | None = None
) -> Path:
    """Calibrate and return where the device file is.

    Raises
    ------
    InputError : torch is missing, or the timings make no sense
    """
    from scalemodel.asking import torch_needed

    if like is not None and timings is None:
        raise InputError(f"--like {like} says on what the timings of --from were taken; without "
                         "--from this machine is measured")  # fmt: skip
    try:
        with torch_needed("calibrating"):
            from validation.calibrate import calibrate as calibrated

            path: Path = calibrated(quick=quick, timings=timings, like=like, say=say)
    except KeyboardInterrupt:
        if timings is None:
            say("what was timed is kept; the same command goes on from there")
        raise
    say(f"the calibrated device is in {path}")
    return path


def calibrated_already() -> Path | None:
    """Return the file of this machine's calibration; None where there is none."""
    from hwmodels.devices import devices_folder
    from hwmodels.this_machine import NAME

    path = devices_folder() / f"{NAME}.toml"
    return path if path.is_file() else None
