"""The payload says the same as a table, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalemodel.output import Output, Table, cell, csv_text, emit, json_text, table_of

KEY = "a-very-long-name-that-nobody-may-cut-" + "x" * 200


def test_a_table_has_the_columns_of_all_records():
    table = table_of([{"name": "a", "size_bytes": 8}, {"name": "b", "kind": "cpu"}])
    assert table.columns == ["name", "size_bytes", "kind"]
    assert table.records()[1] == {"name": "b", "size_bytes": None, "kind": "cpu"}


def test_all_forms_say_the_same(capsys):
    table = Table(["name", "time_s"], [["a", 0.5], ["b", None]])
    emit(Output.JSON, table)
    assert json.loads(capsys.readouterr().out) == table.records()
    emit(Output.CSV, table)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows == [{"name": "a", "time_s": "0.5"}, {"name": "b", "time_s": ""}]
    emit(Output.TABLE, table)
    assert "500 ms" in capsys.readouterr().out


def test_nothing_is_cut_off_wherever_it_is_printed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    long = "words " * 40
    emit(Output.TABLE, Table(["name", "about"], [[KEY, long]], title="t " * 60, notes=[long]))
    lines = capsys.readouterr().out.splitlines()
    assert any(KEY in line and long.strip() in line for line in lines)
    assert lines[-1] == long


def test_on_a_terminal_keys_stay_whole_and_long_text_is_folded(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")
    emit(Output.TABLE, Table(["name", "about"], [["key-of-twenty-letter", "word " * 30]]))
    lines = capsys.readouterr().out.splitlines()
    assert sum("key-of-twenty-letter" in line for line in lines) == 1
    assert sum(line.count("word") for line in lines) == 30


@given(st.dictionaries(st.text(), st.floats() | st.none() | st.integers() | st.text()))
def test_any_document_is_valid_json(document):
    read = json.loads(json_text(document))
    assert read.keys() == document.keys()
    for key, value in document.items():
        unknown = isinstance(value, float) and not np.isfinite(value)
        assert read[key] == (None if unknown else value)


def test_numbers_of_numpy_are_plain_in_json():
    assert json.loads(json_text({"a": np.float64(1.5), "b": np.arange(2)})) == {
        "a": 1.5,
        "b": [0, 1],
    }


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("time_s", 0.0015, "1.5 ms"),
        ("memory_bytes", 1e9, "1 GB"),
        ("idle_share", 0.25, "25.0 %"),
        ("mape_pct", 12.34, "12.3"),
        ("batch", 100_000, "100000"),
        ("speedup", 1.98765, "1.988"),
        ("x", None, ""),
        ("x", float("nan"), ""),
        ("x", True, "True"),
        ("x", (1, 2), "1; 2"),
    ],
)
def test_a_cell_is_written_as_its_column_says(name, value, text):
    assert cell(name, value) == text


def test_csv_quotes_what_needs_it():
    assert csv_text(Table(["a"], [['x, "y"']])) == 'a\n"x, ""y"""\n'
