"""Run a user's own plan: the only place where a file is code and not data, and it says so."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from scalemodel.console import say
from simulator.errors import FileError, InputError, ProgramError, ScalemodelError
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
    module = _run(path)
    found = getattr(module, "plan", None)
    if found is not None and not inspect.isclass(found):
        if parameters:
            raise InputError(f"{path}: its plan is made already; it takes no plan."
                             f"{next(iter(parameters))}")  # fmt: skip
        return _checked(path, found)
    made = found if inspect.isclass(found) else _only_class(path, module)
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
    if not path.is_file():
        raise FileError(path, "is no file" if path.exists() else "No such file")
    spec = importlib.util.spec_from_file_location(path.stem, path.absolute())
    if spec is None or spec.loader is None:
        raise FileError(path, "is not a Python file")
    module = importlib.util.module_from_spec(spec)
    say(f"running the code of {path}")
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
