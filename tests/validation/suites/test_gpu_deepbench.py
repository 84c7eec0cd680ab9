"""Specify suite gpu-deepbench: products, three kernels of each convolution, what is left out."""

from pathlib import Path

import numpy as np
import pytest

from simulator.errors import InputError
from validation.cases import read_table
from validation.compare import compare
from validation.kernel_suite import sizes_of, spec_of
from validation.suite import Prediction, Skip, find_suite
from validation.suites.gpu_deepbench.calibrate import UNSEEN, left_out
from validation.suites.gpu_deepbench.convert import COLUMNS, convert

RAW = Path("../shared/measured/gpu_ops_deepbench.csv")
SUITE = find_suite("gpu-deepbench")
CASES = SUITE.cases()
CALIBRATION = SUITE.calibration()
EMPTY = dict.fromkeys(COLUMNS, "")
EVERY = {**EMPTY, "device": "NV_V100", "mode": "train", "precision": "FP32", "time_ms": "0.5",
         "source": "a workbook", "licence": "Apache-2.0"}  # fmt: skip
GEMM = {**EVERY, "op": "gemm", "M": "1760", "N": "16", "K": "1024.0", "a_t": "N", "b_t": "T"}
CONV = {**EVERY, "op": "conv", "N": "8", "C": "32", "K": "64", "H": "79", "W": "341", "R": "5",
        "S": "10", "pad_h": "0.0", "pad_w": "0", "stride_v": "2", "stride_h": "2",
        "bwd_in_ms": "0.9", "bwd_w_ms": "0.7"}  # fmt: skip


def cases(row, **changes):
    return convert([{**row, **changes}]).cases


@pytest.mark.parametrize(("precision", "family", "dtype"), [
    ("FP32", "vector_gemm", "float32"), ("Psuedo FP16", "vector_gemm", "float16"),
    ("FP16 ip, Mixed math", "gemm", "float16"), ("Mixed Precision", "gemm", "int8"),
])  # fmt: skip
def test_a_product_runs_on_the_units_of_its_precision(precision, family, dtype):
    (case,) = cases(GEMM, precision=precision)
    assert (case.text("workload"), case.text("workload.dtype")) == (family, dtype)
    assert dict(sizes_of(case)) == {"batch": 1, "m": 1760, "n": 16, "k": 1024}
    assert case.text("workload.layout") == "nt"


def test_a_convolution_is_three_kernels():
    forward, backward, weights = cases(CONV)
    assert [case.measured for case in (forward, backward, weights)] == pytest.approx(
        [0.5e-3, 0.9e-3, 0.7e-3]
    )
    sizes = dict(sizes_of(forward))
    assert (sizes["out_h"], sizes["out_w"]) == (38, 166)
    assert (sizes["kernel_h"], sizes["kernel_w"]) == (5, 10)
    back = dict(sizes_of(backward))
    assert (back["in_channels"], back["out_channels"]) == (64, 32)
    assert weights.text("workload") == "convolution_weights"
    assert sizes_of(weights) == sizes_of(forward)


def test_a_gradient_that_was_not_measured_is_no_case():
    assert len(cases(CONV, bwd_in_ms="")) == 2
    assert len(cases(CONV, bwd_in_ms="", bwd_w_ms="")) == 1


@pytest.mark.parametrize(("changes", "reason"), [
    ({"op": "rnn"}, "recurrent"), ({"op": "allreduce"}, "collectives"),
    ({"op": "sparse_gemm"}, "zeros"), ({"precision": "Kernels"}, "Kernels"),
    ({"device": "IA_KNL7250"}, "not in the catalog"), ({"device": "raspberry-pi-4"}, "no GPU"),
])  # fmt: skip
def test_what_is_out_of_scope_says_why(changes, reason):
    found = convert([{**GEMM, **changes}])
    assert not found.cases
    (why,) = found.out_of_scope
    assert reason in why


@pytest.mark.parametrize(("row", "changes"), [
    (GEMM, {"M": "0"}), (GEMM, {"time_ms": "-0.5"}), (GEMM, {"K": ""}),
    (CONV, {"R": "200"}), (CONV, {"pad_h": "-1"}), (CONV, {"bwd_w_ms": "inf"}),
])  # fmt: skip
def test_bad_numbers_are_refused_with_their_row(row, changes):
    with pytest.raises(InputError, match="row 2"):
        convert([{**row, **changes}])


def test_a_table_that_lacks_a_column_is_refused():
    with pytest.raises(InputError, match="bwd_w_ms"):
        convert([{name: cell for name, cell in GEMM.items() if name != "bwd_w_ms"}])


@pytest.mark.skipif(not RAW.is_file(), reason="the measured table is not here")
def test_the_packaged_cases_are_all_of_the_table_that_is_in_scope():
    assert convert(read_table(RAW)).cases == CASES


def test_a_precision_that_a_device_lacks_is_skipped_with_a_reason():
    (answer,) = SUITE.predict(cases(GEMM, device="NV_P100", precision="Mixed Precision"),
                              CALIBRATION)  # fmt: skip
    assert isinstance(answer, Skip)
    assert "int8" in answer.reason


def test_one_device_and_a_fifth_of_the_rest_are_left_out():
    others = [case for case in CASES if spec_of(case.text("on")).name != UNSEEN]
    assert all(left_out(case) for case in CASES if case not in others)
    assert 0.12 < np.mean([left_out(case) for case in others]) < 0.28


def test_nothing_that_is_left_out_was_fitted():
    fitted = set(CALIBRATION["case_ids"])
    assert not fitted & {case.case_id for case in CASES if left_out(case)}
    assert len(fitted) > 1000


def test_every_case_on_a_device_that_has_its_dtype_is_predicted_with_an_interval():
    answers = SUITE.predict(CASES, CALIBRATION)
    predicted = [answer for answer in answers if isinstance(answer, Prediction)]
    assert len(predicted) > 0.9 * len(CASES)
    assert all(a.low is not None and a.low < a.value < (a.high or 0) for a in predicted)


def test_predictions_are_better_than_the_datasheet_and_intervals_hold_what_they_say():
    report = compare(SUITE, CASES, CALIBRATION, "held_out").report()["splits"]["held_out"]
    roofline = report["baselines"]["datasheet roofline"]
    assert report["mape_pct"] < 0.7 * roofline["mape_pct"]
    assert report["median_ape_pct"] < 0.5 * roofline["median_ape_pct"]
    assert 85 <= report["coverage_90_pct"] <= 95
