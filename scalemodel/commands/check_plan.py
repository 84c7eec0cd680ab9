"""`scalemodel check-plan`: whether a plan of the user's own keeps the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from scalemodel.options import OutputOption, command
from scalemodel.output import Output, emit, table_of
from simulator.errors import InputError, ProgramError
from simulator.scenario import named_once, parse_counts, parse_setting

EXAMPLES = """
  scalemodel check-plan my_plan.py
  scalemodel check-plan my_plan.py --ranks 2,8 --set plan.period=4
"""


def add(app: Typer) -> None:
    """Add the command."""
    command(app, "check-plan", check_plan, EXAMPLES)


def check_plan(
    file: Annotated[Path, Argument(metavar="FILE.py", help="its code is run")],
    ranks: Annotated[str, Option(metavar="N,N", help="numbers of devices to try")] = "1,2,3,8",
    settings: Annotated[
        list[str], Option("--set", metavar="NAME=VALUE", help="a parameter of the plan")
    ] = [],  # noqa: B006
    output: OutputOption = Output.TABLE,
) -> None:
    """Judge a plan of your own by running it on ideal machines.

    Finds deadlocks, races, lost messages, and ranks that copies() wrongly calls alike.
    """
    from scalemodel.own_code import load_plan, running
    from simulator.check_plan import check_plan as checked

    values = named_once(map(parse_setting, settings), "--set")
    counts = parse_counts(ranks, "--ranks")
    plan = load_plan(file, {key.removeprefix("plan."): value for key, value in values.items()})
    with running(file):
        verdicts = [checked(plan, count) for count in counts]
    records = [{"devices": v.devices, "verdict": v.verdict, "why": v.why} for v in verdicts]
    emit(output, table_of(records))
    broken = [verdict for verdict in verdicts if verdict.broken]
    if broken:
        raise ProgramError(f"{file}: {broken[0].why}")
    if not any(verdict.verdict == "fine" for verdict in verdicts):
        raise InputError(f"{file}: was judged on none of --ranks {ranks}: {verdicts[0].why}")
