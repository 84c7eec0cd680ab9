"""Suite scaling: its converter, its model against the simulation, its stages and its promises."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simulator.errors import InputError
from validation.cases import read_table
from validation.compare import compare
from validation.suite import Prediction, Skip, find_suite
from validation.suites.scaling.baselines import fit_baselines, only, pollux_s, usl_s
from validation.suites.scaling.convert import convert
from validation.suites.scaling.fits import fit, predicted_s
from validation.suites.scaling.model import step_s
from validation.suites.scaling.parameters import fit_numbers, numbers_of
from validation.suites.scaling.runs import runs_of
from validation.suites.scaling.simulated import simulated_s
from validation.suites.scaling.stages import devices, stage_of
from validation.suites.scaling.suite import SUITE, groups, predict

RAW = Path("../shared/measured")
TRACES = "aws-g4dn.12xlarge"
ORIGIN = {"source": "somewhere", "licence": "MIT"}
ROW = {
    "app": "bert", "cluster": "aws", "n_nodes": "3", "n_gpus": "7", "gpus_per_node_digits": "124",
    "per_gpu_batch_size": "8.0", "step_time_s": "1.5", **ORIGIN,
}  # fmt: skip
GAVEL = {
    "gpu": "K80", "placement": "unconsolidated", "model": "LM", "per_gpu_batch_size": "5.0",
    "n_gpus": "4", "throughput_steps_per_s_cluster": "32", "status": "ok", **ORIGIN,
}  # fmt: skip
CASES = SUITE.cases()
CALIBRATION = SUITE.calibration()


def case(**changes):
    (found,) = convert([{**ROW, **changes}]).cases
    return found


def stage(one):
    """Return the packaged stage that predicts a case, and its number of devices."""
    found = stage_of(CALIBRATION["systems"], one)
    assert found is not None
    return found


def test_a_row_of_the_traces_becomes_a_case_on_the_machines_they_were_taken_on():
    assert case().settings == {
        "workload": "bert", "workload.batch": 8.0, "on": TRACES, "on.devices": 7.0,
        "on.nodes": 3.0, "on.placement": 124.0, "plan": "data-parallel",
    }  # fmt: skip
    assert (case().metric, case().unit, case().measured) == ("step_time_s", "s", 1.5)


def test_other_clusters_of_the_same_columns_keep_their_name():
    assert case(cluster="dgx").text("on") == "dgx"


@pytest.mark.parametrize(("digits", "nodes", "devices", "most"), [
    ("124", 3, 7, 4), ("11", 2, 2, 1), ("4.0", 1, 4, 4), ("", 6, 16, 3), ("", 16, 16, 1),
])  # fmt: skip
def test_the_fullest_node_is_read_or_else_devices_are_spread_evenly(digits, nodes, devices, most):
    row = {"n_nodes": f"{nodes}", "n_gpus": f"{devices}", "gpus_per_node_digits": digits}
    assert runs_of([case(**row)]).most == [most]


@pytest.mark.parametrize("digits", ["12", "1123", "223x", "1234567", "-1", "1.5"])
def test_placements_that_contradict_the_counts_are_out_of_scope(digits):
    found = convert([ROW, {**ROW, "gpus_per_node_digits": digits}])
    assert len(found.cases) == 1
    assert dict(found.out_of_scope) == {"the devices on each node contradict their number": 1}


@pytest.mark.parametrize("name", ["on.devices", "on.nodes", "on.placement"])
@pytest.mark.parametrize("count", [0.0, -1.0, 1.5, math.nan, 1e30])
def test_no_case_has_part_of_a_device(name, count):
    one = case()
    with pytest.raises(InputError, match=f"'{name}' must be a whole number from 1 to"):
        runs_of([replace(one, settings={**one.settings, name: count})])


@pytest.mark.parametrize("column", ["n_nodes", "n_gpus", "per_gpu_batch_size", "step_time_s"])
def test_a_number_that_is_none_names_row_and_column(column):
    with pytest.raises(InputError, match=f"row 2, column {column}"):
        convert([{**ROW, column: "many"}])


def test_gavels_throughput_counts_the_steps_of_all_devices():
    (found,) = convert([GAVEL]).cases
    assert found.measured == pytest.approx(4 / 32)
    assert (found.number("on.devices"), found.number("on.nodes")) == (4, 4)
    (found,) = convert([{**GAVEL, "placement": "consolidated"}]).cases
    assert found.number("on.nodes") == 1


@pytest.mark.parametrize(("change", "reason"), [
    ({"status": "unsupported_or_OOM(0)"}, "status unsupported_or_OOM(0)"),
    ({"per_gpu_batch_size": ""}, "the batch is not said"),
    ({"placement": "anywhere"}, "placement anywhere"),
])  # fmt: skip
def test_rows_out_of_scope_are_counted_by_reason(change, reason):
    found = convert([GAVEL, {**GAVEL, **change}])
    assert (len(found.cases), dict(found.out_of_scope)) == (1, {reason: 1})


def test_a_table_without_the_columns_is_refused():
    with pytest.raises(InputError, match="one of the columns step_time_s"):
        convert([{"time": "1"}])


@pytest.mark.skipif(not RAW.exists(), reason="the raw tables are not here")
def test_the_packaged_cases_are_those_of_the_tables():
    names = ("pollux_sia_throughputs.csv", "gavel_throughputs.csv")
    found = [one for name in names for one in convert(read_table(RAW / name)).cases]
    assert {one.case_id: one.measured for one in found} == {
        one.case_id: one.measured for one in CASES
    }


def test_packaged_cases_are_few_thousand_and_all_predicted():
    assert len(CASES) < 4000
    answers = predict(CASES, CALIBRATION)
    assert len(answers) == len(CASES)
    for one in answers:
        assert isinstance(one, Prediction)
        assert (one.low or 0) < one.value < (one.high or 0)


EQUAL_NODES = [
    (1, 1), (1, 2), (1, 4), (2, 2), (2, 8), (3, 9), (4, 16), (6, 6), (8, 16), (16, 16), (16, 64),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "count"), EQUAL_NODES)
@pytest.mark.parametrize("app", ["bert", "cifar10", "imagenet", "yolov3"])
def test_the_simulation_of_events_gives_what_the_closed_form_does(app, nodes, count):
    one = case(app=app, n_nodes=f"{nodes}", n_gpus=f"{count}", gpus_per_node_digits="")
    _, numbers = stage(one)
    (closed,) = predicted_s(numbers, [one])
    assert simulated_s(numbers, one) == pytest.approx(closed, rel=2e-3)


def test_only_equal_nodes_are_simulated():
    _, numbers = stage(case())
    with pytest.raises(InputError, match="equally many devices"):
        simulated_s(numbers, case())


def grown(one, count):
    """Return the case on more devices, on 16 nodes."""
    places = {"on.devices": float(count), "on.nodes": 16.0}
    settings = {name: value for name, value in one.settings.items() if name != "on.placement"}
    return replace(one, settings=settings | places)


@pytest.mark.parametrize(("count", "known"), [(1, 8), (8, 8), (9, 8), (16, 8), (17, 16), (64, 16)])
def test_a_run_is_predicted_by_the_stage_that_knows_most_of_the_smaller_runs(count, known):
    most, _ = stage(grown(case(), count))
    assert most == known


def test_only_what_the_first_stage_was_fitted_on_counts_as_fitted():
    fitted = set(CALIBRATION["case_ids"])
    for one in CASES:
        first = min(map(int, CALIBRATION["systems"][one.text("on")]))
        assert (one.case_id in fitted) == (devices(one) <= first)


def test_what_was_never_fitted_is_skipped():
    for change in ({"app": "gpt-5"}, {"cluster": "moon"}):
        (answer,) = predict([case(**change)], CALIBRATION)
        assert isinstance(answer, Skip)
        for baseline in SUITE.baselines.values():
            (answer,) = baseline([case(**change)], CALIBRATION)
            assert isinstance(answer, Skip)


def made(count=16):
    """Return cases that the model made itself, of one application, on up to so many devices."""
    runs = [
        case(app="imagenet", n_nodes=f"{nodes}", n_gpus=f"{nodes * most}", gpus_per_node_digits="",
             per_gpu_batch_size=f"{batch}", cluster="made")
        for nodes in (1, 2, 3, 4, 6) for most in (1, 2, 4) for batch in (20, 60, 200)
    ]  # fmt: skip
    times = predicted_s(CALIBRATION["systems"][TRACES]["8"], runs)
    return [replace(one, measured=float(time_s)) for one, time_s in zip(runs, times, strict=True)
            if devices(one) <= count]  # fmt: skip


def test_a_fit_finds_the_times_that_the_model_made_and_those_beyond():
    few, every = runs_of(made(8)), runs_of(made(24))
    tables = fit_numbers(few)
    # So few runs tell little of a network, of which the fit then thinks what it thought before.
    assert step_s(numbers_of(tables, few), few) == pytest.approx(few.measured_s, rel=0.05)
    assert step_s(numbers_of(tables, every), every) == pytest.approx(every.measured_s, rel=0.1)


def test_fits_are_alike_every_time():
    assert fit_numbers(runs_of(made(8))) == fit_numbers(runs_of(made(8)))


def test_runs_beyond_the_largest_stage_are_never_fitted():
    tables = fit(made(24))
    assert list(tables["systems"]["made"]) == ["8", "16"]
    assert fit(made(16)) == tables


def test_a_table_without_small_runs_has_the_stages_that_it_can():
    large = [one for one in made(16) if devices(one) > 8]
    tables = fit(large)
    assert list(tables["systems"]["made"]) == ["16"]
    assert set(tables["case_ids"]) == {one.case_id for one in large}


def test_a_table_of_large_runs_only_cannot_be_fitted():
    with pytest.raises(InputError, match="no case of 16 devices or fewer"):
        fit([grown(case(), 32)])


def test_baselines_find_numbers_that_made_the_times():
    runs = runs_of(made(16))
    truth = np.array([0.1, 0.004, 0.05, 0.01, 0.2, 0.02, 3.0])
    times = pollux_s(truth, runs)
    known = replace(runs, measured_s=times)
    found = np.array(fit_baselines(known)["pollux"]["imagenet"])
    assert pollux_s(found, runs) == pytest.approx(times, rel=0.01)
    law = replace(runs, measured_s=usl_s(np.array([0.1, 0.004, 0.05, 0.001]), runs))
    found = np.array(fit_baselines(law)["usl"]["imagenet"])
    assert usl_s(found, runs) == pytest.approx(law.measured_s, rel=0.01)


def test_some_of_the_runs_keep_their_order():
    runs = runs_of(made(4))
    assert list(only(runs, runs.nodes == 1).batch) == list(runs.batch[runs.nodes == 1])


@pytest.fixture(scope="module")
def report():
    return compare(SUITE, CASES, CALIBRATION).report()["splits"]


def test_runs_are_within_the_promised_errors_and_better_than_every_baseline(report):
    inside = report["calibrated_on"]["groups"][TRACES]
    beyond = report["held_out"]["groups"][TRACES]
    assert inside["mape_pct"] <= 7
    assert beyond["mape_pct"] <= 7
    for figures in (inside, beyond):
        for baseline in figures["baselines"].values():
            assert figures["mape_pct"] < baseline["mape_pct"]


def test_groups_say_system_application_and_how_far_a_run_is_out():
    assert list(groups(grown(case(), 32))) == [
        TRACES, f"{TRACES}, bert", f"{TRACES}, 17 to 64 devices", f"{TRACES}, 5 nodes and more",
    ]  # fmt: skip


def test_the_suite_is_found_by_its_name():
    assert find_suite("scaling") is SUITE
