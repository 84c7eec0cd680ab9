"""Calibrating NCCL by a log: what is fitted, where it goes, who uses it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from hwmodels.devices import find_spec
from hwmodels.network.nccl_fits import Nccl
from scalemodel.app import make_app
from simulator.errors import FileError, InputError
from tests.validation.nccl_logs import SIZES, log
from validation.calibrate_nccl import calibrate_nccl

H100 = "nvidia-h100-sxm-80gb"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a log into a home of its own."""
    monkeypatch.setenv("SCALEMODEL_HOME", str(tmp_path / "home"))

    def writer(text):
        path = tmp_path / "nccl.log"
        path.write_text(text, encoding="utf-8")
        return path

    return writer


def time_s(nbytes, ranks=8, device=H100, kind="all_reduce"):
    nccl = Nccl(spec=find_spec(device), find=find_spec)
    fixed_s, bulk_s = nccl.parts_s(kind, np.array([float(nbytes)]), ranks)
    return float(fixed_s[0] + bulk_s[0])


def test_afterwards_the_device_is_as_the_log_says(write):
    before = time_s(2**30)
    report = calibrate_nccl(write(log(alpha_us=40, gb_per_s=100)))
    (one,) = report.sets
    assert (report.device, one.kind, one.ranks, one.timings) == (H100, "all_reduce", (8,),
                                                                 len(SIZES))  # fmt: skip
    assert one.before_pct > 30
    assert one.after_pct < 10
    assert one.path.is_file()
    measured = 40e-6 + 2**30 / 100e9
    assert abs(time_s(2**30) / measured - 1) < 0.1 < abs(before / measured - 1)


def test_what_the_log_does_not_tell_stays(write):
    before = time_s(2**30, kind="all_gather")
    calibrate_nccl(write(log(alpha_us=40, gb_per_s=100)))
    assert time_s(2**30, kind="all_gather") == before


def test_every_kind_of_a_file_gets_a_fit_of_its_own(write):
    text = log(ranks=2) + log(ranks=8) + log("all_gather_perf") + log("broadcast_perf")
    report = calibrate_nccl(write(text))
    found = {one.kind: (one.ranks, one.timings) for one in report.sets}
    assert found == {"all_reduce": ((2, 8), 2 * len(SIZES)), "all_gather": ((8,), len(SIZES))}


def test_messages_to_one_rank_are_fitted_as_they_are_used(write):
    (one,) = calibrate_nccl(write(log("sendrecv_perf", alpha_us=12, gb_per_s=150))).sets
    assert (one.kind, one.path.name) == ("send_recv", "all_to_all.any.toml")
    assert one.after_pct < 12
    assert time_s(2**30, kind="send_recv") == pytest.approx(12e-6 + 2**30 / 150e9, rel=0.1)


def test_a_broadcast_alone_tells_the_numbers_that_it_borrows(write):
    (one,) = calibrate_nccl(write(log("broadcast_perf"))).sets
    assert one.kind == "broadcast"
    assert one.path.name == "all_gather.any.toml"
    assert one.after_pct < one.before_pct


def test_a_gpu_that_the_driver_names_otherwise_is_named_by_like(write):
    path = write(log(gpu="NVIDIA Graphics Device"))
    with pytest.raises(InputError, match=r"NVIDIA Graphics Device.*name the GPU of the log by"):
        calibrate_nccl(path)
    assert calibrate_nccl(path, "h200").device == "nvidia-h200-sxm-141gb"


@pytest.mark.parametrize(("text", "problem"), [
    (log(ranks=16, hosts=2), "all_reduce ran on 2 nodes"),
    (log(sizes=SIZES[:5]), "has 5 sizes of all_reduce; at least 8 are needed"),
    (log() + log(gpu="NVIDIA A40"), "must name one GPU; got NVIDIA A40, NVIDIA H100"),
])  # fmt: skip
def test_logs_that_tell_too_little_are_refused_and_nothing_is_written(write, text, problem):
    path = write(text)
    with pytest.raises(FileError, match=problem):
        calibrate_nccl(path)
    assert not (path.parent / "home" / "nccl").exists()


# --- the command ---------------------------------------------------------------------------------


def run(*words):
    return CliRunner().invoke(make_app(), ["calibrate", *(str(word) for word in words)])


def test_the_command_says_how_wrong_it_was_and_is(write):
    path = write(log(alpha_us=40, gb_per_s=100))
    result = run("--from", path)
    assert result.exit_code == 0, result.output
    assert f"{H100}: collectives of NCCL" in result.stdout
    assert "mape_pct before" in result.stdout


def test_json_has_an_object_a_collective(write):
    result = run("--from", write(log()), "-o", "json")
    (one,) = json.loads(result.stdout)
    assert (one["kind"], one["device"], one["collective"]) == ("calibration", H100, "all_reduce")
    assert one["errors"]["after"] <= one["errors"]["before"]


def test_bad_input_is_one_clear_error(write):
    result = run("--from", write(log(sizes=())))
    assert result.exit_code == 1
    assert "has no timings of nccl-tests; is it cut off?" in result.stderr
    result = run("--from", write(log()), "--name", "mine")
    assert result.exit_code == 1
    assert "--name makes a device" in result.stderr
