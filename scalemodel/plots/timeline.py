"""Draw a timeline: who did what when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scalemodel.plots.style import COLOURS, GREY, drawing, new_figure
from simulator.errors import InputError
from simulator.timeline import Span, Timeline, in_lanes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_RANKS = 32
"""More rows than this could not be read."""
MOST_LABELS = 7
"""More names than this could not be told apart by colour; the others are grey."""

MOST_COLUMNS, LETTERS, KEY_LETTERS = 4, 96, 7
"""Columns of the legend at most; letters that fit beside each other; what a key takes of them."""
LINE_INCHES = 0.22
"""Height of a line of the legend; two have room in any case."""

_SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_QUIET = ("wait", "sleep")


def plot_timeline(timeline: Timeline, title: str = "Timeline") -> Figure:
    """Return the spans of a timeline as bars, a row for each rank and each of its streams.

    What a rank computes at the same time goes in rows of its own; what it communicates is drawn
    narrower, over its first row.

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
        placed = _placed([span for span in spans if span.rank in set(shown)])
        rows = sorted({row for _, row in placed})
        figure, axes = new_figure(8.4, 1.7 + 0.42 * len(rows) + 0.25)
        _bars(axes, [(span, rows.index(row)) for span, row in placed], factor)
        axes.set_yticks(range(len(rows)), [_row_name(*row) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, 1.01 * factor * max(span.end_s for span in spans))
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"time, {unit}")
        hidden = len(ranks) - len(shown)
        part = f" (first {len(shown)} of {len(ranks)} ranks)" if hidden else ""
        axes.set_title(title + part, parse_math=False)
        labels = axes.get_legend_handles_labels()[1]
        columns = _columns(labels)
        figure.legend(loc="outside lower left", ncols=columns)
        lines = -(-len(labels) // columns)
        figure.set_figheight(figure.get_figheight() + LINE_INCHES * max(lines - 2, 0))
    return figure


def _columns(labels: Sequence[str]) -> int:
    """Return how many columns of a legend (filled one after the other) fit below the figure."""
    for columns in range(min(len(labels), MOST_COLUMNS), 1, -1):
        rows = -(-len(labels) // columns)
        parts = [labels[at : at + rows] for at in range(0, len(labels), rows)]
        if sum(max(map(len, part)) + KEY_LETTERS for part in parts) <= LETTERS:
            return columns
    return 1


def _scale(end_s: float) -> tuple[float, str]:
    return next(((1 / size, unit) for size, unit in _SCALES if end_s >= size), (1e9, "ns"))


def _placed(spans: Sequence[Span]) -> list[tuple[Span, tuple[int, int]]]:
    """Return each span with its row: its rank, and the stream of what it computes."""
    return [
        (span, (rank, 0 if communicates else stream))
        for span, (rank, communicates, stream) in in_lanes(spans)
    ]


def _row_name(rank: int, stream: int) -> str:
    return f"stream {stream + 1}" if stream else f"rank {rank}"


def _bars(axes: Axes, placed: Sequence[tuple[Span, int]], factor: float) -> None:
    total: dict[str, float] = {}
    for span, _ in placed:
        total[_label(span)] = total.get(_label(span), 0.0) + span.duration_s
    names = sorted(total, key=lambda name: -total[name])
    whole = sum(total.values())
    for place, name in enumerate(names):
        rows = [row for span, row in placed if _label(span) == name]
        own = [span for span, _ in placed if _label(span) == name]
        quiet = own[0].kind in _QUIET
        colour = "#D9D9D9" if quiet else COLOURS[place] if place < len(COLOURS) else GREY
        axes.barh(
            rows,
            [span.duration_s * factor for span in own],
            left=[span.start_s * factor for span in own],
            height=0.36 if _communicates(own[0]) else 0.72,
            color=colour,
            edgecolor="white",
            linewidth=0.3 if len(placed) < 400 else 0.0,
            # matplotlib leaves out of the legend what begins with an underscore
            label=f"{name.lstrip('_')} {total[name] / whole:.0%}" if place < MOST_LABELS else None,
        )


def _label(span: Span) -> str:
    return span.kind if span.kind in _QUIET or _communicates(span) else span.name


def _communicates(span: Span) -> bool:
    return span.kind not in ("compute", *_QUIET)
