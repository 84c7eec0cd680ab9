"""Suite gpu-attention: its converter, its split, its small sets, and how wrong it is."""

from pathlib import Path

import numpy as np
import pytest

from hwmodels.gpu.attention import LIBRARIES
from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.families import FAMILIES
from hwmodels.gpu.fits import SetKey
from simulator.errors import InputError
from validation.compare import compare
from validation.convert import main
from validation.kernel_suite import KernelSet, held_out, nearest, spec_of
from validation.suite import Prediction, Skip, find_suite
from validation.suites.gpu_attention.convert import SIZES, convert
from validation.suites.gpu_attention.suite import GROUP, SUITE, key_of, predict
from validation.suites.gpu_attention.transfer import fit_sets, remarks

RAW = Path("../shared/measured/gpu_attention.csv")
ROW = {
    "gpu": "h100_sxm", "phase": "decode", "dtype": "bf16", "batch": "4", "isl": "1",
    "step": "1023", "n_heads": "32", "n_kv_heads": "8", "head_dim": "128", "kernel": "fa3",
    "time_us": "15.073", "source": "somewhere", "licence": "MIT",
}  # fmt: skip


def case(**changes):
    (found,) = convert([{**ROW, **changes}]).cases
    return found


def test_a_row_becomes_a_case_whose_keys_are_those_in_the_cache_and_the_new_ones():
    assert case().settings == {
        "workload": "attention", "workload.phase": "decode", "workload.kernel": "fa3",
        "workload.dtype": "bfloat16", "workload.batch": 4.0, "workload.q_len": 1.0,
        "workload.kv_len": 1024.0, "workload.heads": 32.0, "workload.kv_heads": 8.0,
        "workload.head_dim": 128.0, "workload.causal": 1.0, "on": "h100_sxm", "plan": "single",
    }  # fmt: skip
    prefill = case(phase="prefill", isl="512", step="0")
    assert prefill.settings["workload.kv_len"] == prefill.settings["workload.q_len"] == 512.0


def test_times_keep_the_digits_of_the_table():
    assert case().measured == 15.073e-6
    assert case(time_us="0.00001").measured == pytest.approx(1e-11)
    assert (case().metric, case().unit) == ("time_s", "s")


@pytest.mark.parametrize(("change", "reason"), [
    ({"gpu": "h100_sx"}, "unknown device 'h100_sx'; did you mean 'nvidia-h100-sxm-80gb'?"),
    ({"dtype": "fp6"}, "dtype fp6"),
    ({"phase": "mixed"}, "phase mixed"),
    ({"isl": "4"}, "decode of more than one query"),
])  # fmt: skip
def test_rows_out_of_scope_are_counted_by_reason(change, reason):
    found = convert([ROW, {**ROW, **change}])
    assert len(found.cases) == 1
    ((why, count),) = found.out_of_scope.items()
    assert (reason in why, count) == (True, 1)


@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "", "2 us"])
def test_a_time_that_is_none_names_row_and_column(value):
    with pytest.raises(InputError, match="row 3, column time_us: expected a number above 0"):
        convert([ROW, {**ROW, "time_us": value}])


@pytest.mark.parametrize("value", ["-1", "1.5", "nan", "inf", "", "many"])
@pytest.mark.parametrize("column", SIZES)
def test_a_size_that_is_no_whole_number_names_row_and_column(column, value):
    with pytest.raises(InputError, match=f"row 3, column {column}: expected a whole number of"):
        convert([ROW, {**ROW, column: value}])


def test_only_the_cache_may_be_empty():
    assert case(step="0").settings["workload.kv_len"] == 1.0
    with pytest.raises(InputError, match="column batch: expected a whole number of at least 1"):
        case(batch="0")


def test_more_heads_of_keys_than_of_queries_are_refused():
    with pytest.raises(InputError, match="row 2: 64 heads of keys and values for 32 heads"):
        case(n_kv_heads="64")


@pytest.mark.skipif(not RAW.exists(), reason="the raw table is not shipped")
def test_the_packaged_cases_are_those_of_the_raw_table(tmp_path):
    out = tmp_path / "cases.csv"
    main(["gpu-attention", str(RAW), "--out", str(out)])
    assert out.read_bytes() == (SUITE.folder / "cases.csv").read_bytes()


def family_of(**changes):
    found = key_of(case(**changes))
    assert isinstance(found, SetKey)
    return found.family


def bounds(*cases):
    """Return (low, value, high) of each."""
    found = []
    for answer in predict(cases, {}):
        assert isinstance(answer, Prediction)
        assert answer.low is not None
        assert answer.high is not None
        found.append((answer.low, answer.value, answer.high))
    return found


def test_the_kernel_and_the_phase_choose_the_family():
    assert key_of(case()) == SetKey("nvidia-h100-sxm-80gb", "decode_fa3", "bfloat16")
    assert family_of(phase="prefill", isl="8") == "prefill_fa3"


def test_an_unknown_kernel_is_taken_for_one_that_its_device_was_measured_with():
    assert family_of(kernel="new") in {"decode_fa3", "decode_triton"}
    assert family_of(kernel="new", gpu="a100_sxm") == "decode_flash_attention"


def test_what_a_device_cannot_compute_is_skipped_with_a_reason():
    found = key_of(case(gpu="a100_sxm", dtype="fp8"))
    assert isinstance(found, Skip)
    assert "does not compute on float8" in found.reason


@pytest.mark.parametrize("gpu", ["h200_sxm", "b300_sxm", "gb200", "l40s", "a100_pcie"])
@pytest.mark.parametrize("kernel", [*LIBRARIES, "new"])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_devices_that_nobody_measured_borrow_a_fit(gpu, kernel, phase):
    ((low, value, high),) = bounds(case(gpu=gpu, kernel=kernel, phase=phase))
    assert 0 < low < value < high


def test_what_is_borrowed_has_a_wider_interval():
    own, borrowed = bounds(case(), case(gpu="h200_sxm"))
    assert borrowed[2] / borrowed[0] > own[2] / own[0]


def test_more_memory_bandwidth_makes_the_same_kernel_quicker():
    given = {"batch": "128", "step": "16383", "kernel": "fa3"}
    h100, h200 = bounds(case(**given), case(**given, gpu="h200_sxm"))
    assert 0.6 < h200[1] / h100[1] < 0.85  # 3.35 to 4.8 TB/s


def kernel_set(device, family, count, factor=1.0, seed=0):
    """Return a set of kernels that take `factor` times what the family's form begins with."""
    rng = np.random.default_rng(seed)
    one = FAMILIES[family]
    sizes = {name: 2.0 ** rng.integers(0, 5, count) for name in one.sizes}
    sizes |= {"kv_len": 2.0 ** rng.integers(4, 14, count), "head_dim": np.full(count, 128.0)}
    sizes["heads"] = sizes["kv_heads"] * 4
    form = one.form(chip_of(spec_of(device)), "bfloat16", one.start, sizes)
    key = SetKey(device, family, "bfloat16")
    return KernelSet(key, tuple(range(count)), sizes, factor * form.time_s)


def test_a_small_set_is_held_to_the_fit_of_a_larger_one_and_a_tiny_one_has_none():
    large = kernel_set("nvidia-h100-sxm-80gb", "decode_triton", 70)
    small = kernel_set("nvidia-a100-sxm-80gb", "decode_triton", 10, 1.3)
    tiny = kernel_set("nvidia-b200-sxm", "decode_triton", 4)
    fitted = fit_sets([tiny, small, large])
    assert set(fitted) == {large.key, small.key}
    fit = fitted[small.key]
    assert fit.device == "nvidia-a100-sxm-80gb"
    chip = chip_of(spec_of(fit.device))
    times = small.family.parts(chip, "bfloat16", fit, small.sizes).time_s
    assert np.abs(np.log(times / small.time_s)).mean() < 0.1


def test_what_a_device_is_judged_by_does_not_come_from_its_own_rows():
    # A small set is held to the fit of the large one, but not where it is to predict that one.
    large = kernel_set("nvidia-h100-sxm-80gb", "decode_triton", 70)
    small = kernel_set("nvidia-a100-sxm-80gb", "decode_triton", 12, 3.0)
    fitted = fit_sets([large, small])
    assert nearest(large.key, fitted) == fitted[small.key] != fit_sets([small])[small.key]
    by_large, by_small = remarks([large, small], fitted)
    alone = fit_sets([small])[small.key]
    chip = chip_of(spec_of("nvidia-h100-sxm-80gb"))
    predicted = large.family.parts(chip, "bfloat16", alone, large.sizes).time_s
    error = 100 * np.abs(predicted / large.time_s - 1).mean()
    assert f"(numbers of nvidia-a100-sxm-80gb): MAPE {error:.1f} %" in by_small
    assert "known by 20 timings, the others: MAPE" in by_small
    assert "numbers of nvidia-h100-sxm-80gb" in by_large
    assert "20 timings" not in by_large


def test_kernels_of_one_device_are_said_to_be_judged_on_no_other():
    only = kernel_set("nvidia-h100-sxm-80gb", "decode_fa3", 70)
    (text,) = remarks([only], fit_sets([only]))
    assert "Measured on one device only" in text
    assert "decode_fa3" in text


def test_no_group_is_partly_fitted_and_partly_held_out():
    fitted = set(SUITE.calibration()["case_ids"])
    for one in SUITE.cases():
        assert (one.case_id in fitted) != held_out(one, GROUP)


def test_about_a_fifth_is_held_out_of_each_device_and_phase():
    shares: dict[str, list[bool]] = {}
    for one in SUITE.cases():
        shares.setdefault(one.group, []).append(held_out(one, GROUP))
    for group, held in shares.items():
        assert 0.12 < np.mean(held) < 0.32, group


@pytest.mark.slow
def test_rows_that_nobody_fitted_are_predicted_better_than_by_baselines():
    suite = find_suite("gpu-attention")
    report = compare(suite, suite.cases(), suite.calibration(), "held_out").report()
    figures = report["splits"]["held_out"]
    assert figures["skipped"] == 0
    assert figures["n"] > 400
    assert figures["mape_pct"] <= 14
    assert figures["median_ape_pct"] <= 8
    assert 85 <= figures["coverage_90_pct"] <= 95
    assert figures["mape_pct"] < 0.7 * min(
        other["mape_pct"] for other in figures["baselines"].values()
    )
