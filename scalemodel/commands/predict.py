"""`scalemodel predict`: one scenario, its bounds, or its ratio to another machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from typer import Option, Typer

from scalemodel import report
from scalemodel.options import Asked, Demanded, OutputOption, command
from scalemodel.output import Output, emit
from simulator.bounds import broken_bounds, check_bounds
from simulator.errors import InputError
from simulator.run import Run
from simulator.scenario import (
    STEP_TIME,
    Scenario,
    Value,
    check_still_timed,
    named_once,
    parse_setting,
)
from simulator.study import Study

if TYPE_CHECKING:
    from simulator.explain import Explanation

EXAMPLES = """
  scalemodel predict resnet50 --on raspberry-pi-4 --threads 4
  scalemodel predict mlp --on this-machine --set workload.batch=256 -o json
  scalemodel predict --scenario mine.toml --assert 'step_time_s<=100 ms'
  scalemodel predict resnet50 --on amd-epyc-7742 --against raspberry-pi-4
  scalemodel predict resnet50 --on this-machine --threads 2 --against plan.threads=1
  scalemodel predict resnet50 --on amd-epyc-7742 --threads 64 --against nvidia-t4
  scalemodel predict resnet50 --on dgx-1 --set workload.training=true --set 'on.step_time_s=180 ms'
  scalemodel predict resnet50 --on nvidia-a100-sxm-80gb --largest-batch
  scalemodel predict resnet50 --on this-machine --grid plan.threads=1..4 --minimize step_time_s
"""


def add(app: Typer) -> None:
    """Add the command."""
    command(app, "predict", predict, EXAMPLES)


def predict(
    asked: Asked,
    demanded: Demanded,
    against: Annotated[
        list[str],
        Option(
            metavar="MACHINE",
            help="another machine, or NAME=VALUE on the same: how many times as fast, and how "
            "sure; may be repeated",
        ),
    ] = [],  # noqa: B006
    explain: Annotated[bool, Option("--explain", help="say what binds, and for how long")] = False,
    largest_batch: Annotated[
        bool, Option("--largest-batch", help="predict at the largest batch that fits")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Predict how long a workload takes on a machine.

    Also what memory and energy it needs, how wrong the prediction may be, and where the numbers
    came from. With --grid it is a sweep.
    """
    study = asked.study(demanded)
    if study.grid:
        from scalemodel.commands.sweep import run_sweep

        if against or explain or largest_batch:
            raise InputError("--grid asks for many points; --against, --explain and "
                             "--largest-batch for one")  # fmt: skip
        run_sweep(asked, study, None, output)
        return
    if study.minimize is not None:
        raise InputError(f"--minimize {study.minimize} needs --grid: the points to choose from")
    if largest_batch:
        study = with_largest_batch(asked, study)
    if against and explain:
        raise InputError("--explain says what binds one prediction; --against compares two")
    scenario, *others = _scenarios(study, named_once(map(_change, against), "--against"))
    run = predicted_run(asked, scenario)
    broken_bounds(run.metric, study.bounds)  # what cannot be judged is said before the payload
    if others:
        other = report.Predicted(others[0], predicted_run(asked, others[0]))
        _print_ratio(report.Predicted(scenario, run), other, output)
    else:
        shown = report.flat_table(run) if output is Output.CSV else report.table(run, scenario)
        explanation = explained(run) if explain else None
        emit(output, report.with_explanation(shown, explanation),
             report.document(run, scenario, explanation))  # fmt: skip
    check_bounds(run.metric, study.bounds)


def _scenarios(study: Study, changes: Mapping[str, Value]) -> list[Scenario]:
    """Return what is asked, and what it is compared with where changes say that.

    Threads that are asked for count where there can be several: of a CPU and a GPU, on the CPU.
    """
    from validation.predict import first_device

    scenario = study.scenario()
    if not changes:
        return [scenario]
    if STEP_TIME in scenario.parameters:
        check_still_timed(changes)
    both = [scenario, scenario.changed(changes)]
    if "on" in changes and "plan.threads" in scenario.parameters.keys() - changes.keys():
        alone = [first_device(one.on).max_threads == 1 for one in both]
        if not all(alone):
            return [one.changed({"plan.threads": 1}) if single else one
                    for one, single in zip(both, alone, strict=True)]  # fmt: skip
    return both


def _change(text: str) -> tuple[str, Value]:
    """Return what "NAME=VALUE" or the name of a machine changes."""
    return parse_setting(text, "--against") if "=" in text else ("on", text)


def with_largest_batch(asked: Asked, study: Study) -> Study:
    """Return a study at the largest batch that fits (1 where none does)."""
    from scalemodel.own_code import own_plan, running
    from validation.predict import BATCH, largest_batch

    if BATCH in study.values:
        raise InputError(f"--largest-batch finds {BATCH}, which is given as {study.values[BATCH]}")
    scenario = study.scenario()
    plan = own_plan(asked.plan_file, scenario)
    with running(asked.plan_file):
        largest = largest_batch(scenario, plan=plan)
    return study.merged(Study(values={BATCH: max(largest, 1)}))


def predicted(asked: Asked, study: Study) -> tuple[Scenario, Run]:
    """Return the scenario that a study asks, and its run."""
    scenario = study.scenario()
    return scenario, predicted_run(asked, scenario)


def predicted_run(asked: Asked, scenario: Scenario, record: bool = False) -> Run:
    """Return the run of a scenario, under the user's own plan where one is given."""
    from scalemodel.own_code import own_plan, running
    from validation.predict import predict as run_of

    plan = own_plan(asked.plan_file, scenario)
    with running(asked.plan_file):
        return run_of(scenario, plan=plan, record=record)


def explained(run: Run) -> Explanation:
    """Return what binds a run."""
    from simulator.explain import explain

    return explain(run)


def _print_ratio(first: report.Predicted, second: report.Predicted, output: Output) -> None:
    from scalemodel.console import progress
    from simulator.against import against

    with progress("simulations") as tell:
        ratio = against(first.run, second.run, seed=first.scenario.seed, tell=tell)
    table = report.ratio_table(ratio, first, second, plain=output is Output.CSV)
    emit(output, table, report.ratio_document(ratio, first, second))
