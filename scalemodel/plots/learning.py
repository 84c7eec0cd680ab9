"""Draw how models learn: accuracy or loss against simulated time, samples or bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from scalemodel.plots.style import COLOURS, GREY, MARKERS, drawing, new_figure
from simulator.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from validation.cosimulate import Cosimulation

AXES: Mapping[str, tuple[str, str]] = {
    "time_s": ("simulated time", "s"),
    "samples": ("samples", ""),
    "sent_bytes": ("bytes sent", "B"),
    "steps": ("steps", ""),
}
"""What each axis is called, and its unit."""


def plot_learning(
    found: Mapping[str, Cosimulation],
    against: str = "time_s",
    title: str = "Learning",
    metric: str | None = None,
    target: float | None = None,
) -> Figure:
    """Return how good models are along their runs, one line each.

    Parameters
    ----------
    found : co-simulations by the name that the legend shows
    against : "time_s", "samples", "sent_bytes" or "steps"
    title : above the figure
    metric : "accuracy", "loss" or "training_loss"; None: accuracy where labels are classes
    target : an accuracy that is marked; None: none

    Raises
    ------
    InputError : nothing to draw, or matplotlib is missing
    UnknownNameError : no such axis
    """
    if not found:
        raise InputError("there is no co-simulation to plot")
    if against not in AXES:
        raise UnknownNameError("axis", against, AXES)
    if metric is None:
        classes = all(np.isfinite(one.accuracy).all() for one in found.values())
        metric = "accuracy" if classes else "loss"
    with drawing():
        figure, axes = new_figure()
        for place, (name, one) in enumerate(found.items()):
            axes.plot(getattr(one, against), getattr(one, metric), label=name, markersize=4,
                      color=COLOURS[place % len(COLOURS)],
                      marker=MARKERS[place % len(MARKERS)])  # fmt: skip
        if metric == "accuracy" and target is not None:
            axes.axhline(target, color=GREY, linestyle="--", linewidth=1.2)
        if metric == "accuracy":
            axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        shown, unit = AXES[against]
        if unit:
            from matplotlib.ticker import EngFormatter

            axes.xaxis.set_major_formatter(EngFormatter(unit))
        axes.set_xlabel(shown)
        axes.set_ylabel(metric.replace("_", " ") + ("" if metric == "training_loss" else ", test"))
        axes.set_title(title, parse_math=False)
        axes.legend(loc="best")
    return figure
