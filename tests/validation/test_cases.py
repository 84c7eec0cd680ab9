"""A case is one measured fact; equal scenarios are repeats; files are read whole or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import FileError, InputError
from validation.cases import (
    Case,
    convert_rows,
    join_repeats,
    number,
    read_cases,
    read_table,
    scenario_of,
    setting,
    setting_of,
    write_cases,
)


def case(measured=1.0, source="a table", **settings):
    return Case(
        suite="multicore",
        group="one socket",
        settings={"workload": "boosting", **settings},
        metric="time_s",
        measured=measured,
        unit="s",
        source=source,
        licence="MIT",
    )


def test_identity_is_of_suite_metric_and_settings_not_of_value_or_source():
    first, second = case(1.0, **{"on.cores": 8.0}), case(2.0, "another", **{"on.cores": 8.0})
    assert first.case_id == second.case_id
    assert first.case_id != case(1.0, **{"on.cores": 16.0}).case_id


def test_identity_does_not_depend_on_the_order_of_settings():
    a = case(**{"on": "x", "on.cores": 2.0})
    b = case(**{"on.cores": 2.0, "on": "x"})
    assert a.case_id == b.case_id


def test_repeats_are_one_case_with_median_and_spread():
    (joined,) = join_repeats([case(1.0), case(3.0, "another"), case(2.0)])
    assert (joined.measured, joined.repeats, joined.spread) == (2.0, 3, 1.0)
    assert joined.source == "a table; another"


@given(
    st.lists(
        st.tuples(st.floats(1e-9, 1e9), st.integers(1, 96), st.text("abc -,", min_size=1)),
        min_size=1,
        max_size=8,
    )
)
def test_a_case_file_reads_back_as_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("cases") / "cases.csv"
    cases = join_repeats(
        case(value, **{"on.cores": float(p), "on.note": setting("x" + text)})
        for value, p, text in rows
    )
    write_cases(cases, path)
    assert {c.case_id: c for c in read_cases(path)} == {c.case_id: c for c in cases}


def test_a_whole_number_is_the_same_setting_however_it_is_written():
    assert setting("8") == setting("8.0") == 8.0
    assert setting("nan") == "nan"


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_measured_value_must_be_finite_and_positive(value):
    with pytest.raises(InputError, match="finite and positive"):
        case(value)


def test_a_setting_outside_the_scenario_is_refused():
    with pytest.raises(InputError, match="'cores' must begin with workload, on, plan"):
        case(cores=8.0)


def written(tmp_path, text):
    path = tmp_path / "cases.csv"
    path.write_text(text)
    return path


HEADER = "suite,group,workload,metric,measured,unit,source,licence\n"


def test_a_truncated_row_is_named(tmp_path):
    path = written(tmp_path, HEADER + "multicore,g,w,time_s,1,s,here,MIT\nmulticore,g,w,ti")
    with pytest.raises(FileError, match=r"row 3: has 4 cells where the header has 8"):
        read_cases(path)


def test_a_bad_number_is_named(tmp_path):
    path = written(tmp_path, HEADER + "multicore,g,w,time_s,fast,s,here,MIT\n")
    with pytest.raises(FileError, match=r"row 2: .*fast"):
        read_cases(path)


def test_a_file_of_another_suite_is_refused(tmp_path):
    path = written(tmp_path, HEADER + "gpu-gemm,g,w,time_s,1,s,here,MIT\n")
    with pytest.raises(FileError, match="belongs to suite 'gpu-gemm', not 'multicore'"):
        read_cases(path, "multicore")


def test_missing_and_unknown_columns_are_named(tmp_path):
    with pytest.raises(FileError, match="lacks the columns group, metric"):
        read_cases(written(tmp_path, "suite,measured\na,1\n"))
    with pytest.raises(FileError, match="unknown columns: cores"):
        read_cases(written(tmp_path, HEADER.strip() + ",cores\nm,g,w,time_s,1,s,h,MIT,8\n"))


@pytest.mark.parametrize("text", ["", "a,b\n", 'a,b\n"1,2\n'])
def test_a_file_that_is_no_table_is_refused(tmp_path, text):
    with pytest.raises(FileError):
        read_table(written(tmp_path, text))


def test_a_column_that_stands_twice_is_named(tmp_path):
    with pytest.raises(FileError, match="more than one column named 'a'"):
        read_table(written(tmp_path, "a,b,a\n1,2,3\n"))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"cannot be read \(No such file or directory\)$"):
        read_table(tmp_path / "none.csv")


def test_nothing_is_left_of_a_write_that_fails(tmp_path, monkeypatch):
    path = tmp_path / "cases.csv"
    write_cases([case(1.0)], path)
    before = path.read_text()
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(FileError, match="full"):
        write_cases([case(2.0)], path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


@given(
    st.dictionaries(
        st.sampled_from(["workload.batch", "workload.width", "workload.training", "plan.threads"]),
        st.booleans() | st.integers(1, 10**6) | st.floats(1e-9, 1e9) | st.just("adamw"),
        max_size=4,
    )
)
def test_a_case_leads_back_to_its_scenario(parameters):
    settings = {name: setting_of(value) for name, value in parameters.items()}
    scenario = scenario_of(case(on="this-machine", plan="threads", **settings))
    assert (scenario.workload, scenario.on, scenario.plan) == (
        "boosting", "this-machine", "threads",
    )  # fmt: skip
    assert dict(scenario.parameters) == parameters


def test_sizes_and_flags_of_a_scenario_are_whole_numbers_and_truth_again():
    one = case(on="this-machine", plan="threads",
               **{"workload.batch": 8.0, "workload.training": "true"})  # fmt: skip
    assert [type(value) for value in scenario_of(one).parameters.values()] == [int, bool]


@pytest.mark.parametrize("lost", ["gpu", "time_us"])
def test_a_table_to_convert_must_have_every_column(lost):
    row = {name: "1" for name in ("gpu", "time_us") if name != lost}
    with pytest.raises(InputError, match=f"suite tiny: the table lacks the columns {lost}$"):
        convert_rows("tiny", [row], ("gpu", "time_us"), lambda row, where: "out")


@pytest.mark.parametrize("text", ["", "fast", "0", "-1", "nan", "inf"])
def test_a_cell_that_is_no_number_above_0_is_named(text):
    with pytest.raises(InputError, match="row 2, column time_us: expected a number above 0, got"):
        number({"time_us": text}, "time_us", "row 2")
