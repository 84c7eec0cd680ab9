"""Specify how a suite's calibration is fitted anew and written."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError
from validation import refit as module
from validation.cases import Case, write_cases
from validation.refit import calibration_text, main, refit
from validation.suite import Suite, read_calibration

NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=12)
LEAVES = st.one_of(
    st.booleans(), st.integers(-(10**6), 10**6), NAMES, st.lists(st.integers(0, 99), max_size=12)
)


def case(measured=2.0):
    return Case(
        suite="tiny",
        group="all",
        settings={"on": "here"},
        metric="time_s",
        measured=measured,
        unit="s",
        source="test",
        licence="MIT",
    )


@pytest.fixture
def tiny(monkeypatch):
    suite = Suite(
        name="tiny",
        summary="one number",
        predict=lambda cases, _: [],
        fit=lambda cases: {
            "case_ids": [c.case_id for c in cases],
            "all": {"time_s": cases[0].measured},
        },
    )
    monkeypatch.setattr(module, "find_suite", lambda _: suite)
    return suite


@given(st.recursive(LEAVES, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12))
def test_what_is_written_is_read_back(tree):
    tables = {"case_ids": ["a"], "tree": tree}
    read = tomllib.loads(calibration_text(tables))
    assert _without_empty(read) == _without_empty(tables)


def _without_empty(tree):
    """TOML tables that hold nothing at all are not written."""
    if not isinstance(tree, dict):
        return tree
    kept = {key: _without_empty(value) for key, value in tree.items()}
    return {key: value for key, value in kept.items() if value != {}}


def test_numbers_keep_six_digits():
    assert tomllib.loads(calibration_text({"x": 1.23456789e-7})) == {"x": 1.23457e-7}


def test_a_refit_writes_a_calibration_that_suites_can_read(tiny, tmp_path):
    cases, out = tmp_path / "cases.csv", tmp_path / "calibration.toml"
    write_cases([case(3.5)], cases)
    assert refit("tiny", cases, out) == out
    tables = read_calibration(out)
    assert tables["all"] == {"time_s": 3.5}
    assert tables["case_ids"] == [case().case_id]


def test_the_command_says_where_it_wrote_and_errors_exit_with_1(tiny, tmp_path, capsys):
    cases, out = tmp_path / "cases.csv", tmp_path / "calibration.toml"
    write_cases([case()], cases)
    arguments = ["tiny", "--cases", str(cases), "--out", str(out)]
    assert main(arguments) == 0
    assert str(out) in capsys.readouterr().err
    assert main([*arguments[:2], str(tmp_path / "none.csv"), *arguments[3:]]) == 1
    assert "error: " in capsys.readouterr().err


def test_a_suite_that_fits_nothing_is_an_error(monkeypatch):
    suite = Suite(name="tiny", summary="", predict=lambda cases, _: [])
    monkeypatch.setattr(module, "find_suite", lambda _: suite)
    with pytest.raises(InputError, match="suite tiny fits nothing"):
        refit("tiny")
