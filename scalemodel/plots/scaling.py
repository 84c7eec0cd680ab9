"""Draw how time falls with more processors: speedup, efficiency, Karp-Flatt serial fraction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from scalemodel.plots.style import (
    BLACK,
    COLOURS,
    GREY,
    drawing,
    new_figure,
    processors_axis,
)
from simulator.errors import InputError
from simulator.laws import karp_flatt_serial_fraction
from simulator.ops import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from simulator.fit_laws import LawFit, Points


DASHES = ("-", "--", "-.")
"""Styles of fitted curves, so that one shows through where two are equal."""

_Figure: TypeAlias = Callable[[FloatArray, Any], FloatArray]
"""Gives a figure from times and p."""


class Measured(NamedTuple):
    """Hold what was measured at each distinct p: the middle, the lowest and the highest value."""

    p: FloatArray
    middle: FloatArray
    low: FloatArray
    high: FloatArray


def plot_speedup(
    points: Points, fits: Sequence[LawFit] = (), title: str = "Speedup", unit: str = "threads"
) -> Figure:
    """Return the speedup of measured points, beside ideal speedup and fitted laws.

    Parameters
    ----------
    points : processors and times; repeats become whiskers
    fits : laws, drawn with the interval of one new measurement
    title : above the figure
    unit : what is counted on the x axis

    Raises
    ------
    InputError : no point, or matplotlib is missing
    """
    time_1_s = _time_1_s(points, fits)
    measured = _by_p(points, lambda time_s, p: time_1_s / time_s)
    with drawing():
        figure, axes = new_figure()
        ideal = _grid(points)
        axes.plot(ideal, ideal, "--", color=GREY, linewidth=1.4, label="ideal")
        for colour, fit in zip(COLOURS, fits, strict=False):
            _fitted(axes, fit, ideal, colour, lambda time_s, p: time_1_s / time_s)
        _whiskers(axes, measured)
        axes.set_yscale("log", base=2)
        _plain_ticks(axes)
        axes.set_ylim(bottom=min(0.9, 0.9 * float(measured.low.min())))
        _finish(axes, points, title, f"speedup over {_baseline(points, unit)}", unit)
    return figure


def plot_efficiency(
    points: Points, fits: Sequence[LawFit] = (), title: str = "Efficiency", unit: str = "threads"
) -> Figure:
    """Return the efficiency (speedup over p) of measured points and fitted laws.

    Arguments and errors as of `plot_speedup`.
    """
    time_1_s = _time_1_s(points, fits)
    measured = _by_p(points, lambda time_s, p: time_1_s / time_s / p)
    with drawing():
        figure, axes = new_figure()
        axes.axhline(1.0, linestyle="--", color=GREY, linewidth=1.4, label="ideal")
        for colour, fit in zip(COLOURS, fits, strict=False):
            _fitted(axes, fit, _grid(points), colour, lambda time_s, p: time_1_s / time_s / p)
        _whiskers(axes, measured)
        axes.set_ylim(0, max(1.08, 1.05 * float(measured.high.max())))
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        _finish(axes, points, title, "efficiency: speedup / p", unit)
    return figure


def plot_karp_flatt(
    points: Points, title: str = "Karp-Flatt serial fraction", unit: str = "threads"
) -> Figure:
    """Return the experimentally determined serial fraction by p.

    Constant: Amdahl's law holds. Rising: overhead grows with p. Falling below 0: a cache effect.
    (Karp and Flatt, CACM 33(5), 1990.) Arguments and errors as of `plot_speedup`.
    """
    time_1_s = _time_1_s(points, ())
    beyond_one = points.p > 1
    if not beyond_one.any():
        raise InputError("the Karp-Flatt serial fraction needs points at p above 1")
    chosen = type(points)(points.p[beyond_one], points.time_s[beyond_one])
    measured = _by_p(chosen, lambda time_s, p: _karp_flatt(p, time_1_s / time_s))
    with drawing():
        figure, axes = new_figure()
        axes.axhline(0.0, color=GREY, linewidth=1.2)
        axes.plot(measured.p, measured.middle, "-", color=COLOURS[0], linewidth=1.4, alpha=0.6)
        _whiskers(axes, measured)
        top = float(measured.high.max())
        axes.set_ylim(min(0.0, 1.2 * float(measured.low.min())), max(1.25 * top, 0.02))
        _finish(axes, chosen, title, "serial fraction  (1/S - 1/p) / (1 - 1/p)", unit)
        hint = "constant: Amdahl's law holds.  rising: overhead grows with p"
        axes.annotate(hint, (0.99, 0.02), xycoords="axes fraction", ha="right", va="bottom",
                      color="#555555", fontsize=10)  # fmt: skip
    return figure


def _karp_flatt(p: FloatArray, speedup: FloatArray) -> FloatArray:
    return np.asarray(karp_flatt_serial_fraction(p, speedup))


def _time_1_s(points: Points, fits: Sequence[LawFit]) -> float:
    """Return the time on one processor: measured, else fitted."""
    if not len(points.p):
        raise InputError("there are no points to plot")
    one = points.time_s[points.p == 1]
    if len(one):
        return float(np.median(one))
    if fits:
        return float(fits[0].time_s(1))
    least = points.p.min()
    return float(np.median(points.time_s[points.p == least])) * float(least)


def _baseline(points: Points, unit: str) -> str:
    one = f"1 {unit.removesuffix('s')}"
    return one if (points.p == 1).any() else f"{one}, taken from p = {points.p.min():g}"


def _by_p(points: Points, figure: _Figure) -> Measured:
    """Return a figure of the points at each distinct p."""
    distinct = np.unique(points.p)
    groups = [figure(points.time_s[points.p == p], p) for p in distinct]
    middle, low, high = (np.array([f(g) for g in groups]) for f in (np.median, np.min, np.max))
    return Measured(distinct, middle, low, high)


def _grid(points: Points) -> FloatArray:
    top = float(points.p.max())
    return np.unique(np.concatenate([np.geomspace(1, max(2.0, top), 200), np.unique(points.p)]))


def _fitted(axes: Axes, fit: LawFit, p: FloatArray, colour: str, figure: _Figure) -> None:
    value, low, high = fit.predict(p)
    axes.plot(p, figure(value, p), DASHES[COLOURS.index(colour) % 3], color=colour,
              label=_label(fit))  # fmt: skip
    if low is not None and high is not None:
        with np.errstate(divide="ignore"):
            axes.fill_between(p, figure(high, p), figure(low, p), color=colour, alpha=0.15,
                              linewidth=0, label=f"  {fit.confidence:.0%} of new runs")  # fmt: skip


def _label(fit: LawFit) -> str:
    shown = [f"{name} {value:.3g}" for name, value in fit.parameters.items() if name != "time_1_s"]
    names = {"amdahl": "Amdahl", "usl": "USL", "ernest": "Ernest"}
    return f"{names.get(fit.law.name, fit.law.name)}: {', '.join(shown).replace('_', ' ')}"


def _whiskers(axes: Axes, measured: Measured) -> None:
    errors = [measured.middle - measured.low, measured.high - measured.middle]
    axes.errorbar(measured.p, measured.middle, yerr=errors, fmt="o", color=BLACK, markersize=6.5,
                  capsize=3, elinewidth=1.2, zorder=5, label="measured")  # fmt: skip


def _plain_ticks(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _finish(axes: Axes, points: Points, title: str, label: str, unit: str) -> None:
    processors_axis(axes, points.p.tolist(), unit)
    axes.set_ylabel(label)
    axes.set_title(title, parse_math=False)
    axes.legend(loc="best")
