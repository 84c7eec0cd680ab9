"""Suite collectives: its converters, its split, and how wrong it is."""

from dataclasses import replace

import pytest

from hwmodels.network.nccl_nodes import fabrics
from simulator.errors import InputError
from validation.compare import compare
from validation.suite import Skip
from validation.suites.collectives.convert import TABLES, convert, network_of
from validation.suites.collectives.model import NETWORKS, OWN
from validation.suites.collectives.suite import SUITE

BOTH = {"source": "a", "licence": "MIT", "time_us_out_of_place": "30.0", "busbw_GBps_out": "60",
        "time_us_in_place": "31.0", "busbw_GBps_in": "59", "size_bytes": "1048576"}  # fmt: skip
PUBLISHED = {**BOTH, "collective": "all_reduce", "gpu": "A100-SXM4-80GB", "system": "p4de",
             "nodes": "1", "gpus": "8", "network": "NVSwitch, one node", "dtype": "float",
             "note": ""}  # fmt: skip
VTRAIN = {**BOTH, "gpu": "A100", "gpus": "3"}
VIDUR = {"cluster": "h100_dgx", "op": "send_recv", "num_gpus": "2", "devices_per_node": "2",
         "bytes": "2048", "time_median_us": "9", "source": "a", "licence": "MIT"}  # fmt: skip


def test_a_published_row_becomes_a_case_of_its_system():
    (case,) = convert([PUBLISHED]).cases
    assert case.settings == {
        "workload": "all_reduce", "workload.bytes": 2.0**20, "workload.dtype": "float32",
        "on": "A100-SXM4-80GB", "on.devices": 8.0, "on.system": "p4de", "plan": "nccl",
    }  # fmt: skip
    assert case.measured == pytest.approx(30e-6)


@pytest.mark.parametrize(("change", "time_us"), [
    ({}, 30.0),
    ({"time_us_out_of_place": ""}, 31.0),
    ({"time_us_out_of_place": "", "time_us_in_place": ""}, 1.75 * 2**20 / 60e3),
    ({"time_us_out_of_place": "", "time_us_in_place": "", "busbw_GBps_out": ""},
     1.75 * 2**20 / 59e3),
])  # fmt: skip
def test_the_out_of_place_time_goes_before_the_in_place_one_and_a_rate(change, time_us):
    (case,) = convert([{**PUBLISHED, **change}]).cases
    assert case.measured == pytest.approx(time_us * 1e-6)


def test_what_stands_in_two_tables_is_one_case():
    (one,) = convert([VTRAIN]).cases
    (other,) = convert([{**PUBLISHED, "gpu": "A100", "gpus": "3", "system": "vTrain profiling node",
                         "network": "NVLink, one node"}]).cases  # fmt: skip
    assert one.case_id == other.case_id


def test_a_row_without_a_licence_says_so_and_a_source_is_a_place_that_readers_know():
    (case,) = convert([{**PUBLISHED, "licence": "", "source": "Docs, page (read_file id 5)"}]).cases
    assert (case.source, case.licence) == ("Docs, page", "facts only (no licence named)")


def test_a_call_of_torch_becomes_a_case():
    (case,) = convert([VIDUR]).cases
    assert case.settings == {
        "workload": "send_recv", "workload.bytes": 2048.0, "workload.dtype": "float16",
        "on": "h100", "on.devices": 2.0, "on.system": "vidur h100_dgx", "plan": "nccl",
    }  # fmt: skip


def test_several_nodes_have_a_fabric_and_cards():
    (case,) = convert([{**PUBLISHED, "nodes": "2", "gpus": "16",
                        "network": "EFA v1 4x100 Gb/s a node"}]).cases  # fmt: skip
    assert case.text("on.fabric") == "efa-v1"
    assert case.number("on.nic_bytes_per_s") == 50e9
    assert case.number("on.nodes") == 2


@pytest.mark.parametrize(("text", "expected"), [
    ("EFA v2 32x100 Gb/s a node", ("efa-v2", 400e9)),
    ("4x HDR 200 Gb/s InfiniBand a node", ("infiniband", 100e9)),
    ("InfiniBand 400 Gb/s x8 a node", ("infiniband", 400e9)),
    ("NDR 400 Gb/s InfiniBand, 8 a node (memory)", ("infiniband", 400e9)),
    ("Slingshot-11 200 Gb/s (one NIC a rank)", ("slingshot", 25e9)),
])  # fmt: skip
def test_names_of_networks_say_the_fabric_and_the_rate_of_a_nodes_cards(text, expected):
    local = 1.0 if "one NIC a rank" in text else 8.0
    assert network_of(text, local) == expected


@pytest.mark.parametrize(("row", "reason"), [
    ({**PUBLISHED, "gpu": "unnamed"}, "GPU 'unnamed' is not named or not known"),
    ({**PUBLISHED, "note": "NVLS off (Ring)"}, "NVLS was switched off"),
    ({**PUBLISHED, "nodes": "2", "network": "wires"}, "network between nodes: wires"),
    ({**PUBLISHED, "time_us_out_of_place": "", "time_us_in_place": "", "busbw_GBps_out": "0.04",
      "busbw_GBps_in": ""},
     "no time, and no bus bandwidth"),
    ({**PUBLISHED, "collective": "gather"}, "collective gather"),
    ({**PUBLISHED, "gpus": ""}, "the number of GPUs is not said"),
    ({**PUBLISHED, "nodes": "", "network": "wires"}, "the number of nodes is not said"),
    ({**PUBLISHED, "size_bytes": ""}, "the size is not said"),
    ({**VIDUR, "devices_per_node": "1"}, "the network between nodes is not said"),
    ({**VIDUR, "cluster": "a40_pairwise_nvlink"}, "linked in pairs"),
    ({**VIDUR, "op": "gather"}, "collective gather"),
])  # fmt: skip
def test_rows_out_of_scope_are_counted_by_reason(row, reason):
    found = convert([row])
    ((why, count),) = found.out_of_scope.items()
    assert reason in why
    assert (found.cases, count) == ((), 1)


@pytest.mark.parametrize("value", ["-1", "0", "nan", "two"])
@pytest.mark.parametrize(("row", "column"), [(PUBLISHED, "gpus"), (VTRAIN, "size_bytes"),
                                             (VIDUR, "time_median_us")])  # fmt: skip
def test_a_number_that_is_none_names_row_and_column(row, column, value):
    with pytest.raises(InputError, match=f"row 3, column {column}: expected a number above 0"):
        convert([row, {**row, column: value}])


@pytest.mark.parametrize(("table", "row"), [*zip(TABLES, (VIDUR, PUBLISHED, VTRAIN), strict=True)])
def test_a_missing_column_is_named(table, row):
    mark, columns, _ = table
    for column in columns:
        bare = {name: value for name, value in row.items() if name != column}
        if mark in bare and not (column == "network" and "time_us_out_of_place" in bare):
            with pytest.raises(InputError, match=f"lacks the columns {column}"):
                convert([bare])


def test_a_table_of_another_kind_is_refused():
    with pytest.raises(InputError, match="must have one of the columns time_median_us"):
        convert([{"gpu": "h100"}])


def test_whole_systems_and_counts_are_held_out():
    fitted = set(SUITE.calibration()["case_ids"])
    for case in SUITE.cases():
        place = (case.text("on.system"), case.text("on"))
        counted = case.number("on.devices") in OWN.get(place, ())
        assert (case.case_id in fitted) == (counted or place[0] in NETWORKS)


def test_the_packaged_fabrics_are_those_that_were_fitted():
    for name, numbers in SUITE.calibration()["fabric"].items():
        assert fabrics()[name].step_s == pytest.approx(numbers["step_s"], rel=0.01)
        assert fabrics()[name].share == pytest.approx(numbers["share"], rel=0.01)


@pytest.fixture(scope="module")
def groups():
    return compare(SUITE, SUITE.cases(), SUITE.calibration()).report()["splits"]["held_out"]


@pytest.mark.parametrize(("group", "mape_pct"), [
    ("AWS p5.48xlarge (AWS Batch), from 1 MiB", 8.0),
    ("H200 SXM (8x node)", 5.5),
    ("Nebius Kubernetes, 2 nodes x 8", 3.0),
    ("vTrain profiling node", 5.5),
])  # fmt: skip
def test_systems_that_nobody_fitted_are_predicted(groups, group, mape_pct):
    assert groups["groups"][group]["mape_pct"] <= mape_pct


def test_the_model_beats_its_baselines(groups):
    for figures in groups["baselines"].values():
        assert groups["mape_pct"] < figures["mape_pct"]


def test_an_unknown_fabric_is_skipped_with_the_known_ones():
    (case,) = convert([{**PUBLISHED, "nodes": "2", "gpus": "16",
                        "network": "EFA v1 4x100 Gb/s a node"}]).cases  # fmt: skip
    changed = replace(case, settings={**case.settings, "on.fabric": "efa-v9"})
    (answer,) = SUITE.predict([changed], {})
    assert isinstance(answer, Skip)
    assert "unknown fabric 'efa-v9'" in answer.reason
