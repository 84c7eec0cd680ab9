"""`scalemodel trace`: a predicted timeline for Perfetto or Chrome."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Option, Typer

from scalemodel.console import say
from scalemodel.options import Asked, command

EXAMPLES = """
  scalemodel trace resnet50 --on raspberry-pi-4 --threads 4 --out trace.json
  (open trace.json at ui.perfetto.dev)
"""


def add(app: Typer) -> None:
    """Add the command."""
    command(app, "trace", trace, EXAMPLES)


def trace(
    asked: Asked,
    out: Annotated[
        Path | None, Option(metavar="TRACE.json", help="the file [default: stdout]")
    ] = None,
) -> None:
    """Write a predicted timeline for ui.perfetto.dev.

    Where one rank does one op after another, each op has a span of its own.
    """
    from scalemodel.commands.predict import predicted_run
    from scalemodel.op_timeline import op_timeline
    from simulator.trace import chrome_trace, write_chrome_trace

    run = predicted_run(asked, asked.study().scenario(), record=True)
    timeline = op_timeline(run)
    devices = list(run.placement.devices)
    names = {index: run.machine.devices[index].name for index in devices}
    if out is None:
        sys.stdout.write(chrome_trace(timeline, devices, names) + "\n")
    else:
        write_chrome_trace(out, timeline, devices, names)
        say(f"{out}: {len(timeline)} spans; ui.perfetto.dev opens it")
