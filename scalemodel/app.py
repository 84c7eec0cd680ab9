"""Put the commands together, and turn errors into one message and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from scalemodel.__main__ import INTERRUPTED
from scalemodel.console import say
from simulator.errors import ScalemodelError
from simulator.version import VERSION

DEBUG = "--debug"


class FrontDoor(TyperGroup):
    """Run a command and exit with 0 (fine), 1 (bad input), 2 (does not fit) or 3 (bound failed)."""

    def main(self, args: Any = None, *more: Any, **extra: Any) -> Any:
        """Run the command line; errors become messages on stderr."""
        standalone = extra.pop("standalone_mode", True)
        given = list(sys.argv[1:] if args is None else args)
        debug = DEBUG in given
        given = [word for word in given if word != DEBUG]
        parse: Callable[..., Any] = super().main
        code = _guarded(lambda: parse(given, *more, standalone_mode=False, **extra), debug)
        if standalone:
            sys.exit(code)
        return code

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Read the command line, which may print help or the version."""
        with _until_the_pipe_closes():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _until_the_pipe_closes():
            return super().invoke(ctx)


@contextmanager
def _until_the_pipe_closes() -> Iterator[None]:
    """End well where the reader of the output closed the pipe: that is no error."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer would raise again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None


def _guarded(run: Callable[[], Any], debug: bool) -> int:
    try:
        code = _helped(run)
    except ScalemodelError as error:
        if debug:
            traceback.print_exc()
        say(f"error: {error}")
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted")
        return INTERRUPTED
    except OSError as error:  # of the system: a full disk, a folder that may not be written
        if debug:
            traceback.print_exc()
        say(f"error: {error}")
        return 1
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error of the parser
            return _usage(error)
        return _unexpected(error, debug)
    if code == INTERRUPTED:  # as newer versions of the parser return it
        say("interrupted")
    return code if isinstance(code, int) else 0


def _helped(run: Callable[[], Any]) -> Any:
    """Run the command line; where it says nothing, print the help."""
    try:
        return run()
    except Exception as error:
        if type(error).__name__ != "NoArgsIsHelpError":
            raise
        with suppress(typer.Exit), _until_the_pipe_closes():
            sys.stdout.write(f"{error}\n")
        return 0


def _usage(error: Any) -> int:
    """Say what is wrong with the command line; bad input, like any other."""
    context = getattr(error, "ctx", None)
    say(f"error: {error.format_message().replace('Value error, ', '')}")
    if context is not None:
        say(f"usage: {context.get_usage().removeprefix('Usage: ')}")
        say(f"try: {context.command_path} --help")
    return 1


def _unexpected(error: Exception, debug: bool) -> int:
    """Say that this is our mistake, and what to report."""
    if debug:
        traceback.print_exc()
    kind = type(error).__name__
    say(f"error: unexpected {kind}: {error}")
    say("This is a mistake in scalemodel, not in your input. Please report the command, this "
        f"message and version {VERSION}." + ("" if debug else f" {DEBUG} shows more."))  # fmt: skip
    return 1


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"scalemodel {VERSION}\n")
        raise typer.Exit


def _front(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, help="show where an error came from; works in any place")
    ] = False,
) -> None:
    """Predict how fast ML workloads run on hardware you have or think of buying, then measure
    how wrong the prediction was.

    \b
    Start with:
      scalemodel list devices
      scalemodel predict resnet50 --on raspberry-pi-4 --threads 4
      scalemodel calibrate
      scalemodel predict resnet50 --on this-machine

    The payload goes to stdout, the log to stderr. Exit codes: 0 fine, 1 bad input, 2 does not
    fit, 3 an asserted bound failed.
    """  # noqa: D205, D301


def make_app() -> typer.Typer:
    """Return the application with all its commands."""
    from scalemodel.commands import add_all

    app = typer.Typer(
        name="scalemodel",
        cls=FrontDoor,
        callback=_front,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    add_all(app)
    return app
