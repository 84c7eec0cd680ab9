"""A raw table becomes a case file, whole or not at all, and what was left out is counted."""

from collections import Counter
from pathlib import Path

import pytest

from simulator.errors import InputError
from validation import convert as module
from validation.cases import Case, Conversion, join_repeats, read_cases
from validation.convert import convert, main, summary
from validation.suite import Suite


def case(time_s):
    return Case(suite="tiny", group="all", settings={"on": "here"}, metric="time_s",
                measured=float(time_s), unit="s", source="a table", licence="MIT")  # fmt: skip


def seconds_only(rows):
    """Take rows in seconds; leave the others out."""
    kept = [case(row["value"]) for row in rows if row["unit"] == "s"]
    left = Counter(f"unit {row['unit']}" for row in rows if row["unit"] != "s")
    return Conversion(join_repeats(kept), left)


@pytest.fixture
def files(monkeypatch, tmp_path):
    """Make a suite known by the name "tiny"; return a writer of raw tables and a case file."""
    suite = Suite(name="tiny", summary="", predict=lambda cases, _: [], convert=seconds_only)
    monkeypatch.setattr(module, "find_suite", lambda name: suite)
    raw, out = tmp_path / "raw.csv", tmp_path / "cases.csv"

    def write(*rows):
        raw.write_text("\n".join(["value,unit", *rows]) + "\n", encoding="utf-8")
        return raw

    return write, out


def test_cases_are_written_and_all_rows_are_accounted_for(files, capsys):
    write, out = files
    assert main(["tiny", str(write("1,s", "3,s", "5,W")), "--out", str(out)]) == 0
    (found,) = read_cases(out, "tiny")
    assert (found.measured, found.repeats, found.spread) == (2.0, 2, 1.0)
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.splitlines() == [
        f"{out}: 1 cases from 2 rows", "out of scope: 1 rows: unit W",
    ]  # fmt: skip


def test_a_table_of_which_nothing_is_in_scope_is_refused_with_the_reasons(files, capsys):
    write, out = files
    assert main(["tiny", str(write("5,W", "6,W")), "--out", str(out)]) == 1
    assert "no row is in the scope of suite tiny (2 unit W)" in capsys.readouterr().err
    assert not out.exists()


def test_a_suite_that_measures_this_machine_takes_no_table(tmp_path):
    with pytest.raises(InputError, match="torch-cpu measures this machine and takes no table"):
        convert("torch-cpu", tmp_path / "raw.csv", tmp_path / "cases.csv")


def test_the_summary_counts_rows_and_not_cases():
    joined = Conversion(join_repeats([case(1), case(2), case(3)]), Counter(other=4))
    assert summary(joined, Path("cases.csv")).splitlines() == [
        "cases.csv: 1 cases from 3 rows", "out of scope: 4 rows: other",
    ]  # fmt: skip
