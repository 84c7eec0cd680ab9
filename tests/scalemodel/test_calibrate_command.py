"""`scalemodel calibrate` for GPUs: what it prints, what it refuses, what it does with CUDA."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hwmodels.devices import devices_folder, find_spec
from scalemodel.app import make_app
from simulator.errors import UnknownNameError
from validation.calibrate_gpu import calibrate_gpu

A100 = "nvidia-a100-sxm-80gb"
TABLE = Path("t.csv")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEMODEL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def table(home):
    """Write timings of kernels that reach half of an A100's bandwidth after 10 us."""

    def write(count=10, factor=1.0):
        rows = [f"streaming,float32,{2**n},{2**n},{(1e-5 + 2 * 2**n / 1e12) * factor!r}"
                for n in range(12, 12 + count)]  # fmt: skip
        lines = ["op,dtype,read_bytes,written_bytes,time_s", *rows]
        TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return TABLE

    return write


def run(*words):
    return CliRunner().invoke(make_app(), [str(word) for word in words])


def fine(*words):
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result


def calibrated(*words):
    return fine("calibrate", "--from", TABLE, "--like", A100, *words)


# --- a table -------------------------------------------------------------------------------------


def test_the_report_says_how_wrong_it_was_and_is_and_what_the_numbers_are(table):
    table()
    result = calibrated()
    assert "datasheet roofline" in result.stdout
    assert "after: all" not in result.stdout
    assert "moved by the timings" in result.stdout
    assert "share of the memory bandwidth that is reached" in result.stdout
    assert str(devices_folder() / f"{A100}.toml") in result.stderr


def test_json_is_one_document_with_errors_numbers_and_what_they_are_told_by(table):
    table()
    report = json.loads(calibrated("-o", "json").stdout)
    assert (report["device"], report["like"]) == (A100, A100)
    assert Path(report["file"]).is_file()
    [one] = report["sets"]
    assert (one["family"], one["dtype"], one["timings"]) == ("streaming", "float32", 10)
    assert one["errors"]["after"]["mape_pct"] < one["errors"]["datasheet"]["mape_pct"]
    numbers = {number["name"]: number for number in one["numbers"]}
    assert numbers["floor_s"]["unit"] == "s"
    assert numbers["floor_s"]["value"] == pytest.approx(1e-5, rel=0.2)
    assert isinstance(numbers["memory_share"]["told"], bool)


def test_csv_has_a_row_a_number_with_the_errors_of_its_set(table):
    table()
    rows = list(csv.DictReader(io.StringIO(calibrated("-o", "csv").stdout)))
    assert {row["number"] for row in rows} == {"memory_share", "floor_s"}
    assert all(float(row["after_mape_pct"]) >= 0 for row in rows)


def test_with_too_few_to_leave_out_the_error_afterwards_is_unknown(table):
    table(8)
    assert json.loads(calibrated("-o", "json").stdout)["sets"][0]["errors"]["after"] is None
    rows = list(csv.DictReader(io.StringIO(calibrated("-o", "csv").stdout)))
    assert {row["after_mape_pct"] for row in rows} == {""}


def test_a_name_of_its_own_can_be_shown_and_predicted_on(table):
    table()
    calibrated("--name", "mine")
    shown = json.loads(fine("show", "mine", "-o", "json").stdout)
    [family] = shown["calibration"]["families"]
    assert (family["family"], family["dtype"]) == ("streaming", "float32")
    fine("predict", "mlp", "--on", "mine")
    assert find_spec(A100).calibration is None


@pytest.mark.parametrize(
    ("given", "words", "problem"),
    [
        ({"count": 3}, ("--like", A100), "3 timings; at least 8"),
        ({"factor": 1e6}, ("--like", A100), "are these microseconds?"),
        ({}, ("--like", "aws-graviton3"), "row 2, column op: 'streaming' is a kernel of GPUs"),
        ({}, (), "name the GPU that they were timed on by --like"),
        ({}, ("--like", "a1000"), "unknown device 'a1000'"),
        ({}, ("--like", A100, "--name", "a/b"), "--name 'a/b': expected letters"),
    ],
)
def test_bad_input_is_one_clear_error(table, given, words, problem):
    table(**given)
    result = run("calibrate", "--from", TABLE, *words)
    assert result.exit_code == 1
    [error] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert problem in error
    assert result.stdout == ""


# --- a GPU in this machine -----------------------------------------------------------------------


@pytest.fixture
def cuda(table, monkeypatch):
    """Put a GPU into this machine whose calibration is that of the table; give what was asked."""
    pytest.importorskip("torch")
    asked = []

    def on_cuda(like, name, quick, say):
        asked.append({"like": like, "name": name, "quick": quick})
        return calibrate_gpu(table(), like or A100, name)

    def on_cpu(**given):
        path = devices_folder() / "this-machine.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('like = "aws-graviton3"\n', encoding="utf-8")
        return path

    monkeypatch.setattr("validation.torch_cuda.cuda_name", lambda: "NVIDIA A100-SXM4-80GB")
    monkeypatch.setattr("validation.torch_cuda.calibrate_cuda", on_cuda)
    monkeypatch.setattr("validation.calibrate.calibrate", on_cpu)
    return asked


def test_with_cuda_the_gpu_is_calibrated_after_the_cpu(cuda):
    result = fine("calibrate", "--quick")
    assert result.stdout.startswith(str(devices_folder() / "this-machine.toml"))
    assert "datasheet roofline" in result.stdout
    assert cuda == [{"like": None, "name": None, "quick": True}]


def test_with_cuda_json_is_an_array_of_both(cuda):
    cpu, gpu = json.loads(fine("calibrate", "-o", "json").stdout)
    assert (cpu["name"], gpu["device"]) == ("this-machine", A100)


def test_with_cuda_and_like_only_the_gpu_is_calibrated(cuda):
    result = fine("calibrate", "--like", "nvidia-l4", "--name", "mine", "-o", "json")
    assert json.loads(result.stdout)["device"] == "mine"
    assert cuda == [{"like": "nvidia-l4", "name": "mine", "quick": False}]


def test_a_gpu_that_nobody_knows_leaves_the_cpu_calibrated_and_says_what_to_do(cuda, monkeypatch):
    def unknown(*given):
        raise UnknownNameError("GPU", "X 1", ["nvidia-l4"], "the catalog: say by --like DEVICE")

    monkeypatch.setattr("validation.torch_cuda.calibrate_cuda", unknown)
    result = fine("calibrate")
    assert result.stdout.strip() == str(devices_folder() / "this-machine.toml")
    assert "the GPU is not calibrated: unknown GPU 'X 1'" in result.stderr
    assert "--like DEVICE" in result.stderr
