"""Specify suite multicore: what is in scope, what the model fits, how well it predicts."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.thread_team import Layout
from simulator.errors import InputError, UnknownNameError
from validation.cases import Case, read_cases, write_cases
from validation.compare import compare
from validation.convert import main
from validation.suite import Prediction, Skip, find_suite
from validation.suites.multicore.baselines import ideal, law
from validation.suites.multicore.calibrate import figures, fit_tables, left_out, try_split
from validation.suites.multicore.convert import (
    FEW,
    MORE,
    ONE_SOCKET,
    convert,
    machines,
    team_of,
)
from validation.suites.multicore.curves import arrange, curve_of, few_cores
from validation.suites.multicore.forecast import predict, time_s
from validation.suites.multicore.model import Shape, fit_values, slopes, times_s
from validation.suites.multicore.parameters import PARAMETERS, fitted_scale, natural_scale
from validation.suites.multicore.remarks import remarks
from validation.suites.multicore.splits import FOLDS, folds, held_out, held_out_plainly, without

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


@pytest.mark.parametrize("core_list", ["0-7, 8-15", "8-15,0-7", "0-14:2,1-15:2", " 0-15 "])
def test_one_team_written_in_two_ways_is_one_scenario(core_list):
    assert one_case(core_list=core_list).case_id == one_case().case_id


def test_a_row_without_a_date_is_the_same_case_after_it_was_written(tmp_path):
    path = tmp_path / "cases.csv"
    case = one_case(date="")
    write_cases([case], path)
    assert [read.case_id for read in read_cases(path)] == [case.case_id]


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
        ({"core_list": " "}, "no core list"),
        ({"n_nodes": "4"}, "not on one node"),
        ({"n_nodes": ""}, "not on one node"),
        ({"metric": "speedup 2x"}, "metric speedup 2x"),
        ({"hardware": "a laptop"}, "sockets and caches are not known"),
        ({"n_cores": "15.0"}, "disagree"),
        ({"n_cores": "65.0", "core_list": "0-64"}, "beyond the machine"),
        ({"n_rows": ""}, "unknown size"),
        ({"n_rows": "", "dataset": "airline size index big"}, "unknown size"),
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
        ({"n_cores": ""}, "row 2, column n_cores"),
        ({"n_rows": "many"}, "row 2, column n_rows"),
        ({"core_list": "0-"}, "row 2, column core_list: .*expected numbers and ranges"),
        ({"core_list": "all"}, "row 2, column core_list: .*expected numbers and ranges"),
        ({"core_list": "0-15,3"}, "row 2, column core_list: .*names a hardware thread twice"),
    ],
)
def test_a_bad_row_is_one_clear_error(changes, message):
    with pytest.raises(InputError, match=message):
        converted(**changes)


def test_a_table_without_a_column_is_one_clear_error():
    row = {name: value for name, value in ROW.items() if name != "core_list"}
    with pytest.raises(InputError, match="lacks the columns core_list"):
        convert([row])


def changed(case: Case, metric: str = "time_s", unit: str = "s", **settings) -> Case:
    return Case(
        suite=case.suite,
        group=case.group,
        settings={**case.settings, **{f"plan.{name}": value for name, value in settings.items()}},
        metric=metric,
        measured=1.0,
        unit=unit,
        source="",
        licence="",
    )


def elsewhere(name: str) -> Case:
    return replace(one_case(), settings={**one_case().settings, "on": name})


def test_a_machine_that_is_not_in_the_file_is_unknown():
    with pytest.raises(UnknownNameError, match="unknown machine 'r4-16xlargo'"):
        team_of(elsewhere("r4-16xlargo"))


def test_a_core_list_that_the_machine_lacks_names_the_case():
    case = changed(one_case(), cores="0-80")
    with pytest.raises(InputError, match=rf"case {case.case_id}, plan.cores: .* 0 to 63"):
        team_of(case)


def test_machines_have_the_sockets_and_caches_that_the_catalog_says():
    layouts = {name: machine.layout for name, machine in machines().items()}
    assert layouts["r4-16xlarge"] == Layout(sockets=2, cores_per_socket=16, threads_per_core=2)
    assert layouts["aws-amd-2020"] == Layout(
        sockets=1, cores_per_socket=48, threads_per_core=2, cores_per_cache=4
    )
    assert layouts["c7a-metal-48xl"] == Layout(sockets=2, cores_per_socket=96, cores_per_cache=8)
    assert layouts["aws-single-socket"] == layouts["r4-8xlarge"]


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


def test_studies_on_one_device_share_it():
    assert curve_of(one_case(hardware="AWS (single_socket study)")).device == "aws-r4-8xlarge"
    assert curve_of(one_case(hardware="AWS r4.8xlarge")).device == "aws-r4-8xlarge"


def test_a_data_set_given_by_its_index_has_a_million_rows_for_each():
    case = one_case(dataset="airline size index 10", n_rows="")
    assert curve_of(case).rows == 1e7


@given(st.sampled_from(sorted(PARAMETERS)), st.floats(0.01, 0.99))
def test_scales_are_read_back(name, value):
    there = fitted_scale(name, value)
    assert float(natural_scale(name, there)) == pytest.approx(value)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_slopes_equal_differences(seed):
    rng = np.random.default_rng(seed)
    shape = Shape.of(arrange(CASES[::5]))
    vector = shape.start() + rng.normal(0, 0.1, shape.size)
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
        "all": {"barrier_exponent": 0.5, "sibling_work": 0.25},
        "program": {"lightgbm, 100 trees, depth 10, lr 0.1": tables},
        "device": {"aws-c5-metal": {"barrier_factor": 1.0, "cache_factor": 1.0}},
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


def test_what_the_data_tell_nothing_of_keeps_the_spread_of_its_prior():
    fitted = fit_values([case for case in CASES if case.text("on") == "c5-metal"])
    assert fitted.spreads["cache_factor"] == pytest.approx(PARAMETERS["cache_factor"].spread)
    assert fitted.spreads["socket_factor"].min() < PARAMETERS["socket_factor"].spread


def test_every_packaged_number_has_a_spread():
    for per in ("curve", "program", "device"):
        for name, spreads in CALIBRATION["spread"][per].items():
            numbers = set(CALIBRATION[per][name]) - {"p", "time_s"}
            assert set(spreads) == numbers
            assert min(spreads.values()) > 0
    assert set(CALIBRATION["spread"]["all"]) == set(CALIBRATION["all"])


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


def test_parts_hold_each_curve_with_larger_counts_once_and_each_tool_alike():
    parts = folds(CASES, "some salt")
    large = {curve_of(case) for case in CASES if not few_cores(case)}
    assert len(parts) == FOLDS
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(large)
    for tool in ("h2o", "lightgbm", "xgboost", "catboost"):
        counts = [sum(curve.program.startswith(tool) for curve in part) for part in parts]
        assert max(counts) - min(counts) <= 1
    assert parts != folds(CASES, "another salt")


def test_the_first_rule_takes_about_a_fifth_of_all_curves():
    large = {curve_of(case) for case in CASES if not few_cores(case)}
    assert 0.1 < len(held_out_plainly(CASES)) / len(large) < 0.35


def test_a_fit_without_a_curve_keeps_its_few_cores():
    (part, *_) = folds(CASES)
    kept = without(CASES, part)
    assert {curve_of(case) for case in kept} == {curve_of(case) for case in CASES}
    assert all(few_cores(case) for case in kept if curve_of(case) in part)


def some_curves(count):
    """Cases of a few curves of one machine: enough for a quick fit."""
    mine = [case for case in CASES if case.text("on") == "r3-8xlarge"]
    names = sorted({curve_of(case).name for case in mine})[:count]
    return [case for case in mine if curve_of(case).name in names]


def test_a_curve_left_out_is_predicted_by_the_others():
    cases = some_curves(3)
    judged = left_out(cases, lambda case: curve_of(case).name)
    first = judged[0][0]
    rest = [c for c in cases if few_cores(c) or curve_of(c) != curve_of(first)]
    assert judged[0][1].value == pytest.approx(time_s(first, curve_of(first), fit_tables(rest)))
    assert len(judged) == sum(not few_cores(case) for case in cases)


def test_a_split_is_tried_on_what_it_keeps_out_only():
    cases = some_curves(3)
    large = sorted({curve_of(case) for case in cases if not few_cores(case)})
    found = try_split(cases, {large[0]})
    hidden = [c for c in cases if curve_of(c) == large[0] and not few_cores(c)]
    assert sum(part["n"] for part in found.values()) == len(hidden)


def test_figures_tell_of_teams_that_there_are():
    assert figures([(one_case(), Prediction(2.13 * 1.5))]) == {
        ONE_SOCKET: {"n": 1, "median_ape_pct": 50.0, "mape_pct": 50.0}
    }


def test_remarks_tell_other_splits_and_what_was_chosen_after_what():
    text = " ".join(remarks(CALIBRATION))
    assert remarks(CALIBRATION) == CALIBRATION["remarks"]
    assert f"On {2 * FOLDS} other splits" in text
    assert "changed after a result had been seen" in text
    assert "7.8/39.4 %" in text


def reason(case: Case) -> str:
    (answer,) = predict([case], CALIBRATION)
    assert isinstance(answer, Skip)
    return answer.reason


def test_an_unknown_curve_is_skipped_with_a_reason():
    assert "nothing measured of this curve" in reason(one_case(date="1999"))
    assert "nothing measured of this curve" in reason(one_case(tool="catboost", n_rows="7"))


def test_other_metrics_units_and_contradictions_are_skipped_with_a_reason():
    assert "times in seconds only" in reason(changed(one_case(), metric="speedup"))
    assert "times in seconds only" in reason(changed(one_case(), unit="ms"))
    assert "disagree" in reason(changed(one_case(), threads=24.0))


def test_a_machine_never_seen_is_skipped_by_the_model_and_by_baselines():
    case = elsewhere("some-laptop")
    assert "nothing measured of this curve" in reason(case)
    figures_of = compare(SUITE, [case], CALIBRATION).report()["splits"]["held_out"]
    assert figures_of["skipped"] == 1
    assert all(other["skipped"] == 1 for other in figures_of["baselines"].values())


def test_larger_counts_alone_of_known_curves_are_all_predicted(tmp_path):
    """A raw table without few cores, of machines whose larger counts nobody fitted."""
    raw, out = tmp_path / "raw.csv", tmp_path / "cases.csv"
    c7i = {"hardware": "AWS c7i.metal-48xl (2x48 phys cores Xeon 8488C, HT)", "date": "2024-06"}
    lists = {"48": "0-47", "96": "0-47,96-143", "192": "0-191"}
    rows = [{**ROW, **c7i, "n_cores": n, "core_list": text} for n, text in lists.items()]
    with raw.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROW))
        writer.writeheader()
        writer.writerows([*rows, *rows, {**ROW, "hardware": "a laptop"}])
    assert main(["multicore", str(raw), "--out", str(out)]) == 0
    cases = read_cases(out, "multicore")
    assert [case.repeats for case in cases] == [2, 2, 2]
    held_out_figures = compare(SUITE, cases, CALIBRATION).report()["splits"]["held_out"]
    assert (held_out_figures["n"], held_out_figures["skipped"]) == (3, 0)


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
    assert 0.15 <= CALIBRATION["all"]["sibling_work"] <= 0.3
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
@pytest.mark.parametrize("by", ["curve", "device"])
def test_curves_and_devices_left_out_are_predicted_too(by, group, median, mean):
    found = CALIBRATION["left_out"][by][group]
    assert found["median_ape_pct"] <= median
    assert found["mape_pct"] <= mean


@pytest.mark.parametrize("group", [ONE_SOCKET, MORE])
def test_intervals_of_other_splits_cover_about_nine_of_ten(group):
    found = CALIBRATION["other_splits"][group]
    inside = np.dot(found["n"], found["coverage_90_pct"]) / sum(found["n"])
    assert 82 <= inside <= 97


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
