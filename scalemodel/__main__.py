"""Be the command `scalemodel`, also as `python -m scalemodel`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal, as shells have it."""


def main() -> int:
    """Run the command line and return its exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: nobody wants to read it
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    try:
        return _main()
    except KeyboardInterrupt:  # while modules are still imported; later the app itself says so
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


def _main() -> int:
    from scalemodel import check_packages

    try:
        check_packages()
    except ImportError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    from scalemodel.app import make_app

    code = make_app()(prog_name="scalemodel", standalone_mode=False)
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
