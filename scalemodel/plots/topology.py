"""Draw a network: devices, switches and the cables between them."""

from __future__ import annotations

from itertools import combinations_with_replacement, cycle
from typing import TYPE_CHECKING

import numpy as np

from hwmodels.network.topology import Topology
from scalemodel.plots.style import BLACK, COLOURS, drawing, new_figure
from scalemodel.plots.topology_layout import Picture, picture
from simulator.ops import BoolArray, FloatArray, IntArray
from simulator.units import format_quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

THIN, THICK, EQUAL = 0.7, 3.2, 1.3
"""Widths of lines, in points: at least; at most; of all where they are equal."""
THINNER = 0.5
"""How much thinner a line is that has half of the bandwidth, in points."""
MOST_FULL_LINES, PALEST = 60, 0.3
"""More lines than this become paler, down to a share, so that nodes stay visible."""
STUB = 0.4
"""What is drawn of a cable that leads round a torus, at each of its ends, in steps of the grid."""
RISE, BEND = 0.16, 0.3
"""How high a cable between nodes of one row rises: in any case, and if as long as the row."""
NODE, FILL = (4.0, 26.0), 0.55
"""Smallest and largest size of a node, in points; the share of the gap to the next one that it
takes in between."""
LETTER, SMALLEST_LETTER = 1.25, 4.5
"""Size of letters for one that fills a node, by the node's size; the smallest that is readable."""
MOST_NAMED, NAME_LETTER = 100, 7
"""Nodes of a graph up to which each has its name below it, if not in it; the size of letters."""
NODE_COLOUR = "#F2F2F2"


def plot_topology(topology: Topology, title: str | None = None) -> Figure:
    """Return a network as a picture.

    Trees are drawn in rows, devices below switches (and switches inside of nodes below devices);
    rings and tori as such; other graphs so that neighbours are near. Lines are as wide as their
    bandwidth is large. Of more than some hundreds of nodes, groups are drawn, with their number.

    Parameters
    ----------
    topology : the network
    title : above the figure; None: its shape and the number of devices

    Raises
    ------
    InputError : matplotlib is missing
    """
    drawn = picture(topology)
    with drawing():
        width, height = _inches(drawn)
        figure, axes = new_figure(width, height)
        axes.axis("off")
        if not drawn.layered:
            axes.set_aspect("equal")
        _draw_cables(axes, topology, drawn)
        _draw_nodes(axes, topology, drawn, width)
        axes.margins(0.06)
        named = title or f"{topology.shape}: {topology.devices:,} devices"
        axes.set_title(named, parse_math=False)
        if topology.links:
            _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    """Say what the lines are, in colours that are not pale."""
    for handle in figure.legend(loc="outside lower left").legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)


def _inches(drawn: Picture) -> tuple[float, float]:
    if not drawn.layered:
        spread = np.ptp(drawn.position, axis=0)
        return 7.2, float(np.clip(7.2 * (spread[1] + 1) / (spread[0] + 1), 3.5, 9.0))
    rows, longest = np.unique(drawn.position[:, 1], return_counts=True)
    return float(np.clip(3 + 0.2 * longest.max(), 7.2, 16.0)), 2.2 + 1.1 * len(rows)


# --- cables --------------------------------------------------------------------------------------


def _draw_cables(axes: Axes, topology: Topology, drawn: Picture) -> None:
    """Draw the cables between each two tiers in a colour of their own, failed ones over them."""
    sort = np.sort(drawn.tier[drawn.ends], axis=1)
    for (low, high, label), colour in zip(_sorts(topology), cycle(COLOURS)):
        mine = (sort == (low, high)).all(axis=1) & ~drawn.failed
        _draw_lines(axes, drawn, mine, label, colors=colour, linestyles="solid")
    _draw_lines(axes, drawn, drawn.failed, "failed", colors=BLACK, linestyles=(0, (1, 2)))


def _draw_lines(axes: Axes, drawn: Picture, which: BoolArray, label: str, **look: object) -> None:
    from matplotlib.collections import LineCollection

    lines = [(line, row) for row in np.flatnonzero(which) for line in _lines(drawn, int(row))]
    if lines:
        look["linewidths"] = _widths(drawn.rate)[[row for _, row in lines]]
        look["alpha"] = float(np.clip((MOST_FULL_LINES / len(lines)) ** 0.5, PALEST, 1.0))
        points = [line for line, _ in lines]
        axes.add_collection(LineCollection(points, label=label, zorder=1, **look))


def _widths(rate: FloatArray) -> FloatArray:
    """Return the width of lines, in points, by the logarithm of their bandwidth."""
    less = THINNER * np.log2(rate.max(initial=1.0) / rate)
    widest = min(THICK, EQUAL + float(less.max(initial=0.0)))
    return np.asarray(np.maximum(widest - less, THIN))


def _lines(drawn: Picture, row: int) -> list[FloatArray]:
    """Return what is drawn of a cable: points of one line, or of two that end in the open."""
    one, other = drawn.position[drawn.ends[row]]
    if drawn.around[row]:
        stub = STUB * (other - one) / np.hypot(*(other - one))
        return [np.array([one, one - stub]), np.array([other, other + stub])]
    if drawn.layered and one[1] == other[1]:
        share = np.linspace(0, 1, 17)[:, None]
        arc = one + share * (other - one)
        arc[:, 1:] += 4 * share * (1 - share) * (RISE + BEND * abs(other[0] - one[0]))
        return [arc]
    return [np.array([one, other])]


def _sorts(topology: Topology) -> list[tuple[int, int, str]]:
    """Return between which tiers there are cables, with what the legend says of them."""
    tail, head = topology.tier_of(topology.tail), topology.tier_of(topology.head)
    tiers = len(topology.tiers)
    found = []
    for low, high in combinations_with_replacement(range(tiers), 2):
        up, down = (tail == low) & (head == high), (tail == high) & (head == low)
        if up.any() or down.any():
            count = up.sum() // 2 if low == high else max(up.sum(), down.sum())
            names = f"{topology.tiers[low].name} \N{EN DASH} {topology.tiers[high].name}"
            rates = [
                _range(topology.bandwidth_bytes_per_s[way], "bytes_per_s") for way in (up, down)
            ]
            rate = rates[0] if rates[0] == rates[1] else f"{rates[0]} up, {rates[1]} down"
            latency = _range(topology.latency_s[up | down], "s")
            found.append(
                (low, high, f"{names}: {count:,} \N{MULTIPLICATION SIGN} {rate}, {latency}")
            )
    return found


def _range(values: FloatArray, dimension: str) -> str:
    if not values.size:
        return "none"
    low, high = (format_quantity(float(end), dimension) for end in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


# --- nodes ---------------------------------------------------------------------------------------


def _draw_nodes(axes: Axes, topology: Topology, drawn: Picture, width: float) -> None:
    is_device = np.cumsum([tier.count for tier in topology.tiers]) <= topology.devices
    gap = drawn.gap / (np.ptp(drawn.position[:, 0]) + drawn.gap)
    for number, tier in enumerate(topology.tiers):
        place, many = drawn.position[drawn.tier == number], drawn.count[drawn.tier == number]
        share = 1 / len(place) if drawn.layered else gap
        size = float(np.clip(FILL * 72 * width * share, *NODE))
        axes.scatter(
            place[:, 0],
            place[:, 1],
            size**2,
            NODE_COLOUR,
            marker="s" if is_device[number] else "o",
            edgecolors=BLACK,
            linewidths=0.8,
            zorder=2,
        )
        for text, (x, y) in zip(_texts(topology, number, many), place, strict=True):
            _write(axes, text, x, y, size, named=topology.labels is not None and not drawn.grouped
                   and len(drawn.tier) <= MOST_NAMED)  # fmt: skip
        if drawn.layered:
            axes.annotate(f"{tier.name} \N{MULTIPLICATION SIGN} {tier.count:,} ", (0, place[0, 1]),
                          ha="right", va="center")  # fmt: skip


def _write(axes: Axes, text: str, x: float, y: float, size: float, *, named: bool) -> None:
    """Write in a node, if that is readable, else below it, if it is a name."""
    fits = min(size * LETTER / max(len(text), 2), 11)
    if fits >= SMALLEST_LETTER and not (named and fits < NAME_LETTER):
        axes.text(x, y, text, size=fits, ha="center", va="center", zorder=3, parse_math=False)
    elif named:
        axes.annotate(text, (x, y), (0, -size / 2 - 1), textcoords="offset points", zorder=3,
                      size=NAME_LETTER, ha="center", va="top", parse_math=False)  # fmt: skip


def _texts(topology: Topology, tier: int, many: IntArray) -> list[str]:
    """Return what stands in each node: its number, or of how many it is the picture."""
    if (many > 1).any():
        return [f"\N{MULTIPLICATION SIGN}{count:,}" for count in many]
    if topology.labels is None:
        return [str(number) for number in range(len(many))]
    first = sum(before.count for before in topology.tiers[:tier])
    return list(topology.labels[first : first + len(many)])
