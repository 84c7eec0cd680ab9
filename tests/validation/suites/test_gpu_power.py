"""Suite gpu-power: its converter, its split, what its model must do, and how wrong it is."""

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from hwmodels.gpu.power import known
from simulator.errors import InputError
from validation.compare import compare
from validation.refit import calibration_text
from validation.suite import Prediction, Skip
from validation.suites.gpu_power.calibrate import clock_of
from validation.suites.gpu_power.convert import (
    EPOCH_COLUMNS,
    EPOCHS,
    KERNEL_COLUMNS,
    KERNELS,
    convert,
    spec_of,
)
from validation.suites.gpu_power.epochs import arrange
from validation.suites.gpu_power.fit_epochs import fit_runs, task_of
from validation.suites.gpu_power.forecast import epochs_by, predict
from validation.suites.gpu_power.kernels import attention, experts, fit_smooth
from validation.suites.gpu_power.model import Fitted
from validation.suites.gpu_power.splits import BATCH, LIMIT, held_out
from validation.suites.gpu_power.suite import SUITE

CASES = SUITE.cases()
CALIBRATION = SUITE.calibration()
EPOCH = {
    "gpu": "V100", "dataset": "imagenet", "network": "resnet50", "batch_size": "64",
    "optimizer": "adadelta", "power_limit_W": "250", "time_per_epoch_s": "3754",
    "average_power_W": "223", "energy_per_epoch_J": "837142", "source": "somewhere",
    "licence": "MIT",
}  # fmt: skip
KERNEL = {
    "gpu": "b200_sxm", "op_name": "moe", "kernel_source": "vllm_fused_moe", "power_w": "900",
    "power_limit_w": "1000", "num_tokens": "512", "hidden_size": "4096", "inter_size": "1536",
    "topk": "8", "num_experts": "128", "moe_tp_size": "1", "moe_ep_size": "4",
    "moe_dtype": "fp8", "distribution": "balanced", "source": "somewhere", "licence": "MIT",
}  # fmt: skip
ATTENTION = {
    "gpu": "b200_sxm", "op_name": "context_attention", "kernel_source": "vllm_flashinfer",
    "power_w": "900", "power_limit_w": "1000", "batch_size": "2", "isl": "256", "step": "0",
    "num_heads": "8", "num_key_value_heads": "2", "head_dim": "128", "window_size": "0",
    "attn_dtype": "bfloat16", "kv_cache_dtype": "bfloat16", "source": "somewhere",
    "licence": "MIT",
}  # fmt: skip


def epoch(metric="power_w", **changes):
    """Return a case of an epoch."""
    cases = convert([{**EPOCH, **changes}]).cases
    return next(case for case in cases if case.metric == metric)


def under(limit, metric="power_w", **changes):
    """Return an epoch under a limit, of which the time at 250 W is known."""
    rows = [{**EPOCH, **changes}, {**EPOCH, **changes, "power_limit_W": str(limit)}]
    cases = convert(rows).cases
    return next(case for case in cases if case.metric == metric
                and case.number("on.power.limit_w") == limit)  # fmt: skip


def values(cases):
    """Return what is predicted of cases."""
    answers = predict(cases, CALIBRATION)
    assert all(isinstance(answer, Prediction) for answer in answers), answers
    return [answer.value for answer in answers if isinstance(answer, Prediction)]


def test_an_epoch_gives_its_power_and_its_energy():
    power, energy = convert([EPOCH]).cases
    assert (power.metric, power.measured, power.unit) == ("power_w", 223.0, "W")
    assert (energy.metric, energy.measured, energy.unit) == ("energy_j", 837142.0, "J")
    assert power.group == energy.group == EPOCHS
    assert power.settings == {
        "workload": "resnet50", "workload.dataset": "imagenet", "workload.optimizer": "adadelta",
        "workload.batch": 64.0, "on": "V100", "on.power.limit_w": 250.0, "plan": "single",
    }  # fmt: skip
    known_too = {"workload.full_power_time_s": 3754.0, "workload.full_power_limit_w": 250.0}
    assert energy.settings == {**power.settings, **known_too}


def test_the_time_at_the_highest_limit_of_the_same_batch_is_known():
    lower = {**EPOCH, "power_limit_W": "150", "time_per_epoch_s": "4500"}
    other = {**EPOCH, "batch_size": "32", "power_limit_W": "100", "time_per_epoch_s": "6900"}
    cases = [case for case in convert([lower, EPOCH, other]).cases if case.metric == "energy_j"]
    times = [case.number("workload.full_power_time_s") for case in cases]
    limits = [case.number("workload.full_power_limit_w") for case in cases]
    assert (times, limits) == ([3754.0, 3754.0, 6900.0], [250.0, 250.0, 100.0])


@pytest.mark.parametrize("row", [KERNEL, ATTENTION])
def test_a_kernel_gives_its_power_and_is_known_by_its_columns(row):
    (case,) = convert([row]).cases
    assert (case.group, case.metric, case.measured) == (KERNELS, "power_w", 900.0)
    assert case.text("workload") == row["op_name"]
    assert case.number("on.power.limit_w") == 1000.0
    assert not any(value == "" for value in case.settings.values())


def test_repeats_are_joined_to_their_median():
    rows = [{**EPOCH, "average_power_W": power} for power in ("200", "220", "230")]
    assert [case.repeats for case in convert(rows).cases] == [3, 3]
    assert convert(rows).cases[0].measured == 220.0


@pytest.mark.parametrize(("row", "change", "reason"), [
    (EPOCH, {"gpu": "V10"}, "unknown device 'V10'"),
    (KERNEL, {"gpu": "b2000"}, "unknown device 'b2000'"),
    (KERNEL, {"op_name": "gemm"}, "kernel gemm"),
])  # fmt: skip
def test_rows_out_of_scope_are_counted_by_reason(row, change, reason):
    found = convert([row, {**row, **change}])
    assert sum(case.metric == "power_w" for case in found.cases) == 1
    ((why, count),) = found.out_of_scope.items()
    assert (reason in why, count) == (True, 1)


@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "", "250 W"])
@pytest.mark.parametrize(("row", "column"), [
    (EPOCH, "power_limit_W"), (EPOCH, "average_power_W"), (EPOCH, "time_per_epoch_s"),
    (EPOCH, "batch_size"), (KERNEL, "power_w"), (KERNEL, "num_tokens"),
])  # fmt: skip
def test_a_number_that_is_none_names_row_and_column(row, column, value):
    with pytest.raises(InputError, match=f"row 3, column {column}: expected a number above 0"):
        convert([row, {**row, column: value}])


@pytest.mark.parametrize("value", ["-1", "nan", ""])
def test_a_window_may_be_zero_but_not_below(value):
    assert convert([{**ATTENTION, "window_size": "0"}]).cases
    with pytest.raises(InputError, match="row 2, column window_size: expected 0 or a number above"):
        convert([{**ATTENTION, "window_size": value}])


@pytest.mark.parametrize("column", EPOCH_COLUMNS)
def test_a_missing_column_of_epochs_is_named(column):
    row = {name: value for name, value in EPOCH.items() if name != column}
    with pytest.raises(InputError, match=f"lacks the columns {column}"):
        convert([row])


@pytest.mark.parametrize("column", [*KERNEL_COLUMNS, "topk"])
def test_a_missing_column_of_kernels_is_named(column):
    row = {name: value for name, value in KERNEL.items() if name != column}
    if column == "op_name":
        with pytest.raises(InputError, match="lacks the columns"):
            convert([row])
    else:
        with pytest.raises(InputError, match=f"lacks the columns {column}"):
            convert([row])


def test_a_card_is_the_one_that_its_limit_tells():
    assert spec_of("V100").name == "nvidia-v100-pcie-32gb"
    assert spec_of("P100").name == "nvidia-p100-pcie-16gb"
    assert spec_of("A40").name == "nvidia-a40"


def test_no_batch_and_no_limit_of_a_workload_is_partly_fitted():
    fitted = set(CALIBRATION["case_ids"])
    assert all((case.case_id in fitted) != held_out(case) for case in CASES)
    held = [case for case in CASES if case.group == EPOCHS and held_out(case)]
    groups = defaultdict(set)
    for case in CASES:
        for names in (BATCH, LIMIT) if case.group == EPOCHS else ():
            groups[tuple(case.settings.get(name) for name in names)].add(held_out(case))
    assert {(True,), (False,), (False, True)} == {tuple(sorted(held)) for held in groups.values()}
    assert 0.12 < len(held) / sum(case.group == EPOCHS for case in CASES) < 0.28


def test_energy_is_power_times_the_known_time_at_the_limit_where_it_is_known():
    power, energy = values(convert([EPOCH]).cases)
    assert energy == pytest.approx(power * 3754.0)


@pytest.mark.parametrize("gpu", ["V100", "P100", "A40"])
def test_a_lower_limit_never_draws_more_and_is_never_faster(gpu):
    limits = [float(limit) for limit in range(100, 260, 10)]
    power = np.array(values([under(limit, gpu=gpu) for limit in limits]))
    energy = np.array(values([under(limit, "energy_j", gpu=gpu) for limit in limits]))
    assert (np.diff(power) >= -1e-9).all()
    assert (np.diff(energy / power) <= 1e-6).all()


@pytest.mark.parametrize("gpu", ["V100", "P100", "A40", "RTX6000", "T4", "nvidia-h100-sxm-80gb"])
def test_power_lies_between_ready_power_and_the_limit(gpu):
    limits = [spec_of(gpu).known("power.tdp_w") * share for share in (0.6, 0.8, 1.0)]
    batches = [str(2**power) for power in range(13)]
    rows = [{**EPOCH, "gpu": gpu, "power_limit_W": str(limit), "batch_size": batch}
            for limit in limits for batch in batches]  # fmt: skip
    cases = [case for case in convert(rows).cases if case.metric == "power_w"]
    shares = [value / case.number("on.power.limit_w")
              for value, case in zip(values(cases), cases, strict=True)]  # fmt: skip
    assert min(shares) > 0.1
    assert max(shares) <= 1.01


def test_intervals_hold_the_prediction_and_widen_with_what_is_new():
    new = {
        "limit": epoch(batch_size="128", power_limit_W="155"),
        "batch": epoch(batch_size="91"),
        "device": epoch(gpu="A40"),
        "workload": epoch(network="another"),
    }
    widths = []
    for answer in predict([*new.values()], CALIBRATION):
        assert isinstance(answer, Prediction)
        assert answer.low is not None
        assert answer.high is not None
        assert answer.low < answer.value < answer.high
        widths.append(math.log(answer.high / answer.low))
    assert widths == sorted(widths)


@pytest.mark.parametrize(("case", "reason"), [
    (epoch(power_limit_W="30"), "a limit of 30 W is below ready power, 35 W"),
    (replace(epoch(), metric="time_s"), "no metric is called 'time_s'"),
    (replace(epoch(), settings={**epoch().settings, "on": "nowhere"}), "unknown device 'nowhere'"),
    (replace(epoch(), settings={**epoch().settings, "workload.batch": "many"}), "must be a number"),
    (replace(epoch(), settings={**epoch().settings, "on": "rpi4-bcm2711"}), "power.tdp_w"),
    (replace(epoch(), settings={**epoch().settings, "on": "amd-epyc-7763"}), "say sms"),
])  # fmt: skip
def test_what_cannot_be_predicted_says_why(case, reason):
    (answer,) = predict([case], CALIBRATION)
    assert isinstance(answer, Skip)
    assert reason in answer.reason


def test_without_calibration_nothing_is_predicted():
    cases = [epoch(), *convert([KERNEL]).cases]
    assert list(predict(cases, {})) == [Skip("nothing was fitted")] * 2
    for baseline in SUITE.baselines.values():
        assert all(isinstance(answer, Skip) for answer in baseline(cases, {}))


def test_the_slopes_of_the_fit_are_those_of_its_errors():
    task = task_of(arrange([case for case in CASES if case.group == EPOCHS][:60]))
    rng = np.random.default_rng(0)
    size = task.design.shape[2]
    vector, direction = (np.array(rng.normal(0.0, 0.5, size)) for _ in range(2))
    step = 1e-6
    moved = task.errors(vector + step * direction) - task.errors(vector - step * direction)
    assert task.slopes(vector) @ direction == pytest.approx(moved / (2 * step), abs=2e-3, rel=2e-3)


def test_a_fit_finds_the_numbers_that_made_the_data():
    fitted = Fitted.of_tables(CALIBRATION["epochs"])
    cases = [case for case in CASES if case.group == EPOCHS and not held_out(case)]
    made = [replace(case, measured=float(value))
            for case, value in zip(cases, epochs_by(cases, fitted)[0], strict=True)]  # fmt: skip
    again, _ = epochs_by(made, fit_runs(arrange(made)))
    measured = np.array([case.measured for case in made])
    assert np.abs(again / measured - 1).mean() < 0.005


def test_a_calibration_is_kept_without_loss():
    text = calibration_text({"epochs": CALIBRATION["epochs"]})
    assert "[epochs.process]" in text
    fitted = Fitted.of_tables(CALIBRATION["epochs"])
    assert Fitted.of_tables(fitted.tables()).tables() == fitted.tables()
    with pytest.raises(InputError, match="lacks 'process'"):
        Fitted.of_tables({"mean": 0.0})


def test_the_catalog_has_the_numbers_that_were_fitted():
    epochs, kernels = (
        [case for case in CASES if case.group == group and not held_out(case)]
        for group in (EPOCHS, KERNELS)
    )
    found = clock_of(Fitted.of_tables(CALIBRATION["epochs"]), epochs, kernels)
    for name, value in found.items():
        assert value == pytest.approx(CALIBRATION["clock"][name], rel=1e-3)
        assert known()["clock"][name] == pytest.approx(value, rel=0.01)


def test_attention_needs_what_its_pairs_of_tokens_need():
    (prefill,) = convert([ATTENTION]).cases
    assert attention(prefill).flops == 4 * 2 * 8 * 128 * (256 * 257 / 2)
    assert attention(prefill).nbytes == 2 * 2 * 128 * (8 * 256 + 2 * 256) * 2
    (windowed,) = convert([{**ATTENTION, "window_size": "128"}]).cases
    pairs = sum(min(query + 1, 128) for query in range(256))
    assert attention(windowed).flops == 4 * 2 * 8 * 128 * pairs
    decoded = {**ATTENTION, "op_name": "generation_attention", "isl": "1", "step": "255"}
    (decode,) = convert([decoded]).cases
    assert attention(decode).flops == 4 * 2 * 8 * 128 * 256
    (halved,) = convert([{**decoded, "kv_cache_dtype": "fp8"}]).cases
    cache = 2 * 2 * 128 * 2 * 256
    assert attention(decode).nbytes - attention(halved).nbytes == cache


def test_experts_read_the_weights_of_those_that_have_a_token():
    (all_busy,) = convert([{**KERNEL, "num_tokens": "16384"}]).cases
    amounts = experts(all_busy)
    assert amounts.flops == 6 * (16384 * 8 / 4) * 4096 * 1536
    (one,) = convert([{**KERNEL, "num_tokens": "1", "topk": "1", "moe_ep_size": "1"}]).cases
    weights = 3 * 4096 * 1536
    assert experts(one).nbytes == pytest.approx(weights, rel=0.01)
    assert amounts.nbytes > 32 * weights


def test_a_smooth_function_follows_what_is_smooth_and_not_what_is_wild():
    places = np.random.default_rng(0).uniform(0.0, 10.0, (200, 2))
    shares = 0.5 + 0.3 * np.sin(places[:, 0] / 4)
    wild = shares.copy()
    wild[::20] /= 3
    found = np.exp(fit_smooth(places, wild)(places))
    assert np.abs(found / shares - 1).mean() < 0.03
    with pytest.raises(InputError, match="at least 2 powers; got 1"):
        fit_smooth(places[:1], shares[:1])


@pytest.fixture(scope="module")
def report():
    return compare(SUITE, CASES, CALIBRATION, "held_out").report()["splits"]["held_out"]


def test_everything_held_out_is_predicted_and_intervals_cover_nine_of_ten(report):
    assert report["skipped"] == 0
    assert 85 <= report["coverage_90_pct"] <= 95


@pytest.mark.parametrize("gpu", ["P100", "V100"])
@pytest.mark.parametrize(("metric", "error"), [("mean power", 4.0), ("energy", 6.0)])
def test_held_out_epochs_are_predicted_within_the_promised_error(report, gpu, metric, error):
    figures = report["groups"][f"{metric}, epochs, {gpu}"]
    assert figures["n"] >= 20
    assert figures["mape_pct"] <= error
    for baseline in figures["baselines"].values():
        assert figures["mape_pct"] < 0.6 * baseline["mape_pct"]


@pytest.mark.parametrize("family", ["context_attention", "generation_attention", "moe"])
def test_held_out_kernels_are_predicted_as_well_as_by_trees(report, family):
    figures = report["groups"][f"mean power, kernels, {family}"]
    assert figures["mape_pct"] <= 1.02 * figures["baselines"]["boosted trees"]["mape_pct"]
    assert 85 <= figures["coverage_90_pct"] <= 95


@pytest.mark.slow
@pytest.mark.parametrize(("known_gpu", "new"), [("V100", "P100"), ("P100", "V100")])
def test_a_gpu_that_nobody_measured_is_predicted_from_the_other(known_gpu, new):
    epochs = [case for case in CASES if case.group == EPOCHS]
    fitted = fit_runs(arrange([case for case in epochs if case.text("on") == known_gpu]))
    hidden = [c for c in epochs if c.text("on") == new and c.metric == "power_w"]
    predicted, what = epochs_by(hidden, fitted)
    assert set(what) == {"device"}
    measured = np.array([case.measured for case in hidden])
    assert np.abs(predicted / measured - 1).mean() <= 0.14
