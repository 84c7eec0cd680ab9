"""A scenario is text: names and values, checked and never evaluated."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError, UnitError, UnknownNameError
from simulator.scenario import (
    Scenario,
    checked_grid,
    known_name,
    parse_grid_entry,
    parse_setting,
    parse_value,
)


def scenario(**parameters):
    dotted = {name.replace("__", "."): value for name, value in parameters.items()}
    return Scenario(workload="mlp", on="raspberry-pi-4", parameters=dotted)


# --- scenarios -------------------------------------------------------------------------------


def test_a_quantity_becomes_a_float_in_the_unit_that_its_name_states():
    held = Scenario(workload="mlp", on="a", parameters={"on.memory.bytes": "4 GiB"})
    assert held.parameters == {"on.memory.bytes": 4 * 2**30}


def test_the_order_in_which_parameters_are_given_does_not_matter():
    one = Scenario(workload="m", on="a", parameters={"plan.threads": 2, "workload.batch": 1})
    two = Scenario(workload="m", on="a", parameters={"workload.batch": 1, "plan.threads": 2})
    assert one == two
    assert one.key == two.key


def test_changing_a_scenario_leaves_the_first_as_it_was():
    first = scenario(workload__batch=1)
    second = first.changed({"workload.batch": 2, "on": "other", "steps": 3})
    assert (first.parameters["workload.batch"], first.on, first.steps) == (1, "raspberry-pi-4", 1)
    assert (second.parameters["workload.batch"], second.on, second.steps) == (2, "other", 3)


def test_the_parameters_under_a_root_have_the_names_that_it_knows():
    held = scenario(workload__batch=1, workload__hidden=[8, 8], plan__threads=2)
    assert held.under("workload") == {"batch": 1, "hidden": (8, 8)}
    assert held.value("plan.threads") == 2
    assert held.value("plan") == "threads"
    assert held.value("plan.ranks") is None


def test_a_scenario_survives_being_sent_to_another_process():
    held = scenario(workload__batch=1)
    assert pickle.loads(pickle.dumps(held)) == held


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"workloda.batch": 1},
            "unknown parameter 'workloda.batch'; did you mean 'workload.batch'",
        ),
        ({"batch": 1}, "unknown parameter 'batch'"),
        ({3: 1}, "unknown parameter '3'"),
        ([1], "parameters: expected values by dotted name"),
        (None, "parameters: expected values by dotted name"),
        ({"workload": 1}, "expected a name such as 'workload.batch'"),
        ({"workload.batch": float("nan")}, "workload.batch: expected a finite number, got nan"),
        ({"workload.batch": float("-inf")}, "expected a finite number, got -inf"),
        ({"workload.batch": None}, "expected a number, text, true or false, or a list"),
        ({"workload.batch": {"a": 1}}, "expected a number, text"),
        ({"on.clock_hz": "3 GB"}, "'3 GB' is not in a unit of hz"),
    ],
)
def test_a_parameter_that_no_scenario_has_is_an_error_that_names_it(parameters, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        Scenario(workload="mlp", on="a", parameters=parameters)


@pytest.mark.parametrize(
    ("field", "value"),
    [("workload", ""), ("on", " "), ("plan", 3), ("steps", 0), ("steps", True), ("seed", -1),
     ("steps", 2.0)],
)  # fmt: skip
def test_a_field_that_makes_no_sense_is_an_error_that_names_it(field, value):
    with pytest.raises(InputError, match=f"{field}: expected"):
        Scenario(**{"workload": "mlp", "on": "a", field: value})


# --- flags -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("-2.5", -2.5),
        ("1e9", 1e9),
        ("true", True),
        ("'8'", "8"),
        ("float32", "float32"),
        ("[1, 2]", (1, 2)),
        ("a b", "a b"),
        ("2020-01-01", "2020-01-01"),
        ("{a = 1}", "{a = 1}"),
        ("1\nother = 2", "1\nother = 2"),
        ("__import__('os')", "__import__('os')"),
    ],
)
def test_a_value_is_a_toml_literal_or_else_the_text_itself(text, value):
    read = parse_value("workload.anything", text)
    assert read == value
    assert type(read) is type(value)


@given(st.text(min_size=1))
def test_no_text_is_evaluated_whatever_it_says(text):
    try:
        value = parse_value("workload.anything", text)
    except InputError:
        return
    assert isinstance(value, (bool, int, float, str, tuple))


def test_a_setting_is_a_name_and_a_value():
    assert parse_setting("on.memory.bandwidth_bytes_per_s = 200 GB/s") == (
        "on.memory.bandwidth_bytes_per_s",
        200e9,
    )
    assert parse_setting("workload.text=a=b") == ("workload.text", "a=b")


@pytest.mark.parametrize("text", ["workload.batch", "workload.batch=", "=3", "", "="])
def test_a_setting_without_a_name_or_a_value_is_an_error_that_names_the_flag(text):
    with pytest.raises(InputError, match=r"--set .*: expected NAME=VALUE"):
        parse_setting(text)


def test_errors_in_flags_name_the_flag():
    with pytest.raises(UnknownNameError, match=r"in --set; did you mean 'workload.batch'"):
        parse_setting("wrkload.batch=3")
    with pytest.raises(UnitError, match=r"--set on.clock_hz=3 GB: on.clock_hz: '3 GB'"):
        parse_setting("on.clock_hz=3 GB")
    with pytest.raises(InputError, match=r"--set workload.batch=nan: .*finite"):
        parse_setting("workload.batch=nan")
    with pytest.raises(InputError, match=r"--set: parameter 'plan.': expected a name"):
        parse_setting("plan.=3")


# --- grids -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2,4", (1, 2, 4)),
        ("[1, 2, 4]", (1, 2, 4)),
        ("3", (3,)),
        ("1..4", (1, 2, 3, 4)),
        ("1..16*2", (1, 2, 4, 8, 16)),
        ("1..10*3", (1, 3, 9)),
        ("10e9..40e9/4", (10e9, 20e9, 30e9, 40e9)),
        ("0..100/5", (0, 25, 50, 75, 100)),
        ("0.5..1.0/3", (0.5, 0.75, 1.0)),
        ("[1, 1], [2, 2]", ((1, 1), (2, 2))),
    ],
)
def test_a_grid_entry_lists_or_counts_or_doubles_or_divides(text, values):
    assert parse_grid_entry(f"workload.size={text}") == ("workload.size", values)


def test_ends_of_a_range_may_be_quantities():
    name, values = parse_grid_entry("on.memory.bandwidth_bytes_per_s=10 GB/s..40 GB/s/4")
    assert values == (10e9, 20e9, 30e9, 40e9)
    assert name == "on.memory.bandwidth_bytes_per_s"


def test_paths_of_device_files_are_not_taken_for_ranges():
    assert parse_grid_entry("on=../a.toml, b/../c.toml")[1] == ("../a.toml", "b/../c.toml")


@pytest.mark.parametrize(
    "text",
    ["4..1", "1..8*1", "0..8*2", "1..8/1", "1..8/2.5", "0.5..2.5", "1,1", "true,1", "a..b/2,a..b/2",
     "[]", "1..99999999999", "nan", "1..x/3", "1,,2", "1..2*1.0000000001"],
)  # fmt: skip
def test_a_grid_entry_that_makes_no_sense_is_an_error_that_names_the_flag(text):
    with pytest.raises(InputError, match="grid"):
        checked_grid(dict([parse_grid_entry(f"workload.size={text}")]))


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(min_value=2, max_value=1000))
def test_evenly_spaced_values_are_as_many_as_asked_and_meet_both_ends(low, width, count):
    _, values = parse_grid_entry(f"workload.size={low}..{low + width}/{count}")
    assert len(values) == count
    assert (values[0], values[-1]) == (low, low + width)
    assert list(values) == sorted(values)


def test_a_grid_may_change_names_as_well_as_parameters():
    grid = checked_grid({"on": ["a", "b"], "plan.threads": range(1, 3)})
    assert grid == {"on": ("a", "b"), "plan.threads": (1, 2)}


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"workload.batch": []}, "at least one value"),
        ({"workload.batch": 3}, "expected a list"),
        ({"workload.batch": "abc"}, "expected a list"),
        ({"bacth": [1]}, "unknown parameter 'bacth'"),
        ({f"workload.a{i}": range(100) for i in range(4)}, "100,000,000 points"),
    ],
)
def test_a_grid_that_no_sweep_can_go_through_is_an_error(grid, message):
    with pytest.raises(InputError, match=message):
        checked_grid(grid)


def test_known_names_are_returned():
    assert known_name("on.memory.bandwidth_bytes_per_s") == "on.memory.bandwidth_bytes_per_s"
    assert known_name("steps") == "steps"
