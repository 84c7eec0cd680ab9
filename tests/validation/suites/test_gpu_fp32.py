"""Specify suite gpu-fp32: three tables told apart by columns, what is fitted, how well it does."""

from pathlib import Path

import numpy as np
import pytest

from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.products import BMM
from hwmodels.spec import FamilyFit
from simulator.errors import InputError
from validation.cases import Case, read_table
from validation.compare import compare
from validation.fit_gpu import Task
from validation.kernel_suite import sets_of, sizes_of, spec_of
from validation.suite import Prediction, find_suite
from validation.suites.gpu_fp32.calibrate import (
    UNSEEN,
    least_relative_error,
    left_out,
    with_least_tile,
)
from validation.suites.gpu_fp32.convert import convert
from validation.suites.gpu_fp32.package import chosen

RAW = Path("../shared/measured")
SUITE = find_suite("gpu-fp32")
CASES = SUITE.cases()
CALIBRATION = SUITE.calibration()
EVERY = {"gpu": "Tesla T4", "dtype": "fp32", "time_ms": "0.5", "source": "a repository",
         "licence": "MIT"}  # fmt: skip
PRODUCT = {**EVERY, "op": "bmm", "B": "16", "M": "128", "N": "64", "K": "256"}
CONVOLUTION = {**EVERY, "op": "conv", "batch": "8", "in_ch": "64", "out_ch": "32",
               "kernel_size": "3", "input_size": "28", "stride": "1", "padding": "1"}  # fmt: skip
ELEMENTWISE = {**EVERY, "op": "add", "rows_B": "4096", "cols_H": "1024"}


def one_case(row, **changes) -> Case:
    (case,) = convert([{**row, **changes}]).cases
    return case


def test_a_product_is_summed_over_n_and_k_wide():
    case = one_case(PRODUCT)
    assert case.text("workload") == "bmm"
    assert dict(sizes_of(case)) == {"batch": 16, "m": 128, "n": 256, "k": 64}
    assert case.measured == pytest.approx(0.5e-3)


@pytest.mark.skipif(not RAW.is_dir(), reason="the measured tables are not here")
def test_launch_grids_show_which_side_is_summed_up():
    rows = read_table(RAW / "gpu_matmul_fp32_neusight.csv")
    tall = [row for row in rows if "128x128" in row["kernel"]]
    wide = [-(-int(row["K"]) // 128) == int(row["grid_x"]) for row in tall]
    assert np.mean(wide) > 0.99


def test_a_convolution_has_the_pixels_that_its_padding_leaves():
    sizes = dict(sizes_of(one_case(CONVOLUTION, stride="2", padding="0")))
    assert (sizes["out_h"], sizes["out_w"], sizes["kernel_w"]) == (13, 13, 3)
    assert one_case(CONVOLUTION).number("workload.out_h") == 28


@pytest.mark.parametrize(("op", "arrays"), [("add", 2), ("pow", 2), ("powu", 1), ("relu", 1)])
def test_an_elementwise_op_reads_one_or_two_arrays(op, arrays):
    case = one_case(ELEMENTWISE, op=op)
    written = 4 * 4096 * 1024
    assert dict(sizes_of(case)) == {"read_bytes": arrays * written, "written_bytes": written}


@pytest.mark.parametrize(("op", "family"), [("ln", "normalization"), ("softmax", "softmax")])
def test_ops_on_rows_are_families_of_their_own(op, family):
    case = one_case(ELEMENTWISE, op=op)
    assert case.text("workload") == family
    assert dict(sizes_of(case)) == {"rows": 4096, "columns": 1024}


def test_equal_calls_are_repeats_of_one_case():
    rows = [{**PRODUCT, "time_ms": time} for time in ("0.4", "0.5", "0.7")]
    (case,) = convert(rows).cases
    assert case.measured == pytest.approx(0.5e-3)
    assert case.repeats == 3


@pytest.mark.parametrize(("row", "changes", "reason"), [
    (PRODUCT, {"dtype": "fp16"}, "fp16"), (PRODUCT, {"gpu": "GTX 1"}, "GTX 1"),
    (PRODUCT, {"op": "einsum"}, "einsum"), (CONVOLUTION, {"op": "conv3d"}, "conv3d"),
    (ELEMENTWISE, {"op": "sort"}, "sort"),
])  # fmt: skip
def test_what_is_out_of_scope_says_why(row, changes, reason):
    found = convert([{**row, **changes}])
    assert not found.cases
    (why,) = found.out_of_scope
    assert reason in why


@pytest.mark.parametrize(("row", "changes"), [
    (PRODUCT, {"M": "-1"}), (PRODUCT, {"time_ms": "0"}), (PRODUCT, {"K": "many"}),
    (CONVOLUTION, {"padding": "-1"}), (CONVOLUTION, {"input_size": "1", "padding": "0"}),
    (ELEMENTWISE, {"rows_B": "nan"}),
])  # fmt: skip
def test_bad_numbers_are_refused_with_their_row(row, changes):
    with pytest.raises(InputError, match="row 2"):
        convert([{**row, **changes}])


@pytest.mark.parametrize("lost", ["time_ms", "gpu", "M"])
def test_a_table_that_lacks_a_column_is_refused(lost):
    row = {name: cell for name, cell in PRODUCT.items() if name != lost}
    with pytest.raises(InputError, match="columns"):
        convert([row])


@pytest.mark.skipif(not RAW.is_dir(), reason="the measured tables are not here")
@pytest.mark.slow
@pytest.mark.parametrize("table", ["gpu_matmul_fp32_neusight", "gpu_conv2d_fp32_neusight",
                                   "gpu_elementwise_fp32_neusight"])  # fmt: skip
def test_the_packaged_cases_are_a_choice_of_the_tables(table):
    converted = convert(read_table(RAW / f"{table}.csv"))
    assert not converted.out_of_scope
    families = {case.text("workload") for case in converted.cases}
    packaged = {case.case_id: case for case in CASES if case.text("workload") in families}
    assert packaged == {case.case_id: case for case in chosen(converted.cases)}


def test_the_case_file_stays_small():
    assert len(CASES) < 4500


def test_calls_of_the_same_sizes_are_held_out_on_all_devices():
    groups: dict[tuple, set[bool]] = {}
    for case in CASES:
        if spec_of(case.text("on")).name != UNSEEN[0]:
            groups.setdefault((case.text("workload"), sizes_of(case)), set()).add(left_out(case))
    assert all(len(found) == 1 for found in groups.values())
    share = np.mean([found == {True} for found in groups.values()])
    assert 0.15 < share < 0.25


def test_nothing_that_is_left_out_was_fitted():
    fitted = set(CALIBRATION["case_ids"])
    assert fitted == {case.case_id for case in CASES if not left_out(case)}


@pytest.mark.slow
def test_errors_stay_below_what_is_aimed_at_and_intervals_hold_what_they_say():
    report = compare(SUITE, CASES, CALIBRATION, "held_out").report()["splits"]["held_out"]
    assert report["groups"]["products"]["mape_pct"] <= 12
    assert report["groups"]["convolutions"]["mape_pct"] <= 20
    assert report["groups"]["streaming ops"]["mape_pct"] <= 8
    assert 85 <= report["coverage_90_pct"] <= 95
    for group in ("products", "convolutions", "streaming ops"):
        ours = report["groups"][group]
        assert all(ours["mape_pct"] < other["mape_pct"] for other in ours["baselines"].values())


def test_a_device_that_nobody_measured_has_a_wider_interval():
    def width(gpu):
        (answer,) = SUITE.predict([one_case(PRODUCT, gpu=gpu)], CALIBRATION)
        assert isinstance(answer, Prediction)
        assert answer.low is not None
        assert answer.high is not None
        return answer.high / answer.low

    assert width("NVIDIA_L4") > 1.2 * width("NVIDIA A100-PCIE-40GB")


def test_the_level_with_the_least_relative_error_is_no_worse():
    (one,) = sets_of([case for case in CASES if case.text("workload") == "conv2d"
                      and case.text("on") == "Tesla P100-PCIE-16GB"])[0]  # fmt: skip
    task = Task(family=one.family, chip=chip_of(spec_of(one.key.device)), dtype="float32")
    count = int(np.prod([axis.count for axis in one.family.axes]))
    fit = FamilyFit(numbers=one.family.start, correction=(0.0,) * count, error_ratio=(0.5, 2.0))
    moved = least_relative_error(task, one, fit)

    def error(of):
        predicted = one.family.parts(task.chip, "float32", of, one.sizes).time_s
        return np.abs(predicted / one.time_s - 1).mean()

    assert error(moved) <= error(fit)
    assert moved.error_ratio is not None
    assert moved.error_ratio[1] / moved.error_ratio[0] == pytest.approx(4.0)


def test_a_task_with_a_least_tile_holds_it_within_1_percent():
    task = Task(family=BMM, chip=chip_of(spec_of("nvidia-t4")), dtype="float32")
    narrow = with_least_tile(task, 8192.0).family.parameters["least_tile"]
    assert narrow.high / narrow.low == pytest.approx(1.0, abs=0.03)
