"""Suite nccl: its converter, its split, and how wrong it is."""

import pytest

from simulator.errors import InputError
from validation.compare import compare
from validation.kernel_suite import held_out
from validation.suite import Skip
from validation.suites.nccl.convert import convert
from validation.suites.nccl.suite import GROUP, SUITE

ROW = {"gpu": "h100_sxm", "op": "alltoall", "dtype": "half", "num_gpus": "4", "bytes": "1024",
       "time_us": "7.5", "library": "nccl 2.27", "source": "a", "licence": "MIT"}  # fmt: skip


def test_a_row_becomes_a_case():
    (case,) = convert([ROW]).cases
    assert case.settings == {
        "workload": "all_to_all", "workload.bytes": 1024.0, "workload.dtype": "float16",
        "on": "h100_sxm", "on.devices": 4.0, "plan": "nccl",
    }  # fmt: skip
    assert case.measured == pytest.approx(7.5e-6)


def test_versions_of_the_library_are_repeats():
    (case,) = convert([ROW, {**ROW, "library": "nccl 2.29.2", "time_us": "8.5"}]).cases
    assert case.measured == pytest.approx(8e-6)
    assert case.repeats == 2


@pytest.mark.parametrize(("change", "reason"), [
    ({"gpu": "h100_sx"}, "unknown device 'h100_sx'"),
    ({"dtype": "fp6"}, "dtype fp6"),
    ({"op": "gather"}, "collective gather"),
])  # fmt: skip
def test_rows_out_of_scope_are_counted_by_reason(change, reason):
    found = convert([ROW, {**ROW, **change}])
    assert len(found.cases) == 1
    ((why, count),) = found.out_of_scope.items()
    assert (reason in why, count) == (True, 1)


@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "", "2 us"])
@pytest.mark.parametrize("column", ["time_us", "bytes", "num_gpus"])
def test_a_number_that_is_none_names_row_and_column(column, value):
    with pytest.raises(InputError, match=f"row 3, column {column}: expected a number above 0"):
        convert([ROW, {**ROW, column: value}])


def test_no_size_of_a_kind_is_partly_fitted_and_partly_held_out():
    fitted = set(SUITE.calibration()["case_ids"])
    for case in SUITE.cases():
        assert (case.case_id in fitted) != held_out(case, GROUP)


@pytest.fixture(scope="module")
def splits():
    return compare(SUITE, SUITE.cases(), SUITE.calibration()).report()["splits"]


def test_sizes_that_nobody_fitted_are_predicted_within_seven_percent(splits):
    held = splits["held_out"]
    assert held["mape_pct"] <= 7.0
    assert held["skipped"] == 0
    assert 85 <= held["coverage_90_pct"] <= 97
    assert held["mape_pct"] < 0.5 * held["baselines"]["alpha-beta fit"]["mape_pct"]


def test_a_group_of_one_is_skipped_with_the_reason():
    (case,) = convert([{**ROW, "num_gpus": "1"}]).cases
    (answer,) = SUITE.predict([case], {})
    assert isinstance(answer, Skip)
    assert "at least 2 devices" in answer.reason
