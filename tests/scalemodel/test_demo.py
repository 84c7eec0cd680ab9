"""The demonstration: calibrate, predict, measure, compare; and calibrating by itself."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

from hwmodels.device_writer import write_device
from hwmodels.devices import devices_folder, find_spec
from scalemodel import demo
from scalemodel.app import make_app
from scalemodel.asking import measure
from scalemodel.demo import Showing, showings, table_of
from simulator.errors import FileError
from validation.predict import predict, workload_of

SMALL = (("mlp", {"batch": 2}), ("mlp", {"batch": 2, "training": True}))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEMODEL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def calls(home, monkeypatch):
    """Replace measuring by writing a device file; keep how it was called."""
    made = []

    def calibrate(**given):
        given.pop("say")("timing something")
        made.append(given)
        path = devices_folder() / "this-machine.toml"
        write_device(path, find_spec("raspberry-pi-4"))
        return path

    monkeypatch.setattr("validation.calibrate.calibrate", calibrate)
    monkeypatch.setattr(demo, "WORKLOADS", SMALL)
    return made


def run(*words):
    return CliRunner().invoke(make_app(), [str(word) for word in words])


def showing(predicted, measured, interval=None):
    return Showing(workload="a", threads=1, predicted_s=predicted, measured_s=measured,
                   interval=interval, training=False)  # fmt: skip


# --- the demonstration ---------------------------------------------------------------------------


def test_it_calibrates_predicts_measures_and_ends_with_a_table_and_a_picture(calls, tmp_path):
    out = tmp_path / "out"
    result = run("demo", "--out", out, "-o", "json")
    assert result.exit_code == 0, result.output
    assert [call["quick"] for call in calls] == [True]
    rows = json.loads(result.stdout)
    assert {row["workload"] for row in rows} == {"mlp, batch=2", "mlp, batch=2, training=True"}
    assert all(row["predicted_time_s"] > 0 and row["measured_time_s"] > 0 for row in rows)
    assert (out / "predicted-against-measured.png").read_bytes().startswith(b"\x89PNG")
    with (out / "predicted-against-measured.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    assert "the picture in" in result.stderr


def test_where_nothing_can_be_written_is_said_before_anything_is_timed(calls, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    result = run("demo", "--out", tmp_path / "file")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {tmp_path / 'file'}")
    assert calls == []


def test_a_calibration_that_is_there_is_kept_and_used(calls, home, tmp_path):
    write_device(home / "devices" / "this-machine.toml", find_spec("amd-epyc-7742"))
    result = run("demo", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert calls == []
    assert "using the calibration in" in result.stderr
    assert "1 thread: MAPE" in result.stdout
    assert "measured by thread cpu time" in result.stdout


def test_what_is_shown_is_predicted_before_it_is_measured(home, monkeypatch):
    order = []

    def noted(name, function):
        def call(*args, **kwargs):
            order.append(name)
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr("scalemodel.demo.predict", noted("predict", predict))
    monkeypatch.setattr("scalemodel.demo.measure", noted("measure", measure))
    told = []
    shown = list(showings([1], lambda *t: told.append(t), workloads=SMALL, budget_s=0.01))
    assert order == ["predict", "measure"] * 2
    assert [one.training for one in shown] == [False, True]
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_the_error_is_relative_to_what_was_measured():
    assert showing(1.5, 1.0).error_pct == pytest.approx(50)
    assert showing(0.5, 1.0).error_pct == pytest.approx(-50)
    table = table_of([showing(1.1, 1.0, (0.9, 1.2)), showing(0.9, 1.0)])
    assert table.notes == ["1 thread: MAPE 10 %, median 10 %, n = 2; 90 % intervals hold 100 %"]
    assert [row[3:5] for row in table.rows] == [[0.9, 1.2], [None, None]]


def test_a_folder_that_cannot_be_written_is_a_file_error(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FileError, match="file"):
        demo.write([showing(1.0, 1.0)], tmp_path / "file")


def test_the_workloads_that_are_shown_exist_and_are_small_enough_to_wait_for():
    for name, given in demo.WORKLOADS:
        workload = workload_of(name, given)
        assert 1e6 < workload.graph.flops.sum() < 1e11


# --- calibrating ---------------------------------------------------------------------------------


def test_calibrating_prints_where_the_device_file_is(calls, home):
    result = run("calibrate", "--quick")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(home / "devices" / "this-machine.toml")
    assert "timing something" in result.stderr
    assert calls == [{"quick": True, "timings": None, "like": None, "name": None}]


def test_the_calibrated_device_can_be_printed_whole(calls):
    shown = json.loads(run("calibrate", "-o", "json").stdout)
    assert shown["kind"] == "device"
    assert shown["fields"]


def test_timings_taken_elsewhere_are_handed_on(calls):
    result = run("calibrate", "--from", "timings.csv", "--like", "aws-graviton3")
    assert result.exit_code == 0, result.output
    timings = Path("timings.csv")
    assert calls == [{"quick": False, "timings": timings, "like": "aws-graviton3", "name": None}]


def test_a_device_without_timings_is_bad_input(calls):
    result = run("calibrate", "--like", "aws-graviton3")
    assert result.exit_code == 1
    assert "--like aws-graviton3 says on what the timings of --from" in result.stderr
    assert calls == []


def test_an_interrupted_calibration_says_how_to_go_on(home, monkeypatch):
    def interrupted(**given):
        raise KeyboardInterrupt

    monkeypatch.setattr("validation.calibrate.calibrate", interrupted)
    result = run("calibrate")
    assert result.exit_code == 130
    assert "the same command goes on from there" in result.stderr


def test_without_torch_the_error_names_the_extra(home, monkeypatch):
    def missing(**given):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("validation.calibrate.calibrate", missing)
    result = run("calibrate")
    assert result.exit_code == 1
    assert "pip install 'scalemodel[torch]'" in result.stderr
