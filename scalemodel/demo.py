"""Show on this machine what it is all about: calibrate, predict, measure, compare.

A *showing* is one workload on so many threads with its predicted and its measured time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwmodels.this_machine import NAME as THIS_MACHINE
from scalemodel.asking import measure
from scalemodel.output import Table, csv_text
from scalemodel.plots.accuracy import Pair, error_text, plot_accuracy
from scalemodel.plots.style import save_figure
from simulator.files import write_text
from simulator.scenario import Scenario, Value
from validation.predict import predict, workload_of

WORKLOADS: tuple[tuple[str, Mapping[str, Value]], ...] = (
    ("logistic-regression", {"batch": 1024}),
    ("kmeans", {"batch": 4096}),
    ("mlp", {"batch": 64}),
    ("mlp", {"batch": 256, "training": True}),
    ("lenet5", {"batch": 64, "training": True}),
    ("mobilenet-v2", {"batch": 1}),
    ("resnet18", {"batch": 1}),
    ("resnet18", {"batch": 4, "training": True}),
    ("resnet50", {"batch": 1}),
    ("lstm", {"batch": 8}),
    ("bert-base", {"batch": 1, "sequence": 64}),
    ("gpt", {"batch": 1, "layers": 4, "width": 256, "heads": 4, "sequence": 128}),
)
"""What is shown: a fraction of a millisecond to a second, inference and training."""

COLUMNS = ("workload", "threads", "predicted_time_s", "low_s", "high_s", "measured_time_s",
           "error_pct")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """Hold one workload's predicted and measured time of a step, seconds.

    Parameters
    ----------
    workload : with the parameters that differ from its defaults
    threads : that did it
    predicted_s, measured_s : time of a step
    interval : 90 % of the prediction; None where the machine is not calibrated
    training : whether it has a backward pass
    clock : by which clock, and which samples, it was measured
    """

    workload: str
    threads: int
    predicted_s: float
    measured_s: float
    interval: tuple[float, float] | None
    training: bool
    clock: str = ""

    @property
    def error_pct(self) -> float:
        """Return by how much the prediction is off, percent of the measured time."""
        return 100 * (self.predicted_s / self.measured_s - 1)

    @property
    def pair(self) -> Pair:
        """Return it as a dot of the picture."""
        low, high = self.interval or (None, None)
        kind = "training" if self.training else "inference"
        group = f"{kind}, {self.threads} thread{'s' * (self.threads > 1)}"
        return Pair(self.measured_s, self.predicted_s, low, high, group)

    def row(self) -> list[Any]:
        """Return what `COLUMNS` names."""
        low, high = self.interval or (None, None)
        return [self.workload, self.threads, self.predicted_s, low, high, self.measured_s,
                self.error_pct]  # fmt: skip


NUMBERS = "predicted-against-measured.csv"
"""The file of the table."""


def showings(
    threads: Sequence[int],
    tell: Callable[[int, int], None],
    *,
    workloads: Sequence[tuple[str, Mapping[str, Value]]] | None = None,
    budget_s: float = 1.0,
) -> Iterator[Showing]:
    """Predict each workload on this machine, then measure it.

    Parameters
    ----------
    threads : numbers of threads to use
    tell : is told how many are done, and of how many
    workloads : names and parameters; None: `WORKLOADS`
    budget_s : how long each is measured, seconds
    """
    chosen = WORKLOADS if workloads is None else workloads
    points = [(name, given, count) for name, given in chosen for count in threads]
    for done, (name, given, count) in enumerate(points):
        tell(done, len(points))
        dotted = {f"workload.{key}": value for key, value in given.items()}
        scenario = Scenario(workload=name, on=THIS_MACHINE,
                            parameters={**dotted, "plan.threads": count})  # fmt: skip
        run = predict(scenario)  # before measuring: nothing is tuned to what comes
        measured = measure(workload_of(name, given), count, budget_s=budget_s)
        yield Showing(
            workload=", ".join([name, *(f"{key}={value}" for key, value in given.items())]),
            threads=count,
            predicted_s=run.step_time_s,
            measured_s=measured.time_s,
            interval=run.interval,
            training=run.workload.training,
            clock=measured.clock,
        )
    tell(len(points), len(points))


def table_of(shown: Sequence[Showing]) -> Table:
    """Return the showings as a table; below it the error, and how they were measured."""
    title = "one step, predicted and then measured on this machine"
    return Table(COLUMNS, [one.row() for one in shown], title, notes=list(_notes(shown)))


def _notes(shown: Sequence[Showing]) -> Iterator[str]:
    for count in dict.fromkeys(one.threads for one in shown):
        pairs = [one.pair for one in shown if one.threads == count]
        yield f"{count} thread{'s' * (count > 1)}: {error_text(pairs)}"
    for clock, times in Counter(one.clock for one in shown if one.clock).most_common():
        yield f"{times} measured by {clock}"


def write(shown: Sequence[Showing], folder: Path) -> tuple[Path, Path]:
    """Write the table and the picture; return where.

    Raises
    ------
    FileError : the folder cannot be written
    InputError : matplotlib is missing
    """
    figure = plot_accuracy([one.pair for one in shown], "Predicted and measured on this machine")
    picture = save_figure(figure, folder / "predicted-against-measured.png")
    numbers = folder / NUMBERS
    write_text(numbers, csv_text(table_of(shown)))
    return numbers, picture
