"""Say what co-simulations found: one run along its time, or what each of several takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scalemodel.output import Output, Table, cell, emit, table_of
from simulator.version import VERSION

if TYPE_CHECKING:
    from validation.cosimulate import Cosimulation
    from validation.time_to_accuracy import Point, Training

CURVE = ("time_s", "steps", "samples", "sent_bytes", "loss", "accuracy", "training_loss")
"""What is known at each judgement."""
SHARES = ("accuracy", "last_accuracy")
"""Columns that people are shown in percent."""
TOLD = ("target", "seeds")
"""Columns that notes tell people."""
FOLDED = "ranks simulated"
"""Part of the note that says how many ranks differ: of those that learn, all do."""
MOST_ROWS = 25
"""Of the judgements of one run, that people are shown."""


def emit_learning(
    output: Output, points: Sequence[Point], training: Training, noise_scale: bool
) -> None:
    """Print one run's judgements, or a row a point; JSON has both.

    Parameters
    ----------
    output : how
    points : what was trained, at least one
    training : how
    noise_scale : whether to say how much of gradients is noise
    """
    noise = [_noise(point, training) for point in points] if noise_scale else []
    single = len(points) == 1 and len(points[0].runs) == 1
    table = _curve(points[0].runs[0].found) if single else _rows(points)
    if output is Output.TABLE:
        table = _for_people(table)
    notes = [*_notes(points, single), *(line for one in noise for line in _lines(one))]
    shown = Table(table.columns, table.rows, title=title_of(points), notes=notes)
    emit(output, shown, _document(points, training, noise))


def title_of(points: Sequence[Point]) -> str:
    """Return what was trained on what, as far as all points have it in common."""
    first, found = points[0].scenario, points[0].runs[0].found
    plans = {point.scenario.plan for point in points}
    of = f", plan {first.plan}" if len(plans) == 1 else ""
    return (
        f"{first.workload} learns {found.data.name} ({found.data.distribution}) on {first.on}{of}"
    )


def _curve(found: Cosimulation) -> Table:
    rows = zip(*(getattr(found, name).tolist() for name in CURVE), strict=True)
    return Table(CURVE, [*map(list, rows)])


def _for_people(table: Table) -> Table:
    """Return a table with accuracies in percent, and no more judgements than a screen shows.

    What all rows have in common, notes and title say.
    """
    every = max(1, math.ceil(len(table.rows) / MOST_ROWS)) if "accuracy" in table.columns else 1
    kept = [*table.rows[:-1][::every], *table.rows[-1:]]
    columns, held = [], []
    for name, values in zip(table.columns, zip(*table.rows, strict=True), strict=True):
        if name in TOLD or (name == "learning_rate" and len(set(values)) == 1):
            continue
        share = name in SHARES
        columns.append(f"{name}_pct" if share else name)
        at = list(table.columns).index(name)
        held.append([100 * row[at] if share else row[at] for row in kept])
    return Table(columns, [*zip(*held, strict=True)])


def _rows(points: Sequence[Point]) -> Table:
    alike = len({point.name for point in points}) == len(points) and all(
        ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in point.values.items())
        == point.name for point in points)  # fmt: skip
    table = table_of([({} if alike else {"name": point.name}) | point.record()
                      for point in points])  # fmt: skip
    known = [at for at, _ in enumerate(table.columns)
             if any(row[at] is not None for row in table.rows)]  # fmt: skip
    return Table([table.columns[at] for at in known],
                 [[row[at] for at in known] for row in table.rows])  # fmt: skip


def _notes(points: Sequence[Point], single: bool) -> list[str]:
    notes = []
    first, run = points[0], points[0].runs[0].found.run
    if single:
        notes += [f"a step takes {cell('step_time_s', run.step_time_s)} and learns from "
                  f"{run.samples_per_step:g} samples", *_reached(first)]  # fmt: skip
    elif first.target is not None:
        notes += _best(points)
    return [*notes, *_remarks(points)]


def _remarks(points: Sequence[Point]) -> list[str]:
    """Return the notes of the runs: those of all, and whose the others are."""
    of = {point.name: [note for note in point.runs[0].found.run.notes if FOLDED not in note]
          for point in points}  # fmt: skip
    every = [note for notes in of.values() for note in notes]
    return [f"note: {note}" if every.count(note) == len(of) else f"note on {name}: {note}"
            for note, name in {note: name for name, notes in of.items() for note in notes}.items()
            ]  # fmt: skip


def _reached(point: Point) -> list[str]:
    if point.target is None:
        return []
    wanted = f"{100 * point.target:g} %"
    if not point.reached:
        return [f"{wanted} is not reached; the best is "
                f"{100 * float(point.runs[0].found.accuracy.max()):.1f} %"]  # fmt: skip
    time_s, steps, samples, sent = (point.to_target(axis) for axis in (
        "time_s", "steps", "samples", "sent_bytes"))  # fmt: skip
    return [f"{wanted} is reached after {cell('time_s', time_s)}, {steps:,.0f} steps, "
            f"{samples:,.0f} samples and {cell('sent_bytes', sent)} sent"]  # fmt: skip


def _best(points: Sequence[Point]) -> list[str]:
    from validation.time_to_accuracy import LearningStudy

    best = LearningStudy(points).best
    wanted = f"{100 * (points[0].target or 0):g} %"
    seeds = len(points[0].runs)
    each = f" (means over {seeds} seeds, where all reach it)" if seeds > 1 else ""
    if best is None:
        return [f"target: {wanted}{each}; no point reaches it"]
    return [f"target: {wanted}{each}; first: {best.name}, after "
            f"{cell('time_s', best.to_target('time_s'))}"]  # fmt: skip


# --- noise ---------------------------------------------------------------------------------------


def _noise(point: Point, training: Training) -> dict[str, Any]:
    """Return the noise scale of a point's gradients, before and after its first run."""
    from validation.noise_scale import gradient_noise_scale

    found = point.runs[0].found
    return {"name": point.name} | {
        when: gradient_noise_scale(found.run.workload, training.data, parameters,
                                   seed=found.run.seed)
        for when, parameters in (("before", None), ("after", found.parameters))
    }  # fmt: skip


def _lines(noise: dict[str, Any]) -> list[str]:
    return [f"{noise['name']}, {when} training: {noise[when]}" for when in ("before", "after")]


# --- for programs --------------------------------------------------------------------------------


def _document(
    points: Sequence[Point], training: Training, noise: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    data = training.data
    document: dict[str, Any] = {
        "scenario": points[0].scenario.as_dict(),
        "data": {"name": data.name, "distribution": data.distribution,
                 "samples": len(data.labels), "test_samples": len(data.test_labels)},
        "target": training.target,
        "points": [_point(point) for point in points],
        "seed": points[0].scenario.seed,
        "version": VERSION,
    }  # fmt: skip
    if noise:
        document["noise_scale"] = [
            {"name": one["name"]} | {when: {name: getattr(one[when], name) for name in (
                "samples", "low", "high", "gradient_squared", "noise")}
                for when in ("before", "after")}
            for one in noise
        ]  # fmt: skip
    return document


def _point(point: Point) -> dict[str, Any]:
    runs = [
        {"seed": one.found.run.seed} | {name: getattr(one.found, name) for name in CURVE}
        for one in point.runs
    ]
    return {"name": point.name, "scenario": point.scenario.as_dict(), **point.record(),
            "runs": runs}  # fmt: skip
