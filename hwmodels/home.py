"""Find the folder of what a user adds: devices, calibrations."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def home() -> Path:
    """Return the user's folder: $SCALEMODEL_HOME, else the platform's place for user data.

    >>> home().is_absolute()
    True
    """
    chosen = os.environ.get("SCALEMODEL_HOME")
    return Path(chosen).expanduser().absolute() if chosen else _user_data() / "scalemodel"


def _user_data() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
