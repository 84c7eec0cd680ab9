"""`scalemodel cosimulate` prints and draws how models learn on simulated machines."""

from __future__ import annotations

import csv
import io
import json

import pytest

pytest.importorskip("torch")

from typer.testing import CliRunner

from scalemodel.app import make_app
from scalemodel.commands import cosimulate as verb

LEARNS = (
    "cosimulate", "logistic-regression", "--data", "blobs,samples=300,features=6,classes=3",
    "--set", "workload.features=6", "--set", "workload.classes=3", "--on", "gigabit-ethernet",
    "--devices", "3", "--learning-rate", "0.1",
)  # fmt: skip


@pytest.fixture(scope="module")
def app():
    return make_app()


@pytest.fixture
def run(app):
    def invoke(*words):
        return CliRunner().invoke(app, [*LEARNS, *(str(word) for word in words)])

    return invoke


@pytest.fixture
def fine(run):
    def invoke(*words):
        result = run(*words)
        assert result.exit_code == 0, result.output
        return result.stdout

    return invoke


@pytest.fixture
def refused(run):
    def invoke(*words):
        result = run(*words)
        assert result.exit_code == 1, result.output
        [message] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        return message

    return invoke


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


# --- one run -----------------------------------------------------------------------------------


def test_one_run_is_printed_along_its_time(fine):
    rows = rows_of(fine("--steps", 20, "--judgements", 4, "-o", "csv"))
    assert [float(row["steps"]) for row in rows] == [0, 5, 10, 15, 20]
    times = [float(row["time_s"]) for row in rows]
    assert times == sorted(times)
    assert float(rows[-1]["accuracy"]) > float(rows[0]["accuracy"])
    assert float(rows[-1]["samples"]) % 3 == 0


def test_people_see_when_the_target_is_reached(fine):
    text = fine("--target", 0.8)
    assert "accuracy_pct" in text
    assert "80 % is reached after" in text
    assert "80 % is not reached; the best is" in fine("--target", 0.8, "--learning-rate", "1e-9",
                                                      "--steps", 2)  # fmt: skip


def test_epochs_stand_in_place_of_steps(fine):
    [*_, last] = rows_of(fine("--epochs", 2, "--set", "workload.batch=8", "-o", "csv"))
    assert float(last["samples"]) == 24 * 20  # of 240 samples to learn from, 24 a step


def test_people_are_shown_no_more_judgements_than_fit_on_a_screen(fine):
    wanted = ("--steps", 100, "--judgements", 100)
    assert len(rows_of(fine(*wanted, "-o", "csv"))) == 101
    lines = [line for line in fine(*wanted).splitlines() if " ms " in line or " s " in line]
    assert 20 <= len(lines) <= 30


# --- several -----------------------------------------------------------------------------------


def test_a_grid_gives_a_row_a_point(fine):
    rows = rows_of(fine("--plan", "local-sgd", "--grid", "plan.every=1,8", "--target", 0.8,
                        "--seeds", 2, "-o", "csv"))  # fmt: skip
    assert [row["plan.every"] for row in rows] == ["1", "8"]
    assert [row["reached"] for row in rows] == ["2", "2"]
    for row in rows:
        product = float(row["step_time_s"]) * float(row["steps_to_target"])
        assert float(row["time_to_target_s"]) == pytest.approx(product)


@pytest.mark.parametrize(
    ("plan", "values"),
    [("parameter-server", "plan.staleness=0,4"), ("federated", "plan.wanted=1,2"),
     ("local-sgd", "plan.every=1,4"), ("data-parallel", "workload.batch=4,16")],
)  # fmt: skip
def test_staleness_participation_local_steps_and_batches_are_swept(fine, plan, values):
    mode = ("--set", "plan.mode=stale-synchronous") if "staleness" in values else ()
    rows = rows_of(fine("--plan", plan, *mode, "--grid", values, "--target", 0.6, "-o", "csv"))
    name, _, swept = values.partition("=")
    assert [row[name] for row in rows] == swept.split(",")
    assert all(row["reached"] == "1" for row in rows)


def test_people_are_told_whose_a_note_is(fine):
    text = fine("--steps", 3, "--against", "parameter-server,plan.mode=asynchronous")
    assert "note on parameter-server,plan.mode=asynchronous: mean staleness" in text
    assert "ranks simulated" not in text


def test_other_plans_stand_beside_the_first_with_what_they_know_of_its_parameters(fine):
    document = json.loads(fine(
        "--plan", "local-sgd", "--set", "plan.every=4", "--set", "plan.slow_ranks=1", "--steps", 4,
        "--against", "data-parallel", "--against", "parameter-server,plan.mode=asynchronous",
        "-o", "json"))  # fmt: skip
    scenarios = [point["scenario"] for point in document["points"]]
    assert [one["plan"] for one in scenarios] == ["local-sgd", "data-parallel", "parameter-server"]
    plans = [{name: value for name, value in one["set"].items() if name.startswith("plan.")}
             for one in scenarios]  # fmt: skip
    assert plans == [{"plan.every": 4, "plan.slow_ranks": 1}, {"plan.slow_ranks": 1},
                     {"plan.mode": "asynchronous", "plan.slow_ranks": 1}]  # fmt: skip
    assert [point["name"] for point in document["points"]][1:] == [
        "data-parallel", "parameter-server,plan.mode=asynchronous"]  # fmt: skip
    for point in document["points"]:
        [one] = point["runs"]
        assert len(one["time_s"]) == len(one["accuracy"]) > 1


def test_another_machine_may_stand_beside_the_first(fine):
    document = json.loads(fine("--steps", 3, "--against", "on=edge-wifi", "-o", "json"))
    slow, fast = (point["step_time_s"] for point in reversed(document["points"]))
    assert slow > fast
    assert [point["scenario"]["on"] for point in document["points"]] == [
        "gigabit-ethernet", "edge-wifi"]  # fmt: skip


def test_data_may_be_dealt_by_label_or_by_shares(fine):
    for how in (("by-label",), ("dirichlet", "--concentration", 0.1)):
        document = json.loads(fine("--steps", 2, "--distribution", *how, "-o", "json"))
        assert document["data"]["distribution"] == how[0]


def test_the_noise_scale_is_said_before_and_after(fine):
    wanted = ("--steps", 5, "--noise-scale")
    text = fine(*wanted)
    assert "before training: noise scale" in text
    assert "after training: noise scale" in text
    [noise] = json.loads(fine(*wanted, "-o", "json"))["noise_scale"]
    assert noise["before"]["low"] <= noise["before"]["samples"] <= noise["before"]["high"]


def test_figures_are_drawn(fine, tmp_path):
    pytest.importorskip("matplotlib")
    learning, efficiency = tmp_path / "learning.png", tmp_path / "efficiency.svg"
    fine("--grid", "workload.batch=2,8,32", "--target", 0.8, "--plot", learning, "--axis",
         "samples", "--plot-efficiency", efficiency)  # fmt: skip
    assert learning.read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in efficiency.read_text(encoding="utf-8")


def test_an_interrupt_keeps_what_is_done(run, monkeypatch):
    """The second point is interrupted at its tenth step."""

    class Interrupting:
        def __init__(self, label):
            self.second = "2 of 2" in label

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def __call__(self, done, of):
            if self.second and done == 10:
                raise KeyboardInterrupt

    monkeypatch.setattr(verb, "progress", Interrupting)
    result = run("--grid", "workload.batch=4,8", "--steps", 20, "-o", "json")
    assert result.exit_code == 130
    points = json.loads(result.stdout)["points"]
    assert [one["runs"][0]["steps"][-1] for one in points] == [20, 10]


# --- what makes no sense -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "digit"), "did you mean 'digits'"),
        (("--data", "blobs,feature=6"), "parameter of data set blobs 'feature'"),
        (("--data", "blobs,features"), "expected NAME,KEY=VALUE, got 'features'"),
        (("--data", "digits"), "samples of 64 numbers"),
        (("--distribution", "iid"), "distribution of data 'iid'"),
        (("--concentration", 2), "is for --distribution dirichlet"),
        (("--learning-rate", "fast"), "expected numbers such as 0.1"),
        (("--steps", 3, "--epochs", 1), "steps or epochs, not both"),
        (("--target", 90), "target: expected a number from 0 to 1"),
        (("--axis", "money", "--plot", "a.png"), "unknown axis 'money'"),
        (("--plot", "a.txt"), "ends in .png"),
        (("--plot", "missing/a.png"), "missing/a.png: there is no folder missing"),
        (("--against", "plan.every=3", "--plan", "local-sgd", "--set", "plan.every=3"), "the same"),
        (("--against", "local-sgd", "--against", "local-sgd"), "the same as another"),
        (("--plot-efficiency", "a.png"), "give --target"),
        (("--against", "all-reduce"), "unknown plan 'all-reduce'"),
        (("--against", "local-sgd,every=3"), "unknown parameter 'every' in --against"),
        (("--grid", "plan.evry=1,2", "--plan", "local-sgd"), "parameter of plan local-sgd"),
        (("--set", "workload.training=false"), "does not train"),
    ],
)
def test_what_makes_no_sense_is_said(refused, words, message):
    assert message in refused(*words)


def test_what_a_scenario_file_asserts_is_not_passed_over(app, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('workload = "mlp"\non = "raspberry-pi-4"\nassert = ["step_time_s <= 1 s"]\n',
                    encoding="utf-8")  # fmt: skip
    result = CliRunner().invoke(app, ["cosimulate", "--scenario", str(path)])
    assert result.exit_code == 1
    assert "for predict and sweep" in result.stderr
