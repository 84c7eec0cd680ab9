"""What every suite keeps to: names and folders, cases and what was fitted on them."""

import re
from dataclasses import replace

import pytest

from simulator.errors import FileError, InputError, UnknownNameError
from validation.cases import Case
from validation.suite import FOLDER, Skip, Suite, find_suite, list_suites, read_calibration

CASE = Case(suite="tiny", group="mine", settings={}, metric="time_s", measured=1.0, unit="s",
            source="", licence="")  # fmt: skip


EVERY = pytest.mark.parametrize("name", list_suites())


@EVERY
def test_every_suite_lives_in_the_folder_of_its_name(name):
    suite = find_suite(name)
    assert suite.name == name
    assert suite.folder == FOLDER / name.replace("-", "_")
    assert (suite.folder / "suite.py").is_file()


@EVERY
def test_every_suite_has_cases_that_are_measured_now_or_were_recorded(name):
    suite = find_suite(name)
    assert suite.live != bool(suite.cases())
    assert suite.live or suite.convert is not None
    assert all(case.suite == name for case in suite.cases())


@EVERY
def test_every_suite_names_the_licence_and_the_source_of_each_recorded_case(name):
    assert all(case.source and case.licence for case in find_suite(name).cases())


@EVERY
def test_every_suite_leaves_cases_that_nothing_was_fitted_on(name):
    suite = find_suite(name)
    fitted = set(suite.calibration().get("case_ids", ()))
    assert bool(fitted) == (suite.fit is not None)
    assert suite.live or {case.case_id for case in suite.cases()} - fitted


@EVERY
def test_every_suite_says_for_each_case_in_which_groups_it_is_judged(name):
    suite = find_suite(name)
    assert all(suite.groups(case) for case in suite.cases()[:100])


@EVERY
def test_every_suite_names_the_columns_that_a_table_of_something_else_lacks(name):
    suite = find_suite(name)
    if suite.convert is not None:
        with pytest.raises(InputError, match=f"suite {name}: the table (lacks|must have).* column"):
            suite.convert([{"nonsense": "1"}])


@EVERY
def test_every_suite_answers_each_case_in_its_place_or_says_why_not(name):
    suite = find_suite(name)
    cases = suite.cases()[:: max(len(suite.cases()) // 3, 1)][:3]
    if cases:
        nowhere = replace(cases[0], settings={**cases[0].settings, "on": "nowhere"})
        first, odd, *others = suite.predict([cases[0], nowhere, *cases[1:]], suite.calibration())
        assert isinstance(odd, Skip)
        assert odd.reason
        for answer in (first, *others):
            assert answer.reason if isinstance(answer, Skip) else answer.value > 0
        assert len(others) == len(cases) - 1


def test_a_suite_that_says_nothing_of_groups_takes_the_one_of_the_case_file():
    suite = Suite(name="tiny", summary="", predict=lambda cases, calibration: [])
    assert suite.groups(CASE) == ("mine",)
    assert (suite.live, suite.cases(), suite.calibration()) == (False, (), {})


def test_an_unknown_suite_is_named_with_the_nearest_one():
    with pytest.raises(UnknownNameError, match="did you mean 'multicore'"):
        find_suite("multicores")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('case_ids = ["a"', "is it truncated"),
        ("[all]\nwork_s = 1.0\n", "must list the case_ids it was fitted on"),
        ("case_ids = [1]\n", "must list the case_ids"),
    ],
)
def test_a_calibration_that_does_not_say_what_was_fitted_is_refused(tmp_path, text, message):
    path = tmp_path / "calibration.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match=re.escape(message)):
        read_calibration(path)
    with pytest.raises(FileError):
        read_calibration(tmp_path / "missing.toml")
