"""Choose the cases that are shipped: `python -m validation.suites.gpu_fp32.package RAW.csv ...`.

The tables have more rows than a case file shall have. Groups (calls of the same sizes, on all
devices) are chosen by their hash, so that the choice is the same every time.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from validation.cases import Case, read_table, write_cases
from validation.kernel_suite import sizes_of
from validation.suite import find_suite
from validation.suites.gpu_fp32.convert import SUITE, convert

KEPT = {"linear": 0.25, "bmm": 0.25, "conv2d": 0.65, "streaming": 0.12, "normalization": 0.9,
        "softmax": 0.95}  # fmt: skip
"""Share of the groups of each family that is shipped."""


def chosen(cases: Iterable[Case]) -> tuple[Case, ...]:
    """Return the cases that are shipped."""
    return tuple(case for case in cases if _place(case) < KEPT[case.text("workload")])


def _place(case: Case) -> float:
    """Return where in [0, 1) the hash of a case's group lies."""
    digest = hashlib.sha256(f"kept|{sizes_of(case)}".encode()).hexdigest()
    return int(digest[:12], 16) / 16**12


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the packaged case file from raw tables."""
    paths = [Path(name) for name in (sys.argv[1:] if arguments is None else arguments)]
    cases = [case for path in paths for case in convert(read_table(path)).cases]
    write_cases(chosen(cases), find_suite(SUITE).folder / "cases.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
