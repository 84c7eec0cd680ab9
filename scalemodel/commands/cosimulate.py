"""`scalemodel cosimulate`: train for real on a simulated clock; accuracy against predicted time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from typer import Option, Typer

from scalemodel.asking import torch_needed
from scalemodel.console import progress, say
from scalemodel.learning_report import emit_learning, title_of
from scalemodel.options import Asked, OutputOption, command
from scalemodel.output import Output
from simulator.errors import FileError, InputError, UnknownNameError
from simulator.files import check_can_write
from simulator.scenario import (
    Grid,
    Scenario,
    Value,
    named_once,
    parse_grid_entry,
    parse_setting,
)
from simulator.study import Study

if TYPE_CHECKING:
    from validation.time_to_accuracy import Point, Trained, Training
    from workloads.datasets import Dataset

EXAMPLES = """
  scalemodel cosimulate small-cnn --on gigabit-ethernet --devices 8 --learning-rate 0.1
  scalemodel cosimulate small-cnn --on gigabit-ethernet --devices 8 --plan local-sgd \\
    --set plan.every=16 --distribution by-label --epochs 20 --target 0.95
  scalemodel cosimulate small-cnn --on edge-wifi --devices 9 --learning-rate 0.1 --target 0.9 \\
    --against local-sgd,plan.every=8 --against parameter-server,plan.mode=asynchronous \\
    --plot learning.png
  scalemodel cosimulate small-cnn --on edge-wifi --devices 8 --plan local-sgd --seeds 3 \\
    --target 0.9 --grid plan.every=1..64*4 --learning-rate 0.1 --plot-efficiency local.png
  scalemodel cosimulate mlp --data blobs,features=32 --set workload.inputs=32 \\
    --set workload.classes=4 --on raspberry-pi-4 --grid workload.batch=1..256*4 \\
    --learning-rate 0.01,0.03,0.1 --target 0.9 --noise-scale
"""


@dataclass(frozen=True, kw_only=True)
class AskedToLearn(Asked):
    """Hold the options that make a scenario of which steps may be unknown."""

    steps: Annotated[
        int | None,
        Option(help="of the job, as the plan counts them [default: 100; none with --target]"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Taught:
    """Hold the options that say what is learned, how and until when."""

    data: Annotated[
        str,
        Option(
            metavar="NAME[,KEY=VALUE...]",
            help="digits (scikit-learn's), blobs or linear-data, with parameters such as "
            "blobs,features=32",
        ),
    ] = "digits"
    distribution: Annotated[
        str,
        Option(help="which rank sees which samples: shuffled, sharded, replicated, by-label or "
               "dirichlet"),
    ] = "shuffled"  # fmt: skip
    concentration: Annotated[
        float | None,
        Option(help="with --distribution dirichlet: how alike ranks are [default: 1]"),
    ] = None
    learning_rate: Annotated[
        str | None,
        Option(
            metavar="RATE[,RATE...]",
            help="of each update, also of one by a single gradient; of several, each point takes "
            "the best [default: the optimizer's]",
        ),
    ] = None
    epochs: Annotated[
        float | None,
        Option(help="in place of --steps: as many samples as there are, so often "
               "[default with --target: 50 at most]"),
    ] = None  # fmt: skip
    target: Annotated[
        float | None, Option(metavar="ACCURACY", help="stop at this accuracy, such as 0.9")
    ] = None
    seeds: Annotated[int, Option(min=1, help="train each so often, from --seed on")] = 1
    judgements: Annotated[int, Option(min=1, help="how often a run is judged")] = 20

    def training(self, steps: int | None) -> Training:
        """Return how scenarios are trained."""
        from validation.time_to_accuracy import Training

        return Training(data=self._data(), target=self.target, steps=steps, epochs=self.epochs,
                        seeds=self.seeds, learning_rates=self._rates(),
                        judgements=self.judgements)  # fmt: skip

    def _data(self) -> Dataset:
        from workloads.datasets import find_dataset

        name, *settings = _parts(self.data)
        parameters: dict[str, Any] = {}
        for text in settings:
            key, equals, value = text.partition("=")
            if not (key and equals and value):
                raise InputError(f"--data {self.data}: expected NAME,KEY=VALUE, got '{text}'")
            parameters[key] = parse_setting(f"job.{key}={value}", "--data")[1]
        found = find_dataset(name, **parameters)
        if self.concentration is None:
            return found.distributed(self.distribution)
        if self.distribution != "dirichlet":
            raise InputError("--concentration is for --distribution dirichlet")
        return found.distributed(self.distribution, self.concentration)

    def _rates(self) -> list[float | None]:
        if self.learning_rate is None:
            return [None]
        try:
            return [float(text) for text in self.learning_rate.split(",")]
        except ValueError:
            raise InputError(f"--learning-rate {self.learning_rate}: expected numbers such as 0.1 "
                             "or 0.03,0.1") from None  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Hold the options that say what is drawn."""

    plot: Annotated[
        Path | None, Option(metavar="FILE", help="draw accuracy along the runs: .png, .svg or .pdf")
    ] = None
    axis: Annotated[
        str, Option(help="of --plot: time_s (simulated), samples, sent_bytes or steps")
    ] = "time_s"
    plot_efficiency: Annotated[
        Path | None,
        Option(metavar="FILE", help="with --target and --grid: draw time per step, steps to the "
               "target, and their product"),
    ] = None  # fmt: skip

    def check(self, target: float | None) -> None:
        """Raise where something cannot be drawn: before the work, not after it."""
        from scalemodel.plots.learning import AXES
        from scalemodel.plots.style import check_format, drawing

        if self.axis not in AXES:
            raise UnknownNameError("axis", self.axis, AXES, "--axis")
        if self.plot_efficiency is not None and target is None:
            raise InputError("--plot-efficiency draws what it takes to an accuracy: give --target")
        for path in (self.plot, self.plot_efficiency):
            if path is not None:
                check_format(path)
                check_can_write(path)
                if not path.absolute().parent.is_dir():
                    raise FileError(path, f"there is no folder {path.parent}")
                with drawing():
                    pass

    def draw(self, points: list[Point]) -> None:
        """Draw what is wanted."""
        from scalemodel.plots.efficiency import plot_efficiency
        from scalemodel.plots.learning import plot_learning
        from scalemodel.plots.style import save_figure

        if self.plot is not None:
            runs = {point.name: point.runs[0].found for point in points}
            figure = plot_learning(runs, self.axis, title_of(points), target=points[0].target)
            save_figure(figure, self.plot)
            say(f"drawn: {self.plot}")
        if self.plot_efficiency is not None:
            save_figure(plot_efficiency(points, title=title_of(points)), self.plot_efficiency)
            say(f"drawn: {self.plot_efficiency}")


def add(app: Typer) -> None:
    """Add the command."""
    command(app, "cosimulate", cosimulate, EXAMPLES)


def cosimulate(
    asked: AskedToLearn,
    taught: Taught,
    drawn: Drawn,
    against: Annotated[
        list[str],
        Option(
            metavar="PLAN[,NAME=VALUE...]",
            help="another plan, or other parameters, beside the first: local-sgd,plan.every=8; "
            "may be repeated",
        ),
    ] = [],  # noqa: B006
    grid: Annotated[
        list[str],
        Option(metavar="NAME=VALUES", help="train at each of these values; may be repeated"),
    ] = [],  # noqa: B006
    noise_scale: Annotated[
        bool,
        Option("--noise-scale", help="say how much of gradients is noise, before and after"),
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Train for real on a simulated clock: accuracy against predicted time, samples and bytes.

    Real gradients are computed here, in the order, with the staleness and on the samples that the
    simulated machine dictates. The learning rate counts for each update: an asynchronous plan makes
    one of every gradient, where a synchronous one averages first. Ctrl-C prints what was found.
    """
    points_of_grid = named_once(map(parse_grid_entry, grid), "--grid")
    study = asked.study().merged(Study(grid=points_of_grid))
    if study.bounds or study.minimize is not None:
        raise InputError("what a scenario file asserts or minimizes is for predict and sweep; an "
                         "accuracy that is wanted is the --target")  # fmt: skip
    with torch_needed("co-simulation"):
        import validation.torch_learning  # noqa: F401
    drawn.check(taught.target)
    scenario = study.scenario()
    training = taught.training(scenario.steps if "steps" in study.values else None)
    points: list[Point] = []
    try:
        for number, variant in enumerate(variants := _variants(scenario, study.grid, against), 1):
            label = variant.name + f" ({number} of {len(variants)})" * (len(variants) > 1)
            points.append(_taught(variant, training, asked, label))
    except _StoppedError as stopped:
        shown = [*points, *stopped.points]
        if shown:
            emit_learning(output, shown, training, noise_scale)
            drawn.draw(shown)
        raise KeyboardInterrupt from None
    emit_learning(output, points, training, noise_scale)
    drawn.draw(points)


class Variant(NamedTuple):
    """Be a scenario that is trained, its name, and its values of the names on the grid."""

    name: str
    values: Mapping[str, Value]
    scenario: Scenario


def _variants(scenario: Scenario, grid: Grid, against: list[str]) -> list[Variant]:
    """Return the points of the grid, of the scenario and of each that it is compared with."""
    from simulator.scenario import checked_grid
    from validation.time_to_accuracy import points_of

    bases = {"": scenario}
    for text in against:
        base = _other(scenario, text)
        if base in bases.values():
            raise InputError(f"--against {text}: is the same as another that is trained; give "
                             "another plan or other parameters")  # fmt: skip
        bases[text] = base
    found = []
    for text, base in bases.items():
        for name, values in points_of(checked_grid(grid)):
            shown = ", ".join(part for part in (text if against else "", name) if part)
            found.append(Variant(shown or base.plan, values, base.changed(values)))
    return found


def _other(scenario: Scenario, text: str) -> Scenario:
    """Return the scenario with another plan, or other parameters: "local-sgd,plan.every=8".

    What was said of the plan before holds for the other as far as that has such a parameter.
    """
    from workloads.plans import parameters_of

    first, *others = _parts(text)
    settings = [f"plan={first}" if "=" not in first else first, *others]
    changes = named_once((parse_setting(one, "--against") for one in settings), "--against")
    if "plan" not in changes:
        return scenario.changed(changes)
    known = parameters_of(str(changes["plan"]))
    kept = {name: value for name, value in scenario.parameters.items()
            if not name.startswith("plan.") or name.removeprefix("plan.") in known}  # fmt: skip
    return replace(scenario, parameters=kept).changed(changes)


def _parts(text: str) -> list[str]:
    """Return what stands between commas that are outside of brackets."""
    return [part.strip() for part in re.split(r",(?![^\[]*\])", text)]


class _StoppedError(Exception):
    """Say that the user interrupted; hold the point that was being trained, as far as it is."""

    def __init__(self, points: list[Point]) -> None:
        super().__init__("interrupted")
        self.points = points


def _taught(variant: Variant, training: Training, asked: Asked, label: str) -> Point:
    """Return how a scenario learned, once a seed."""
    from scalemodel.own_code import own_plan, running
    from validation.cosimulate import InterruptedLearning
    from validation.time_to_accuracy import Point, Trained

    name, values, scenario = variant
    plan = own_plan(asked.plan_file, scenario) if scenario.plan == asked.plan else None
    runs: list[Trained] = []
    try:
        with progress(f"steps of {label}") as tell, running(asked.plan_file):
            for run in training.runs(scenario, plan, tell):
                runs.append(run)  # noqa: PERF402 -- those before an interrupt are kept
    except InterruptedLearning as stopped:
        runs.append(Trained(stopped.found, None))
        raise _StoppedError([Point(name=name, values=values, scenario=scenario,
                                   target=training.target, runs=runs)]) from None  # fmt: skip
    except KeyboardInterrupt:
        raise _StoppedError([]) from None
    return Point(name=name, values=values, scenario=scenario, target=training.target, runs=runs)
