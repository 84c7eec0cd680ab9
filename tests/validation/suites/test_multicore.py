"""Specify suite multicore: what is in scope, what the model fits, how well it predicts."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError, UnknownNameError
from validation.cases import Case
from validation.compare import compare
from validation.suite import Prediction, Skip, find_suite
from validation.suites.multicore.baselines import ideal, law
from validation.suites.multicore.convert import (
    FEW,
    MORE,
    ONE_SOCKET,
    convert,
    machines,
    team_of,
)
from validation.suites.multicore.curves import arrange, curve_of, few_cores
from validation.suites.multicore.forecast import fit_tables, held_out, predict, time_s
from validation.suites.multicore.model import Shape, slopes, times_s
from validation.suites.multicore.parameters import PARAMETERS, fitted_scale, natural_scale

RAW = Path("../shared/measured/classic_ml_scaling.csv")
SUITE = find_suite("multicore")
CASES = SUITE.cases()
CALIBRATION = SUITE.calibration()
ROW = {
    "algorithm": "gradient boosting (100 trees, depth 10, lr 0.1)",
    "tool": "lightgbm",
    "dataset": "airline",
    "n_rows": "100000.0",
    "n_nodes": "1",
    "n_cores": "16.0",
    "core_list": "0-15",
    "hardware": "AWS r4.16xlarge (2x16 phys cores Xeon E5-2686 v4, HT)",
    "date": "2020-09 (README)",
    "time_s": "2.13",
    "metric": "training time s",
    "source": "a repository",
    "licence": "MIT",
}


def converted(**changes):
    return convert([{**ROW, **changes}])


def one_case(**changes) -> Case:
    (case,) = converted(**changes).cases
    return case


def test_a_row_becomes_a_case():
    case = one_case()
    assert case.measured == 2.13
    assert case.unit == "s"
    assert case.group == ONE_SOCKET
    assert case.text("on") == "r4-16xlarge"
    assert case.number("plan.threads") == 16


def test_equal_scenarios_are_repeats_of_one_case():
    rows = [{**ROW, "time_s": time} for time in ("2.0", "2.1", "2.6")]
    (case,) = convert(rows).cases
    assert (case.measured, case.repeats) == (2.1, 3)


@pytest.mark.parametrize(
    ("n_cores", "core_list", "group"),
    [
        ("8.0", "0-3,16-19", FEW),
        ("12.0", "0-11", FEW),
        ("16.0", "0-15", ONE_SOCKET),
        ("16.0", "0-7,16-23", MORE),
        ("16.0", "0-7,32-39", MORE),
        ("64.0", "0-63", MORE),
    ],
)
def test_groups_follow_the_core_list_not_the_count(n_cores, core_list, group):
    assert one_case(n_cores=n_cores, core_list=core_list).group == group


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"core_list": ""}, "no core list"),
        ({"algorithm": "logistic regression"}, "another algorithm"),
        ({"n_nodes": "4"}, "more than one node"),
        ({"metric": "speedup 2x"}, "metric speedup 2x"),
        ({"hardware": "a laptop"}, "sockets and caches are not known"),
        ({"n_cores": "15.0"}, "disagree"),
        ({"n_cores": "65.0", "core_list": "0-64"}, "beyond the machine"),
        ({"n_rows": ""}, "unknown size"),
    ],
)
def test_what_is_out_of_scope_is_counted_with_its_reason(changes, reason):
    conversion = converted(**changes)
    assert conversion.cases == ()
    ((why, count),) = conversion.out_of_scope.items()
    assert reason in why
    assert count == 1


C7A = "AWS c7a.metal-48xl (2x96 cores EPYC 9R14, no SMT)"
OLD = {"date": "2019-05 (README)"}


@pytest.mark.parametrize(
    "changes",
    [
        {"tool": "xgboost", "n_cores": "32.0", "core_list": "0-31", **OLD},
        {"tool": "xgboost", "n_cores": "32", "core_list": "0-31", "hardware": "AWS x1.32xlarge"},
        {"n_cores": "64.0", "core_list": "0-63", **OLD},
        {"n_cores": "192.0", "core_list": "0-191", "hardware": C7A},
    ],
)
def test_runs_beyond_a_cliff_are_out_of_scope(changes):
    conversion = converted(**changes)
    assert conversion.cases == ()
    assert "spinning barriers" in next(iter(conversion.out_of_scope))


@pytest.mark.parametrize(
    "changes",
    [
        {"tool": "xgboost", **OLD},
        {"tool": "xgboost", "n_cores": "32.0", "core_list": "0-31"},
        {"tool": "h2o", "n_cores": "64.0", "core_list": "0-63", **OLD},
        {"tool": "xgboost", "n_cores": "192.0", "core_list": "0-191", "hardware": C7A},
    ],
)
def test_runs_before_a_cliff_are_in_scope(changes):
    assert len(converted(**changes).cases) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_s": "fast"}, "row 2, column time_s: expected a number above 0, got 'fast'"),
        ({"time_s": "-1"}, "row 2, column time_s"),
        ({"n_cores": "nan"}, "row 2, column n_cores"),
        ({"core_list": "0-"}, "row 2, column core_list: .*expected numbers and ranges"),
    ],
)
def test_a_bad_row_is_one_clear_error(changes, message):
    with pytest.raises(InputError, match=message):
        converted(**changes)


def test_a_table_without_a_column_is_one_clear_error():
    row = {name: value for name, value in ROW.items() if name != "core_list"}
    with pytest.raises(InputError, match="lacks the columns core_list"):
        convert([row])


def test_a_machine_that_is_not_in_the_file_is_unknown():
    case = one_case()
    stranger = Case(
        suite=case.suite,
        group=case.group,
        settings={**case.settings, "on": "r4-16xlargo"},
        metric=case.metric,
        measured=1.0,
        unit="s",
        source="",
        licence="",
    )
    with pytest.raises(UnknownNameError, match="unknown machine 'r4-16xlargo'"):
        team_of(stranger)


@pytest.mark.skipif(not RAW.exists(), reason="the shared tables are not here")
def test_the_packaged_cases_are_what_the_table_gives():
    with RAW.open(newline="") as file:
        rows = list(csv.DictReader(file))
    conversion = convert(rows)
    assert [case.case_id for case in conversion.cases] == [case.case_id for case in CASES]
    kept = sum(case.repeats for case in conversion.cases)
    assert kept + sum(conversion.out_of_scope.values()) == len(rows)


def test_a_curve_is_a_program_on_a_machine_at_a_date():
    curve = curve_of(one_case())
    assert curve.program == "lightgbm, 100 trees, depth 10, lr 0.1"
    assert (curve.machine, curve.rows) == ("r4-16xlarge", 100_000)


def test_xgboost_before_its_rewrite_is_another_program():
    old, new = one_case(tool="xgboost", **OLD), one_case(tool="xgboost")
    assert curve_of(old).program.startswith("xgboost before 2020")
    assert curve_of(new).program.startswith("xgboost, ")


def test_a_data_set_given_by_its_index_has_a_million_rows_for_each():
    case = one_case(dataset="airline size index 10", n_rows="")
    assert curve_of(case).rows == 1e7


@given(st.sampled_from(sorted(PARAMETERS)), st.floats(0.01, 0.99))
def test_scales_are_read_back(name, value):
    there = fitted_scale(name, value)
    assert float(natural_scale(name, there)) == pytest.approx(value)


def test_starts_lie_within_their_bounds():
    for name, parameter in PARAMETERS.items():
        assert parameter.low < parameter.start < parameter.high, name


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_slopes_equal_differences(seed):
    rng = np.random.default_rng(seed)
    shape = Shape.of(arrange(CASES[::5]))
    vector = np.clip(shape.start() + rng.normal(0, 0.1, shape.size), *shape.bounds())
    matrix = slopes(shape.natural(vector), shape)
    for i in rng.choice(shape.size, 30):
        step = np.zeros(shape.size)
        step[i] = 1e-6
        ahead, behind = (
            np.log(times_s(shape.natural(vector + sign * step), shape)) for sign in (1, -1)
        )
        np.testing.assert_allclose(matrix[:, i], (ahead - behind) / 2e-6, atol=1e-6)


def invented(curve_number: int, core_list: str, time_s: float) -> Case:
    machine = machines()["c5-metal"]
    threads = machine.layout.team(core_list).threads
    rows = str(10.0 ** (5 + curve_number % 3))
    return one_case(
        hardware=machine.hardware,
        date=f"202{curve_number}",
        n_rows=rows,
        n_cores=str(threads),
        core_list=core_list,
        time_s=str(time_s),
    )


def test_a_fit_to_exact_times_predicts_larger_teams():
    """Six curves of one program; four of them were measured with more than 12 cores."""
    few, large = ("0", "0-1", "0-3", "0-7", "0-11"), ("0-23", "0-47", "0-23,48-71")
    tables = CALIBRATION["program"]["lightgbm, 100 trees, depth 10, lr 0.1"]
    truth: dict[str, Any] = {
        "all": {"barrier_exponent": 0.5},
        "program": {"lightgbm, 100 trees, depth 10, lr 0.1": tables},
        "machine": {"c5-metal": {"barrier_factor": 1.0, "cache_factor": 1.0}},
        "curve": {},
    }
    cases: list[Case] = []
    hidden: list[Case] = []
    for number in range(6):
        blank = invented(number, "0", 1.0)
        own = {"work_s": 20.0 * 8 ** (number % 3), "serial_share": 0.1, "barrier_s": 0.3}
        truth["curve"][curve_of(blank).name] = own
        for core_list in few + large:
            exact_s = time_s(invented(number, core_list, 1.0), curve_of(blank), truth)
            case = invented(number, core_list, exact_s)
            (hidden if number > 3 and core_list in large else cases).append(case)
    found = fit_tables(cases)
    ratios = [time_s(case, curve_of(case), found) / case.measured for case in hidden]
    np.testing.assert_allclose(ratios, 1.0, atol=0.08)


def test_the_packaged_calibration_is_what_its_cases_give():
    fitted = set(CALIBRATION["case_ids"])
    tables = fit_tables([case for case in CASES if case.case_id in fitted])
    for case in CASES[::20]:
        curve = curve_of(case)
        assert time_s(case, curve, tables) == pytest.approx(
            time_s(case, curve, CALIBRATION), rel=1e-3
        )


def test_larger_counts_of_held_out_curves_took_no_part_in_the_calibration():
    fitted, out = set(CALIBRATION["case_ids"]), held_out(CASES)
    for case in CASES:
        assert (case.case_id in fitted) == (few_cores(case) or curve_of(case) not in out)


def test_every_tool_has_about_a_fifth_of_its_curves_held_out():
    tools = [curve.program.split(" ")[0].rstrip(",") for curve in held_out(CASES)]
    assert {tool: tools.count(tool) for tool in sorted(set(tools))} == {
        "catboost": 1,
        "h2o": 2,
        "lightgbm": 3,
        "xgboost": 2,
    }


def test_an_unknown_curve_is_skipped_with_a_reason():
    (answer,) = predict([one_case(date="1999")], CALIBRATION)
    assert isinstance(answer, Skip)
    assert "nothing measured of this curve" in answer.reason


def test_predictions_lie_in_their_intervals_which_widen_with_distance():
    near, far = (
        one_case(n_cores=str(threads), core_list=core_list)
        for threads, core_list in ((16, "0-7,16-23"), (64, "0-63"))
    )
    widths = []
    for answer in predict([near, far], CALIBRATION):
        assert isinstance(answer, Prediction)
        assert answer.low is not None
        assert answer.high is not None
        assert answer.low < answer.value < answer.high
        widths.append(answer.high / answer.low)
    assert widths[1] > widths[0]


@pytest.mark.parametrize("hardware", ["AWS r4.16xlarge", "AWS c5.metal"])
def test_lightgbm_on_100k_rows_gets_slower_with_cores(hardware):
    date = "2020-09 (README)" if "r4" in hardware else "2020"
    whole = {"64": "0-63"} if "r4" in hardware else {"96": "0-95"}
    lists = {"8": "0-7", "16": "0-15", **whole}
    cases = [
        one_case(hardware=hardware, date=date, n_cores=count, core_list=core_list)
        for count, core_list in lists.items()
    ]
    answers = predict(cases, CALIBRATION)
    times = [answer.value for answer in answers if isinstance(answer, Prediction)]
    assert times[0] < times[1] < times[2]


def test_fitted_constants_lie_where_they_were_measured_to_lie():
    program = CALIBRATION["program"]["lightgbm, 100 trees, depth 10, lr 0.1"]
    assert 0.15 <= program["sibling_work"] <= 0.3
    assert 1.4 <= program["sibling_weight"] <= 2.7
    assert 1.7 <= program["socket_factor"] <= 2.6


@pytest.fixture(scope="module")
def groups():
    report = compare(SUITE, CASES, CALIBRATION, "held_out").report()
    return report["splits"]["held_out"]["groups"]


@pytest.mark.parametrize(("group", "median", "mean"), [(ONE_SOCKET, 12, 16), (MORE, 20, 30)])
def test_held_out_counts_are_predicted_within_the_promised_error(groups, group, median, mean):
    figures = groups[group]
    assert figures["skipped"] == 0
    assert figures["median_ape_pct"] <= median
    assert figures["mape_pct"] <= mean
    for name in ("ideal", "amdahl", "ernest"):
        assert figures["mape_pct"] < figures["baselines"][name]["mape_pct"]


@pytest.mark.parametrize(("group", "median", "mean"), [(ONE_SOCKET, 12, 16), (MORE, 20, 30)])
@pytest.mark.parametrize("left_out", ["curve", "machine"])
def test_curves_and_machines_left_out_are_predicted_too(left_out, group, median, mean):
    figures = CALIBRATION["left_out"][left_out][group]
    assert figures["median_ape_pct"] <= median
    assert figures["mape_pct"] <= mean


def test_ideal_scaling_divides_by_threads():
    case = one_case()
    (answer,) = ideal([case], CALIBRATION)
    points = CALIBRATION["curve"][curve_of(case).name]
    assert answer == Prediction(points["time_s"][0] / 16)


@pytest.mark.parametrize("name", ["amdahl", "ernest"])
def test_a_law_sees_the_points_of_its_curve_only(name):
    case = one_case()
    points = {"p": [1.0, 2.0, 4.0, 8.0, 12.0], "time_s": [10.0, 6.0, 4.0, 3.0, 8 / 3]}
    alone = {"curve": {curve_of(case).name: points}}
    (answer,) = law(name)([case], alone)
    assert isinstance(answer, Prediction)
    assert answer.value == pytest.approx(2.5)


def test_baselines_skip_what_they_know_nothing_of():
    case = one_case(date="1999")
    for baseline in (ideal, law("amdahl")):
        (answer,) = baseline([case], CALIBRATION)
        assert isinstance(answer, Skip)
