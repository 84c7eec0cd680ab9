"""Be the command `scalemodel`, also as `python -m scalemodel`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit code."""
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
