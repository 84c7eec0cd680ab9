"""What was fitted never counts as held out; what cannot be predicted is counted, not dropped."""

import json
from dataclasses import replace

import pytest

from simulator.errors import FileError, InputError, UnknownNameError
from validation.cases import Case
from validation.compare import compare
from validation.suite import Prediction, Skip, Suite, find_suite, list_suites, read_calibration


def case(name, measured, group="g"):
    return Case(
        suite="toy", group=group, settings={"workload": name}, metric="time_s",
        measured=measured, unit="s", source="here", licence="own",
    )  # fmt: skip


def predict(cases, calibration):
    known = {"a": Prediction(1.1, 0.9, 1.2), "b": Prediction(1.0, 0.9, 1.1)}
    return [known.get(c.text("workload"), Skip("no model")) for c in cases]


def always_one(cases, calibration):
    return [Prediction(1.0) for _ in cases]


TOY = Suite(name="toy", summary="a toy", predict=predict, baselines={"one": always_one})
CASES = (case("a", 1.0), case("b", 2.0, "h"), case("c", 1.0))


def test_the_figures_are_those_of_the_definition():
    held_out = compare(TOY, CASES, {}).report()["splits"]["held_out"]
    assert held_out["n"] == 2
    assert held_out["mape_pct"] == pytest.approx((10 + 50) / 2)
    assert held_out["median_ape_pct"] == pytest.approx(30)
    assert held_out["worst_ape_pct"] == pytest.approx(50)
    assert held_out["bias_pct"] == pytest.approx((10 - 50) / 2)
    assert held_out["coverage_90_pct"] == pytest.approx(50)


def test_order_counts_variants_of_one_workload_that_are_far_enough_apart():
    def variant(batch, measured):
        settings = {"workload": "a", "workload.batch": batch}
        return replace(case("a", measured), settings=settings)

    cases = [variant(1.0, 1.0), variant(2.0, 1.1), variant(4.0, 2.0), variant(8.0, 4.0)]
    values = [1.0, 0.9, 5.0, 4.0]
    toy = replace(TOY, predict=lambda cases, calibration: [Prediction(v) for v in values])
    figures = compare(toy, cases, {}).report()["splits"]["held_out"]
    assert figures["order_pct"] == pytest.approx(100 * 4 / 5)


def test_baselines_are_judged_on_the_same_cases_and_in_each_group():
    held_out = compare(TOY, CASES, {}).report()["splits"]["held_out"]
    assert held_out["baselines"]["one"]["n"] == 3
    assert held_out["baselines"]["one"]["mape_pct"] == pytest.approx((0 + 50 + 0) / 3)
    assert held_out["groups"]["h"]["mape_pct"] == pytest.approx(50)
    assert held_out["groups"]["h"]["baselines"]["one"]["mape_pct"] == pytest.approx(50)


def test_skipped_cases_are_counted_with_their_reason():
    held_out = compare(TOY, CASES, {}).report()["splits"]["held_out"]
    assert held_out["skipped"] == 1
    assert held_out["skipped_reasons"] == {"no model": 1}
    assert held_out["too_many_skipped"]


def test_a_fitted_case_is_calibrated_on_and_all_else_is_held_out():
    report = compare(TOY, CASES, {"case_ids": [CASES[0].case_id]}).report()
    assert report["splits"]["calibrated_on"]["n"] == 1
    assert report["splits"]["held_out"]["n"] == 1
    only = compare(TOY, CASES, {"case_ids": [CASES[0].case_id]}, "calibrated_on").report()
    assert [shown["case_id"] for shown in only["cases"]] == [CASES[0].case_id]


def test_the_report_is_json():
    assert json.loads(json.dumps(compare(TOY, CASES, {}).report()))["suite"] == "toy"


def test_nothing_to_compare_is_an_error():
    with pytest.raises(InputError, match="no cases to compare in split calibrated_on"):
        compare(TOY, CASES, {}, "calibrated_on")
    with pytest.raises(UnknownNameError, match="did you mean 'held_out'"):
        compare(TOY, CASES, {}, "heldout")


def test_an_unknown_suite_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown suite 'multi-core'"):
        find_suite("multi-core")


@pytest.mark.parametrize("name", list_suites())
def test_every_suite_has_what_its_report_needs(name):
    suite = find_suite(name)
    assert suite.name == name
    assert suite.baselines
    if not suite.live:
        fitted = set(suite.calibration()["case_ids"])
        assert fitted
        assert {c.case_id for c in suite.cases()} - fitted, "a recorded suite ships held-out cases"


@pytest.mark.parametrize("text", ["case_ids = [", "[fit]\na = 1\n", "case_ids = [1]\n"])
def test_a_broken_calibration_is_refused(tmp_path, text):
    path = tmp_path / "calibration.toml"
    path.write_text(text)
    with pytest.raises(FileError, match="calibration"):
        read_calibration(path)
