"""Give all figures one look: readable, colour-blind safe, drawn without a display."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import FileError, InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design", 2008: told apart with any colour vision. Yellow is left
# out: it is too pale for a line on white.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222", "#8A8A8A",
)  # fmt: skip
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

FORMATS = (".png", ".svg", ".pdf")

_STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 12.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 11.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "#DDDDDD",
    "legend.fontsize": 10,
    "lines.linewidth": 2.0,
    "svg.hashsalt": "scalemodel",  # the same figure gives the same file
}


@contextmanager
def drawing() -> Iterator[None]:
    """Apply the look while a figure is made.

    Raises
    ------
    InputError : matplotlib is not installed; the message names the extra
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise InputError("plots need matplotlib, which is not installed: "
                         "pip install 'scalemodel[plot]'") from None  # fmt: skip
    with mpl.rc_context(_STYLE):
        yield


def new_figure(width: float = 7.2, height: float = 4.8) -> tuple[Figure, Axes]:
    """Return an empty figure of this size in inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def check_format(path: Path) -> None:
    """Raise a FileError where the suffix is none of `FORMATS`."""
    if path.suffix.lower() not in FORMATS:
        raise FileError(path, f"expected a file name that ends in {', '.join(FORMATS)}")


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure, whole or not at all; the suffix says the format.

    Raises
    ------
    FileError : the suffix is none of `FORMATS`, or the file cannot be written
    """
    path = Path(path)
    check_format(path)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with drawing():
            figure.savefig(part, dpi=160)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise FileError(path, error.strerror or str(error)) from None
    return path


def processors_axis(axes: Axes, values: Sequence[float], name: str = "threads") -> None:
    """Make the x axis count processors: logarithmic, with a tick at what was measured."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log", base=2)
    ticks = sorted({float(value) for value in values})
    thinned = ticks if len(ticks) <= 12 else _apart(ticks)
    axes.xaxis.set_major_locator(FixedLocator(thinned))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{tick:g}" for tick in thinned])
    axes.set_xlabel(name)


def logarithmic(axes: Axes, which: str, unit: str = "") -> None:
    """Make an axis logarithmic, with ticks at 1, 2 and 5 times powers of ten.

    Parameters
    ----------
    axes : whose axis
    which : "x" or "y"
    unit : shown at ticks, with a prefix: 5 ms
    """
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(EngFormatter(unit) if unit else "{x:g}")


def _apart(ticks: Sequence[float]) -> list[float]:
    """Return ticks of which each is at least 1.35 times the one before, so labels stay apart."""
    kept = [ticks[0]]
    for tick in ticks[1:]:
        if tick >= 1.35 * kept[-1]:
            kept.append(tick)
    return kept
