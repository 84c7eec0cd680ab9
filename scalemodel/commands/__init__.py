"""Hold the commands, a module each; what they need is imported when they run."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer import Typer

MODULES = (
    "listing", "show", "predict", "sweep", "cosimulate", "measure", "calibrate", "fit", "compare",
    "plot", "trace", "convert", "check_plan", "demo",
)  # fmt: skip
"""The modules in the order in which help shows their commands."""


def add_all(app: Typer) -> None:
    """Add every command to the application."""
    for name in MODULES:
        importlib.import_module(f"scalemodel.commands.{name}").add(app)
