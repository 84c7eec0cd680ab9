"""The live suite of gloo on a network of this machine's own: cases, tables, predictions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.errors import InputError
from validation import measure_cluster, shaped_network
from validation.compare import compare
from validation.shaped_network import Isolation
from validation.suite import Prediction, Skip
from validation.suites.gloo_cluster import suite as gloo_cluster
from validation.suites.gloo_cluster.suite import KINDS, RANKS, SIZES, SUITE

ROW = {
    "rate": "1gbit", "ranks": "8", "collective": "all_reduce", "bytes": "16777216",
    "t_med_ms": "251.98", "closed_form": "ring", "source": "own cluster", "licence": "own",
}  # fmt: skip


@pytest.fixture
def measured(monkeypatch):
    """Measure with processes that take a second for each 100 MB."""

    def records(kinds, sizes, ranks, rate, tell, sampling):
        return [{"kind": kind, "bytes": size, "ranks": ranks, "time_s": size / 1e8}
                for kind in kinds for size in sizes]  # fmt: skip

    monkeypatch.setattr(measure_cluster, "measure_collectives", records)
    monkeypatch.setattr(shaped_network, "find_isolation", lambda: Isolation("any", ("any",)))
    return SUITE.measure(lambda _: None) if SUITE.measure else ()


def converted(**changes):
    assert SUITE.convert is not None
    return SUITE.convert([ROW | changes])


def test_every_kind_and_size_is_measured_at_every_number_of_ranks(measured):
    assert len({case.case_id for case in measured}) == len(KINDS) * len(SIZES) * len(RANKS)
    assert all(case.unit == "s" and case.metric == "time_s" for case in measured)


def test_every_case_is_predicted_and_beside_it_by_textbooks(measured):
    report = compare(SUITE, measured, {})
    assert report.splits["calibrated_on"] == []
    for judged in report.splits["held_out"]:
        assert isinstance(judged.answer, Prediction)
        assert all(isinstance(answer, Prediction) for answer in judged.baselines.values())


def test_without_a_network_of_its_own_nothing_is_measured_and_why_is_said(monkeypatch):
    refused = Isolation("loopback", why="tc not found")
    monkeypatch.setattr(shaped_network, "find_isolation", lambda: refused)
    with pytest.raises(InputError, match="tc not found"):
        gloo_cluster.measure(lambda _: None)


def test_a_row_of_a_table_is_the_case_that_is_measured_live(measured):
    [case] = converted().cases
    assert case.measured == pytest.approx(0.25198)
    assert case.case_id in {one.case_id for one in measured}
    [answer] = SUITE.predict([case], {})
    assert isinstance(answer, Prediction)
    assert answer.value == pytest.approx(0.25198, rel=0.02)


def test_a_measurement_beside_several_closed_forms_is_one_case():
    assert SUITE.convert is not None
    found = SUITE.convert([ROW, ROW | {"closed_form": "tree"}])
    assert len(found.cases) == 1
    assert found.cases[0].repeats == 1
    assert sum(found.out_of_scope.values()) == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bytes": "65536"}, "below 4,194,304 bytes"),
        ({"rate": "none"}, "no limited rate"),
        ({"collective": "scan"}, "collective scan"),
    ],
)
def test_what_says_nothing_of_the_network_is_out_of_scope(changes, why):
    found = converted(**changes)
    assert found.cases == ()
    assert why in next(iter(found.out_of_scope))


def test_an_exchange_with_neighbours_takes_the_time_of_one_message():
    [case] = converted().cases
    settings = dict(case.settings) | {"workload": "send_recv"}
    alike = [replace(case, settings=settings | {"on.devices": n}) for n in (2.0, 8.0)]
    two, eight = SUITE.predict(alike, {})
    assert isinstance(two, Prediction)
    assert isinstance(eight, Prediction)
    assert two.value == pytest.approx(16777216 * 1.047 / 1.25e8, rel=1e-3)
    assert eight.value == pytest.approx(two.value)


def test_an_unknown_kind_of_a_case_file_is_skipped_with_its_reason():
    [case] = converted().cases
    odd = replace(case, settings=dict(case.settings) | {"workload": "scan"})
    [answer] = SUITE.predict([odd], {})
    assert isinstance(answer, Skip)
