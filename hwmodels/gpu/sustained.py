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
from typing import Any

from hwmodels.spec import Spec
from simulator.source import Source

_FILE = Path(__file__).parent.parent / "catalog" / "float32_power.toml"


@functools.cache
def _full_clock() -> Mapping[str, Any]:
    """Return what the file says of each architecture."""
    with _FILE.open("rb") as file:
        rows: Mapping[str, Any] = tomllib.load(file)["full_clock"]
    return rows


def joule_per_flop() -> Mapping[str, float]:
    """Return what float32 arithmetic takes at full clock, by architecture, J."""
    return {name: row["joule_per_flop"] for name, row in _full_clock().items()}


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


def sustained_sources(spec: Spec) -> tuple[Source, ...]:
    """Return where the share is from; nothing where it is 1.

    >>> from hwmodels.devices import find_spec
    >>> print(*sustained_sources(find_spec("nvidia-t4")))
    source (estimate): 46 % of the float32 peak: power a FLOP/s over that of nvidia-rtx-2080-ti
    """
    share = sustained_share(spec)
    if share == 1.0:
        return ()
    full = _full_clock()[spec.architecture]["device"]
    text = f"{100 * share:.0f} % of the float32 peak: power a FLOP/s over that of {full}"
    return (Source(text, kind="estimate"),)
