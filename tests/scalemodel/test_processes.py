"""`measure cluster`, `measure --plan`, `check-plan` on real processes: what is asked and said."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")
if not hasattr(os, "fork"):
    pytest.skip("ranks are forked, which this system cannot", allow_module_level=True)

from scalemodel.app import make_app

ROOT = Path(__file__).parents[2]
RING = """
from scalemodel import Buffer


def ring(rank, buffer):
    right, left = (rank.id + 1) % rank.size, (rank.id - 1) % rank.size
    part = Buffer("part", buffer.nbytes / rank.size)
    incoming = Buffer("incoming", buffer.nbytes / rank.size)
    for _ in range(2 * (rank.size - 1)):
        yield rank.send(part, to=right)
        yield rank.recv(incoming, source=left)
"""


REDUCING = """
def ring_all_reduce(rank, buffer):
    p, right, left = rank.size, (rank.id + 1) % rank.size, (rank.id - 1) % rank.size
    for step in range(2 * (p - 1)):
        yield rank.send(buffer.part((rank.id - step) % p, p), to=right)
        op = "sum" if step < p - 1 else None
        yield rank.recv(buffer.part((rank.id - step - 1) % p, p), source=left, op=op)
"""


@pytest.fixture
def run():
    app = make_app()
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def fine(run):
    def invoke(*words):
        result = run(*words)
        assert result.exit_code == 0, result.output
        return result

    return invoke


@pytest.fixture
def ring(tmp_path):
    path = tmp_path / "my_ring.py"
    path.write_text(RING, encoding="utf-8")
    return path


def test_collectives_are_measured_beside_ones_own(fine, ring):
    result = fine("measure", "cluster", "--plan", ring, "--kinds", "all_reduce,send_recv",
                  "--sizes", "1000,64 KiB", "--repeats", "2", "-o", "json")  # fmt: skip
    document = json.loads(result.stdout)
    found = document["measurements"]
    assert [(one["kind"], one["bytes"]) for one in found] == [
        ("all_reduce", 1000), ("all_reduce", 65536), ("send_recv", 1000), ("send_recv", 65536),
        ("my_ring", 1000), ("my_ring", 65536),
    ]  # fmt: skip
    assert all(one["time_s"] > 0 and one["ranks"] == 2 for one in found)
    assert {one["network"] for one in found} == {"loopback"}
    assert "measuring all_reduce of 1,000 B on 2 ranks" in result.stderr
    assert document["machine"]["software"]["torch"]


def test_a_plan_of_ones_own_is_measured(fine, ring, tmp_path):
    result = fine("measure", "mlp", "--set", "workload.batch=2", "--set", "workload.width=8",
                  "--set", "workload.training=true", "--plan", ring, "--ranks", "2",
                  "--steps", "3", "--sleep-as", "raspberry-pi-4", "-o", "json",
                  "--trace", tmp_path / "trace.json")  # fmt: skip
    document = json.loads(result.stdout)
    assert document["processes"] == 2
    assert document["step_time_s"] > 0
    assert document["measured"] == "measured on 2 processes (loopback)"
    assert [rank["sent_messages"] for rank in document["ranks"]] == [6, 6]
    assert f"running the code of {ring}" in result.stderr
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert {event["cat"] for event in events if event["ph"] == "X"} >= {"send", "recv"}


def test_a_collective_is_judged_on_real_processes_too(fine, ring):
    rows = csv.DictReader(io.StringIO(fine("check-plan", ring, "--ranks", "2,5", "-o",
                                           "csv").stdout))  # fmt: skip
    judged = [(row["devices"], row["on"], row["verdict"]) for row in rows]
    assert judged == [("2", "simulator", "fine"), ("5", "simulator", "fine"), ("2", "gloo", "fine")]


def test_a_collective_keeps_what_its_name_promises(run, ring):
    ring.write_text(REDUCING, encoding="utf-8")
    result = run("check-plan", ring, "--ranks", "2,3", "-o", "json")
    assert [(one["on"], one["verdict"]) for one in json.loads(result.stdout)] == [
        *[("simulator", "fine")] * 2, *[("numbers", "fine")] * 2, ("gloo", "fine")
    ]  # fmt: skip
    ring.write_text(REDUCING.replace("< p - 1", "< p - 2"), encoding="utf-8")
    result = run("check-plan", ring, "--ranks", "2,3")
    assert result.exit_code == 1
    assert "rank 0 is left with other numbers than all_reduce leaves" in result.stderr


def test_without_torch_only_the_simulator_judges_and_that_is_said(run, ring, monkeypatch):
    monkeypatch.setattr("scalemodel.processes.has_torch", lambda: False)
    result = run("check-plan", ring, "--ranks", "2")
    assert result.exit_code == 0
    assert "needs torch" in result.stderr
    assert "gloo" not in result.stdout


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        (RING + RING.replace("def ring", "def gnir"), [], "got ring, gnir"),
        (RING, ["--set", "plan.period=2"], "a collective takes no plan.period"),
        (RING.replace("yield rank.recv(incoming, source=left)", "pass"), [], "never received"),
        (RING.replace("rank.size - 1", "rank.idd - 1"), [], "'Rank' object has no attribute"),
    ],
)
def test_a_collective_that_cannot_be_is_refused_with_its_file(run, ring, text, words, message):
    ring.write_text(text, encoding="utf-8")
    result = run("check-plan", ring, "--ranks", "2", *words)
    assert result.exit_code == 1
    assert message in result.stderr
    assert f"error: {ring}" in result.stderr


CLUSTER = ("measure", "cluster")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*CLUSTER, "--rate", "fast"), "rate: "),
        ((*CLUSTER, "--rate", "0gbit"), "rate: must be from 8 bit"),
        ((*CLUSTER, "--sizes", "0"), "more than 0 bytes; got 0"),
        ((*CLUSTER, "--sizes", "4 lightyears"), "sizes: '4 lightyears'"),
        ((*CLUSTER, "--kinds", "allreduce"), "did you mean 'all_reduce'"),
        ((*CLUSTER, "--ranks", "1"), "ranks"),
        ((*CLUSTER, "--ranks", "100000"), "at most (32 a core)"),
        ((*CLUSTER, "--sizes", "1.5"), "whole"),
        ((*CLUSTER, "--threads", "2"), "--threads measures one process"),
        ((*CLUSTER, "--steps", "2"), "--steps: belongs to a workload's plan"),
        ((*CLUSTER, "--set", "plan.period=2"), "there is no --plan"),
        ((*CLUSTER, "--set", "workload.batch=2"), "a cluster has no workload"),
        ((*CLUSTER, "--plan", "none.py"), "none.py: No such file"),
        (("measure", "mlp", "--ranks", "2"), "--plan: which plan"),
        (("measure", "mlp", "--plan", "single", "--kinds", "barrier"), "belongs to `measure clust"),
        (("measure", "mlp", "--plan", "single", "--sleep-as", "toaster"), "unknown device"),
        (("measure", "all-reduce", "--plan", "communicate"), "`measure cluster --kinds all_red"),
        (("measure", "mlp", "--plan", "singel"), "did you mean 'single'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_process_is_started(run, words, message):
    result = run(*words)
    assert result.exit_code == 1, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ((*CLUSTER, "--sizes", "1 PB"), "a collective of 1 PB"),
        (("measure", "gpt-175b", "--plan", "single", "--ranks", "1"), "gpt-175b"),
    ],
)
def test_what_this_machine_cannot_hold_is_refused_before_a_process_is_started(run, words, what):
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert f"{what} needs" in result.stderr
    assert "this machine has" in result.stderr


def test_a_collective_that_fails_before_it_is_measured_is_named_with_its_line(run, ring):
    ring.write_text(RING.replace("rank.size - 1", "rank.idd - 1"), encoding="utf-8")
    result = run(*CLUSTER, "--plan", ring, "--sizes", "1000")
    assert result.exit_code == 1
    assert f"error: {ring}: line " in result.stderr
    assert "'Rank' object has no attribute" in result.stderr


@pytest.mark.slow
def test_under_torchrun_the_ranks_are_its_processes_and_the_first_one_prints():
    words = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "scalemodel", *CLUSTER,
             "--kinds", "all_reduce,send_recv", "--sizes", "1000", "--repeats", "2", "-o",
             "json")  # fmt: skip
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["measurements"]
    assert [(one["kind"], one["ranks"], one["network"]) for one in found] == [
        ("all_reduce", 2, "torchrun"), ("send_recv", 2, "torchrun")
    ]  # fmt: skip


def test_under_torchrun_its_number_of_processes_counts_and_no_rate_is_given(run, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert "torchrun started 4 processes, but 2" in run(*CLUSTER, "--ranks", "2").stderr
    assert "the network is as it is" in run(*CLUSTER, "--rate", "1gbit").stderr
