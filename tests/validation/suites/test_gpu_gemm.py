"""Suite gpu-gemm: its converter, its split, and how wrong it is."""

import pytest

from simulator.errors import InputError
from validation.compare import compare
from validation.kernel_suite import held_out
from validation.suite import find_suite
from validation.suites.gpu_gemm.convert import convert
from validation.suites.gpu_gemm.suite import GROUP, SUITE

ROW = {"gpu": "h100_sxm", "dtype": "bf16", "m": "1", "n": "64", "k": "128.0", "time_us": "2.5",
       "source": "somewhere", "licence": "MIT"}  # fmt: skip


def test_a_row_becomes_a_case_with_the_devices_spelling_kept():
    (case,) = convert([ROW]).cases
    assert case.settings == {
        "workload": "gemm", "workload.dtype": "bfloat16", "workload.m": 1.0, "workload.n": 64.0,
        "workload.k": 128.0, "on": "h100_sxm", "plan": "single",
    }  # fmt: skip
    assert case.measured == pytest.approx(2.5e-6)
    assert (case.metric, case.unit) == ("time_s", "s")


def test_repeats_are_joined_to_their_median():
    found = convert([{**ROW, "time_us": time} for time in ("2", "3", "10")])
    assert [case.measured for case in found.cases] == pytest.approx([3e-6])


@pytest.mark.parametrize(("change", "reason"), [
    ({"gpu": "h100_sx"}, "unknown device 'h100_sx'; did you mean 'nvidia-h100-sxm-80gb'?"),
    ({"dtype": "fp6"}, "dtype fp6"),
])  # fmt: skip
def test_rows_out_of_scope_are_counted_by_reason(change, reason):
    found = convert([ROW, {**ROW, **change}])
    assert len(found.cases) == 1
    ((why, count),) = found.out_of_scope.items()
    assert (reason in why, count) == (True, 1)


@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "", "2 us"])
@pytest.mark.parametrize("column", ["time_us", "m"])
def test_a_number_that_is_none_names_row_and_column(column, value):
    with pytest.raises(InputError, match=f"row 3, column {column}: expected a number above 0"):
        convert([ROW, {**ROW, column: value}])


def test_no_group_is_partly_fitted_and_partly_held_out():
    fitted = set(SUITE.calibration()["case_ids"])
    for case in SUITE.cases():
        assert (case.case_id in fitted) != held_out(case, GROUP)


@pytest.mark.slow
def test_rows_that_nobody_fitted_are_predicted_better_than_by_baselines():
    suite = find_suite("gpu-gemm")
    report = compare(suite, suite.cases(), suite.calibration(), "held_out").report()
    figures = report["splits"]["held_out"]
    assert figures["skipped"] == 0
    assert figures["n"] > 500
    assert figures["mape_pct"] <= 8.5
    assert figures["median_ape_pct"] <= 6.0
    assert 85 <= figures["coverage_90_pct"] <= 95
    assert figures["mape_pct"] < 0.7 * min(
        other["mape_pct"] for other in figures["baselines"].values()
    )
