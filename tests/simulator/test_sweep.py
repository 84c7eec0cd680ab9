"""A sweep evaluates every point of a grid, once, wherever and in whatever pieces it runs."""

from __future__ import annotations

import json
import math
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import sweep_chunks
from simulator.bounds import parse_bound
from simulator.errors import (
    BoundError,
    DeadlockError,
    DoesNotFitError,
    FileError,
    InputError,
    UnknownNameError,
)
from simulator.scenario import Scenario
from simulator.sweep import best_point, check_points, sweep
from simulator.sweep_chunks import InProcess, Submitted, Task, executing
from simulator.sweep_store import Row

BASE = Scenario(workload="toy", on="anything")
GRID = {"plan.threads": [1, 2, 4, 8], "workload.batch": [1, 3, 5]}


def toy(scenario):
    """Amdahl's law with a serial tenth; more than 4 threads of batch 5 do not fit."""
    threads, batch = scenario.value("plan.threads"), scenario.value("workload.batch")
    if threads > 4 and batch == 5:
        raise DoesNotFitError("needs more memory than there is")
    time_s = batch * (0.1 + 0.9 / threads) / 3
    return {"step_time_s": time_s, "energy_j": None if batch == 3 else 10.0 * time_s}


def slow(scenario):
    time.sleep(0.02)
    return {"step_time_s": float(scenario.value("workload.batch"))}


class Counting:
    """Count what is evaluated, and stop like Ctrl-C after so many."""

    def __init__(self, stop_after=math.inf):
        self.count, self.stop_after = 0, stop_after

    def __call__(self, scenario):
        if self.count >= self.stop_after:
            raise KeyboardInterrupt
        self.count += 1
        return toy(scenario)


class Many:
    """Evaluate many at once."""

    def __init__(self):
        self.calls = []

    def __call__(self, scenario):
        raise AssertionError("one by one is the slow way")

    def many(self, scenarios):
        self.calls.append(len(scenarios))
        return [self.one(scenario) for scenario in scenarios]

    def one(self, scenario):
        try:
            return toy(scenario)
        except DoesNotFitError as error:
            return error


@pytest.fixture(scope="module")
def table():
    return sweep(GRID, toy, BASE)


def same(one, other):
    return one.to_csv() == other.to_csv()


# --- the table -------------------------------------------------------------------------------


def test_each_point_is_one_row_in_the_order_of_the_grid(table):
    points = [(t, b) for t in GRID["plan.threads"] for b in GRID["workload.batch"]]
    assert list(zip(table["plan.threads"], table["workload.batch"], strict=True)) == points
    assert list(table.columns) == [*GRID, "step_time_s", "energy_j", "reason"]


def test_numbers_are_those_of_evaluating_each_point(table):
    scenario = BASE.changed({"plan.threads": 2, "workload.batch": 3})
    row = table[(table["plan.threads"] == 2) & (table["workload.batch"] == 3)].iloc[0]
    assert row["step_time_s"] == toy(scenario)["step_time_s"]


def test_what_cannot_be_stays_in_the_table_with_its_reason(table):
    row = table.iloc[-1]
    assert row["reason"] == "needs more memory than there is"
    assert math.isnan(row["step_time_s"])
    assert (table["reason"].iloc[:-1] == "").all()


def test_what_is_unknown_is_missing_and_not_zero(table):
    assert table[table["workload.batch"] == 3]["energy_j"].isna().all()


def test_a_grid_without_names_is_the_one_point_of_the_base():
    base = BASE.changed({"plan.threads": 1, "workload.batch": 1})
    assert sweep({}, toy, base)["step_time_s"].tolist() == [toy(base)["step_time_s"]]


def test_a_sweep_over_names_of_machines_changes_the_machine():
    found = sweep({"on": ["a", "bb"]}, lambda point: {"x": float(len(point.on))}, BASE)
    assert found["x"].tolist() == [1, 2]


# --- executors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor_gives_the_same_table(table, pool):
    with pool(2) as executor:
        assert same(sweep(GRID, toy, BASE, executor=executor), table)


def test_chunks_of_any_size_give_the_same_table(table):
    many = Many()
    assert same(sweep(GRID, many, BASE), table)
    assert many.calls == [1, 8, 3]


@given(st.integers(1, 700), st.one_of(st.none(), st.floats(1e-6, 10)))
def test_an_executor_gets_every_point_once(points, point_s):
    with ThreadPoolExecutor(1) as executor:
        grid = [{"workload.n": n} for n in range(points)]
        task = Task(lambda s: {"n": float(str(s.value("workload.n")))}, BASE, grid)
        done: dict[int, object] = {}
        for rows in Submitted(executor, point_s).chunks(task, range(points)):
            assert not done.keys() & rows.keys()
            done |= rows
    assert done == {n: {"n": float(n)} for n in range(points)}


def test_a_long_sweep_moves_to_a_pool_of_processes(monkeypatch):
    monkeypatch.setattr(sweep_chunks, "CHUNK_S", 0.05)
    monkeypatch.setattr(sweep_chunks, "POOL_AFTER_S", 0.3)
    pools = []

    def pool():
        pools.append(ProcessPoolExecutor(2))
        return pools[-1]

    task = Task(slow, BASE, [{"workload.batch": n} for n in range(60)])
    done: dict[int, Row] = {}
    for rows in InProcess(pool).chunks(task, range(60)):
        done |= rows
    assert len(pools) == 1
    assert {n: row["step_time_s"] for n, row in done.items()} == {n: float(n) for n in range(60)}


def test_what_no_other_process_can_be_given_stays_here(monkeypatch):
    monkeypatch.setattr(sweep_chunks, "CHUNK_S", 0.0)
    monkeypatch.setattr(sweep_chunks, "POOL_AFTER_S", 0.0)
    found = sweep({"workload.batch": [1, 2, 3]}, lambda point: slow(point), BASE)  # noqa: PLW0108
    assert found["step_time_s"].tolist() == [1, 2, 3]


def test_without_an_executor_points_are_evaluated_in_this_process():
    assert isinstance(executing(None), InProcess)


# --- interruptions -----------------------------------------------------------------------------


def test_an_interrupted_sweep_continues_where_it_was(table, tmp_path):
    out = tmp_path / "results"
    with pytest.raises(KeyboardInterrupt):
        sweep(GRID, Counting(stop_after=10), BASE, out=out)
    assert not (out / "table.csv").exists()
    rest = Counting()
    assert same(sweep(GRID, rest, BASE, out=out), table)
    assert rest.count == 12 - 9  # chunks of 1 and 8 were done
    assert (out / "table.csv").read_text(encoding="utf-8") == table.to_csv(index=False)


def test_a_finished_sweep_evaluates_nothing_again(table, tmp_path):
    sweep(GRID, toy, BASE, out=tmp_path)
    again = Counting()
    assert same(sweep(GRID, again, BASE, out=tmp_path), table)
    assert again.count == 0


def test_progress_counts_what_an_earlier_sweep_did(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        sweep(GRID, Counting(stop_after=10), BASE, out=tmp_path)
    said = []
    sweep(GRID, toy, BASE, out=tmp_path, progress=lambda done, of: said.append((done, of)))
    assert said[0] == (10, 12)
    assert said[-1] == (12, 12)


@pytest.mark.parametrize(
    ("base", "grid", "difference"),
    [
        (BASE, {**GRID, "plan.threads": [1, 2]}, r"grid.plan.threads is \[1, 2, 4, 8\] there"),
        (BASE.changed({"on": "b"}), GRID, 'base.on is "anything" there and "b" here'),
        (BASE.changed({"seed": 1}), GRID, "base.seed is 0 there and 1 here"),
    ],
)
def test_a_folder_of_another_sweep_is_an_error_that_says_what_differs(
    tmp_path, base, grid, difference
):
    sweep(GRID, toy, BASE, out=tmp_path)
    with pytest.raises(FileError, match=difference):
        sweep(grid, toy, base, out=tmp_path)


def test_figures_that_depended_on_something_else_are_not_mixed_in(tmp_path):
    sweep(GRID, toy, BASE, out=tmp_path, stamp="calibrated in May")
    with pytest.raises(FileError, match='stamp is "calibrated in May" there and "in June" here'):
        sweep(GRID, toy, BASE, out=tmp_path, stamp="in June")


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine", encoding="utf-8")
    with pytest.raises(FileError, match="holds other files"):
        sweep(GRID, toy, BASE, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "out").write_text("", encoding="utf-8")
    with pytest.raises(FileError, match="expected a folder"):
        sweep(GRID, toy, BASE, out=tmp_path / "out")


@pytest.mark.parametrize(
    "content",
    [
        '{"0": {"step_time_s": 1',
        "[1]",
        '{"x": {}}',
        '{"0": 3}',
        '{"0": {"step_time_s": "x"}}',
        '{"99": {}}',
    ],
)
def test_a_broken_file_of_rows_is_an_error_that_names_it(tmp_path, content):
    sweep(GRID, toy, BASE, out=tmp_path)
    broken = tmp_path / "rows-0000000.json"
    broken.write_text(content, encoding="utf-8")
    with pytest.raises(FileError, match=r"rows-0000000.json: .*remove it"):
        sweep(GRID, toy, BASE, out=tmp_path)


def test_rows_are_kept_exactly(tmp_path):
    grid = {"workload.n": [1, 2]}
    numbers = {"1": 0.1 + 0.2, "2": 1e-300}
    sweep(grid, lambda p: {"x": numbers[str(p.value("workload.n"))]}, BASE, out=tmp_path)
    again = sweep(grid, lambda p: {"x": None}, BASE, out=tmp_path)
    assert again["x"].tolist() == [0.1 + 0.2, 1e-300]
    assert json.loads((tmp_path / "sweep.json").read_text())["grid"] == {"workload.n": [1, 2]}


# --- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [UnknownNameError("device", "a", ["b"]), FileError("a", "b"), DeadlockError("all wait")],
)
def test_a_mistake_in_the_question_ends_the_sweep(error):
    def mistaken(scenario):
        raise error

    with pytest.raises(type(error)):
        sweep(GRID, mistaken, BASE)


def test_a_grid_of_which_no_point_makes_sense_is_an_error_and_not_a_table():
    def senseless(scenario):
        raise InputError(f"batch must be positive, got {scenario.value('workload.batch')}")

    with pytest.raises(InputError, match="no point of the grid makes sense; the first: batch"):
        sweep({"workload.batch": [0, -1]}, senseless, BASE)


def test_a_point_that_makes_no_sense_stays_in_the_table_beside_others():
    def picky(scenario):
        if scenario.value("workload.batch") < 1:
            raise InputError("batch must be positive")
        return {"x": 1.0}

    found = sweep({"workload.batch": [0, 1]}, picky, BASE)
    assert found["reason"].tolist() == ["batch must be positive", ""]


# --- bounds at every point -----------------------------------------------------------------------


def test_bounds_that_hold_at_every_point_pass():
    frame = sweep({"plan.threads": [1, 2], "workload.batch": [1]}, toy, BASE)
    check_points(frame, [parse_bound("step_time_s<=1"), parse_bound("energy_j>0")])


def test_bounds_that_some_points_break_name_how_many_and_the_first(table):
    with pytest.raises(BoundError, match=r"4 of 12 points break a bound; the first is row 2: step"):
        check_points(table, [parse_bound("step_time_s<=0.6")])


def test_a_point_that_cannot_be_keeps_no_bound(table):
    with pytest.raises(BoundError, match=r"1 of 12 .* row 12: needs more memory"):
        check_points(table, [parse_bound("step_time_s>0")])


def test_a_bound_on_what_is_unknown_at_a_point_cannot_be_judged(table):
    with pytest.raises(InputError, match="cannot be judged"):
        check_points(table, [parse_bound("energy_j>0")])


def test_a_bound_on_no_metric_is_an_error_with_the_nearest_name(table):
    with pytest.raises(UnknownNameError, match="did you mean 'energy_j'"):
        check_points(table, [parse_bound("energy>0")])


# --- the best point ------------------------------------------------------------------------------


def test_the_best_point_has_least_of_the_metric(table):
    best = best_point(table, "step_time_s")
    assert (best["plan.threads"], best["workload.batch"]) == (8, 1)


def test_the_best_point_keeps_the_bounds(table):
    best = best_point(table, "step_time_s", [parse_bound("energy_j>=5")])
    assert (best["plan.threads"], best["workload.batch"]) == (4, 5)


def test_where_no_point_keeps_a_bound_the_nearest_miss_is_named(table):
    with pytest.raises(BoundError, match=r"at no point of the grid: step_time_s <= 1 ms does not"):
        best_point(table, "step_time_s", [parse_bound("step_time_s<=1 ms")])
    both = [parse_bound("step_time_s<=0.2"), parse_bound("energy_j>=5")]
    with pytest.raises(BoundError, match="no point of the grid keeps all bounds"):
        best_point(table, "step_time_s", both)


def test_a_metric_that_the_table_lacks_is_an_error_with_the_nearest_name(table):
    with pytest.raises(UnknownNameError, match="did you mean 'step_time_s'"):
        best_point(table, "step_time")
    with pytest.raises(UnknownNameError, match="did you mean 'energy_j'"):
        best_point(table, "step_time_s", [parse_bound("energy<=3")])


def test_a_metric_that_is_unknown_everywhere_has_no_best_point():
    found = sweep({"workload.batch": [1, 2]}, lambda point: {"energy_j": None}, BASE)
    with pytest.raises(InputError, match="energy_j is unknown at every point"):
        best_point(found, "energy_j")


def test_where_nothing_fits_there_is_no_best_point():
    def large(scenario):
        raise DoesNotFitError("needs 2 GiB, has 1 GiB")

    found = sweep({"workload.batch": [1, 2]}, large, BASE)
    with pytest.raises(DoesNotFitError, match="needs 2 GiB"):
        best_point(found, "step_time_s")
