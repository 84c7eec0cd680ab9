"""The accuracy report is what the packaged cases come to, and keeps what was measured live."""

from pathlib import Path

import pytest

from validation.accuracy import (
    LIVE,
    recorded_part,
    recorded_reports,
    recorded_text,
    write_accuracy,
)
from validation.suite import find_suite, list_suites

REPORT = Path(__file__).parents[2] / "ACCURACY.md"


@pytest.mark.slow
def test_the_recorded_part_equals_what_the_packaged_cases_come_to():
    assert recorded_part(REPORT.read_text()) == recorded_text(recorded_reports()).rstrip()


def test_every_suite_stands_in_the_report():
    text = REPORT.read_text()
    for name in list_suites():
        assert f"### {name}" in text


def figures(value):
    numbers = dict.fromkeys(
        ("mape_pct", "median_ape_pct", "p90_ape_pct", "worst_ape_pct", "bias_pct"), value
    )
    return numbers | {"n": 3, "skipped": 0, "coverage_90_pct": None, "repeatability_pct": None,
                      "baselines": {}, "groups": {}}  # fmt: skip


def report(value):
    name = next(n for n in list_suites() if not find_suite(n).live)
    return {"suite": name, "splits": {"held_out": figures(value)}}


def test_a_live_section_stays_until_it_is_measured_again(tmp_path):
    path = tmp_path / "ACCURACY.md"
    write_accuracy(path, [report(1.25)], [report(7.75)], "one machine")
    write_accuracy(path, [report(2.25)])
    text = path.read_text()
    assert "2.2" in recorded_part(text)
    assert "one machine" in text[text.index(LIVE) :]
    assert "7.8" in text[text.index(LIVE) :]
    assert "1.2 |" not in text


def test_unknown_figures_are_dashes_not_zeros(tmp_path):
    path = tmp_path / "ACCURACY.md"
    write_accuracy(path, [report(None)])
    assert "| – |" in path.read_text()


def test_remarks_of_a_calibration_stand_in_its_section(tmp_path):
    path = tmp_path / "ACCURACY.md"
    remarks = find_suite("multicore").calibration()["remarks"]
    write_accuracy(path, [{"suite": "multicore", "splits": {"held_out": figures(1.0)}}])
    text = path.read_text()
    assert remarks
    assert all(f"\n\n{remark}\n" in text for remark in remarks)
