"""Take time to accuracy apart: time per step (hardware) times steps to accuracy (statistics).

A *point* is a scenario that is trained, once a seed, until the model is good enough. A *study* is
several points that differ in a parameter: batch, local steps, staleness, clients of a round ...
What makes a step quick (large batches, rare or stale communication) mostly asks for more of them;
which wins, the product says (Zhang & Re, "DimmWitted", VLDB 2014; Hadjis et al., "Omnivore", 2016).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.errors import InputError
from simulator.formula import check_whole, numbers
from simulator.protocols import Plan
from simulator.scenario import Grid, Scenario, Value, checked_grid
from validation.cosimulate import AXES, JUDGEMENTS, Cosimulation, cosimulate
from validation.noise_scale import CriticalBatch, fit_critical_batch
from validation.predict import bind
from workloads.datasets import Dataset
from workloads.registry import find_model

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[int, int], None]
"""Told of changes of a model: how many are done, and of how many."""
MOST_EPOCHS = 50.0
"""A target that is not reached in so many is given up, where nothing else is said."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Training:
    """Say how each scenario is trained.

    Parameters
    ----------
    data : what is learned from
    target : the accuracy at which training stops, from 0 to 1; None: it does not
    steps, epochs : at most, as of `cosimulate`; None for both: 100 steps, or 50 epochs to a target
    seeds : how often each scenario is trained, with seeds from the scenario's on
    learning_rates : of each update; of several, each scenario takes the one that is best with the
        first seed. None: the optimizer's
    judgements : as of `cosimulate`
    """

    data: Dataset
    target: float | None = None
    steps: int | None = None
    epochs: float | None = None
    seeds: int = 1
    learning_rates: Sequence[float | None] = (None,)
    judgements: int = JUDGEMENTS

    def __post_init__(self) -> None:
        check_whole("seeds", self.seeds, 1)
        if self.target is not None:
            numbers("target", self.target, high=1.0)
        if not self.learning_rates:
            raise InputError("learning_rates: expected at least one")

    def runs(
        self, scenario: Scenario, plan: Plan | None = None, progress: Progress | None = None
    ) -> Iterator[Trained]:
        """Yield a scenario's runs, one a seed: all with the best learning rate.

        Parameters
        ----------
        scenario : what is trained; its steps do not count
        plan : used in place of the one that the scenario names
        progress : told of each run
        """
        best: Trained | None = None
        for rate in self.learning_rates:
            # Who has not reached the target by then is worse.
            most = None if best is None else self._needed(best, "steps")
            one = self._run(scenario, plan, rate, 0, progress, most)
            if best is None or self._how_bad(one) < self._how_bad(best):
                best = one
        assert best is not None
        yield best
        for seed in range(1, self.seeds):
            yield self._run(scenario, plan, best.learning_rate, seed, progress)

    def _run(
        self, scenario: Scenario, plan: Plan | None, rate: float | None, seed: int,
        progress: Progress | None, most: float | None = None,
    ) -> Trained:  # fmt: skip
        """Return one run, of no more steps than `most` where that says anything."""
        bound = bind(that_trains(scenario), plan)
        steps, epochs = (self.steps, self.epochs) if not most else (int(most), None)
        if steps is epochs is None and self.target is not None:
            epochs = MOST_EPOCHS
        found = cosimulate(bound.workload, self.data, bound.plan, bound.machine, steps=steps,
                           epochs=epochs, seed=scenario.seed + seed, learning_rate=rate,
                           judgements=self.judgements, target=self.target,
                           progress=progress)  # fmt: skip
        return Trained(found, rate)

    def _needed(self, one: Trained, axis: str = "time_s") -> float | None:
        return None if self.target is None else one.found.to_accuracy(self.target, axis)

    def _how_bad(self, one: Trained) -> tuple[float, float]:
        """Return what is less where a learning rate is better."""
        needed, last = self._needed(one), float(one.found.loss[-1])
        return (math.inf if needed is None else needed, math.inf if math.isnan(last) else last)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """Hold one run and the learning rate that it had."""

    found: Cosimulation
    learning_rate: float | None


def that_trains(scenario: Scenario) -> Scenario:
    """Return a scenario of a step that trains, unless it says whether it does.

    >>> that_trains(Scenario(workload="mlp", on="raspberry-pi-4")).parameters
    {'workload.training': True}
    """
    name = "workload.training"
    if name in scenario.parameters or "training" not in find_model(scenario.workload).parameters:
        return scenario
    return scenario.changed({name: True})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Point:
    """Hold how one scenario learned, once a seed.

    Parameters
    ----------
    name : what it is called in tables and figures
    values : the values that it has of the names that the study varies
    scenario : what was trained
    target : the accuracy that was wanted; None: none was
    runs : one a seed, at least one
    """

    name: str
    values: Mapping[str, Value]
    scenario: Scenario
    target: float | None
    runs: Sequence[Trained]

    def each(self, axis: str) -> list[float | None]:
        """Return the time, samples, bytes or steps to the target, one a seed; None: not reached."""
        if self.target is None:
            return [None] * len(self.runs)
        return [one.found.to_accuracy(self.target, axis) for one in self.runs]

    def to_target(self, axis: str = "time_s") -> float | None:
        """Return the mean of that over seeds; None where one of them does not reach the target."""
        each = [value for value in self.each(axis) if value is not None]
        return math.fsum(each) / len(each) if len(each) == len(self.runs) else None

    @property
    def reached(self) -> int:
        """Return how many seeds reach the target."""
        return sum(value is not None for value in self.each("steps"))

    @property
    def step_time_s(self) -> float:
        """Return the time of a step, seconds: to the target over steps to it, where it is reached.

        Else it is the time of a whole run over its steps.
        """
        time_s, steps = self.to_target("time_s"), self.to_target("steps")
        if time_s is None or not steps:
            last = [(one.found.time_s[-1], one.found.steps[-1]) for one in self.runs]
            time_s, steps = (math.fsum(column) for column in zip(*last, strict=True))
        return time_s / steps if steps else math.nan

    @property
    def samples_per_step(self) -> float:
        """Return what a step learns from."""
        return self.runs[0].found.run.samples_per_step

    def record(self) -> dict[str, Any]:
        """Return a row of a table."""
        last = [float(one.found.accuracy[-1]) for one in self.runs]
        found: dict[str, Any] = {
            **self.values,
            "learning_rate": self.runs[0].learning_rate,
            "step_time_s": self.step_time_s,
            "samples_per_step": self.samples_per_step,
            "last_accuracy": math.fsum(last) / len(last),
        }
        if self.target is None:
            return found
        ends = {f"{axis.removesuffix('_s').removesuffix('_bytes')}_to_target{_unit(axis)}":
                self.to_target(axis) for axis in AXES}  # fmt: skip
        return {**found, "target": self.target, "seeds": len(self.runs), "reached": self.reached,
                **ends}  # fmt: skip


def _unit(axis: str) -> str:
    return next((unit for unit in ("_s", "_bytes") if axis.endswith(unit)), "")


@dataclass(frozen=True, slots=True, eq=False)
class LearningStudy:
    """Hold points that differ in a parameter or more."""

    points: Sequence[Point]

    def table(self) -> pd.DataFrame:
        """Return one row a point: what it takes to the target, and what a step takes."""
        import pandas as pd

        return pd.DataFrame([point.record() for point in self.points])

    @property
    def best(self) -> Point | None:
        """Return the point that reaches the target first; None: none does with every seed."""
        there = [(time_s, at) for at, point in enumerate(self.points)
                 if (time_s := point.to_target()) is not None]  # fmt: skip
        return self.points[min(there)[1]] if there else None

    def critical_batch(self) -> CriticalBatch:
        """Return the fit of steps to the target against the samples of a step.

        Raises
        ------
        InputError : fewer than two points with different samples a step reach the target
        """
        there = [(point.samples_per_step, steps) for point in self.points
                 if (steps := point.to_target("steps"))]  # fmt: skip
        return fit_critical_batch([batch for batch, _ in there], [steps for _, steps in there])

    def __str__(self) -> str:
        return self.table().to_string(index=False)


def time_to_accuracy(
    scenario: Scenario, vary: Mapping[str, Iterable[Value]], training: Training
) -> LearningStudy:
    """Return what it takes to an accuracy, at each point of a grid.

    Parameters
    ----------
    scenario : what is trained where and how; a workload that may train does
    vary : the values of each name, dotted or one of the scenario's fields
    training : how: data, target, seeds, learning rates

    Raises
    ------
    InputError : no target, or as of `cosimulate`
    UnknownNameError : a name or parameter that nothing carries

    >>> scenario = Scenario(workload="logistic-regression", on="gigabit-ethernet",
    ...     plan="data-parallel", parameters={"on.devices": 2, "workload.features": 16,
    ...     "workload.classes": 4})
    >>> from workloads.datasets import blobs
    >>> training = Training(data=blobs(samples=300), target=0.9, learning_rates=(0.5,))
    >>> study = time_to_accuracy(scenario, {"workload.batch": (4, 16)}, training)
    >>> bool((study.table()["reached"] == 1).all())
    True
    """
    if training.target is None:
        raise InputError("time to accuracy needs a target: Training(target=0.9)")
    found = []
    for name, values in points_of(checked_grid(vary)):
        one = scenario.changed(values)
        found.append(Point(name=name, values=values, scenario=one, target=training.target,
                           runs=[*training.runs(one)]))  # fmt: skip
    return LearningStudy(found)


def points_of(grid: Grid) -> list[tuple[str, dict[str, Value]]]:
    """Return the points of a grid, each with a name.

    >>> points_of({"plan.every": (1, 4)})
    [('every=1', {'plan.every': 1}), ('every=4', {'plan.every': 4})]
    """
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return [(", ".join(f"{name.rpartition('.')[2]}={value}" for name, value in point.items()),
             point) for point in points]  # fmt: skip
