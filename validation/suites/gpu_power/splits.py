"""Say which cases are held out, and how cases are left out to see how wrong predictions are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from validation.cases import Case
from validation.suites.gpu_power.convert import KERNELS

ONE_IN = 10
"""One batch in so many is held out, and one limit; so about a fifth of the epochs."""
ONE_KERNEL_IN = 5
RUN = ("on", "workload", "workload.dataset")
BATCH, LIMIT = (*RUN, "workload.batch"), (*RUN, "on.power.limit_w")
KERNEL = ("on", "workload", "workload.batch_size", "workload.num_heads", "workload.isl",
          "workload.step", "workload.num_tokens", "workload.inter_size")  # fmt: skip
FOLDS = 5
DIFFERENCES = {"limit": LIMIT, "batch": BATCH, "workload": ("workload", "workload.dataset"),
               "device": ("on",)}  # fmt: skip
"""What may be new in a case, the least first; settings that name it."""
_DRAWN_AS = {"on.power.limit_w": "on.power_limit_w"}
"""Names of settings when cases were held out: by a new name, others would be."""


def held_out(case: Case) -> bool:
    """Say whether a case is held out: a batch or a limit of a workload, a group of kernels."""
    if case.group == KERNELS:
        return _hashed(case, KERNEL) % ONE_KERNEL_IN == 0
    return any(_hashed(case, names) % ONE_IN == 0 for names in (BATCH, LIMIT))


def fold(case: Case, difference: str) -> str:
    """Return the fold of an epoch: epochs of one are left out together.

    Parameters
    ----------
    case : an epoch
    difference : one of `DIFFERENCES`
    """
    names = DIFFERENCES[difference]
    if difference in ("workload", "device"):
        return "|".join(case.text(name) for name in names)
    return str(_hashed(case, names) // ONE_IN % FOLDS)


def kernel_fold(case: Case) -> str:
    """Return the fold of a kernel."""
    return str(_hashed(case, KERNEL) // ONE_KERNEL_IN % FOLDS)


def _hashed(case: Case, names: Sequence[str]) -> int:
    text = "|".join(f"{_DRAWN_AS.get(name, name)}={case.settings.get(name)}" for name in names)
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)
