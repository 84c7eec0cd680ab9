"""A scenario file holds one scenario and what is asked about it; it is data."""

from __future__ import annotations

import pytest

from simulator.bounds import Bound
from simulator.errors import FileError, InputError
from simulator.study import Study, read_study

WHOLE = """
workload = "resnet50"
on = "raspberry-pi-4"
plan = "threads"
steps = 3
seed = 7
assert = ["step_time_s <= 100 ms"]
minimize = "energy_j"

[set]
workload.batch = 8
"on.memory.bandwidth_bytes_per_s" = "200 GB/s"

[grid]
plan.threads = [1, 2]

[job]
steps = 1000
price_per_kwh = 0.3
"""


@pytest.fixture
def study_file(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_scenario_file_says_scenario_grid_bounds_and_aim(study_file):
    study = read_study(study_file(WHOLE))
    scenario = study.scenario()
    assert (scenario.workload, scenario.on, scenario.plan) == (
        "resnet50",
        "raspberry-pi-4",
        "threads",
    )
    assert (scenario.steps, scenario.seed) == (3, 7)
    assert scenario.under("workload") == {"batch": 8}
    assert scenario.under("on") == {"memory.bandwidth_bytes_per_s": 200e9}
    assert scenario.under("job") == {"steps": 1000, "price_per_kwh": 0.3}
    assert study.grid == {"plan.threads": (1, 2)}
    assert study.bounds == (Bound("step_time_s", "<=", 0.1),)
    assert study.minimize == "energy_j"


def test_flags_win_over_the_file_and_bounds_add_up(study_file):
    flags = Study(
        values={"workload.batch": 16, "on": "this-machine"},
        bounds=(Bound("speedup", ">", 1.0),),
        minimize="step_time_s",
    )
    both = read_study(study_file(WHOLE)).merged(flags)
    assert both.values["workload.batch"] == 16
    assert both.values["on"] == "this-machine"
    assert [bound.metric for bound in both.bounds] == ["step_time_s", "speedup"]
    assert both.minimize == "step_time_s"


def test_a_value_takes_the_place_of_a_grid_and_a_grid_that_of_a_value(study_file):
    held = read_study(study_file(WHOLE))
    one = held.merged(Study(values={"plan.threads": 2}))
    assert (one.values["plan.threads"], one.grid) == (2, {})
    many = held.merged(Study(grid={"workload.batch": (1, 2)}))
    assert "workload.batch" not in many.values
    assert many.grid == {"plan.threads": (1, 2), "workload.batch": (1, 2)}


def test_a_name_with_both_a_value_and_a_grid_contradicts_itself():
    with pytest.raises(InputError, match=r"plan.threads is given both a value \(4\) and a grid"):
        Study(values={"plan.threads": 4}, grid={"plan.threads": (1, 2)})


def test_a_byte_order_mark_before_a_scenario_file_is_no_part_of_it(study_file):
    assert read_study(study_file("\ufeffworkload = 'mlp'")).values == {"workload": "mlp"}


def test_a_machine_file_is_looked_for_beside_the_scenario_file(study_file, tmp_path):
    (tmp_path / "mine-too.toml").write_text("", encoding="utf-8")
    study = read_study(study_file('workload = "mlp"\non = "mine-too.toml"'))
    assert study.scenario().on == str(tmp_path / "mine-too.toml")


def test_a_name_on_the_grid_stands_at_its_first_value():
    study = Study(values={"workload": "mlp"}, grid={"on": ("a", "b"), "plan.threads": (4, 8)})
    scenario = study.scenario()
    assert (scenario.on, scenario.value("plan.threads")) == ("a", 4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "no workload is named: give WORKLOAD or"),
        ({"workload": "mlp"}, "no machine is named: give --on MACHINE or"),
        ({"on": "a"}, "no workload is named"),
    ],
)
def test_a_study_without_workload_or_machine_says_which_flag_is_missing(values, message):
    with pytest.raises(InputError, match=message):
        Study(values=values).scenario()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workloda = 'a'", "unknown key 'workloda'; did you mean 'workload'"),
        ("workload = ''", "workload: expected a name"),
        ("on = 3", "on: expected a name, got 3"),
        ("steps = 0", "steps: expected a whole number of at least 1, got 0"),
        ("steps = 'many'", "steps: expected a whole number"),
        ("seed = -1", "seed: expected"),
        ("[set]\nworkload.batch = nan", r"\[set\]: workload.batch: expected a finite number"),
        ("[set]\nwrkload.batch = 2", r"\[set\]: .*did you mean 'workload.batch'"),
        ("[set]\nworkload.batch = 2020-01-01", r"\[set\]: workload.batch: expected a number"),
        ("[set]\nworkload.batch = 2\n'workload.batch' = 3", "stands twice, nested and dotted"),
        ("[set]\non.clock_hz = '3 GB'", "'3 GB' is not in a unit of hz"),
        ("set = 3", r"\[set\]: expected a table, got 3"),
        ("[grid]\nplan.threads = 3", r"\[grid\]: .*expected a list"),
        ("[grid]\nplan.threads = [1, 1]", "1 stands twice"),
        ("[set]\nplan.threads = 1\n[grid]\nplan.threads = [2]", r"\[grid\]: .* both a value"),
        ("steps = 2\n[set]\nsteps = 3", r"\[set\]: 'steps' stands twice"),
        ("[set]\njob.steps = 2\n[job]\nsteps = 3", r"\[set\]: 'job.steps' stands twice"),
        ("[job]\nsteps = nan", r"\[job\]: job.steps: expected a finite number"),
        ("[grid]\nplan.threads = []", "at least one value"),
        ("assert = 'x'", "assert: 'x': expected METRIC<=LIMIT"),
        ("assert = 3", "assert: expected a text or a list of texts, got 3"),
        ("assert = [3]", "assert: 3: expected METRIC<=LIMIT"),
        ("assert = ['step_time_s<=3 GB']", "assert: 'step_time_s<=3 GB': '3 GB' is not in a unit"),
        ("minimize = 3", "minimize: expected the name of a metric"),
        ("workload = ", "expected a TOML file: Invalid value"),
        ("[set\nworkload.batch = 2", r"expected a TOML file: .*line 1"),
    ],
)
def test_a_broken_scenario_file_is_one_error_that_names_file_and_key(study_file, text, message):
    path = study_file(text)
    with pytest.raises(FileError, match=message) as caught:
        read_study(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_cannot_be_read_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        read_study(tmp_path / "none.toml")
    with pytest.raises(FileError, match="directory"):
        read_study(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="expected a TOML file"):
        read_study(tmp_path / "binary.toml")
