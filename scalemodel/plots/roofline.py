"""Draw a roofline with a workload's ops on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from scalemodel.plots.style import BLACK, COLOURS, GREY, MARKERS, drawing, new_figure
from simulator.errors import InputError
from simulator.laws import ridge_intensity, roofline_flop_per_s
from simulator.ops import KINDS, FloatArray, Graph
from simulator.units import format_quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_KINDS = 6
"""More kinds of op than this could not be told apart; the others are drawn in grey."""


@dataclass(frozen=True, slots=True)
class Roof:
    """Hold what bounds an op by the datasheet.

    Parameters
    ----------
    peak_flop_per_s : arithmetic, FLOP/s
    bandwidth_bytes_per_s : memory, B/s
    name : of the peak, such as a dtype
    others : further peaks by name, FLOP/s
    """

    peak_flop_per_s: float
    bandwidth_bytes_per_s: float
    name: str = ""
    others: Mapping[str, float] = field(default_factory=dict)


def plot_roofline(graph: Graph, times_s: FloatArray, roof: Roof, title: str = "Roofline") -> Figure:
    """Return the ops of a graph below the roof of a device.

    A dot is an op; its area is its share of the step's time. (Williams, Waterman and Patterson,
    CACM 52(4), 2009.)

    Parameters
    ----------
    graph : n ops
    times_s : time of each op (n,), seconds
    roof : of the device on so many threads
    title : above the figure

    Raises
    ------
    InputError : no op has any arithmetic, or matplotlib is missing
    """
    shown = (graph.flops > 0) & (graph.bytes_moved > 0) & (times_s > 0)
    if not shown.any():
        raise InputError("no op has arithmetic and memory traffic; there is nothing to draw")
    intensity = graph.flops[shown] / graph.bytes_moved[shown]
    rate = graph.flops[shown] / times_s[shown]
    share = times_s[shown] / times_s.sum()
    with drawing():
        figure, axes = new_figure(7.6, 5.2)
        _roof(axes, roof, intensity)
        _ops(axes, graph.kind[shown], intensity, rate, share)
        axes.set_xscale("log")
        axes.set_yscale("log")
        peak = max(roof.peak_flop_per_s, *roof.others.values(), 0.0)
        axes.set_ylim(min(rate.min(), peak / 30) / 2, max(rate.max(), peak) * 2)
        axes.set_xlabel("arithmetic intensity, FLOP per byte moved")
        axes.set_ylabel("attained rate, FLOP/s")
        axes.yaxis.set_major_formatter(lambda value, _: format_quantity(value, "flop_per_s", 3))
        axes.set_title(title, parse_math=False)
        axes.legend(loc="lower right", title=_left_out(share), title_fontsize=9.5)
    return figure


def _roof(axes: Axes, roof: Roof, intensity: FloatArray) -> None:
    peak, bandwidth = roof.peak_flop_per_s, roof.bandwidth_bytes_per_s
    ridge = float(ridge_intensity(peak, bandwidth))
    ends = min(intensity.min() / 2, ridge / 10), max(intensity.max() * 2, ridge * 10)
    x = np.geomspace(*ends, 200)
    axes.plot(x, roofline_flop_per_s(x, peak, bandwidth), color=BLACK, linewidth=1.8, zorder=2)
    clear = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
    named = f"peak {format_quantity(peak, 'flop_per_s', 3)} {roof.name}".strip()
    axes.annotate(named, (ends[1], peak), xytext=(-4, 4), textcoords="offset points", ha="right",
                  va="bottom")  # fmt: skip
    for name, other in roof.others.items():
        _other_roof(axes, name, other, (other / bandwidth, ends[1]))
    low = ends[0] * 1.5
    axes.annotate(f"memory {format_quantity(bandwidth, 'bytes_per_s', 3)}",
                  (low, low * bandwidth), xytext=(12, -4), textcoords="offset points",
                  va="top", bbox=clear)  # fmt: skip
    axes.set_xlim(*ends)


def _other_roof(axes: Axes, name: str, peak: float, ends: tuple[float, float]) -> None:
    """Draw a further peak, from where the memory reaches it."""
    axes.plot(ends, [peak, peak], color=GREY, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1.5)
    axes.annotate(f"{format_quantity(peak, 'flop_per_s', 3)} {name}", (ends[1], peak),
                  xytext=(-4, 3), textcoords="offset points", ha="right", va="bottom",
                  fontsize=9.5, color="#555555")  # fmt: skip


def _ops(
    axes: Axes, kind: np.ndarray, intensity: FloatArray, rate: FloatArray, share: FloatArray
) -> None:
    """Draw the ops, a colour and a marker for each of the kinds that take most of the time."""
    kinds, place = np.unique(kind, return_inverse=True)
    weight = np.bincount(place, share)
    for order, index in enumerate(np.argsort(-weight)):
        own = place == index
        alone = order < MOST_KINDS
        axes.scatter(
            intensity[own],
            rate[own],
            s=12 + 900 * share[own],
            color=COLOURS[order] if alone else GREY,
            marker=MARKERS[order] if alone else ".",
            alpha=0.75,
            linewidth=0.6,
            edgecolor="white",
            zorder=3,
            label=f"{KINDS[kinds[index]]}: {weight[index]:.1%} of the time",
        )


def _left_out(share: FloatArray) -> str:
    rest = 1 - share.sum()
    hint = "area: share of the step's time"
    return hint if rest < 0.0005 else f"{hint}\n({rest:.1%} in ops without arithmetic)"
