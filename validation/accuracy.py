"""Write the accuracy report, ACCURACY.md: how wrong every suite's predictions are.

Recorded suites are computed anew from packaged cases and must come out as printed on any machine;
live suites are stamped with the machine and stay as they are until they are measured again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator.files import write_text
from validation.compare import APART, compare
from validation.suite import find_suite, list_suites

INTRODUCTION = """\
# Accuracy

Made by `scalemodel compare --all`; every figure is computed from the cases of a suite. The error is
|predicted - measured| / measured. *held_out* are cases that nothing was fitted on, *calibrated_on*
those that the packaged calibration saw. Beside the model stand simpler ways to predict the same
cases. Coverage is the share of measured values inside the 90 % interval.
"""
COLUMNS = ("split", "group", "by", "n", "skipped", "MAPE %", "median %", "p90 %", "worst %",
           "bias %", "coverage %")  # fmt: skip
FIGURES = ("mape_pct", "median_ape_pct", "p90_ape_pct", "worst_ape_pct", "bias_pct",
           "coverage_90_pct")  # fmt: skip
LIVE = "## Live suites"

Report = Mapping[str, Any]


def recorded_reports(progress: Callable[[str], None] = lambda _: None) -> list[Report]:
    """Return the reports of all recorded suites, from packaged cases and calibrations."""
    reports: list[Report] = []
    for name in list_suites():
        suite = find_suite(name)
        if suite.live:
            continue
        progress(f"comparing {name}")
        reports.append(compare(suite, suite.cases(), suite.calibration()).report())
    return reports


def write_accuracy(
    path: Path, recorded: Sequence[Report], live: Sequence[Report] | None = None, stamp: str = ""
) -> None:
    """Write the accuracy report, whole or not at all.

    Parameters
    ----------
    path : ACCURACY.md
    recorded : reports of recorded suites
    live : reports of live suites; None: keep that section of the file as it is
    stamp : machine and software that the live suites were measured on
    """
    if live is None:
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        kept = old[old.index(LIVE) :] if LIVE in old else ""
    else:
        kept = "\n\n".join([f"{LIVE}\n\n{stamp}", *map(section, live)]) + "\n"
    write_text(path, recorded_text(recorded) + ("\n" + kept if kept else ""))


def recorded_text(reports: Sequence[Report]) -> str:
    """Return the introduction and the recorded suites as Markdown."""
    parts = [INTRODUCTION, "## At a glance\n", glance(reports), "## Recorded suites\n"]
    return "\n".join([*parts, *map(section, reports)])


def glance(reports: Sequence[Report]) -> str:
    """Return one row for each suite: its held-out cases, and the best baseline's error beside."""
    lines = [
        "| suite | held-out cases | MAPE % | median % | coverage % | best baseline | its MAPE % |"
    ]
    lines.append("|---|---:|---:|---:|---:|---|---:|")
    for report in reports:
        figures = report["splits"].get("held_out")
        if figures is None:
            continue
        # A baseline that skips cases has an easier task.
        rivals = {name: other["mape_pct"] for name, other in figures["baselines"].items()
                  if other["n"] == figures["n"]}  # fmt: skip
        best = min(rivals, key=lambda name: float(rivals[name]), default="")
        numbers = [figures[name] for name in ("mape_pct", "median_ape_pct", "coverage_90_pct")]
        cells = [report["suite"], str(figures["n"]), *map(_percent, numbers), best]
        lines.append("| " + " | ".join([*cells, _percent(rivals.get(best))]) + " |")
    return "\n".join(lines) + "\n"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def recorded_part(text: str) -> str:
    """Return the part of an accuracy report that any machine must come to."""
    return text[: text.index(LIVE)].rstrip() if LIVE in text else text.rstrip()


def section(report: Report) -> str:
    """Return one suite's figures as a Markdown section."""
    name = report["suite"]
    lines = [f"### {name}\n", f"{find_suite(name).summary}\n"]
    lines.append("| " + " | ".join(COLUMNS) + " |")
    lines.append("|" + "---|" * 3 + "---:|" * (len(COLUMNS) - 3))
    for split, figures in report["splits"].items():
        groups = figures["groups"] if split == "held_out" else {}
        lines += [_row(split, *row) for row in _rows(figures, groups)]
    for split, figures in report["splits"].items():
        lines += _remarks(split, figures)
    lines += [f"\n{remark}" for remark in find_suite(name).calibration().get("remarks", ())]
    return "\n".join(lines) + "\n"


def _rows(
    figures: Mapping[str, Any], groups: Mapping[str, Any]
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    parts = {"all": figures, **(groups if len(groups) > 1 else {})}
    for group, part in parts.items():
        yield group, "**scalemodel**", part
        for name, other in part["baselines"].items():
            yield group, name, other


def _row(split: str, group: str, by: str, part: Mapping[str, Any]) -> str:
    cells = [split, group, by, str(part["n"]), str(part["skipped"])]
    cells += [_percent(part[name]) for name in FIGURES]
    return "| " + " | ".join(cells) + " |"


def _remarks(split: str, figures: Mapping[str, Any]) -> list[str]:
    remarks = []
    if figures["repeatability_pct"] is not None:
        spread = figures["repeatability_pct"]
        remarks.append(f"\n{split}: repeats of a case differ by {spread:.1f} % (median).")
    if figures.get("order_pct") is not None:
        share = figures["order_pct"]
        remarks.append(
            f"\n{split}: of two variants of a workload that differ by more than "
            f"{100 * APART:.0f} %, the order is right in {share:.1f} % of pairs."
        )
    for reason, count in figures.get("skipped_reasons", {}).items():
        remarks.append(f"\n{split}: {count} skipped: {reason}.")
    return remarks
