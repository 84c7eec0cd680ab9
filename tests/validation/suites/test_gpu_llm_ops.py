"""Suite gpu-llm-ops: its converter, what its ops are, its split, and how wrong it is."""

from pathlib import Path

import numpy as np
import pytest

from simulator.errors import InputError
from validation.compare import compare
from validation.convert import main
from validation.suite import Prediction, Skip, find_suite
from validation.suites.gpu_llm_ops.convert import SIZES, convert
from validation.suites.gpu_llm_ops.fits import held_out, numbers_of
from validation.suites.gpu_llm_ops.model import OpFit, op_s, predict
from validation.suites.gpu_llm_ops.ops import FORMS, graph_of, sizes_of
from validation.suites.gpu_llm_ops.suite import SUITE, groups

RAW = Path("../shared/measured/gpu_llm_ops_vidur.csv")
ROW = {
    "gpu": "a100", "model": "a-lab/a-model", "op": "mlp_up_proj", "num_tokens": "128", "tp": "2",
    "n_embd": "4096", "n_ffn": "11008", "n_head": "32", "n_kv_head": "8", "time_ms": "0.25",
    "source": "somewhere", "licence": "MIT",
}  # fmt: skip


def case(**changes):
    (found,) = convert([{**ROW, **changes}]).cases
    return found


def test_a_row_becomes_a_case_with_sizes_as_settings():
    assert case().settings == {
        "workload": "mlp_up_proj", "workload.model": "a-lab/a-model", "workload.tokens": 128.0,
        "workload.tensor": 2.0, "workload.width": 4096.0, "workload.hidden": 11008.0,
        "workload.heads": 32.0, "workload.kv_heads": 8.0, "on": "a100", "plan": "single",
    }  # fmt: skip
    assert (case().metric, case().unit, case().measured) == ("time_s", "s", 0.25e-3)


@pytest.mark.parametrize(("op", "sizes"), [
    ("attn_pre_proj", (1, 128, (32 + 2 * 8) * 128 // 2, 4096)),
    ("attn_post_proj", (1, 128, 4096, 2048)),
    ("mlp_up_proj", (1, 128, 11008, 4096)),
    ("mlp_down_proj", (1, 128, 4096, 5504)),
])  # fmt: skip
def test_products_have_the_sizes_of_one_devices_share_of_the_layer(op, sizes):
    graph = graph_of([case(op=op)])
    assert graph.dims[0][:4].tolist() == list(sizes)
    assert graph.flops[0] == 2 * np.prod(sizes)


def test_an_mlp_without_a_gate_is_widened_by_one_product():
    assert sizes_of(case(model="microsoft/phi-2")).maps == 1
    assert sizes_of(case()).maps == 2


@pytest.mark.parametrize(("op", "moved"), [("add", 3), ("input_layernorm", 2), ("emb", 2)])
def test_what_streams_moves_its_operands_once(op, moved):
    assert graph_of([case(op=op)]).bytes_moved[0] == moved * 2 * 128 * 4096


def test_rotated_are_the_queries_and_keys_of_the_devices_own_heads():
    assert graph_of([case(op="attn_rope")]).bytes_moved[0] == 2 * 2 * 128 * (32 + 8) * 128 // 2


@pytest.mark.parametrize(("change", "reason"), [
    ({"op": "attn_decode"}, "op attn_decode"),
    ({"gpu": "a1000"}, "unknown device 'a1000'"),
])  # fmt: skip
def test_rows_out_of_scope_are_counted_by_reason(change, reason):
    found = convert([ROW, {**ROW, **change}])
    assert len(found.cases) == 1
    ((why, count),) = found.out_of_scope.items()
    assert (reason in why, count) == (True, 1)


@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "", "2 ms"])
@pytest.mark.parametrize("column", ["time_ms", *SIZES])
def test_a_number_that_is_none_names_row_and_column(column, value):
    with pytest.raises(InputError, match=f"row 3, column {column}: expected a number above 0"):
        convert([ROW, {**ROW, column: value}])


@pytest.mark.skipif(not RAW.exists(), reason="the raw table is not here")
def test_the_packaged_cases_are_those_of_the_table(tmp_path):
    out = tmp_path / "cases.csv"
    assert main(["gpu-llm-ops", str(RAW), "--out", str(out)]) == 0
    assert out.read_text() == (SUITE.folder / "cases.csv").read_text()


def test_a_floor_and_a_share_of_the_bandwidth_are_found_again():
    cases = [case(op="add", num_tokens=str(2**n)) for n in range(16)]
    times = op_s(cases, OpFit(floor_s=3e-6, share=0.6))
    made = [case(op="add", num_tokens=str(2**n), time_ms=repr(time * 1e3))
            for n, time in enumerate(times.tolist())]  # fmt: skip
    found = numbers_of(made)
    assert found.floor_s == pytest.approx(3e-6, rel=1e-3)
    assert found.share == pytest.approx(0.6, rel=1e-3)


def test_a_product_takes_so_many_times_as_long_as_by_the_model():
    cases = [case(num_tokens=str(2**n)) for n in range(8, 12)]
    times = op_s(cases, OpFit(times=1.3))
    made = [case(num_tokens=str(2**n), time_ms=repr(time * 1e3))
            for n, time in zip(range(8, 12), times.tolist(), strict=True)]  # fmt: skip
    assert numbers_of(made).times == pytest.approx(1.3)


def test_a_device_without_half_precision_is_skipped_with_its_reason():
    known, old = predict([case(), case(gpu="nvidia-k80")], SUITE.calibration())
    assert isinstance(known, Prediction)
    assert isinstance(old, Skip)
    assert "does not compute on float16" in old.reason


def test_no_model_is_partly_fitted_and_partly_held_out():
    fitted = set(SUITE.calibration()["case_ids"])
    for one in SUITE.cases():
        assert (one.case_id in fitted) != held_out(one)


@pytest.mark.parametrize("op", FORMS)
def test_the_report_tells_products_from_what_streams(op):
    kind = "products" if op.endswith("proj") else "what streams"
    assert groups(case(op=op)) == (op, kind)


@pytest.mark.slow
def test_models_that_nobody_fitted_are_predicted_better_than_by_baselines():
    suite = find_suite("gpu-llm-ops")
    report = compare(suite, suite.cases(), suite.calibration(), "held_out").report()
    figures = report["splits"]["held_out"]
    assert figures["skipped"] == 0
    assert figures["mape_pct"] <= 12
    assert 85 <= figures["coverage_90_pct"] <= 95
    assert all(figures["mape_pct"] < 0.5 * other["mape_pct"]
               for other in figures["baselines"].values())  # fmt: skip
