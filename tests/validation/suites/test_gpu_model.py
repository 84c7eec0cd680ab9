"""Suite gpu-model: its converter, its split, and how wrong whole steps are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwmodels.devices import find_spec
from hwmodels.relatives import completed
from hwmodels.spec import NINETY_PERCENT
from simulator.errors import InputError
from validation.cases import scenario_of
from validation.compare import compare
from validation.convert import main
from validation.predict import predict as predict_scenario
from validation.suite import Prediction, Skip, find_suite
from validation.suites.gpu_model.baselines import roofline
from validation.suites.gpu_model.convert import convert, models
from validation.suites.gpu_model.splits import (
    PRIOR,
    fit,
    held_out,
    network_of,
    new_gpus,
    scale_of,
    scales,
    without_network,
)
from validation.suites.gpu_model.steps import predicted_step
from validation.suites.gpu_model.suite import SUITE, predict

RAW = Path("../shared/measured/gpu_e2e_llm_neusight.csv")
ROW = {
    "gpu": "Tesla_P100-PCIE-16GB", "model": "bert_large", "mode": "inf", "seq": "512",
    "batch": "2", "variant": "", "e2e_ms": "100.0", "fw_ms": "100.0", "bwall_ms": "0.0",
    "source": "somewhere", "licence": "MIT",
}  # fmt: skip


def case(**changes):
    (found,) = convert([{**ROW, **changes}]).cases
    return found


def test_a_row_becomes_a_case_with_the_devices_spelling_kept():
    assert case().settings == {
        "workload": "bert-large", "workload.batch": 2.0, "workload.sequence": 512.0,
        "on": "Tesla_P100-PCIE-16GB", "plan": "single",
    }  # fmt: skip
    assert (case().metric, case().unit, case().measured) == ("step_time_s", "s", 0.1)


def test_training_is_forward_and_backward_without_an_optimizer():
    found = case(mode="train")
    assert found.group == "training"
    assert found.settings["workload.training"] == "true"
    assert found.settings["workload.optimizer"] == "none"


def test_a_model_whose_sizes_differ_from_its_workload_names_them():
    found = case(model="gpt3_xl", seq="2048")
    assert network_of(found) == "hf-gpt2 3072 wide"
    assert predicted_step(found).value > 0


@pytest.mark.parametrize("name", models())
def test_every_model_of_the_table_is_a_workload(name):
    assert predicted_step(case(model=name)).value > 0


@pytest.mark.parametrize(("change", "reason"), [
    ({"variant": "dp4"}, "on several devices: dp"),
    ({"variant": "pp4_1"}, "on several devices: pp"),
    ({"variant": "tp4"}, "on several devices: tp"),
    ({"variant": "quantized"}, "variant quantized"),
    ({"variant": "fusion", "mode": "train"}, "training fused by a compiler"),
    ({"mode": "serve"}, "mode serve"),
    ({"model": "llama"}, "model llama"),
    ({"model": "switchxl4"}, "model switchxl4: the host waits for the router"),
    ({"gpu": "Tesla_P1000"}, "unknown device 'Tesla_P1000'"),
    ({"gpu": "no/such/file"}, "no/such/file"),
])  # fmt: skip
def test_rows_out_of_scope_are_counted_by_reason(change, reason):
    found = convert([ROW, {**ROW, **change}])
    assert len(found.cases) == 1
    ((why, count),) = found.out_of_scope.items()
    assert (reason in why, count) == (True, 1)


@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "", "2 ms"])
@pytest.mark.parametrize("column", ["e2e_ms", "batch", "seq"])
def test_a_number_that_is_none_names_row_and_column(column, value):
    with pytest.raises(InputError, match=f"row 3, column {column}: expected a number above 0"):
        convert([ROW, {**ROW, column: value}])


@pytest.mark.skipif(not RAW.exists(), reason="the raw table is not here")
def test_the_packaged_cases_are_those_of_the_table(tmp_path):
    out = tmp_path / "cases.csv"
    assert main(["gpu-model", str(RAW), "--out", str(out)]) == 0
    assert out.read_text() == (SUITE.folder / "cases.csv").read_text()


def test_a_step_is_predicted_as_a_user_would_predict_it():
    found = case(mode="train")
    run = predict_scenario(scenario_of(found))
    assert predicted_step(found).value == pytest.approx(run.step_time_s)
    assert run.interval is not None
    assert predicted_step(found).low == pytest.approx(run.interval[0])


def test_a_gpu_of_which_no_step_was_fitted_gets_what_a_user_gets():
    new = next(one for one in SUITE.cases() if one.text("on") == "NVIDIA_L4")
    (answer,) = predict([new], SUITE.calibration())
    (plain,) = SUITE.baselines["scalemodel predict"]([new], {})
    assert isinstance(answer, Prediction)
    assert plain == predicted_step(new)
    assert answer.value == predicted_step(new).value


def test_the_spreads_of_whole_runs_are_what_the_fitted_steps_tell():
    spec = completed(find_spec("nvidia-h100-sxm-80gb"), find_spec)
    run, left = spec.known("model.run_spread"), spec.known("model.run_share")
    assert run == pytest.approx(SUITE.calibration()["spread"]["known_gpu"], abs=0.002)
    over = []
    for one in (one for one in SUITE.cases() if not held_out(one)):
        step = predicted_step(one)
        assert step.low is not None
        spread = np.log(step.value / step.low) / NINETY_PERCENT
        over.append(np.log(one.measured / step.value) / np.sqrt(spread**2 - run**2))
    assert left * np.sqrt(np.mean(np.square(over))) == pytest.approx(left, abs=0.03)


def test_steps_that_are_fused_by_a_compiler_are_quicker_but_their_products_are_not():
    plain, fused = case(), case(variant="fusion")
    assert fused.case_id != plain.case_id
    assert 0.6 < predicted_step(fused).value / predicted_step(plain).value < 0.97


def test_more_tokens_and_training_take_longer():
    one, more, trained = (predicted_step(case(**change)).value for change in (
        {}, {"batch": "8"}, {"mode": "train"}))  # fmt: skip
    assert 3.5 * one < more < 4.5 * one
    assert 2.5 * one < trained < 5 * one


def test_a_gpus_number_is_the_mean_ratio_drawn_towards_one():
    cases = [case(batch=str(batch)) for batch in (1, 2, 3)]
    ratios = dict.fromkeys((one.case_id for one in cases), np.e)
    (scale,) = scales(cases, ratios).values()
    assert scale == pytest.approx(np.exp(3 / (3 + PRIOR)))


def test_a_gpu_without_a_number_takes_that_of_its_architecture_else_none():
    known = {"nvidia-h100-sxm-80gb": 1.1, "nvidia-p100-pcie-16gb": 0.9}
    assert scale_of(case(gpu="nvidia-h100-pcie-80gb"), known) == (1.1, True)
    assert scale_of(case(), known) == (0.9, True)
    assert scale_of(case(gpu="Tesla_T4"), known) == (1.0, False)


def test_a_network_that_is_left_out_has_no_part_in_its_own_number():
    cases = [case(), case(model="gpt2_large")]
    ratios = {cases[0].case_id: 2.0, cases[1].case_id: 1.0}
    found = without_network(cases, ratios)
    assert found[cases[0].case_id] == pytest.approx(2.0)
    assert found[cases[1].case_id] == pytest.approx(1 / 2 ** (1 / (1 + PRIOR)))


def test_what_is_held_out_is_never_fitted():
    calibration = SUITE.calibration()
    fitted = set(calibration["case_ids"])
    for one in SUITE.cases():
        assert (one.case_id in fitted) != held_out(one)
    assert not new_gpus() & set(calibration["scale"])


def test_a_fit_needs_a_case_that_is_not_held_out():
    with pytest.raises(InputError, match="no case to fit"):
        fit([case(gpu=name) for name in new_gpus()])


def test_what_cannot_be_predicted_is_skipped_with_its_reason():
    strange = case()
    other = replace(strange, settings={**strange.settings, "workload": "bert-huge"})
    answers = predict([strange, other], {})
    assert isinstance(answers[0], Prediction)
    assert isinstance(answers[1], Skip)
    assert "bert-huge" in answers[1].reason
    assert isinstance(roofline([other], {})[0], Skip)


@pytest.mark.slow
def test_steps_that_nobody_fitted_are_predicted_within_the_target():
    suite = find_suite("gpu-model")
    report = compare(suite, suite.cases(), suite.calibration(), "held_out").report()
    figures = report["splits"]["held_out"]
    assert figures["skipped"] == 0
    assert figures["mape_pct"] <= 7.0
    assert figures["groups"]["NVIDIA_L4"]["mape_pct"] <= 15.0
    assert 85 <= figures["coverage_90_pct"] <= 100
    others = dict(figures["baselines"])
    assert figures["mape_pct"] < others.pop("scalemodel predict")["mape_pct"] <= 15.0
    assert all(figures["mape_pct"] < 0.5 * other["mape_pct"] for other in others.values())
