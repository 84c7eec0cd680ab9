"""Run a user's own plan: the only place where a file is code and not data, and it says so."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from scalemodel.console import say
from simulator.actions import Rank
from simulator.errors import FileError, InputError, ProgramError, ScalemodelError
from simulator.ops import IntArray
from simulator.protocols import Machine, Placement, Plan, Program
from simulator.scenario import Scenario
from simulator.workload import Buffer, Job

if TYPE_CHECKING:
    from validation.ranks import Made

_METHODS = ("place", "program", "copies")


def own_plan(path: Path | None, scenario: Scenario) -> Plan | None:
    """Return the plan of a file with the scenario's plan parameters, None where there is no file.

    Raises
    ------
    FileError : the file cannot be run, or does not define exactly one plan
    InputError : the plan does not take these parameters
    """
    return None if path is None else load_plan(path, scenario.under("plan"))


@dataclass(frozen=True, slots=True)
class OwnCollective:
    """Be the plan of a collective: one rank on each device, a call for the gradient at each step.

    Of a workload that only communicates, its buffer is given, as often as the workload says.

    Parameters
    ----------
    function : from a rank and a buffer to the actions of the rank
    """

    function: Callable[[Rank, Buffer], Program]

    def place(self, machine: Machine) -> Placement:
        """Return one rank on each device."""
        count = len(machine.devices)
        return Placement(range(count), [1] * count)

    def program(self, rank: Rank, job: Job) -> Program:
        """Communicate the gradient, or what the workload communicates, so many times."""
        pattern = job.workload.pattern
        times, buffer = (1, job.grad) if pattern is None else (pattern.count, job.message)
        for _ in range(job.steps * times):
            yield from self.function(rank, buffer)

    def copies(self, ranks: int) -> IntArray | None:
        """Return None: which ranks are alike is not known."""
        return None


def load_plan(path: Path, parameters: dict[str, Any]) -> Plan:
    """Return the plan that a file defines.

    That is `plan = ...`, or its only class with a plan's methods, or its only generator function of
    a rank and a buffer: a collective.
    """
    if not path.is_file():
        raise FileError(path, "is no file" if path.exists() else "No such file")
    say(f"running the code of {path}")
    return remade_plan(path, parameters)


def made_by_processes(path: Path, parameters: dict[str, Any]) -> Made:
    """Return what makes the plan of a file in other processes, which cannot be handed its code."""
    from validation.ranks import Made

    return Made("scalemodel.own_code:remade_plan", (path.absolute(), parameters))


def remade_plan(path: Path, parameters: dict[str, Any]) -> Plan:
    """Return the plan of a file of which it has been said that its code is run."""
    module = _run(path)
    found = getattr(module, "plan", None)
    if found is not None and not inspect.isclass(found):
        if parameters:
            raise InputError(f"{path}: its plan is made already; it takes no plan."
                             f"{next(iter(parameters))}")  # fmt: skip
        return _checked(path, found)
    made = found if inspect.isclass(found) else _only_one(path, module)
    if not inspect.isclass(made):
        if parameters:
            raise InputError(f"{path}: a collective takes no plan.{next(iter(parameters))}")
        return OwnCollective(made)
    try:
        with redirect_stdout(sys.stderr):
            return _checked(path, made(**parameters))
    except TypeError as error:
        raise InputError(f"{path}: {made.__name__}: {error}") from error
    except Exception as error:
        raise FileError(path, _text_of(error), _line_of(error, path)) from error


@contextmanager
def running(path: Path | None) -> Iterator[None]:
    """Run code that may call the plan of a file; what it prints is no payload.

    Raises
    ------
    ProgramError : the plan raised something else than this project's errors
    """
    if path is None:
        yield
        return
    try:
        with redirect_stdout(sys.stderr):
            yield
    except ScalemodelError:
        raise
    except (Exception, SystemExit) as error:
        place = ": ".join(part for part in (str(path), _line_of(error, path)) if part)
        raise ProgramError(f"{place}: {_text_of(error)}") from error


def _run(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path.absolute())
    if spec is None or spec.loader is None:
        raise FileError(path, "is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise FileError(path, _text_of(error), _line_of(error, path)) from error
    return module


def _text_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _line_of(error: BaseException, path: Path) -> str:
    """Return the line of the file at which an error arose, "" where it did not arise there."""
    line, trace = getattr(error, "lineno", None), error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path.absolute()):
            line = getattr(error, "lineno", None) or trace.tb_lineno
        trace = trace.tb_next
    return "" if line is None else f"line {line}"


def _only_one(path: Path, module: ModuleType) -> Any:
    """Return the only class with a plan's methods, or where there is none the only collective."""
    own = [thing for thing in vars(module).values()
           if getattr(thing, "__module__", None) == module.__name__]  # fmt: skip
    found = [one for one in own if inspect.isclass(one) and all(
        callable(getattr(one, name, None)) for name in _METHODS)]  # fmt: skip
    found = found or [one for one in own if inspect.isgeneratorfunction(one)
                      and len(inspect.signature(one).parameters) == 2]  # fmt: skip
    if len(found) != 1:
        got = ", ".join(one.__name__ for one in found) or "none"
        raise FileError(path, "expected `plan = ...`, or exactly one class with the methods "
                        f"{', '.join(_METHODS)}, or exactly one function of a rank and a buffer "
                        f"that yields actions; got {got}")  # fmt: skip
    return found[0]


def _checked(path: Path, plan: Any) -> Plan:
    missing = [name for name in _METHODS if not callable(getattr(plan, name, None))]
    if missing:
        raise FileError(path, f"{type(plan).__name__} lacks the method {missing[0]}")
    checked: Plan = plan
    return checked
