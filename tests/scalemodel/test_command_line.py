"""The command: what it prints where, and with which code it exits."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scalemodel.app import make_app
from simulator.version import VERSION
from validation.cases import Case
from validation.suite import Prediction, Suite

DEVICE = "amd-epyc-7742"
MLP = ("mlp", "--on", DEVICE)


@pytest.fixture(scope="module")
def app():
    return make_app()


@pytest.fixture
def run(app):
    def invoke(*words):
        return CliRunner().invoke(app, [str(word) for word in words])

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
    """Run what must fail with this exit code; give the message, and check that it is one line."""

    def invoke(code, *words):
        result = run(*words)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        [message] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        return message

    return invoke


@pytest.fixture
def times(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("p,time_s\n1,10\n2,6.1\n4,4\n8,3\n1,10.2\n", encoding="utf-8")
    return path


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


# --- the whole ---------------------------------------------------------------------------------


def test_the_version_is_printed(fine):
    assert fine("--version") == f"scalemodel {VERSION}\n"


def test_without_arguments_help_is_printed(run):
    assert "predict" in run().stdout


@pytest.mark.parametrize(
    "verb",
    ["list", "show", "predict", "sweep", "cosimulate", "measure", "calibrate", "fit", "compare",
     "trace", "convert", "check-plan", "demo"],
)  # fmt: skip
def test_each_command_has_help_with_examples(fine, verb):
    text = fine(verb, "--help")
    assert "Examples:" in text
    assert f"scalemodel {verb}" in text.partition("Examples:")[2]


def test_each_plot_has_help_with_an_example(fine):
    assert "scalemodel plot" in fine("plot", "--help").partition("Examples:")[2]
    kinds = re.findall(r"^  ([a-z-]+)  +Draw", fine("plot", "--help"), re.MULTILINE)
    drawn = ["speedup", "efficiency", "karp-flatt", "roofline", "timeline", "topology", "accuracy"]
    assert {*drawn} <= {*kinds}
    for kind in kinds:
        assert f"scalemodel plot {kind}" in fine("plot", kind, "--help")


def test_a_prediction_notes_whose_kernels_it_borrows_and_that_no_run_judges_it(fine):
    known, foreign = (fine("predict", "mlp", "--on", name) for name in (
        "nvidia-p100-sxm2-16gb", "google-tpu-v5e"))  # fmt: skip
    assert "note: taken over from nvidia-p100-pcie-16gb, scaled by the datasheets" in known
    assert "no measured run judges this maker's devices" not in known
    assert "no measured run judges this maker's devices" in foreign


def test_a_mistyped_command_is_bad_input_with_the_nearest_name(refused):
    assert "Did you mean 'predict'" in refused(1, "predcit")


def test_an_unknown_option_is_bad_input(refused):
    assert "--no" in refused(1, "predict", "mlp", "--no", DEVICE)


def test_an_option_of_the_wrong_type_is_bad_input(refused):
    assert "--threads" in refused(1, "predict", *MLP, "--threads", "two")


def test_an_unexpected_error_says_how_to_report_it_and_debug_shows_where(run, monkeypatch):
    def broken():
        raise RuntimeError("cosmic ray")

    monkeypatch.setattr("hwmodels.devices.list_devices", broken)
    result = run("list", "devices")
    assert result.exit_code == 1
    assert "unexpected RuntimeError: cosmic ray" in result.stderr
    assert f"version {VERSION}" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in run("list", "devices", "--debug").stderr


def test_an_interruption_exits_with_130(run, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("hwmodels.devices.list_devices", interrupted)
    result = run("list", "devices")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr


# --- list and show -----------------------------------------------------------------------------


def test_a_list_in_json_is_an_array_of_objects_with_name_and_kind(fine):
    found = json.loads(fine("list", "-o", "json"))
    assert all({"name", "kind", "about"} <= record.keys() for record in found)
    kinds = {record["kind"] for record in found}
    assert {"device", "shape", "workload", "plan", "suite", "law"} <= kinds
    assert {"mlp", "resnet50", DEVICE, "threads", "amdahl"} <= {r["name"] for r in found}


@pytest.mark.parametrize("what", ["devices", "shapes", "workloads", "plans", "suites", "laws"])
def test_each_kind_can_be_listed_alone(fine, what):
    found = json.loads(fine("list", what, "-o", "json"))
    assert found
    assert {record["kind"] for record in found} == {what.removesuffix("s")}


def test_names_are_never_cut_however_narrow_the_terminal(fine, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    for record in json.loads(fine("list", "-o", "json")):
        assert re.search(rf"^{re.escape(record['name'])}\s", fine("list"), re.MULTILINE)


def test_what_is_piped_has_neither_colours_nor_padding(fine):
    text = fine("list")
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_a_device_is_shown_with_the_source_of_every_number(fine):
    shown = json.loads(fine("show", DEVICE, "-o", "json"))
    assert shown["kind"] == "device"
    keys = {field["key"]: field for field in shown["fields"]}
    assert keys["cores"]["value"] == 64
    assert keys["memory.bandwidth_bytes_per_s"]["unit"] == "B/s"
    assert all(field["source"]["text"] for field in shown["fields"])
    table = fine("show", DEVICE)
    assert "memory.bandwidth_bytes_per_s" in table
    assert "[1] " in table


@pytest.mark.parametrize(
    ("device", "says"),
    [("amd-epyc-7742", "none of its own; .* numbers come from its nearest relative, "),
     ("nvidia-a100-sxm-80gb", "packaged, of .*gemm .bfloat16.*; other kernels' numbers"),
     ("amd-mi325x", "none of its own; kernels' numbers come from its nearest relatives")],
)  # fmt: skip
def test_a_device_that_nobody_calibrated_says_what_it_is_predicted_by(fine, device, says):
    assert re.search(says, fine("show", device))


def test_a_plan_a_suite_and_a_law_are_shown(fine):
    assert json.loads(fine("show", "threads", "-o", "json"))["parameters"]["plan.threads"] == 1
    assert json.loads(fine("show", "multicore", "-o", "json"))["kind"] == "suite"
    assert "sigma" in fine("show", "usl")


@pytest.mark.parametrize("name", ["this-machine", "epyc-7742", "bert_base"])
def test_other_spellings_and_the_machine_at_hand_are_shown_too(fine, name):
    assert json.loads(fine("show", name, "-o", "json"))["kind"] in ("device", "workload")


def test_the_machine_at_hand_is_listed(fine):
    names = {record["name"] for record in json.loads(fine("list", "devices", "-o", "json"))}
    assert "this-machine" in names


def test_a_name_that_nothing_has_is_bad_input_with_the_nearest_name(refused):
    assert "did you mean 'resnet50'" in refused(1, "show", "resnet5")


def test_a_device_can_be_shown_with_other_fields(fine):
    shown = json.loads(fine("show", DEVICE, "--set", "on.cores=8", "-o", "json"))
    assert {f["key"]: f["value"] for f in shown["fields"]}["cores"] == 8


# --- predict -----------------------------------------------------------------------------------


def test_a_prediction_in_json_carries_value_unit_interval_calibration_seed_and_version(fine):
    found = json.loads(fine("predict", *MLP, "--threads", 2, "--seed", 3, "-o", "json"))
    assert {"value", "unit", "low", "high", "calibration", "seed", "version"} <= found.keys()
    assert (found["metric"], found["unit"], found["seed"]) == ("step_time_s", "s", 3)
    assert found["version"] == VERSION
    assert found["metrics"]["step_time_s"]["value"] == found["value"] > 0
    assert found["metrics"]["peak_memory_bytes"]["unit"] == "B"
    assert found["scenario"]["set"] == {"plan.threads": 2}
    assert found["sources"]


def test_table_json_and_csv_say_the_same(fine):
    document = json.loads(fine("predict", *MLP, "-o", "json"))
    rows = {row["metric"]: row for row in rows_of(fine("predict", *MLP, "-o", "csv"))}
    assert rows.keys() == document["metrics"].keys()
    assert float(rows["step_time_s"]["value"]) == document["value"]
    table = fine("predict", *MLP)
    assert all(re.search(rf"^{re.escape(name)}\s", table, re.MULTILINE) for name in rows)


def test_what_is_unknown_says_so_and_is_null_and_never_zero(fine):
    document = json.loads(fine("predict", *MLP, "-o", "json"))
    assert document["metrics"]["cost"]["value"] is None
    assert re.search(r"^cost +unknown$", fine("predict", *MLP), re.MULTILINE)


def test_threads_is_short_for_a_parameter_of_the_plan(fine):
    short = fine("predict", *MLP, "--threads", 4, "-o", "json")
    assert short == fine("predict", *MLP, "--set", "plan.threads=4", "-o", "json")


def test_parameters_change_workload_and_device(fine):
    def step_s(*settings):
        flags = [word for setting in settings for word in ("--set", setting)]
        return json.loads(fine("predict", *MLP, *flags, "-o", "json"))["value"]

    assert step_s("workload.batch=1024") > step_s("workload.batch=512")
    assert step_s("on.clock.boost_hz=4 GHz") < step_s("on.clock.boost_hz=3.4 GHz")


def test_a_scenario_file_asks_as_the_flags_do(fine, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f'workload = "mlp"\non = "{DEVICE}"\n[set]\nworkload.batch = 8\n', "utf-8")
    flags = fine("predict", *MLP, "--set", "workload.batch=8", "-o", "json")
    assert fine("predict", "--scenario", path, "-o", "json") == flags
    over = json.loads(fine("predict", "--scenario", path, "--threads", 2, "-o", "json"))
    assert over["scenario"]["set"] == {"plan.threads": 2, "workload.batch": 8}


def test_a_bound_that_holds_is_quiet(run):
    result = run("predict", *MLP, "--assert", "step_time_s<=1 h", "--assert", "speedup>=0.5")
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_bound_that_fails_exits_with_3_after_the_payload(run):
    result = run("predict", *MLP, "--assert", "step_time_s<=1 ns", "-o", "json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["value"] > 1e-9
    assert re.search(r"step_time_s <= 1 ns does not hold: it is .* times the limit", result.stderr)


def test_a_bound_on_what_is_unknown_is_bad_input(refused):
    message = refused(1, "predict", *MLP, "--assert", "cost<=5")
    assert "cannot be judged: cost is unknown" in message


def test_what_needs_more_memory_than_there_is_exits_with_2(refused):
    message = refused(2, "predict", *MLP, "--set", "on.memory.size_bytes=1 MB")
    assert "needs" in message
    assert "which has 1 MB" in message


GPU = ("resnet50", "--on", "nvidia-a100-sxm-80gb", "--set", "workload.training=true")


def test_a_batch_that_does_not_fit_is_one_line_that_says_which_would(refused, fine):
    message = refused(2, "predict", *GPU, "--set", f"workload.batch={2**20}")
    largest = re.search(r"largest batch that fits: (\d+)$", message)
    assert largest is not None
    document = json.loads(fine("predict", *GPU, "--largest-batch", "-o", "json"))
    assert document["scenario"]["set"]["workload.batch"] == int(largest[1])


def test_the_largest_batch_and_another_one_are_not_asked_together(refused):
    message = refused(1, "predict", *GPU, "--largest-batch", "--set", "workload.batch=8")
    assert "--largest-batch finds workload.batch, which is given as 8" in message
    message = refused(1, "predict", *GPU, "--largest-batch", "--grid", "workload.dtype=float16")
    assert "--largest-batch for one" in message


def test_where_nothing_fits_there_is_no_largest_batch(refused):
    message = refused(2, "predict", "gpt-175b", "--on", "nvidia-t4", "--largest-batch")
    assert "not even a batch of 1 fits" in message


def test_points_that_do_not_fit_stay_in_the_sweep_with_their_reason(fine):
    found = json.loads(fine("sweep", *GPU, "--grid", f"workload.batch=8,{2**20}", "-o", "json"))
    fits, does_not = found["points"]
    assert fits["step_time_s"] > 0
    assert not fits["reason"]
    assert does_not["step_time_s"] is None
    assert "largest batch that fits" in does_not["reason"]


def test_what_binds_is_explained(fine):
    assert "binds" in fine("predict", *MLP, "--explain")
    document = json.loads(fine("predict", *MLP, "--explain", "-o", "json"))
    resources = {resource["name"] for resource in document["explanation"]["resources"]}
    assert document["explanation"]["binds"] in resources


def test_what_a_step_is_spent_on_adds_up(fine):
    document = json.loads(fine("predict", *MLP, "-o", "json"))
    assert sum(document["breakdown"].values()) == pytest.approx(1.0)
    assert "a step is spent on: compute" in fine("predict", *MLP)


def test_two_machines_are_compared(fine):
    found = json.loads(fine("predict", *MLP, "--against", "raspberry-pi-4", "-o", "json"))
    first, second = (side["value"] for side in found["throughput"])
    assert found["value"] == pytest.approx(first / second)
    assert {"low", "high", "p_faster", "seed", "version"} <= found.keys()
    assert found["against"]["on"] == "raspberry-pi-4"
    assert "times as fast" in fine("predict", *MLP, "--against", "raspberry-pi-4")


@pytest.mark.parametrize("cpu_first", [True, False])
def test_threads_count_on_the_cpu_where_it_is_compared_with_a_gpu(fine, cpu_first):
    first, second = (DEVICE, "nvidia-t4") if cpu_first else ("nvidia-t4", DEVICE)
    found = json.loads(fine("predict", "mlp", "--on", first, "--threads", 4, "--against", second,
                            "-o", "json"))  # fmt: skip
    threads = [found["scenario"]["set"], found["against"]["set"]]
    assert threads[:: 1 if cpu_first else -1] == [{"plan.threads": 4}, {"plan.threads": 1}]


def test_threads_on_gpus_only_are_bad_input(refused):
    words = ("predict", "mlp", "--on", "nvidia-t4", "--threads", 4)
    for more in ((), ("--against", "nvidia-l4")):
        assert "4 threads on 'nvidia-t4', which is driven by one" in refused(1, *words, *more)


def test_two_settings_of_one_machine_are_compared(fine, refused):
    words = ("predict", *MLP, "--threads", 4, "--against", "plan.threads=1")
    found = json.loads(fine(*words, "-o", "json"))
    assert 1 < found["value"] <= 4
    assert found["against"]["set"] == {"plan.threads": 1}
    assert "against" in fine(*words)
    wrong = ("predict", *MLP, "--against", "plan.thread=1")
    assert "did you mean 'threads'" in refused(1, *wrong)


def test_the_length_of_a_job_gives_hours_and_money(fine):
    job = ("--set", "job.steps=1e6", "--set", "job.price_per_hour=3")
    metrics = json.loads(fine("predict", *MLP, *job, "-o", "json"))["metrics"]
    assert metrics["job.money"]["value"] == pytest.approx(3 * metrics["job.hours"]["value"])
    assert metrics["cost"]["value"] == metrics["job.money"]["value"]


CATALOG = Path(__file__).resolve().parents[2] / "hwmodels" / "catalog"


@pytest.fixture
def own_device(tmp_path):
    """Write the catalog's file of the device as the user's own, with one text replaced."""

    def write(old="", new=""):
        text = next(CATALOG.glob(f"*/{DEVICE}.toml")).read_text(encoding="utf-8")
        assert old in text
        path = tmp_path / "mine.toml"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return path

    return write


def test_a_device_file_of_ones_own_is_a_machine(fine, own_device):
    mine = json.loads(fine("predict", "mlp", "--on", own_device(), "-o", "json"))
    assert mine["value"] == json.loads(fine("predict", *MLP, "-o", "json"))["value"]
    assert json.loads(fine("show", own_device(), "-o", "json"))["type"] == "cpu"


def test_a_device_file_beside_a_scenario_file_is_found(fine, own_device, tmp_path):
    own_device()
    path = tmp_path / "asked.toml"
    path.write_text('workload = "mlp"\non = "mine.toml"\n', encoding="utf-8")
    assert json.loads(fine("predict", "--scenario", path, "-o", "json"))["value"] > 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cores", "cors", "cors"),
        ("[", "[[", "TOML"),
    ],
)
def test_a_broken_device_file_is_one_error_that_names_it(refused, own_device, old, new, message):
    path = own_device(old, new)
    found = refused(1, "predict", "mlp", "--on", path)
    assert str(path) in found
    assert message in found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict"], "no workload is named"),
        (["predict", "mlp"], "no machine is named: give --on"),
        (["predict", "mpl", "--on", DEVICE], "unknown workload 'mpl'; did you mean 'mlp'"),
        (["predict", "mlp", "--on", "epyc-774"], "did you mean 'amd-epyc-7742'"),
        (["predict", "mlp", "--on", "none.toml"], "none.toml"),
        (["predict", *MLP, "--plan", "thread"], "unknown plan 'thread'; did you mean 'threads'"),
        (["predict", *MLP, "--plan", "none.py"], "none.py: No such file"),
        (["predict", *MLP, "--set", "workload.bach=2"], "did you mean 'batch'"),
        (["predict", *MLP, "--set", "wrkload.batch=2"], "did you mean 'workload.batch'"),
        (["predict", *MLP, "--set", "workload.batch"], "--set workload.batch: expected NAME=VALUE"),
        (["predict", *MLP, "--set", "workload.batch=0"], "at least 1; got 0"),
        (["predict", *MLP, "--set", "workload.batch=-4"], "at least 1; got -4"),
        (["predict", *MLP, "--set", "workload.batch=nan"], "expected a finite number, got nan"),
        (["predict", *MLP, "--set", "workload.batch=inf"], "expected a finite number, got inf"),
        (["predict", *MLP, "--set", "on.clock.boost_hz=3 GB"], "'3 GB' is not in a unit of hz"),
        (["predict", *MLP, "--threads", 0], "at least 1; got 0"),
        (["predict", *MLP, "--threads", 1000], "1000 threads"),
        (["predict", *MLP, "--threads", 2, "--set", "plan.threads=3"], "threads is given twice"),
        (["predict", *MLP, "--steps", 0], "steps: expected a whole number of at least 1"),
        (["predict", *MLP, "--seed", -1], "seed: expected a whole number of at least 0"),
        (["predict", *MLP, "--assert", "step_time<=1"], "did you mean 'step_time_s'"),
        (["predict", *MLP, "--assert", "step_time_s<=3 GB"], "'3 GB' is not in a unit of s"),
        (["predict", *MLP, "--assert", "fast"], "--assert 'fast': expected METRIC<=LIMIT"),
        (["predict", *MLP, "--minimize", "step_time_s"], "needs --grid"),
        (["predict", *MLP, "--against", "epyc"], "unknown device 'epyc'"),
        (["predict", "--scenario", "none.toml"], "none.toml: No such file"),
        (["sweep", *MLP], "a sweep needs a grid"),
        (["sweep", *MLP, "--grid", "plan.threads=8..1"], "--grid plan.threads=8..1"),
        (["sweep", *MLP, "--grid", "plan.treads=1"], "did you mean 'threads'"),
        (["sweep", *MLP, "--grid", "workload.batch=0,-1"], "no point of the grid makes sense"),
        (["fit", "none.csv"], "none.csv"),
        (["compare"], "compare needs --suite NAME, or --all"),
        (["compare", "--suite", "multicor"], "did you mean 'multicore'"),
        (["compare", "--suite", "multicore", "--cases", "none.csv"], "none.csv"),
        (["convert", "multicor", "a.csv", "--out", "b.csv"], "did you mean 'multicore'"),
        (["convert", "multicore", "none.csv", "--out", "b.csv"], "none.csv"),
        (["check-plan", "none.py"], "none.py: No such file"),
        (["trace", "mlp", "--on", "none"], "unknown device or system 'none'"),
    ],
)  # fmt: skip
def test_bad_input_exits_with_1_and_one_clear_message(
    refused, tmp_path, monkeypatch, words, message
):
    monkeypatch.chdir(tmp_path)
    assert message in refused(1, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_scenario_file_is_one_error_that_names_file_and_key(refused, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('workload = "mlp"\n[set]\nworkload.batch = "many"\n', "utf-8")
    assert "batch must be a number; got 'many'" in refused(
        1, "predict", *MLP[1:], "--scenario", path
    )
    path.write_text("wrkload = 3", "utf-8")
    assert f"{path}: unknown key 'wrkload'" in refused(1, "predict", "--scenario", path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--assert", "nosuch<=1"], "unknown metric 'nosuch'"),
        (["--assert", "cost<=1"], "cannot be judged: cost is unknown here"),
        (["--grid", "plan.threads=1,2", "--assert", "nosuch<=1"], "unknown metric 'nosuch'"),
        (["--grid", "plan.threads=1,2", "--assert", "cost<=1"], "cost is unknown here"),
        (["--grid", "plan.threads=1,2", "--minimize", ""], "unknown metric ''"),
    ],
)
def test_a_bound_that_cannot_be_judged_is_refused_before_anything_is_printed(run, words, message):
    result = run("predict", *MLP, *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr


def test_a_metric_that_is_none_is_refused_before_the_sweep(refused, monkeypatch):
    monkeypatch.setattr("validation.what_if.WhatIf.many", lambda *_: pytest.fail("it was swept"))
    words = ("sweep", *MLP, "--grid", "plan.threads=1,2")
    assert "unknown metric 'speed'" in refused(1, *words, "--minimize", "speed")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", *MLP, "--threads", 2, "--set", "plan.threads=3"], "plan.threads is given twi"),
        (["predict", *MLP, "--against", DEVICE, "--against", "this-machine"], "on is given twice"),
        (["predict", *MLP, "--against", DEVICE, "--explain"], "--against compares two"),
        (["sweep", *MLP, "--grid", "steps=1,2", "--grid", "steps=3,4"], "steps is given twice"),
        (["sweep", *MLP, "--grid", "steps=1,2", "--steps", 3], "both a value (3) and a grid"),
        (["show", "mlp", "--set", "workload.batch=1", "--set", "workload.batch=2"], "given twice"),
        (["show", "amdahl", "--set", "plan.threads=2"], "a law has no parameters to set"),
        (["measure", "mlp", "--set", "workload.batch=1", "--set", "workload.batch=2"], "twice"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(refused, words, message):
    assert message in refused(1, *words)


def test_a_value_from_a_flag_takes_the_place_of_a_grid_in_a_file(fine, refused, tmp_path):
    path = tmp_path / "mine.toml"
    text = "workload = 'mlp'\non = 'amd-epyc-7742'\n[grid]\nplan.threads = [1, 2]\n"
    path.write_text(text, encoding="utf-8")
    assert "points" in json.loads(fine("predict", "--scenario", path, "-o", "json"))
    one = json.loads(fine("predict", "--scenario", path, "--threads", 4, "-o", "json"))
    assert one["scenario"]["set"] == {"plan.threads": 4}
    assert "a sweep needs a grid" in refused(1, "sweep", "--scenario", path, "--threads", 4)


# --- sweep -------------------------------------------------------------------------------------


def test_a_sweep_prints_a_row_a_point(fine):
    words = ("sweep", *MLP, "--grid", "plan.threads=1,2", "--grid", "workload.batch=8..64*2")
    rows = rows_of(fine(*words, "-o", "csv"))
    assert len(rows) == 8
    document = json.loads(fine(*words, "-o", "json"))
    assert [p["step_time_s"] for p in document["points"]] == [float(r["step_time_s"]) for r in rows]
    assert {"seed", "version", "scenario", "grid"} <= document.keys()
    assert "step_time_s" in fine(*words)


def test_a_sweeps_title_says_what_all_points_have_in_common(fine):
    words = ("sweep", "mlp", "--set", "workload.batch=8", "--grid")
    one, many = (
        fine(*words, "plan.threads=1,2", "--on", "raspberry-pi-4"),
        fine(*words, "on=raspberry-pi-4,t4"),
    )
    assert one.startswith("mlp on raspberry-pi-4, plan threads, workload.batch=8\n")
    assert many.startswith("mlp on each, plan threads, workload.batch=8\n")


def test_points_that_cannot_be_stay_with_their_reason(fine):
    words = ("sweep", *MLP, "--grid", "plan.threads=1,1000", "-o", "csv")
    rows = rows_of(fine(*words))
    assert rows[0]["reason"] == ""
    assert "1000 threads" in rows[1]["reason"]


def test_the_best_point_is_printed_alone(fine):
    words = ("--grid", "plan.threads=1..4", "--minimize", "step_time_s", "-o", "json")
    for verb in ("sweep", "predict"):
        best = json.loads(fine(verb, *MLP, *words))["best"]
        assert best["plan.threads"] == 4


def test_the_best_point_keeps_the_bounds_and_none_exits_with_3(fine, refused):
    words = ("sweep", *MLP, "--grid", "plan.threads=1..4", "--minimize", "step_time_s")
    best = json.loads(fine(*words, "--assert", "speedup<=2.5", "-o", "json"))["best"]
    assert best["plan.threads"] == 2
    assert "at no point of the grid" in refused(3, *words, "--assert", "speedup>=100")


def test_a_bound_must_hold_at_every_point(refused):
    words = ("sweep", *MLP, "--grid", "plan.threads=1..4", "--assert", "speedup>=1.5")
    assert "1 of 4 points break a bound; the first is row 1" in refused(3, *words)


def test_an_interrupted_sweep_continues_and_says_what_is_kept(run, fine, tmp_path, monkeypatch):
    from validation.what_if import WhatIf

    words = ("sweep", *MLP, "--grid", "workload.batch=1..40", "--out", tmp_path / "r", "-o", "csv")
    whole, many, count = fine(*words[:-4], "-o", "csv"), WhatIf.many, []

    def interrupted(self, scenarios):
        count.append(len(scenarios))
        if sum(count) > 10:
            raise KeyboardInterrupt
        return many(self, scenarios)

    monkeypatch.setattr(WhatIf, "many", interrupted)
    result = run(*words)
    assert result.exit_code == 130
    assert f"what is done is kept in {tmp_path / 'r'}" in result.stderr
    assert result.stdout == ""
    monkeypatch.setattr(WhatIf, "many", many)
    assert fine(*words) == whole


# --- measure -----------------------------------------------------------------------------------


def test_a_workload_is_measured_by_number_of_threads(fine):
    pytest.importorskip("torch")
    words = ("measure", "mlp", "--set", "workload.batch=2", "--budget", 0.05)
    found = json.loads(fine(*words, "-o", "json"))
    assert {"value", "unit", "low", "high", "seed", "version", "machine"} <= found.keys()
    assert found["low"] <= found["value"] <= found["high"]
    assert found["parameters"]["batch"] == 2
    [row] = rows_of(fine(*words, "-o", "csv"))
    assert row["p"] == "1"
    assert float(row["time_s"]) > 0
    assert row["energy_j"] == "" or float(row["energy_j"]) > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mpl"], "did you mean 'mlp'"),
        (["mlp", "--threads", "0"], "--threads 0: expected whole numbers of at least 1"),
        (["mlp", "--threads", "1.5"], "--threads 1.5: expected whole numbers"),
        (["mlp", "--threads", "true"], "--threads true: expected whole numbers"),
        (["mlp", "--threads", ""], "--threads : expected values such as 1,2,4"),
        (["mlp", "--threads", "100000"], "--threads: this machine has"),
        (["mlp", "--set", "on.cores=2"], "only workload.* can be set"),
        (["mlp", "--set", "workload.batch=0"], "at least 1; got 0"),
        (["mlp", "--seed", 2**63], "seed: torch takes seeds below 2**63"),
    ],
)
def test_what_cannot_be_measured_is_bad_input(refused, words, message):
    assert message in refused(1, "measure", *words)


def test_a_step_that_this_machine_cannot_hold_is_not_tried(refused):
    message = refused(2, "measure", "gpt-175b")
    assert "gpt-175b needs 699.3 GB; this machine has" in message


# --- fit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("law", "names"),
    [
        ("amdahl", {"time_1_s", "serial_fraction"}),
        ("usl", {"time_1_s", "contention", "coherency"}),
        ("ernest", {"parallel_s", "serial_s", "tree_s", "per_processor_s"}),
    ],
)
def test_a_law_is_fitted_with_intervals(fine, times, law, names):
    found = json.loads(fine("fit", times, "--law", law, "--at", "16..64*2", "-o", "json"))
    assert found["parameters"].keys() == names
    assert [p["p"] for p in found["predictions"]] == [16, 32, 64]
    for figure in (*found["parameters"].values(), *found["predictions"]):
        assert {"value", "unit", "low", "high"} <= figure.keys()
    assert found["version"] == VERSION


def test_a_fit_says_the_same_as_a_table_and_as_csv(fine, times):
    rows = rows_of(fine("fit", times, "-o", "csv"))
    assert [row["name"] for row in rows] == ["time_1_s", "serial_fraction"]
    assert "serial_fraction" in fine("fit", times)


def test_too_few_points_are_warned_of_on_stderr(run, tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("p,time_s\n1,10\n2,6\n", encoding="utf-8")
    result = run("fit", path)
    assert result.exit_code == 0
    assert "warning: only 2 distinct p" in result.stderr


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("p,time_s\n", [], "at least one row"),
        ("p,seconds\n1,2\n", [], "time_s"),
        ("p,time_s\n1,nan\n2,3\n", [], "line 2, column time_s"),
        ("p,time_s\n0,1\n2,3\n", [], "line 2, column p"),
        ("p,time_s\n1,10\n2,6\n", ["--law", "uls"], "did you mean 'usl'"),
        ("p,time_s\n1,10\n2,6\n", ["--at", "0"], "--at 0: expected numbers of at least 1"),
        ("p,time_s\n1,10\n2,6\n", ["--at", "many"], "--at many: expected numbers"),
        ("p,time_s\n1,10\n2,6\n", ["--at", "true"], "--at true: expected numbers"),
        ("p,time_s\n1,10\n2,6\n", ["--at", ""], "--at : expected values such as 1,2,4"),
    ],
)
def test_points_that_cannot_be_fitted_are_bad_input(refused, tmp_path, text, flags, message):
    path = tmp_path / "times.csv"
    path.write_text(text, encoding="utf-8")
    assert message in refused(1, "fit", path, *flags)


# --- compare and convert -----------------------------------------------------------------------


@pytest.fixture
def live_suite(monkeypatch):
    """Be a suite that measures this machine, which takes no time."""

    def case(number):
        return Case(suite="toy", group="a", settings={"workload": f"w{number}"}, metric="time_s",
                    measured=1.0 + number, unit="s", source="here", licence="own")  # fmt: skip

    def predict(cases, calibration):
        return [Prediction(1.1 * one.measured, one.measured, 2 * one.measured) for one in cases]

    def measure(say):
        say("measuring toys")
        return [case(number) for number in range(3)]

    suite = Suite(name="toy", summary="toys", predict=predict, measure=measure)
    monkeypatch.setattr("validation.suite.find_suite", lambda name: suite)
    monkeypatch.setattr("validation.suite.list_suites", lambda: ["toy"])
    monkeypatch.setattr("validation.accuracy.find_suite", lambda name: suite)
    monkeypatch.setattr("validation.accuracy.list_suites", lambda: ["toy"])
    return suite


def test_a_comparison_gives_errors_of_the_model_and_of_baselines(fine):
    report = json.loads(fine("compare", "--suite", "multicore", "-o", "json"))
    assert {"suite", "version", "splits", "cases"} <= report.keys()
    held_out = report["splits"]["held_out"]
    assert {"n", "skipped", "mape_pct", "coverage_90_pct", "groups", "baselines"} <= held_out.keys()
    rows = rows_of(fine("compare", "--suite", "multicore", "--split", "held_out", "-o", "csv"))
    [whole] = [row for row in rows if (row["by"], row["group"]) == ("scalemodel", "all")]
    assert float(whole["mape_pct"]) == held_out["mape_pct"]
    assert {row["split"] for row in rows} == {"held_out"}
    alone = rows_of(fine("compare", "--suite", "multicore", "--no-baselines", "-o", "csv"))
    assert {row["by"] for row in alone} == {"scalemodel"}


def test_a_suite_that_measures_this_machine_measures_it_and_keeps_what_it_measured(
    run, live_suite, tmp_path
):
    cases = tmp_path / "measured.csv"
    result = run("compare", "--suite", "toy", "--out", cases, "-o", "json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["splits"]["held_out"]["mape_pct"] == pytest.approx(10)
    assert "measuring toys" in result.stderr
    again = run("compare", "--suite", "toy", "--cases", cases, "-o", "json")
    assert json.loads(again.stdout) == report
    assert "measuring" not in again.stderr


def test_all_suites_give_the_accuracy_report_and_live_ones_only_where_asked(
    fine, live_suite, tmp_path
):
    out = tmp_path / "ACCURACY.md"
    assert fine("compare", "--all", "--out", out) == ""
    assert "## Live suites" not in out.read_text(encoding="utf-8")
    fine("compare", "--all", "--live", "--out", out)
    text = out.read_text(encoding="utf-8")
    assert "### toy" in text.partition("## Live suites")[2]
    assert "Measured on " in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--suite", "multicore", "--all"], "--suite NAME, or --all"),
        (["--all", "--split", "held_out"], "--split, --no-baselines and --output belong to"),
        (["--all", "-o", "json"], "--all writes one report of everything"),
        (["--all", "--out", "."], "expected a file to write, got a folder"),
        (["--suite", "multicore", "--live"], "--live belongs to --all"),
        (["--suite", "multicore", "--out", "a.csv"], "nothing is measured here"),
        (["--suite", "multicore", "--split", "held-out"], "did you mean 'held_out'"),
    ],
)
def test_what_cannot_be_compared_is_bad_input(refused, words, message):
    assert message in refused(1, "compare", *words)


RAW = Path(__file__).resolve().parents[3] / "shared" / "measured" / "classic_ml_scaling.csv"


@pytest.mark.skipif(not RAW.is_file(), reason="the raw table is not here")
def test_a_raw_table_becomes_a_case_file_and_what_is_left_out_is_counted(run, fine, tmp_path):
    cases = tmp_path / "cases.csv"
    result = run("convert", "multicore", RAW, "--out", cases)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "out of scope:" in result.stderr
    report = json.loads(fine("compare", "--suite", "multicore", "--cases", cases, "-o", "json"))
    assert report["cases"]


def test_a_table_that_a_suite_does_not_know_is_named_and_nothing_is_written(
    refused, times, tmp_path
):
    out = tmp_path / "cases.csv"
    message = refused(1, "convert", "multicore", times, "--out", out)
    assert message.startswith(f"error: {times}: ")
    assert "lacks the columns" in message
    assert not out.exists()


# --- trace and plot ----------------------------------------------------------------------------


def test_a_trace_has_a_span_for_each_op(fine, tmp_path):
    events = json.loads(fine("trace", *MLP))["traceEvents"]
    names = [event["name"] for event in events if event["ph"] == "X"]
    assert "relu" in names
    out = tmp_path / "trace.json"
    assert fine("trace", *MLP, "--out", out) == ""
    assert json.loads(out.read_text(encoding="utf-8"))["traceEvents"] == events


def test_a_trace_into_a_folder_is_bad_input(refused, tmp_path):
    assert "got a folder" in refused(1, "trace", *MLP, "--out", tmp_path)


@pytest.mark.parametrize("kind", ["speedup", "efficiency", "karp-flatt"])
def test_measured_times_are_drawn(fine, times, tmp_path, kind):
    out = tmp_path / "picture.png"
    assert fine("plot", kind, times, "--out", out).strip() == str(out)
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["roofline", "timeline"])
def test_a_workload_is_drawn(fine, tmp_path, kind):
    out = tmp_path / "picture.svg"
    fine("plot", kind, *MLP, "--threads", 2, "--out", out)
    assert "<svg" in out.read_text(encoding="utf-8")


def test_a_network_is_drawn_by_its_shape_or_from_a_file(fine, refused, tmp_path):
    out, file = tmp_path / "network.png", tmp_path / "network.toml"
    rate = "wire.bandwidth_bytes_per_s=10 Gbit/s"
    fine("plot", "topology", "fat_tree", "--set", "k=4", "--set", rate, "--out", out)
    assert out.read_bytes().startswith(b"\x89PNG")
    file.write_text('shape = "star"\nwire.bandwidth_bytes_per_s = 1e9\n', encoding="utf-8")
    fine("plot", "topology", file, "--set", "devices=3", "--out", out)
    assert "star: needs devices" in refused(1, "plot", "topology", file)
    assert "did you mean 'fat_tree'" in refused(1, "plot", "topology", "fat-tree")
    assert "expected NAME=VALUE" in refused(1, "plot", "topology", "star", "--set", "devices")


def test_a_shape_shows_what_it_needs_to_be_drawn(fine):
    shown = json.loads(fine("show", "leaf_spine", "-o", "json"))
    assert shown["parameters"]["wire.bandwidth_bytes_per_s"] == "needed"
    assert "oversubscription" in fine("show", "leaf_spine")


def test_a_comparison_is_drawn(fine, refused, tmp_path):
    report, out = tmp_path / "report.json", tmp_path / "accuracy.png"
    case = {"measured": 1.0, "predicted": 1.1, "low": 0.9, "high": 1.3, "unit": "s",
            "group": "a", "split": "held_out"}  # fmt: skip
    report.write_text(json.dumps({"suite": "toy", "cases": [case] * 3}), encoding="utf-8")
    fine("plot", "accuracy", report, "--out", out)
    assert out.is_file()
    wrong = ("--split", "calibrated_on")
    assert "no predicted case that is calibrated_on" in refused(
        1, "plot", "accuracy", report, *wrong
    )
    report.write_text(json.dumps({"suite": "toy", "cases": []}), encoding="utf-8")
    assert "holds no predicted case" in refused(1, "plot", "accuracy", report)
    for broken in ({**case, "low": "much"}, {**case, "group": {}}, {**case, "measured": None}):
        report.write_text(json.dumps({"suite": "toy", "cases": [broken]}), encoding="utf-8")
        assert "is no report" in refused(1, "plot", "accuracy", report)
    report.write_text("[1]", encoding="utf-8")
    assert "is no report" in refused(1, "plot", "accuracy", report)
    report.write_text("{", encoding="utf-8")
    assert "expected a report in JSON" in refused(1, "plot", "accuracy", report)


def test_a_picture_in_another_format_is_bad_input_and_leaves_no_file(refused, times, tmp_path):
    assert ".png, .svg, .pdf" in refused(1, "plot", "speedup", times, "--out", tmp_path / "a.gif")
    assert [path.name for path in tmp_path.iterdir()] == ["times.csv"]


# --- plans of one's own ------------------------------------------------------------------------

OWN = """
from simulator.protocols import Placement

class Mine:
    def __init__(self, period=1):
        self.period = period
    def place(self, machine):
        return Placement((0,), (1,))
    def copies(self, ranks):
        return None
    def program(self, rank, job):
        for _ in range(job.steps):
            yield rank.compute(job.works["step"])
            yield rank.sleep(0.5 * self.period)
"""


@pytest.fixture
def own_plan(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN, encoding="utf-8")
    return path


def test_a_plan_of_ones_own_is_run_and_that_is_said(run, own_plan):
    words = ("predict", *MLP, "--plan", own_plan, "--set", "plan.period=2", "-o", "json")
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert f"running the code of {own_plan}" in result.stderr
    assert json.loads(result.stdout)["value"] > 1.0


def test_a_plan_of_ones_own_can_be_swept(fine, own_plan):
    grid = ("--grid", "workload.batch=1,2", "-o", "csv")
    rows = rows_of(fine("sweep", *MLP, "--plan", own_plan, *grid))
    assert all(float(row["step_time_s"]) > 0.5 for row in rows)


def test_a_plan_that_keeps_the_contract_is_fine(fine, own_plan):
    found = json.loads(fine("check-plan", own_plan, "--ranks", "1,3", "--no-gloo", "-o", "json"))
    assert [(v["devices"], v["verdict"]) for v in found] == [(1, "fine"), (3, "fine")]


def test_a_plan_that_breaks_the_contract_exits_with_1_and_says_why(run, own_plan):
    own_plan.write_text(OWN.replace("rank.sleep(0.5 * self.period)", "rank.recv(job.grad)"))
    result = run("check-plan", own_plan)
    assert result.exit_code == 1
    assert "broken" in result.stdout
    assert "error: " in result.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "exactly one class"),
        (OWN + OWN.replace("Mine", "Other"), "exactly one class"),
        ("plan = 3", "int lacks the method place"),
        ("def f(:", "line 1: SyntaxError"),
        ("x = 1\n1 / 0", "line 2: ZeroDivisionError"),
        ("import sys\nsys.exit(0)", "line 2: SystemExit: 0"),
        ("x = 1\0", "mine.py: SyntaxError"),
        (OWN.replace("self.period = period", "raise ValueError('no')"), "line 6: ValueError: no"),
        (OWN.replace("Placement((0,), (1,))", "Placement((), ())"), "judged on none of --ranks"),
    ],
)
def test_a_file_that_defines_no_plan_is_bad_input(refused, own_plan, text, message):
    own_plan.write_text(text, encoding="utf-8")
    assert message in refused(1, "check-plan", own_plan)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rank.sleep(0.5 * self.period)", "1 / 0", "line 14: ZeroDivisionError: division by zero"),
        ('job.works["step"]', 'job.works["stop"]', "line 13: KeyError: 'stop'"),
        ("rank, job)", ")", "TypeError: Mine.program() takes 1 positional argument but 3"),
        ("return Placement((0,), (1,))", "raise SystemExit(0)", "line 8: SystemExit: 0"),
    ],
)
@pytest.mark.parametrize("grid", [[], ["--grid", "workload.batch=1,2"]])
def test_what_a_plan_of_ones_own_raises_is_its_mistake_and_not_ours(
    refused, own_plan, monkeypatch, grid, old, new, message
):
    monkeypatch.chdir(own_plan.parent)
    own_plan.write_text(OWN.replace(old, new), encoding="utf-8")
    error = refused(1, "predict", *MLP, "--plan", own_plan.name, *grid)
    assert error.startswith(f"error: {own_plan.name}: ")
    assert message in error


def test_what_a_plan_of_ones_own_prints_is_no_payload(run, own_plan):
    own_plan.write_text(OWN.replace("        for _", "        print('hi')\n        for _"))
    result = run("predict", *MLP, "--plan", own_plan, "-o", "json")
    assert json.loads(result.stdout)["value"] > 0
    assert "hi" in result.stderr


def test_a_missing_file_of_a_plan_is_not_said_to_be_run(run, tmp_path):
    for path in (tmp_path / "none.py", tmp_path):
        result = run("check-plan", path)
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("ranks", ["0", "1.5", "many", "true"])
def test_numbers_of_devices_are_whole_and_read_before_any_code_is_run(run, own_plan, ranks):
    result = run("check-plan", own_plan, "--ranks", ranks)
    assert result.exit_code == 1
    assert result.stderr == f"error: --ranks {ranks}: expected whole numbers of at least 1\n"


def test_no_more_devices_are_tried_than_a_mistake_needs_to_show(refused, own_plan):
    assert "at most 256 devices are tried" in refused(1, "check-plan", own_plan, "--ranks", "2,999")


def test_parameters_that_a_plan_does_not_take_are_bad_input(refused, own_plan):
    words = ("check-plan", own_plan, "--set", "plan.peroid=2")
    assert "unexpected keyword argument 'peroid'" in refused(1, *words)
