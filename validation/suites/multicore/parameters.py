"""Name the parameters of the suite's model, with what is thought of them before any data.

A *parameter* belongs to each curve, program or machine, or to all. It is fitted on a scale on which
its bounds and its prior are even: "log" for factors, "logit" for shares, "plain" otherwise. A
*prior* pulls it to a center with a spread on that scale; None: nothing pulls.

The level of a curve's serial share and of its barriers comes from its program: a *level* at a
million rows and a *slope* for each tenfold of rows, both on the fitted scale.
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
    per : "curve", "program", "machine" or "all"
    scale : "log", "logit" or "plain"
    low, high : bounds, in natural units
    start : where the fit begins, in natural units; the center of the prior
    spread : of the prior, on the fitted scale; None where there is none
    """

    per: str
    scale: str
    low: float
    high: float
    start: float
    spread: float | None = None


PARAMETERS: Mapping[str, Parameter] = {
    # Of a curve. Spread: how far a curve strays from what its program, rows and machine suggest.
    "work_s": Parameter(per="curve", scale="log", low=1e-6, high=1e9, start=1.0),
    "serial_share": Parameter(
        per="curve", scale="logit", low=1e-4, high=0.95, start=0.05, spread=0.3
    ),
    "barrier_s": Parameter(per="curve", scale="log", low=1e-9, high=1e6, start=0.1, spread=0.3),
    # Of a program. Centers: published measurements of boosting on these machines, by and large.
    "serial_level": Parameter(
        per="program", scale="plain", low=-8.0, high=2.0, start=-2.5, spread=1.5
    ),
    "serial_slope": Parameter(
        per="program", scale="plain", low=-2.0, high=0.5, start=-0.5, spread=0.5
    ),
    "barrier_level": Parameter(
        per="program", scale="plain", low=-12.0, high=4.0, start=-4.0, spread=3.0
    ),
    "barrier_slope": Parameter(
        per="program", scale="plain", low=-0.5, high=2.3, start=0.5, spread=0.4
    ),
    "core_exponent": Parameter(
        per="program", scale="plain", low=0.6, high=1.2, start=0.95, spread=0.1
    ),
    "sibling_work": Parameter(
        per="program", scale="log", low=0.05, high=0.5, start=0.22, spread=0.25
    ),
    "sibling_weight": Parameter(
        per="program", scale="log", low=1.0, high=3.0, start=2.0, spread=0.25
    ),
    "socket_factor": Parameter(
        per="program", scale="log", low=1.0, high=5.0, start=2.0, spread=0.25
    ),
    # Of a machine: its barriers against those of others.
    "barrier_factor": Parameter(
        per="machine", scale="log", low=0.05, high=20.0, start=1.0, spread=0.3
    ),
    "cache_factor": Parameter(per="machine", scale="log", low=1.0, high=7.0, start=1.5, spread=0.4),
    # Of all.
    "barrier_exponent": Parameter(
        per="all", scale="plain", low=0.3, high=1.0, start=0.5, spread=0.02
    ),
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
