"""Draw a timeline: who did what when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scalemodel.plots.style import COLOURS, GREY, drawing, new_figure
from simulator.errors import InputError
from simulator.timeline import Span, Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_RANKS = 32
"""More rows than this could not be read."""
MOST_LABELS = 7
"""More names than this could not be told apart by colour; the others are grey."""

_SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_QUIET = ("wait", "sleep")


def plot_timeline(timeline: Timeline, title: str = "Timeline") -> Figure:
    """Return the spans of a timeline as bars, a row for each rank.

    Parameters
    ----------
    timeline : what happened; of more than 32 ranks the first are drawn, and the title says so
    title : above the figure

    Raises
    ------
    InputError : an empty timeline, or matplotlib is missing
    """
    spans = list(timeline)
    if not spans:
        raise InputError("the timeline is empty; there is nothing to draw")
    ranks = sorted({span.rank for span in spans})
    shown = ranks[:MOST_RANKS]
    factor, unit = _scale(max(span.end_s for span in spans))
    with drawing():
        figure, axes = new_figure(8.4, 1.7 + 0.42 * len(shown) + 0.25)
        _bars(axes, [span for span in spans if span.rank in set(shown)], shown, factor)
        axes.set_yticks(range(len(shown)), [f"rank {rank}" for rank in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(0, 1.01 * factor * max(span.end_s for span in spans))
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"time, {unit}")
        hidden = len(ranks) - len(shown)
        axes.set_title(f"{title} (first {len(shown)} of {len(ranks)} ranks)" if hidden else title)
        handles = axes.get_legend_handles_labels()[0]
        figure.legend(loc="outside lower left", ncols=min(len(handles), 4))
    return figure


def _scale(end_s: float) -> tuple[float, str]:
    return next(((1 / size, unit) for size, unit in _SCALES if end_s >= size), (1e9, "ns"))


def _bars(axes: Axes, spans: Sequence[Span], ranks: Sequence[int], factor: float) -> None:
    row = {rank: place for place, rank in enumerate(ranks)}
    total: dict[str, float] = {}
    for span in spans:
        total[_label(span)] = total.get(_label(span), 0.0) + span.duration_s
    names = sorted(total, key=lambda name: -total[name])
    whole = sum(total.values())
    for place, name in enumerate(names):
        own = [span for span in spans if _label(span) == name]
        quiet = own[0].kind in _QUIET
        colour = "#D9D9D9" if quiet else COLOURS[place] if place < len(COLOURS) else GREY
        axes.barh(
            [row[span.rank] for span in own],
            [span.duration_s * factor for span in own],
            left=[span.start_s * factor for span in own],
            height=0.36 if _communicates(own[0]) else 0.72,
            color=colour,
            edgecolor="white",
            linewidth=0.3 if len(spans) < 400 else 0.0,
            # matplotlib leaves out of the legend what begins with an underscore
            label=f"{name.lstrip('_')} {total[name] / whole:.0%}" if place < MOST_LABELS else None,
        )


def _label(span: Span) -> str:
    return span.kind if span.kind in _QUIET or _communicates(span) else span.name


def _communicates(span: Span) -> bool:
    return span.kind not in ("compute", *_QUIET)
