"""Hold the commands, a module each; what they need is imported when they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer import Typer


def add_all(app: Typer) -> None:
    """Add every command to the application, in the order in which help shows them."""
    from scalemodel.commands import (
        check_plan,
        compare,
        convert,
        fit,
        listing,
        measure,
        plot,
        predict,
        show,
        sweep,
        trace,
    )

    modules = (
        listing,
        show,
        predict,
        sweep,
        measure,
        fit,
        compare,
        plot,
        trace,
        convert,
        check_plan,
    )
    for module in modules:
        module.add(app)
