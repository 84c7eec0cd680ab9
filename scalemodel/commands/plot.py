"""`scalemodel plot`: pictures of what was measured, fitted and predicted."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, Typer

from scalemodel.console import say
from scalemodel.options import Asked, command
from simulator.errors import FileError, InputError
from simulator.scenario import Value, named_once, parse_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hwmodels.network.topology import Topology
    from simulator.fit_laws import LawFit, Points

Times = Annotated[Path, Argument(metavar="TIMES.csv", help="columns p and time_s")]
Laws = Annotated[list[str], Option("--law", help="amdahl, usl or ernest; may be repeated")]
Out = Annotated[Path, Option(metavar="FILE", help="the picture: .png, .svg or .pdf")]
Title = Annotated[str | None, Option(help="above the picture")]


class Split(StrEnum):
    """Say which cases are drawn: never those that were fitted together with the others."""

    HELD_OUT = "held_out"
    CALIBRATED_ON = "calibrated_on"


EXAMPLES = """\b
Examples:
  scalemodel plot speedup times.csv --law amdahl --law usl
  scalemodel plot roofline resnet50 --on this-machine --threads 2 --out roofline.svg
  scalemodel plot topology fat_tree --set k=8 --set 'wire.bandwidth_bytes_per_s=400 Gbit/s'
"""


def add(app: Typer) -> None:
    """Add the commands."""
    plots = Typer(help="Draw scaling, rooflines, timelines, networks, accuracy.", epilog=EXAMPLES,
                  no_args_is_help=True, rich_markup_mode=None)  # fmt: skip
    command(plots, "speedup", speedup, "  scalemodel plot speedup times.csv --law amdahl --law usl")
    command(plots, "efficiency", efficiency, "  scalemodel plot efficiency times.csv --law usl")
    command(plots, "karp-flatt", karp_flatt, "  scalemodel plot karp-flatt times.csv")
    command(plots, "roofline", roofline,
            "  scalemodel plot roofline resnet50 --on this-machine --threads 2")  # fmt: skip
    command(plots, "timeline", timeline, "  scalemodel plot timeline mlp --on this-machine")
    command(plots, "topology", topology,
            """
      scalemodel plot topology fat_tree --set k=8 --set 'wire.bandwidth_bytes_per_s=400 Gbit/s'
      scalemodel plot topology --on dgx-h100-80gb --devices 32
      scalemodel plot topology network.toml --out network.svg
    """)  # fmt: skip
    command(
        plots,
        "accuracy",
        accuracy,
        """
      scalemodel compare --suite multicore -o json > report.json
      scalemodel plot accuracy report.json --out accuracy.png
    """,
    )
    app.add_typer(plots, name="plot")


def speedup(
    times: Times,
    laws: Laws = ["amdahl"],  # noqa: B006
    out: Out = Path("speedup.png"),
    title: Title = None,
) -> None:
    """Draw the speedup of measured times, with fitted laws."""
    from scalemodel.plots.scaling import plot_speedup

    points = _points(times)
    _save(plot_speedup(points, _fits(points, laws), **_titled(title)), out)


def efficiency(
    times: Times,
    laws: Laws = ["amdahl"],  # noqa: B006
    out: Out = Path("efficiency.png"),
    title: Title = None,
) -> None:
    """Draw the efficiency of measured times, with fitted laws."""
    from scalemodel.plots.scaling import plot_efficiency

    points = _points(times)
    _save(plot_efficiency(points, _fits(points, laws), **_titled(title)), out)


def karp_flatt(times: Times, out: Out = Path("karp-flatt.png"), title: Title = None) -> None:
    """Draw the serial fraction that measured times imply."""
    from scalemodel.plots.scaling import plot_karp_flatt

    _save(plot_karp_flatt(_points(times), **_titled(title)), out)


def roofline(asked: Asked, out: Out = Path("roofline.png"), title: Title = None) -> None:
    """Draw the ops of a workload below the roof of a device."""
    from hwmodels.roofline import bandwidth_bytes_per_s, peaks_of
    from hwmodels.spec import spec_of
    from scalemodel.commands.predict import predicted
    from scalemodel.plots.roofline import Roof, plot_roofline

    scenario, run = predicted(asked, asked.study())
    device, threads = run.machine.devices[0], run.placement.threads[0]
    graph = run.workload.graph
    (name, peak), *others = peaks_of(graph, device, threads).items()
    roof = Roof(peak, bandwidth_bytes_per_s(spec_of(device), threads), name, dict(others))
    team = f", {threads} thread{'s' * (threads > 1)}" if device.max_threads > 1 else ""
    named = title or f"{scenario.workload} on {scenario.on}{team}"
    _save(plot_roofline(graph, device.times_s(graph, threads), roof, named), out)


def timeline(asked: Asked, out: Out = Path("timeline.png"), title: Title = None) -> None:
    """Draw who does what when."""
    from scalemodel.commands.predict import predicted_run
    from scalemodel.op_timeline import op_timeline
    from scalemodel.plots.timeline import plot_timeline

    scenario = asked.study().scenario()
    run = predicted_run(asked, scenario, record=True)
    _save(plot_timeline(op_timeline(run), title or f"{scenario.workload} on {scenario.on}"), out)


def topology(
    shape: Annotated[
        str | None,
        Argument(
            metavar="SHAPE|FILE.toml",
            help="star, ring, torus, leaf_spine, fat_tree, tapered_fat_tree, nodes, "
            "rail_optimised or edge_cloud; or a file with its shape and parameters",
        ),
    ] = None,
    on: Annotated[
        str | None, Option(help="a system of the catalog, or a file of one, instead of a shape")
    ] = None,
    devices: Annotated[int | None, Option(help="how many devices of the system")] = None,
    settings: Annotated[
        list[str],
        Option("--set", metavar="NAME=VALUE", help="one parameter of the shape; may be repeated"),
    ] = [],  # noqa: B006
    out: Out = Path("topology.png"),
    title: Title = None,
) -> None:
    """Draw the devices, switches and cables of a network."""
    from hwmodels.network import named_shapes
    from hwmodels.system_files import is_system
    from scalemodel.plots.topology import plot_topology

    values = named_once(map(_setting, settings), "--set")
    if (shape is None) == (on is None) or (devices is not None and on is None):
        raise InputError("give either a shape, or a system by --on (and its --devices)")
    if on is not None:
        network = _network_of(on, devices, values)
        title = title or f"{on}: {network.devices:,} devices"
    elif is_system(str(shape)):
        raise InputError(f"'{shape}' is a system: name it by --on {shape}")
    elif shape is not None and shape.endswith(".toml"):
        network = named_shapes.read_topology(Path(shape), values)
    else:
        network = named_shapes.topology(str(shape), values)
    _save(plot_topology(network, title), out)


def _network_of(on: str, devices: int | None, values: Mapping[str, Value]) -> Topology:
    """Return the network of a system."""
    from hwmodels.network.cluster import Cluster
    from hwmodels.network.systems import cluster

    own = {name.removeprefix("on."): value for name, value in values.items()}
    network = cluster(on, devices=devices, parameters=own).network
    if not isinstance(network, Cluster):
        raise InputError(f"--on {on}: one device has no network; give --devices")
    return network.topology


def accuracy(
    report: Annotated[Path, Argument(metavar="REPORT.json", help="as `compare -o json` prints")],
    split: Annotated[Split, Option(help="which cases")] = Split.HELD_OUT,
    out: Out = Path("accuracy.png"),
    title: Title = None,
) -> None:
    """Draw predicted against measured values."""
    from scalemodel.plots.accuracy import plot_accuracy
    from scalemodel.report import pairs_of

    pairs, name, unit = pairs_of(_document(report), split.value, report)
    _save(plot_accuracy(pairs, title or name, unit), out)


def _setting(text: str) -> tuple[str, Value]:
    name, _, value = (part.strip() for part in text.partition("="))
    if not (name and value):
        raise InputError(f"--set {text}: expected NAME=VALUE, such as --set k=8")
    return name, parse_value(name, value)


def _titled(title: str | None) -> dict[str, Any]:
    return {} if title is None else {"title": title}


def _points(times: Path) -> Points:
    from simulator.fit_laws import read_points

    return read_points(times)


def _fits(points: Points, laws: list[str]) -> list[LawFit]:
    from simulator.fit_laws import fit_law

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they stand in the fit, and are said below
        fits = [fit_law(law, *points) for law in dict.fromkeys(laws)]
    for text in dict.fromkeys(text for fit in fits for text in fit.warnings):
        say(f"warning: {text}")
    return fits


def _document(path: Path) -> Any:
    import json

    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(path, error.strerror or str(error)) from None
    except ValueError as error:
        raise FileError(path, f"expected a report in JSON: {error}") from None


def _save(figure: Figure, out: Path) -> None:
    from scalemodel.plots.style import save_figure

    sys.stdout.write(f"{save_figure(figure, out)}\n")
