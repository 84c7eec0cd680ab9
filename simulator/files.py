"""Read files of TOML; write files whole or not at all."""

from __future__ import annotations

import os
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from simulator.errors import FileError


def read_toml(path: str | Path) -> dict[str, Any]:
    """Return what a TOML file says.

    Raises
    ------
    FileError : the file cannot be read, or is no TOML
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise FileError(path, error.strerror or str(error)) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FileError(path, f"expected a TOML file: {error}") from None
    except RecursionError:
        raise FileError(path, "expected a TOML file: tables or lists lie too deep") from None


def write_text(path: Path, text: str) -> None:
    """Write a file atomically: readers see the old or the new text, never a part.

    What is no ordinary file (a device such as /dev/stdout, a pipe, a link) is written to and stays
    what it is.

    Raises
    ------
    FileError : the file cannot be written
    """
    path = Path(path)
    check_can_write(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_text(text, encoding="utf-8")
        else:
            _replace(path, text)
    except OSError as error:
        raise FileError(path, error.strerror or str(error)) from None


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def check_can_write(path: Path) -> None:
    """Raise where a file cannot be written: asked before long work whose result it shall hold.

    Raises
    ------
    FileError : it is a folder, or nothing can be made where it shall stand
    """
    path = Path(path)
    if path.is_dir():
        raise FileError(path, "expected a file to write, got a folder")
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not nearest.is_dir():
        raise FileError(path, f"{nearest} is no folder")
    if not os.access(nearest, os.W_OK):
        raise FileError(path, f"nothing may be written to {nearest}")
