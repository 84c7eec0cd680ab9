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
        predict,
        show,
        sweep,
    )

    for module in (listing, show, predict, sweep, fit, compare, convert, check_plan):
        module.add(app)
