"""Name the parameters of the suite's model, with what is thought of them before any data.

A *parameter* belongs to each curve, program or device, or to all. It is fitted on a scale on which
any number makes sense: "log" for factors, "logit" for shares, "plain" for numbers on such a scale.
A *prior* pulls it to a center with a spread on that scale; None: nothing pulls.

The serial share and the barriers of a curve are pulled to what its program, its rows and its device
suggest: the program's *level* at a million rows, its *slope* for each tenfold of rows.

Centers are round numbers of what boosting was measured to do on these machines (a second socket
makes barriers 1.7 to 2.6 times dearer, a sibling adds 0.15 to 0.3 cores of work and counts as 1.4
to 2.7 cores in a barrier); spreads were chosen by predicting curves that took no part in a fit.
What came out, with its own spread, is in `calibration.toml`: a spread as wide as the prior's says
that the data told nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simulator.ops import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Describe a parameter.

    Parameters
    ----------
    per : "curve", "program", "device" or "all"
    scale : "log", "logit" or "plain"
    start : where the fit begins, in natural units; the center of the prior
    spread : of the prior, on the fitted scale; None where there is none
    """

    per: str
    scale: str
    start: float
    spread: float | None = None


PARAMETERS: Mapping[str, Parameter] = {
    # Of a curve. Spread: how far a curve strays from what its program, rows and device suggest.
    "work_s": Parameter(per="curve", scale="log", start=1.0),
    "serial_share": Parameter(per="curve", scale="logit", start=0.05, spread=0.3),
    "barrier_s": Parameter(per="curve", scale="log", start=0.1, spread=0.3),
    # Of a program.
    "serial_level": Parameter(per="program", scale="plain", start=-2.5, spread=1.5),
    "serial_slope": Parameter(per="program", scale="plain", start=-0.5, spread=0.5),
    "barrier_level": Parameter(per="program", scale="plain", start=-4.0, spread=3.0),
    "barrier_slope": Parameter(per="program", scale="plain", start=0.5, spread=0.4),
    "sibling_weight": Parameter(per="program", scale="log", start=2.0, spread=0.25),
    "socket_factor": Parameter(per="program", scale="log", start=2.0, spread=0.25),
    # Of a device: its barriers against those of others, and what they cost across its caches.
    "barrier_factor": Parameter(per="device", scale="log", start=1.0, spread=0.3),
    "cache_factor": Parameter(per="device", scale="log", start=1.5, spread=0.4),
    # Of all.
    "sibling_work": Parameter(per="all", scale="log", start=0.22, spread=0.25),
    "barrier_exponent": Parameter(per="all", scale="plain", start=0.5, spread=0.02),
}


def fitted_scale(name: str, natural: FloatArray | float) -> FloatArray:
    """Return natural values of a parameter on its fitted scale.

    >>> float(fitted_scale("socket_factor", 1.0))
    0.0
    """
    values = np.asarray(natural, dtype=float)
    match PARAMETERS[name].scale:
        case "log":
            values = np.log(values)
        case "logit":
            values = np.log(values / (1 - values))
    return values


def natural_scale(name: str, fitted: FloatArray) -> FloatArray:
    """Return fitted values of a parameter in natural units.

    >>> natural_scale("serial_share", np.array([0.0]))
    array([0.5])
    """
    match PARAMETERS[name].scale:
        case "log":
            fitted = np.exp(fitted)
        case "logit":
            fitted = 1 / (1 + np.exp(-fitted))
    return fitted


def slope(name: str, natural: FloatArray) -> FloatArray:
    """Return how natural values change with fitted ones."""
    match PARAMETERS[name].scale:
        case "log":
            return natural
        case "logit":
            return natural * (1 - natural)
    return np.ones_like(natural)
