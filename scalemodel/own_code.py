"""Run a user's own plan: the only place where a file is code and not data, and it says so."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

from scalemodel.console import say
from simulator.errors import FileError, InputError
from simulator.protocols import Plan
from simulator.scenario import Scenario

_METHODS = ("place", "program", "copies")


def own_plan(path: Path | None, scenario: Scenario) -> Plan | None:
    """Return the plan of a file with the scenario's plan parameters, None where there is no file.

    Raises
    ------
    FileError : the file cannot be run, or does not define exactly one plan
    InputError : the plan does not take these parameters
    """
    return None if path is None else load_plan(path, scenario.under("plan"))


def load_plan(path: Path, parameters: dict[str, Any]) -> Plan:
    """Return the plan that a file defines: `plan = ...`, or one class with a plan's methods."""
    say(f"running the code of {path}")
    module = _run(path)
    found = getattr(module, "plan", None)
    if found is not None and not inspect.isclass(found):
        if parameters:
            raise InputError(f"{path}: its plan is made already; it takes no plan."
                             f"{next(iter(parameters))}")  # fmt: skip
        return _checked(path, found)
    made = found if inspect.isclass(found) else _only_class(path, module)
    try:
        return _checked(path, made(**parameters))
    except TypeError as error:
        raise InputError(f"{path}: {made.__name__}: {error}") from error


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileError(path, "No such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileError(path, "is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        line = getattr(error, "lineno", None) or _line_of(error, path)
        raise FileError(path, f"{type(error).__name__}: {error}", f"line {line}") from error
    return module


def _line_of(error: BaseException, path: Path) -> int | None:
    """Return the line of the file at which an error arose."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _only_class(path: Path, module: ModuleType) -> Any:
    classes = [
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing)
        and thing.__module__ == module.__name__
        and all(callable(getattr(thing, name, None)) for name in _METHODS)
    ]
    if len(classes) != 1:
        got = ", ".join(c.__name__ for c in classes) or "none"
        raise FileError(path, "expected `plan = ...` or exactly one class with the methods "
                        f"{', '.join(_METHODS)}; got {got}")  # fmt: skip
    return classes[0]


def _checked(path: Path, plan: Any) -> Plan:
    missing = [name for name in _METHODS if not callable(getattr(plan, name, None))]
    if missing:
        raise FileError(path, f"{type(plan).__name__} lacks the method {missing[0]}")
    checked: Plan = plan
    return checked
