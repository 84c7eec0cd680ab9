"""`scalemodel check-plan`: whether a plan or collective of the user's own keeps the rules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, Typer

from scalemodel.console import say
from scalemodel.options import OutputOption, command
from scalemodel.output import Output, emit, table_of
from simulator.errors import InputError, ProgramError
from simulator.scenario import named_once, parse_counts, parse_setting

if TYPE_CHECKING:
    from simulator.check_plan import Verdict
    from simulator.protocols import Plan

EXAMPLES = """
  scalemodel check-plan my_plan.py
  scalemodel check-plan my_plan.py --ranks 2,8 --set plan.period=4
  scalemodel check-plan my_collective.py --no-gloo
"""

MOST_PROCESSES = 4
"""On more the judgement would be the same, and take longer."""
MOST_DEVICES = 256
"""A plan with a mistake shows it on fewer; judging takes the square of it, minutes already here."""


def add(app: Typer) -> None:
    """Add the command."""
    command(app, "check-plan", check_plan, EXAMPLES)


def check_plan(
    file: Annotated[Path, Argument(metavar="FILE.py", help="its code is run")],
    ranks: Annotated[str, Option(metavar="N,N", help="numbers of devices to try")] = "1,2,3,8",
    settings: Annotated[
        list[str], Option("--set", metavar="NAME=VALUE", help="a parameter of the plan")
    ] = [],  # noqa: B006
    gloo: Annotated[
        bool, Option(help="run it on real processes too (for up to 4 of the devices to try)")
    ] = True,
    output: OutputOption = Output.TABLE,
) -> None:
    """Judge a plan or collective of your own, on ideal machines and between real processes.

    Finds deadlocks, races, lost messages, ranks that copies() wrongly calls alike, and numbers
    that real processes compute otherwise than simulated ones. A collective whose name ends with
    that of a built-in one, such as ring_all_reduce, must leave the same numbers.
    """
    from scalemodel.own_code import load_plan, running
    from simulator.check_plan import check_plan as checked

    named = named_once(map(parse_setting, settings), "--set")
    values = {key.removeprefix("plan."): value for key, value in named.items()}
    counts = parse_counts(ranks, "--ranks")
    if max(counts) > MOST_DEVICES:
        raise InputError(f"--ranks {ranks}: at most {MOST_DEVICES} devices are tried; on more, "
                         "`predict --plan` runs it")  # fmt: skip
    plan = load_plan(file, values)
    with running(file):
        verdicts = [checked(plan, count) for count in counts]
    records = [_record(verdict, "simulator") for verdict in verdicts]
    with running(file):
        on_numbers = _on_numbers(plan, [v.devices for v in verdicts if v.verdict == "fine"])
    verdicts += on_numbers
    records += [_record(verdict, "numbers") for verdict in on_numbers]
    fine = [v.devices for v in verdicts if v.verdict == "fine" and v.devices <= MOST_PROCESSES]
    if gloo and fine and not any(verdict.broken for verdict in verdicts):
        verdicts += _on_gloo(plan, max(fine), file, values)
        records += [_record(verdict, "gloo") for verdict in verdicts[len(records) :]]
    emit(output, table_of(records))
    broken = [verdict for verdict in verdicts if verdict.broken]
    if broken:
        raise ProgramError(f"{file}: {broken[0].why}")
    if not any(verdict.verdict == "fine" for verdict in verdicts):
        raise InputError(f"{file}: was judged on none of --ranks {ranks}: {verdicts[0].why}")


def _record(verdict: Verdict, judged_on: str) -> dict[str, Any]:
    return {"devices": verdict.devices, "on": judged_on, "verdict": verdict.verdict,
            "why": verdict.why}  # fmt: skip


def _on_numbers(plan: Plan, counts: list[int]) -> list[Verdict]:
    """Return whether a collective keeps what its name promises; nothing where it promises none."""
    from scalemodel.own_code import OwnCollective
    from validation.check_collective import check_collective, promised

    kind = promised(plan.function.__name__) if isinstance(plan, OwnCollective) else None
    return [] if kind is None else [check_collective(plan, kind, count) for count in counts]


def _on_gloo(plan: Plan, devices: int, file: Path, values: dict[str, Any]) -> list[Verdict]:
    """Return how real processes judge a plan; nothing where there is no torch."""
    from scalemodel.own_code import made_by_processes, running
    from scalemodel.processes import has_torch

    if not has_torch():
        say("not judged on real processes: that needs torch (pip install 'scalemodel[torch]')")
        return []
    from validation.check_on_gloo import check_on_gloo

    with running(file):
        return [check_on_gloo(plan, devices, made_by_processes(file, values))]
