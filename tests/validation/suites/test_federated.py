"""Suite federated: its converter, its split, and how long phones train on a batch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwmodels.devices import find_spec
from simulator.errors import InputError
from validation.compare import compare
from validation.convert import main
from validation.suite import Prediction, Skip, find_suite
from validation.suites.federated.baselines import FEDSCALE, constant, fedscale_s, peak_s
from validation.suites.federated.convert import apps, convert
from validation.suites.federated.engine import NUMBERS, cycles_of, fit_numbers, step_s
from validation.suites.federated.suite import (
    SUITE,
    fit,
    held_out_phones,
    network_of,
    phone_of,
    predict,
    ratios_apart,
)

RAW = Path("../shared/measured/federated.csv")
ROW = {
    "system": "FLASH on-device training", "topic": "celeba CNN",
    "condition": "Google Pixel 4 (high-end)", "metric": "train time per batch mean",
    "value": "561.0", "unit": "ms", "note": "", "source": "somewhere", "licence": "BSD-2-Clause",
}  # fmt: skip
APPS = [name for name in apps() if name != "batch"]


def case(**changes):
    (found,) = convert([{**ROW, **changes}]).cases
    return found


def test_a_row_becomes_a_step_of_training_on_a_phone_of_the_catalog():
    assert case().settings == {
        "workload": "celeba-cnn", "workload.batch": 10.0, "workload.training": "true",
        "workload.optimizer": "sgd", "on": "google-pixel-4", "plan": "single",
    }  # fmt: skip
    assert (case().metric, case().unit, case().measured) == ("step_time_s", "s", 0.561)


def test_a_network_may_name_its_batch():
    found = case(topic="shakespeare stacked LSTM (batch 100)")
    assert found.settings["workload.batch"] == 100
    assert found.group == "shakespeare stacked LSTM"


@pytest.mark.parametrize("phone", ["Google Nexus S", "Xiaomi Redmi Note 7 Pro", "Google Pixel 4"])
@pytest.mark.parametrize("app", APPS)
def test_any_network_is_predicted_on_any_phone(app, phone):
    (answer,) = predict([case(topic=app, condition=phone)], SUITE.calibration())
    assert isinstance(answer, Prediction)
    assert 0 < (answer.low or 0) < answer.value < (answer.high or 0)


@pytest.mark.parametrize(("change", "reason"), [
    ({"system": "Google FL"}, "no training time: Google FL"),
    ({"metric": "train time per batch std"}, "a spread, not a time"),
    ({"metric": "energy"}, "metric energy"),
    ({"unit": "h"}, "unit h"),
    ({"topic": "sent140 stacked LSTM"}, "unknown network 'sent140 stacked LSTM'"),
    ({"topic": "batch"}, "unknown network 'batch'"),
    ({"condition": "Nokia 3310 (low-end)"}, "unknown device 'Nokia 3310'"),
])  # fmt: skip
def test_rows_out_of_scope_are_counted_by_reason(change, reason):
    found = convert([ROW, {**ROW, **change}])
    assert len(found.cases) == 1
    ((why, count),) = found.out_of_scope.items()
    assert (reason in why, count) == (True, 1)


@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "", "2 ms"])
def test_a_number_that_is_none_names_row_and_column(value):
    with pytest.raises(InputError, match="row 3, column value: expected a number above 0"):
        convert([ROW, {**ROW, "value": value}])


@pytest.mark.skipif(not RAW.exists(), reason="the raw table is not here")
def test_the_packaged_cases_are_those_of_the_table(tmp_path):
    out = tmp_path / "cases.csv"
    assert main(["federated", str(RAW), "--out", str(out)]) == 0
    assert out.read_text() == (SUITE.folder / "cases.csv").read_text()


# --- the engine


def test_products_go_to_all_quick_cores_and_recurrences_to_one():
    pixel, redmi = (find_spec(one) for one in ("google-pixel-4", "xiaomi-redmi-note-7-pro"))
    one, many = (pixel.known(f"clock.{key}") / redmi.known(f"clock.{key}")
                 for key in ("boost_hz", "all_core_hz"))  # fmt: skip
    shakespeare = [case(topic="shakespeare stacked LSTM", condition=name)
                   for name in ("Xiaomi Redmi Note 7 Pro", "Google Pixel 4")]  # fmt: skip
    slow, quick = cycles_of(shakespeare)
    expected = dict(zip(NUMBERS, (2 * many, one, 2 * many), strict=True))
    assert dict(zip(NUMBERS, slow / quick, strict=True)) == pytest.approx(expected)


def test_a_fit_finds_the_numbers_that_times_were_made_of():
    cycles = cycles_of([case(topic=app) for app in APPS])
    numbers = dict(zip(NUMBERS, (0.9, 1.5, 0.04), strict=True))
    assert fit_numbers(step_s(numbers, cycles), cycles) == pytest.approx(numbers, rel=1e-4)


def test_a_number_that_no_case_tells_of_is_not_fitted():
    with pytest.raises(InputError, match="no case to fit recurrence_flops_per_cycle on"):
        fit([case(), case(condition="Google Nexus S")])


# --- the split


def test_what_is_held_out_is_never_fitted():
    fitted = set(SUITE.calibration()["case_ids"])
    for one in SUITE.cases():
        assert (one.case_id in fitted) == (phone_of(one) not in held_out_phones())


def test_the_packaged_numbers_are_those_of_the_fitted_cases():
    found, packaged = fit(SUITE.cases()), SUITE.calibration()
    assert found["engine"] == pytest.approx(packaged["engine"], rel=1e-3)
    assert found["spread"] == pytest.approx(packaged["spread"], rel=1e-3)
    assert list(found["remarks"]) == list(packaged["remarks"])


def test_a_group_that_is_left_out_has_no_part_in_its_prediction():
    cases = list(SUITE.cases())
    changed = [replace(one, measured=9 * one.measured) if network_of(one) == "celeba CNN" else one
               for one in cases]  # fmt: skip
    before, after = (ratios_apart(some, network_of) for some in (cases, changed))
    own = np.array([network_of(one) == "celeba CNN" for one in cases])
    assert after[own] == pytest.approx(before[own] / 9)
    assert np.all(after[~own] != before[~own])


def test_a_fit_needs_a_case_that_is_not_held_out():
    with pytest.raises(InputError, match="no case to fit"):
        fit([case(condition="Xiaomi Redmi Note 7 Pro")])
    with pytest.raises(InputError, match="nothing but 'google-pixel-4' to fit"):
        fit([case(topic=app) for app in APPS])


def test_what_cannot_be_predicted_is_skipped_with_its_reason():
    strange = replace(case(), settings={**case().settings, "workload": "celeba-dnn"})
    (answer,) = predict([strange], SUITE.calibration())
    assert isinstance(answer, Skip)
    assert "celeba-dnn" in answer.reason
    assert predict([case()], {}) == [Skip("nothing was fitted")]
    assert constant([case()], {}) == [Skip("nothing was fitted")]


# --- how wrong it is


def test_training_times_that_nobody_fitted_are_predicted_within_the_target():
    suite = find_suite("federated")
    report = compare(suite, suite.cases(), suite.calibration(), "held_out").report()
    figures = report["splits"]["held_out"]
    assert (figures["n"], figures["skipped"]) == (4, 0)
    assert figures["mape_pct"] <= 20.0
    assert all(figures["mape_pct"] < 0.5 * other["mape_pct"]
               for other in figures["baselines"].values())  # fmt: skip


@pytest.mark.parametrize("phone", ["google-nexus-s", "xiaomi-redmi-note-7-pro", "google-pixel-4"])
def test_each_phone_is_predicted_from_the_others_within_the_target(phone):
    cases = SUITE.cases()
    ratios = ratios_apart(cases, phone_of)
    assert np.mean([abs(ratio - 1) for one, ratio in zip(cases, ratios, strict=True)
                    if phone_of(one) == phone]) <= 0.20  # fmt: skip


def test_baselines_say_what_they_say():
    step = case(topic="reddit stacked LSTM")
    assert peak_s(step) == pytest.approx(2.1654e9 / (4 * 2.525e9 * 16), rel=0.02)
    assert 0 < peak_s(step) / FEDSCALE < fedscale_s(step) < step.measured
