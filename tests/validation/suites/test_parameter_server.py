"""Suite parameter-server: its converters, what comes out of its simulations, and what is fitted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from simulator.errors import InputError
from validation.cases import read_table
from validation.compare import compare
from validation.suite import Prediction, Skip
from validation.suites.parameter_server import google, mxnet
from validation.suites.parameter_server.baselines import bound, ideal
from validation.suites.parameter_server.clusters import Exchange, step_s
from validation.suites.parameter_server.convert import BACKUP, MXNET, NULL, convert
from validation.suites.parameter_server.splits import curve_of, is_fitted, is_given
from validation.suites.parameter_server.suite import SUITE, groups, predict

RAW = Path("../shared/measured")
TABLES = ("ps_scaling.csv", "tf_scaling.csv")
SERVED = {
    "system": "MXNet KVStore dist_device_sync", "application": "resnet-152 bs/GPU 32, model 240 MB",
    "n_workers": "64", "n_servers": "", "hardware": "AWS p2.16xlarge K80, 16 GPUs/node",
    "metric": "throughput", "value": "1000", "unit": "images/s", "note": "weak scaling",
    "source": "there", "licence": "MIT",
}  # fmt: skip
TRAINED = {
    "platform": "Google internal shared cluster", "gpu": "none", "n_gpus": "100", "n_nodes": "",
    "model": "null Dense 100MB", "sync_config": "sync, 16 PS tasks", "metric": "median step time",
    "value": "700", "unit": "ms", "source": "there", "licence": "MIT",
}  # fmt: skip
CALIBRATION = SUITE.calibration()


def case(row, **changes):
    (found,) = convert([{**row, **changes}]).cases
    return found


def with_setting(one, **settings):
    return replace(one, settings={**one.settings, **settings})


def value(one):
    (answer,) = predict([one], CALIBRATION)
    assert isinstance(answer, Prediction)
    return answer.value


# --- tables --------------------------------------------------------------------------------------


def test_a_row_of_mxnet_says_how_large_its_model_is():
    found = case(SERVED)
    assert found.settings == {
        "workload": "resnet152", "workload.batch": 32.0, "workload.bytes": 240e6,
        "on": "aws-p2.16xlarge", "on.devices": 64.0, "plan": "parameter-server",
    }  # fmt: skip
    assert groups(found) == (MXNET, "resnet152", "64 GPUs")


@pytest.mark.parametrize(("model", "settings"), [
    ("null Scalar", {"workload.access": "scalar"}),
    ("null Dense 100MB", {"workload.access": "dense", "workload.bytes": 1e8}),
    ("null Dense 1GB", {"workload.access": "dense", "workload.bytes": 1e9}),
    ("null Sparse 1-16GB (32 rows)", {"workload.access": "sparse", "workload.rows": 32.0}),
])  # fmt: skip
def test_a_null_step_says_what_it_reads(model, settings):
    found = case(TRAINED, model=model)
    assert settings.items() <= found.settings.items()
    assert (found.settings["plan.servers"], found.unit) == (16.0, "s")
    assert found.measured == pytest.approx(0.7)


@pytest.mark.parametrize(("metric", "name"), [
    ("median step time with 4 backup workers", "step_time_s"),
    ("median step time with 1 backup worker", "step_time_s"),
    ("normalized speedup with 3 backup workers", "normalized_speedup"),
])  # fmt: skip
def test_backup_workers_are_a_setting(metric, name):
    found = case(TRAINED, model="Inception-v3", sync_config="sync", metric=metric, value="2")
    assert (found.group, found.metric) == (BACKUP, name)
    assert found.text("plan.backup") in metric


@pytest.mark.parametrize(("row", "change", "reason"), [
    (SERVED, {"system": "Angel PS"}, "Angel PS: no training on GPUs"),
    (SERVED, {"application": "LR 100 epochs"}, "MXNet: LR 100 epochs"),
    (TRAINED, {"platform": "DGX-1"}, "DGX-1: of other suites"),
    (TRAINED, {"model": "VGG16"}, "model VGG16"),
    (TRAINED, {"model": "null Other"}, "null Other: median step time, ms"),
    (TRAINED, {"model": "Inception-v3", "metric": "loss"}, "Inception-v3: loss"),
])  # fmt: skip
def test_rows_out_of_scope_are_counted_by_reason(row, change, reason):
    ((why, count),) = convert([{**row, **change}]).out_of_scope.items()
    assert (reason in why, count) == (True, 1)


@pytest.mark.parametrize("row", [SERVED, TRAINED])
@pytest.mark.parametrize("cell", ["-1", "0", "nan", "", "2 s"])
def test_a_number_that_is_none_names_row_and_column(row, cell):
    with pytest.raises(InputError, match="row 2, column value: expected a number above 0"):
        convert([{**row, "value": cell}])


def test_a_table_of_other_columns_is_refused():
    with pytest.raises(InputError, match="must have one of the columns sync_config, n_servers"):
        convert([{"gpu": "x"}])


@pytest.mark.skipif(not RAW.exists(), reason="the raw tables are not here")
def test_the_packaged_cases_are_those_of_the_tables():
    found = [one for table in TABLES for one in convert(read_table(RAW / table)).cases]
    assert [one.case_id for one in found] == [one.case_id for one in SUITE.cases()]


# --- steps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4, 64])
def test_a_dense_null_step_is_bound_by_the_most_loaded_link(workers):
    """max(S/B, n S/(P B)) where requests cost nothing."""
    size, rate, servers = 1e8, 1e9, 16
    found = step_s(Exchange(workers, servers, rate, 1e15, 0.0, 0.0, size))
    assert found == pytest.approx(max(1, workers / servers) * size / rate, rel=1e-6)


def test_requests_and_rows_are_what_null_steps_without_size_take():
    for one in SUITE.cases():
        if one.group == NULL and is_fitted(one):
            assert value(one) == pytest.approx(one.measured, rel=0.01)


@pytest.mark.parametrize("size", ["100MB", "1GB", "16GB"])
@pytest.mark.parametrize("workers", ["1", "25", "100"])
def test_a_dense_null_step_of_any_size_is_near_its_bound(size, workers):
    one = case(TRAINED, model=f"null Dense {size}", n_gpus=workers)
    assert value(one) == pytest.approx(bound(one, CALIBRATION), rel=0.12)


@pytest.mark.slow
def test_four_backup_workers_are_best_and_three_where_workers_count():
    """Abadi et al., OSDI 2016, section 6.3; a server's rate was chosen with these in sight."""
    none = case(TRAINED, model="Inception-v3", sync_config="sync", n_gpus="50",
                metric="median step time with 0 backup workers")  # fmt: skip
    backups = range(7)
    times_s = [value(with_setting(none, **{"plan.backup": float(b)})) for b in backups]
    speedups = [times_s[0] / times_s[b] * 50 / (50 + b) for b in backups]
    assert min(backups, key=lambda b: times_s[b]) == 4
    assert max(backups, key=lambda b: speedups[b]) == 3


def test_asynchronous_workers_are_slowed_down_by_links_that_they_share():
    one = next(one for one in SUITE.cases() if one.metric == "samples_per_s_of_a_worker")
    late = {"delay": 0.2, "delayed": 0.2}
    many = with_setting(one, **{"on.devices": 50.0})
    slow, quick = (google.throughput_of_a_worker(many, 25.0, late, rate) for rate in (3e8, 3e9))
    assert slow < 0.8 * quick < 0.8 * 25.5


# --- MXNet ---------------------------------------------------------------------------------------


def mxnet_case(devices):
    return with_setting(case(SERVED), **{"on.devices": float(devices)})


def test_one_gpu_is_what_is_known():
    assert value(mxnet_case(1)) == CALIBRATION["known"][curve_of(mxnet_case(1))]


@pytest.mark.parametrize("devices", [2, 8, 16, 64])
def test_more_gpus_are_slower_each_but_more_in_all(devices):
    fewer, more = (value(mxnet_case(n)) for n in (devices // 2, devices))
    assert fewer < more < 2 * fewer * 1.001


def test_gpus_below_the_other_socket_wait_for_their_inputs():
    one = with_setting(mxnet_case(16), **{"workload": "alexnet", "workload.batch": 512.0})
    hosts = ({"memory_bytes_per_s": 8e9, "socket_bytes_per_s": rate} for rate in (2e9, 8e9))
    slow, quick = (mxnet.throughput(one, 457.0, host) for host in hosts)
    assert slow < 0.8 * quick


def test_gpus_that_do_not_fill_nodes_are_skipped():
    (answer,) = predict([mxnet_case(40)], CALIBRATION)
    assert answer == Skip("40 GPUs do not fill nodes of 16 on 'aws-p2.16xlarge'")


def test_a_network_whose_first_point_is_unknown_is_skipped():
    (answer,) = predict([with_setting(mxnet_case(2), workload="vgg16")], CALIBRATION)
    assert answer == Skip("the throughput of one worker is not known")


# --- the suite -----------------------------------------------------------------------------------


def test_what_is_given_or_fitted_never_counts_as_held_out():
    seen = {one.case_id for one in SUITE.cases() if is_given(one) or is_fitted(one)}
    assert seen == set(CALIBRATION["case_ids"])


def test_the_simplest_baseline_is_so_many_times_one_worker():
    assert ideal(mxnet_case(64), CALIBRATION) == pytest.approx(64 * value(mxnet_case(1)))


@pytest.mark.slow
def test_what_nobody_fitted_is_not_predicted_worse_than_it_was():
    """AlexNet between nodes comes out 8 % quick: something that its nodes wait for is missing."""
    cases = [one for one in SUITE.cases() if one.group in (MXNET, NULL, BACKUP)]
    figures = compare(SUITE, cases, CALIBRATION, "held_out").report()["splits"]["held_out"]
    assert figures["skipped"] == 0
    assert figures["groups"][NULL]["mape_pct"] <= 12
    assert figures["groups"][BACKUP]["mape_pct"] <= 14
    assert figures["groups"][MXNET]["mape_pct"] <= 9
    others = figures["groups"][MXNET]["baselines"]
    assert all(other["mape_pct"] > 25 for other in others.values())
