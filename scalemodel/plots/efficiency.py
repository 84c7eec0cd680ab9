"""Draw time to accuracy as what it is made of: time per step, times steps to the accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalemodel.plots.style import COLOURS, GREY, MARKERS, drawing, logarithmic
from simulator.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from validation.time_to_accuracy import Point

WIDE = 4.0
"""An axis whose values differ by more than this factor is logarithmic."""
BATCH = "workload.batch"
FEWEST = 3
"""Batches from which a fit with two numbers can be judged."""


def plot_efficiency(points: Sequence[Point], title: str = "Time to accuracy") -> Figure:
    """Return three panels: hardware efficiency, statistical efficiency, and their product.

    The first name that the points vary is the horizontal axis; what else they vary makes lines.
    Bars reach from the least to the most of all seeds. Points of which a seed does not reach the
    target are missing in the second and the third panel.

    Parameters
    ----------
    points : of a study of time to accuracy, all with one target
    title : above the figure

    Raises
    ------
    InputError : nothing to draw, or matplotlib is missing
    """
    if not points or points[0].target is None:
        raise InputError("there is no time to an accuracy to plot: points need a target")
    target = f"{100 * points[0].target:g} %"
    name = next(iter(points[0].values), "")
    places = _places(points, name)
    with drawing():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11.5, 4.1), layout="constrained")
        panels = figure.subplots(1, 3)
        for at, (line, of_line) in enumerate(_lines(points, name).items()):
            look: dict[str, Any] = {
                "color": COLOURS[at % len(COLOURS)], "marker": MARKERS[at % len(MARKERS)],
                "label": line, "capsize": 3, "markersize": max(4.0, 9.0 - 1.5 * at),
            }  # fmt: skip
            for axes, what in zip(panels, ("step_time_s", "steps", "time_s"), strict=True):
                _draw(axes, of_line, places, what, look)
        titles = ("hardware: time per step", f"× statistics: steps to {target}",
                  f"= time to {target}")  # fmt: skip
        if name == BATCH:
            _draw_fit(panels[1], points, places)
        for axes, above, unit in zip(panels, titles, ("s", "", "s"), strict=True):
            axes.set_title(above, parse_math=False)
            _vertical(axes, unit)
            _horizontal(axes, places, name)
        if not any(point.to_target("steps") for point in points):
            for axes in panels[1:]:
                axes.set_yticks([])
                axes.text(0.5, 0.5, f"nothing reached {target}", ha="center", color=GREY,
                          transform=axes.transAxes)  # fmt: skip
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, parse_math=False)
        lines = panels[0].get_legend_handles_labels()
        if len(lines[1]) > 1:
            figure.legend(*lines, loc="outside lower center", ncols=min(4, len(lines[1])))
    return figure


def _places(points: Sequence[Point], name: str) -> Mapping[Any, float]:
    """Return where each value of a name stands: numbers at themselves, names in a row."""
    values = list(dict.fromkeys(point.values.get(name, point.name) for point in points))
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return {value: float(value) for value in sorted(values)}  # type: ignore[arg-type]
    return {value: float(at) for at, value in enumerate(values)}


def _lines(points: Sequence[Point], name: str) -> Mapping[str, list[Point]]:
    """Return the points of each line by its label: what its points have but the axis."""
    lines: dict[str, list[Point]] = {}
    for point in points:
        parts = point.name.split(", ") if name else []
        axis = f"{name.rpartition('.')[2]}={point.values.get(name)}"
        lines.setdefault(", ".join(part for part in parts if part != axis), []).append(point)
    return lines


def _draw(
    axes: Axes, points: Sequence[Point], places: Mapping[Any, float], what: str, look: Any
) -> None:
    name = next(iter(points[0].values), "")
    at, middle, low, high = [], [], [], []
    for point in points:
        value = point.step_time_s if what == "step_time_s" else point.to_target(what)
        if value is None:
            continue
        each = [one for one in point.each(what) if one] if what != "step_time_s" else [value]
        at.append(places[point.values.get(name, point.name)])
        middle.append(value)
        low.append(value - min(each, default=value))
        high.append(max(each, default=value) - value)
    axes.errorbar(at, middle, yerr=[low, high], **look)


def _draw_fit(axes: Axes, points: Sequence[Point], places: Mapping[Any, float]) -> None:
    """Draw steps by the fit of a critical batch size, of points that are a line."""
    from validation.time_to_accuracy import LearningStudy

    there = [point for point in points if point.to_target("steps")]
    if len({*_lines(there, BATCH)}) != 1 or len({one.samples_per_step for one in there}) < FEWEST:
        return
    fit = LearningStudy(there).critical_batch()
    at = [places[point.values[BATCH]] for point in there]
    axes.plot(at, [fit.steps(point.samples_per_step) for point in there], color=GREY,
              linestyle="--", label=f"critical batch: {fit.samples:,.0f} samples")  # fmt: skip
    axes.legend(loc="best")


def _vertical(axes: Axes, unit: str) -> None:
    """Let an axis begin at 0, or be logarithmic where values differ much."""
    from matplotlib.ticker import EngFormatter

    low, high = axes.dataLim.intervaly
    if 0 < low < high / WIDE:
        logarithmic(axes, "y", unit)
        axes.set_ylim(_round(low, up=False), _round(high, up=True))
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(EngFormatter(unit))


def _round(value: float, up: bool) -> float:
    """Return the next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    steps = [factor * power for factor in (1.0, 2.0, 5.0, 10.0)]
    return next(s for s in steps if s >= value) if up else max(s for s in steps if s <= value)


def _horizontal(axes: Axes, places: Mapping[Any, float], name: str) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    ticks = list(places.values())
    if len(ticks) > 2 and min(ticks) > 0 and max(ticks) > WIDE * min(ticks):
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{value:g}" if isinstance(value, float) else str(value)
                          for value in places])  # fmt: skip
    axes.set_xlabel(name)
