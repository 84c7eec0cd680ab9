"""Suite mlperf-inference: its converter, its split, and its form."""

from pathlib import Path

import pytest

from simulator.errors import InputError
from validation.compare import compare
from validation.convert import main
from validation.suite import Prediction, Skip, find_suite
from validation.suites.mlperf_inference.convert import benchmarks, convert
from validation.suites.mlperf_inference.fits import held_out, numbers_of
from validation.suites.mlperf_inference.model import ideal_per_s, predict
from validation.suites.mlperf_inference.suite import SUITE

RAW = Path("../shared/measured/mlperf_inference_closed.csv")
ROW = {
    "system": "A_SYSTEM_TRT", "accelerator": "NVIDIA A30", "accelerators_per_node": "4",
    "nodes": "2", "benchmark": "resnet50", "scenario": "Offline", "throughput_per_s": "1000",
    "system_watts": "", "source": "somewhere", "licence": "Apache-2.0",
}  # fmt: skip


def case(**changes):
    (found,) = convert([{**ROW, **changes}]).cases
    return found


def test_a_row_becomes_a_case_of_all_devices_of_the_system():
    assert case().settings == {
        "workload": "resnet50", "on": "NVIDIA A30", "plan": "offline", "plan.devices": 8.0,
    }  # fmt: skip
    assert (case().metric, case().unit, case().measured) == ("samples_per_s", "1/s", 1000.0)


def test_both_spellings_of_the_scenario_are_one():
    assert case(scenario="offline") == case(scenario="Offline")


def test_a_row_with_both_figures_is_two_cases():
    found = convert([{**ROW, "system_watts": "1500.5"}]).cases
    assert [(one.metric, one.measured) for one in found] == [
        ("samples_per_s", 1000.0), ("power_w", 1500.5),
    ]  # fmt: skip


def test_systems_set_to_save_energy_are_cases_of_their_own():
    economy = case(system="A_SYSTEM_TRT_MaxQ")
    assert economy.settings["plan.economy"] == "true"
    assert economy.case_id != case().case_id


@pytest.mark.parametrize(("change", "reason"), [
    ({"scenario": "Server"}, "scenario server"),
    ({"scenario": "multistream"}, "scenario multistream"),
    ({"benchmark": "dlrm-99"}, "benchmark dlrm-99"),
    ({"throughput_per_s": ""}, "neither throughput nor power"),
    ({"accelerator": "An NPU"}, "accelerator An NPU: not in the catalog"),
    ({"accelerator": "A PCIe/HHHL card"}, "accelerator A PCIe/HHHL card: not in the catalog"),
])  # fmt: skip
def test_rows_out_of_scope_are_counted_by_reason(change, reason):
    found = convert([ROW, {**ROW, **change}])
    assert len(found.cases) == 1
    assert dict(found.out_of_scope) == {reason: 1}


@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "many"])
@pytest.mark.parametrize(
    "column", ["throughput_per_s", "system_watts", "nodes", "accelerators_per_node"]
)
def test_a_number_that_is_none_names_row_and_column(column, value):
    with pytest.raises(InputError, match=f"row 3, column {column}: expected a number above 0"):
        convert([ROW, {**ROW, column: value}])


@pytest.mark.skipif(not RAW.exists(), reason="the raw table is not here")
def test_the_packaged_cases_are_those_of_the_table(tmp_path):
    out = tmp_path / "cases.csv"
    assert main(["mlperf-inference", str(RAW), "--out", str(out)]) == 0
    assert out.read_text() == (SUITE.folder / "cases.csv").read_text()


@pytest.mark.parametrize("name", benchmarks())
def test_twice_the_devices_do_twice_the_samples(name):
    once, twice = (ideal_per_s(case(benchmark=name, nodes=nodes)) for nodes in ("1", "2"))
    assert twice == pytest.approx(2 * once)


def test_a_card_with_less_power_for_its_peak_runs_at_a_lower_clock():
    # Both have the same chip; the PCIe card has half of the power for nine tenths of the peak.
    sxm, pcie = (ideal_per_s(case(accelerator=name)) for name in (
        "NVIDIA H100-SXM-80GB", "NVIDIA H100-PCIe-80GB"))  # fmt: skip
    assert 0.5 < pcie / sxm < 0.8


def test_a_number_is_the_median_share_of_what_is_ideal():
    ideal = ideal_per_s(case())
    cases = [case(nodes=str(n), throughput_per_s=repr(n / 2 * ideal * share))
             for n, share in ((1, 0.4), (2, 0.5), (3, 0.9))]  # fmt: skip
    assert numbers_of(cases) == {"resnet50": pytest.approx(0.5)}


def test_the_power_of_a_host_comes_on_top_of_its_cards():
    (_, watts) = convert([{**ROW, "system_watts": "2000"}]).cases
    numbers = numbers_of([watts])
    (answer,) = predict([watts], {"numbers": numbers})
    assert isinstance(answer, Prediction)
    assert answer.value == pytest.approx(2000)


def test_a_device_that_lacks_the_dtype_is_skipped_with_its_reason():
    (answer,) = predict([case(accelerator="nvidia-k80")], SUITE.calibration())
    assert isinstance(answer, Skip)
    assert "does not compute on int8" in answer.reason


def test_no_accelerator_is_partly_fitted_and_partly_held_out():
    fitted = set(SUITE.calibration()["case_ids"])
    for one in SUITE.cases():
        assert (one.case_id in fitted) != held_out(one)


@pytest.mark.slow
def test_throughput_of_new_accelerators_is_predicted_better_than_by_the_datasheet():
    suite = find_suite("mlperf-inference")
    report = compare(suite, suite.cases(), suite.calibration(), "held_out").report()
    figures = report["splits"]["held_out"]
    assert figures["skipped"] == 0
    assert figures["groups"]["throughput"]["mape_pct"] < 15
    ((_, peak),) = figures["groups"]["throughput"]["baselines"].items()
    assert figures["groups"]["throughput"]["mape_pct"] < 0.5 * peak["mape_pct"]
