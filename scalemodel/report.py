"""Say what a run gave: for people as a table, for programs as a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from scalemodel.output import Table
from simulator.errors import FileError
from simulator.intervals import used_devices
from simulator.protocols import Calibrated
from simulator.run import METRICS, PATTERN_METRICS, Run, show_metric
from simulator.scenario import Scenario
from simulator.source import Source
from simulator.units import dimension_of
from simulator.version import VERSION

if TYPE_CHECKING:
    from scalemodel.plots.accuracy import Pair
    from simulator.against import Ratio
    from simulator.explain import Explanation

HEADLINE = "step_time_s"
"""The figure that stands for a whole prediction."""

_UNITS = {"bytes": "B", "bytes_per_s": "B/s", "flop": "FLOP", "flop_per_s": "FLOP/s", "w": "W",
          "j": "J", "hz": "Hz", "j_per_byte": "J/B"}  # fmt: skip
_PLAIN_UNITS = {"throughput": "samples/s", "job.hours": "h", "job.kwh": "kWh"}


def unit_of(metric: str) -> str:
    """Return the unit of a metric's value; "1" for what has none.

    >>> unit_of("step_time_s"), unit_of("peak_memory_bytes"), unit_of("throughput")
    ('s', 'B', 'samples/s')
    """
    dimension = dimension_of(metric)
    if dimension is None:
        return _PLAIN_UNITS.get(metric, "1")
    return _UNITS.get(dimension, dimension)


def figure(run: Run, metric: str) -> dict[str, Any]:
    """Return one figure of a run with unit and interval."""
    low, high = run.bounds(metric) or (None, None)
    return {"value": run.metric(metric), "unit": unit_of(metric), "low": low, "high": high}


def document(
    run: Run, scenario: Scenario, explanation: Explanation | None = None
) -> dict[str, Any]:
    """Return all that a run gave, for JSON."""
    found: dict[str, Any] = {
        "scenario": scenario.as_dict(),
        "metric": HEADLINE,
        **figure(run, HEADLINE),
        "metrics": {name: figure(run, name) for name in run.metrics},
        "baseline": run.baseline,
        "breakdown": breakdown(run),
        "calibration": calibration_of(run),
        "seed": run.seed,
        "version": VERSION,
        "sources": [source_record(source) for source in run.sources],
        "notes": list(run.notes),
    }
    if explanation is not None:
        found["explanation"] = asdict(explanation) | {"binds": explanation.binds}
    return found


def source_record(source: Source) -> dict[str, str]:
    """Return where a number comes from, for JSON."""
    return {"text": source.text, "licence": source.licence, "kind": source.kind,
            "note": source.note}  # fmt: skip


def calibration_of(run: Run) -> str | None:
    """Return what the run's numbers were calibrated on; None where they are datasheet facts."""
    fitted = [source.text for source in run.sources if source.kind == "calibrated"]
    return "; ".join(fitted) or None


def breakdown(run: Run) -> dict[str, float]:
    """Return what a step's computing time is spent on: shares that add up to 1.

    Empty where devices differ or do not say.
    """
    device, threads = run.machine.devices[run.placement.devices[0]], run.placement.threads[0]
    alike = len(used_devices(run.machine, run.placement)) == 1
    if not alike or not isinstance(device, Calibrated):
        return {}
    parts = device.breakdown_s(run.workload.graph, threads)
    seconds = {name: float(part.sum()) for name, part in parts.items()}
    whole = sum(seconds.values())
    return {name: part / whole for name, part in seconds.items()} if whole else {}


def table(run: Run, scenario: Scenario) -> Table:
    """Return the figures of a run as a table; what is unknown says so."""
    rows = []
    for name in run.metrics:
        low, high = run.bounds(name) or (None, None)
        interval = "" if low is None else f"{show_metric(name, low)} to {show_metric(name, high)}"
        rows.append([name, show_metric(name, run.metric(name)), interval])
    return Table(["metric", "value", "90 % interval"], rows, title=str(scenario), notes=_notes(run))


def with_explanation(shown: Table, explanation: Explanation | None) -> Table:
    """Return a table with what binds below it."""
    if explanation is None:
        return shown
    return replace(shown, notes=[*shown.notes, "", *str(explanation).splitlines()])


def flat_table(run: Run) -> Table:
    """Return the figures of a run as plain numbers with units, for CSV."""
    rows = [[name, *figure(run, name).values()] for name in run.metrics]
    return Table(["metric", "value", "unit", "low", "high"], rows)


def _notes(run: Run) -> list[str]:
    calibration = calibration_of(run)
    notes = [f"speedup over: {run.baseline}"] if run.baseline else []
    spent = sorted(breakdown(run).items(), key=lambda part: -part[1])
    if spent:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in spent)
        notes.append(f"a step is spent on: {shares} (--explain: what binds, and for how long)")
    notes += [f"note: {note}" for note in run.notes]
    if run.interval is None:
        what = "this device" if run.machine.network is None else "a device or the network"
        notes.append(f"no interval: {what} was not calibrated, so its error is not known")
    if calibration:
        notes.append(f"calibrated on: {calibration}")
    beware = (s.note for s in run.sources if s.kind == "calibrated" and s.note)
    notes += [f"note: {note}" for note in dict.fromkeys(beware)]
    return [*notes, *dict.fromkeys(str(s) for s in run.sources if s.kind != "calibrated")]


# --- two runs --------------------------------------------------------------------------------


class Predicted(NamedTuple):
    """Hold what was asked and what came out."""

    scenario: Scenario
    run: Run


def ratio_document(ratio: Ratio, first: Predicted, second: Predicted) -> dict[str, Any]:
    """Return how many times as fast one run is as another, for JSON."""
    computes = all(side.run.workload.pattern is None for side in (first, second))
    pace = "throughput" if computes else "step_time_s"
    return {
        "metric": "ratio",
        "value": ratio.value,
        "unit": "1",
        "low": ratio.low,
        "high": ratio.high,
        "p_faster": ratio.p_faster,
        "draws": ratio.draws,
        "scenario": first.scenario.as_dict(),
        "against": second.scenario.as_dict(),
        pace: [figure(side.run, pace) for side in (first, second)],
        "calibration": [calibration_of(side.run) for side in (first, second)],
        "seed": ratio.seed,
        "version": VERSION,
    }


def ratio_table(ratio: Ratio, first: Predicted, second: Predicted, plain: bool = False) -> Table:
    """Return two runs beside each other and how many times as fast the first one is.

    Parameters
    ----------
    ratio : of the first to the second
    first, second : what was asked and what came out
    plain : bare numbers in the units of the metrics' names
    """
    shown = (lambda name, value: value) if plain else show_metric
    runs = (first.run, second.run)
    known = dict.fromkeys((*METRICS, *PATTERN_METRICS))
    shared = [name for name in known if all(name in run.metrics for run in runs)]
    rows = [[name, *(shown(name, run.metric(name)) for run in runs)] for name in shared]
    rows.append(["ratio", ratio.value if plain else f"{ratio.value:.4g}", 1 if plain else "1"])
    title = f"{first.scenario} against {second.scenario}: {ratio}"
    names = [first.scenario.on, second.scenario.on]
    if names[0] == names[1]:
        names = ["this", "against"]
    return Table(["metric", *names], rows, title)


# --- predicted against measured ------------------------------------------------------------------


def pairs_of(report: Any, split: str, where: object) -> tuple[list[Pair], str, str]:
    """Return what a comparison's report says of its cases: pairs, a title, the unit.

    Cases of one unit only are returned, the most frequent one.

    Parameters
    ----------
    report : as `scalemodel compare -o json` prints it
    split : of which cases: "held_out" or "calibrated_on"
    where : the file it was read from, for errors

    Raises
    ------
    FileError : this is no such report, or no case of the split was predicted
    """
    from scalemodel.plots.accuracy import Pair

    try:
        cases = [c for c in report["cases"] if c["predicted"] is not None and c["split"] == split]
        unit = Counter(c["unit"] for c in cases).most_common(1)[0][0] if cases else ""
        pairs = [
            Pair(float(c["measured"]), float(c["predicted"]), *_interval(c), _text(c["group"]))
            for c in cases
            if c["unit"] == unit
        ]
        title = f"suite {report['suite']}, {split.replace('_', ' ')}"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(where, f"is no report of `scalemodel compare -o json` ({error})") from None
    if not pairs:
        raise FileError(where, f"holds no predicted case that is {split}")
    return pairs, title, unit


def _interval(case: Mapping[str, Any]) -> tuple[float | None, float | None]:
    low, high = (None if case[end] is None else float(case[end]) for end in ("low", "high"))
    return low, high


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {value!r}")
    return value
