"""Know what share of its float32 peak an accelerator sustains within its power.

A small card has the clock of a large one on its data sheet but not the power for it: under load its
clock goes down until its power suffices (Jia et al., "Dissecting the NVIDIA Turing T4 GPU via
Microbenchmarking", arXiv:1903.07486).
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path

from hwmodels.spec import Spec

_FILE = Path(__file__).parent.parent / "catalog" / "float32_power.toml"


@functools.cache
def joule_per_flop() -> Mapping[str, float]:
    """Return what float32 arithmetic takes at full clock, by architecture, J."""
    with _FILE.open("rb") as file:
        rows = tomllib.load(file)["full_clock"]
    return {name: row["joule_per_flop"] for name, row in rows.items()}


def sustained_share(spec: Spec) -> float:
    """Return the share of its float32 peak that a device's power sustains; 1 where not known.

    >>> from hwmodels.devices import find_spec
    >>> round(sustained_share(find_spec("nvidia-t4")), 2)
    0.46
    >>> sustained_share(find_spec("nvidia-v100-sxm2-16gb"))
    1.0
    """
    power_w, peak = spec.number("power.tdp_w"), spec.number("vector.float32_flop_per_s")
    needed = joule_per_flop().get(spec.architecture)
    if power_w is None or peak is None or needed is None:
        return 1.0
    return min(1.0, power_w / (peak * needed))
