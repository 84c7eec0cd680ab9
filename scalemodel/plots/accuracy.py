"""Draw predicted against measured values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalemodel.plots.style import BLACK, COLOURS, GREY, MARKERS, drawing, new_figure
from simulator.errors import InputError
from simulator.units import format_quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


CROWD = 150
"""More dots than this are drawn smaller."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Hold one value, predicted and measured.

    Parameters
    ----------
    measured, predicted : in the same unit, positive
    low, high : 90 % interval of the prediction; None: not given
    group : drawn in one colour
    """

    measured: float
    predicted: float
    low: float | None = None
    high: float | None = None
    group: str = ""


def plot_accuracy(
    pairs: Sequence[Pair], title: str = "Predicted against measured", unit: str = "s"
) -> Figure:
    """Return predicted over measured values on logarithmic axes; the title says the error.

    Dots on the line are right; the bands are 10 % and 25 % off.

    Parameters
    ----------
    pairs : what is compared
    title : above the figure; error and coverage are added to it
    unit : of all values; "s" is shown as ms, us ...

    Raises
    ------
    InputError : no pair, a value that is not positive, or matplotlib is missing
    """
    values = np.array([[pair.measured, pair.predicted] for pair in pairs])
    if not len(values) or not (np.isfinite(values) & (values > 0)).all():
        raise InputError("predicted against measured needs at least one pair of positive values")
    with drawing():
        figure, axes = new_figure(6.6, 6.0)
        low, high = values.min() / 1.6, values.max() * 1.6
        _bands(axes, low, high)
        size = 42.0 if len(pairs) <= CROWD else 18.0
        # The largest group goes below the others.
        counts = Counter(pair.group for pair in pairs)
        for place, (group, _) in enumerate(counts.most_common()):
            _dots(axes, [pair for pair in pairs if pair.group == group], place, size)
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
        _ticks(axes, unit)
        axes.set_xlabel("measured")
        axes.set_ylabel("predicted")
        axes.set_title(title, pad=24, parse_math=False)
        axes.annotate(error_text(pairs), (0, 1), xytext=(0, 8), xycoords="axes fraction",
                      textcoords="offset points", fontsize=10.5, color=BLACK)  # fmt: skip
        axes.legend(loc="upper left")
    return figure


def error_text(pairs: Sequence[Pair]) -> str:
    """Return the error of some pairs, and how often their intervals hold.

    >>> error_text([Pair(1.0, 1.1, 0.9, 1.2), Pair(2.0, 1.8)])
    'MAPE 10 %, median 10 %, n = 2; 90 % intervals hold 100 %'
    """
    error = 100 * np.abs([pair.predicted / pair.measured - 1 for pair in pairs])
    text = f"MAPE {error.mean():.3g} %, median {np.median(error):.3g} %, n = {len(pairs)}"
    inside = [
        pair.low <= pair.measured <= pair.high
        for pair in pairs
        if pair.low is not None and pair.high is not None
    ]
    return text if not inside else f"{text}; 90 % intervals hold {100 * np.mean(inside):.0f} %"


def _bands(axes: Axes, low: float, high: float) -> None:
    x = np.array([low, high])
    axes.plot(x, x, color=BLACK, linewidth=1.2, zorder=1)
    for off, alpha in ((0.10, 0.22), (0.25, 0.16)):
        axes.fill_between(x, x * (1 - off), x * (1 + off), color=GREY, alpha=alpha, linewidth=0,
                          label=f"within {off:.0%}")  # fmt: skip


def _dots(axes: Axes, pairs: Sequence[Pair], place: int, size: float) -> None:
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
    for pair in pairs:
        if pair.low is not None and pair.high is not None:
            axes.plot([pair.measured] * 2, [pair.low, pair.high], color=colour, linewidth=1.0,
                      alpha=0.45, zorder=2)  # fmt: skip
    axes.scatter([p.measured for p in pairs], [p.predicted for p in pairs], s=size, color=colour,
                 marker=marker, edgecolor="white", linewidth=0.6, zorder=3,
                 label=pairs[0].group or None)  # fmt: skip


def _ticks(axes: Axes, unit: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    shown = FuncFormatter(lambda value, _: _text(value, unit))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=9))
        axis.set_major_formatter(shown)
        axis.set_minor_formatter(NullFormatter())


def _text(value: float, unit: str) -> str:
    return format_quantity(value, "s") if unit == "s" else f"{value:g} {unit}".strip()
