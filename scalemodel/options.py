"""Say once what the options of the commands are, and what they mean together.

Options that belong together are the fields of a dataclass; `command` lets a function take such a
dataclass as one argument and shows its fields on the command line.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from typer import Argument, Option, Typer

from scalemodel.output import Output
from simulator.bounds import parse_bound
from simulator.scenario import Value, named_once, parse_grid_entry, parse_setting
from simulator.study import Study, read_study

OutputOption = Annotated[
    Output, Option("--output", "-o", help="table for people, json or csv for programs")
]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Hold the options that make a scenario."""

    workload: Annotated[
        str | None,
        Argument(metavar="WORKLOAD", help="a workload, as `scalemodel list workloads` names them"),
    ] = None
    on: Annotated[
        str | None,
        Option(help="a device or system of the catalog, a file of one (.toml), or this-machine"),
    ] = None
    devices: Annotated[
        int | None, Option(help="how many devices of a system: short for --set on.devices=N")
    ] = None
    plan: Annotated[
        str | None,
        Option(help="a plan by name, or a file FILE.py with a plan of your own (runs its code)"),
    ] = None
    threads: Annotated[int | None, Option(help="short for --set plan.threads=N")] = None
    settings: Annotated[
        list[str],
        Option(
            "--set",
            metavar="NAME=VALUE",
            help="one parameter, such as workload.batch=8 or "
            "'on.memory.bandwidth_bytes_per_s=200 GB/s'; may be repeated",
        ),
    ] = field(default_factory=list)
    steps: Annotated[int | None, Option(help="how many steps are run [default: 1]")] = None
    seed: Annotated[int | None, Option(help="of all draws [default: 0]")] = None
    scenario: Annotated[
        Path | None, Option(metavar="FILE.toml", help="a scenario file; flags go over it")
    ] = None

    def study(self, demanded: Demanded | None = None) -> Study:
        """Return what the scenario file and the flags over it ask, with what is demanded of it.

        Raises
        ------
        InputError : a flag or the file makes no sense, or two flags contradict each other
        """
        flags = Study(values=self._values(), **({} if demanded is None else demanded.parts()))
        study = flags if self.scenario is None else read_study(self.scenario).merged(flags)
        return _with_usual_plan(study)

    def _values(self) -> dict[str, Value]:
        named = {"workload": self.workload, "on": self.on, "plan": self.plan,
                 "on.devices": self.devices, "plan.threads": self.threads, "steps": self.steps,
                 "seed": self.seed}  # fmt: skip
        values: dict[str, Value] = {n: value for n, value in named.items() if value is not None}
        return named_once([*values.items(), *map(parse_setting, self.settings)], "--set")

    @property
    def plan_file(self) -> Path | None:
        """Return the file of the user's own plan, None where the plan is one of ours."""
        own = self.plan is not None and self.plan.endswith(".py")
        return Path(str(self.plan)) if own else None


def _with_usual_plan(study: Study) -> Study:
    """Return a study with the plan that is meant where none is named."""
    if "plan" in study.values or "plan" in study.grid:
        return study
    from validation.predict import usual_plan

    usual = usual_plan(study.values)
    return study if usual is None else study.merged(Study(values={"plan": usual}))


@dataclass(frozen=True, kw_only=True)
class Demanded:
    """Hold the options that say what must hold and what is wanted."""

    bounds: Annotated[
        list[str],
        Option(
            "--assert",
            metavar="METRIC<=LIMIT",
            help="what must hold, such as 'step_time_s<=100 ms'; exits with 3 if not; "
            "may be repeated",
        ),
    ] = field(default_factory=list)
    grid: Annotated[
        list[str],
        Option(
            metavar="NAME=VALUES",
            help="values of a name: 1,2,4 or 1..8 or 1..64*2 (doubling) or 10e9..1e11/10 "
            "(evenly spaced); may be repeated",
        ),
    ] = field(default_factory=list)
    minimize: Annotated[
        str | None, Option(metavar="METRIC", help="print the point of the grid with least of it")
    ] = None

    def parts(self) -> dict[str, Any]:
        """Return the parts of a study that these flags say."""
        return {
            "grid": named_once(map(parse_grid_entry, self.grid), "--grid"),
            "bounds": tuple(parse_bound(text) for text in self.bounds),
            "minimize": self.minimize,
        }


# --- commands ------------------------------------------------------------------------------------


def command(app: Typer, name: str, function: Callable[..., None], examples: str = "") -> None:
    """Add a function to the commands; its arguments that are dataclasses become options.

    Parameters
    ----------
    app : to which
    name : of the command
    function : its docstring is the help
    examples : lines below the help
    """
    flat = _flattened(function)
    flat.__doc__ = inspect.getdoc(function)
    epilog = "\b\nExamples:\n" + inspect.cleandoc(examples) if examples else None
    app.command(name, epilog=epilog)(flat)


def _flattened(function: Callable[..., None]) -> Callable[..., None]:
    """Return a function that takes the fields of its dataclass arguments one by one."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {n: kind for n, kind in hints.items() if is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        group = groups.get(parameter.name)
        if group is None:
            kind = inspect.Parameter.KEYWORD_ONLY
            hint = hints[parameter.name]
            parameters.append(parameter.replace(kind=kind, annotation=hint))
        else:
            parameters += _parameters_of(group)

    def flat(**given: Any) -> None:
        made = {
            name: group(**{f.name: given.pop(f.name) for f in fields(group)})
            for name, group in groups.items()
        }
        function(**made, **given)

    arguments_first = sorted(parameters, key=_is_option)
    vars(flat)["__signature__"] = inspect.Signature(arguments_first)
    flat.__annotations__ = {p.name: p.annotation for p in arguments_first}
    flat.__name__ = function.__name__
    return flat


def _parameters_of(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            f.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default_of(f),
            annotation=hints[f.name],
        )
        for f in fields(group)
    ]


def _default_of(one: Field[Any]) -> Any:
    if one.default is not MISSING:
        return one.default
    return one.default_factory() if one.default_factory is not MISSING else inspect.Parameter.empty


def _is_option(parameter: inspect.Parameter) -> bool:
    return not any(
        type(note).__name__ == "ArgumentInfo"
        for note in getattr(parameter.annotation, "__metadata__", ())
    )
