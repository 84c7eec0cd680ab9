"""The live suite of training steps between processes: cases, tables, predictions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.errors import InputError
from validation import shaped_network, timed_steps
from validation.compare import compare
from validation.shaped_network import Isolation
from validation.suite import Prediction, Skip
from validation.suites.ddp_live import real
from validation.suites.ddp_live import suite as ddp_live
from validation.suites.ddp_live.suite import RANKS, SUITE

ROW = {
    "rate": "1gbit", "ranks": "4", "grad_bytes": "8388608", "pattern": "ddp",
    "bucket_cap_mb": "1.0", "fwd_sleep_ms": "16.0", "bwd_sleep_ms": "40.0", "local_steps_H": "",
    "t_med_ms": "128.04", "closed_form": "sum", "source": "own cluster", "licence": "own",
}  # fmt: skip
NOTHING = {"bucket_cap_mb": "", "fwd_sleep_ms": "0.0", "bwd_sleep_ms": "0.0"}
WIRE_BYTES_PER_BYTE = 1.047
WHOLE_S = 8388608 * WIRE_BYTES_PER_BYTE / 1.25e8
"""That one link takes for all gradients."""


@pytest.fixture
def measured(monkeypatch):
    """Measure with processes that take a tenth of a second for every step."""
    monkeypatch.setattr(timed_steps, "measure_steps",
                        lambda steps, ranks, rate, tell: [0.1] * len(steps))  # fmt: skip
    monkeypatch.setattr(real, "measure", lambda make, say: iter(()))
    monkeypatch.setattr(shaped_network, "find_isolation", lambda: Isolation("any", ("any",)))
    return SUITE.measure(lambda _: None) if SUITE.measure else ()


def converted(**changes):
    assert SUITE.convert is not None
    return SUITE.convert([ROW | changes])


def predicted_s(**changes):
    [case] = converted(**changes).cases
    [answer] = SUITE.predict([case], {})
    assert isinstance(answer, Prediction)
    return answer.value


def test_every_plan_is_measured_at_every_number_of_ranks(measured):
    assert len({case.case_id for case in measured}) == len(measured)
    for ranks in RANKS:
        plans = {case.text("plan") for case in measured if case.number("on.devices") == ranks}
        assert plans == {"torch-ddp", "data-parallel", "local-sgd", "parameter-server", "gossip"}


def test_every_case_is_predicted_and_beside_it_by_formulas(measured):
    report = compare(SUITE, measured, {})
    assert report.splits["calibrated_on"] == []
    for judged in report.splits["held_out"]:
        assert isinstance(judged.answer, Prediction)
        assert all(isinstance(answer, Prediction) for answer in judged.baselines.values())


def test_without_a_network_of_its_own_nothing_is_measured_and_why_is_said(monkeypatch):
    refused = Isolation("loopback", why="tc not found")
    monkeypatch.setattr(shaped_network, "find_isolation", lambda: refused)
    with pytest.raises(InputError, match="tc not found"):
        ddp_live.measure(lambda _: None)


@pytest.mark.parametrize(("ranks", "forward_s", "backward_s"),
                         [(2, 0.016, 0.04), (4, 0.016, 0.04), (4, 0.04, 0.16)])  # fmt: skip
def test_equal_buckets_overlap_with_the_backward_pass_but_for_the_first_and_the_last(
    ranks, forward_s, backward_s
):
    exchange_s = 2 * (ranks - 1) / ranks * WHOLE_S
    pipeline_s = max(backward_s / 8 + exchange_s, backward_s + exchange_s / 8)
    found_s = predicted_s(ranks=str(ranks), fwd_sleep_ms=str(1e3 * forward_s),
                          bwd_sleep_ms=str(1e3 * backward_s))  # fmt: skip
    assert found_s == pytest.approx(forward_s + pipeline_s, rel=0.02)


def test_one_bucket_of_all_gradients_does_not_overlap():
    assert predicted_s(bucket_cap_mb="25") == pytest.approx(0.056 + 1.5 * WHOLE_S, rel=0.01)


def test_local_steps_go_before_one_exchange_of_the_parameters():
    found_s = predicted_s(pattern="local_sgd", bucket_cap_mb="", local_steps_H="16")
    assert found_s == pytest.approx(16 * 0.056 + 1.5 * WHOLE_S, rel=0.002)


@pytest.mark.parametrize("ranks", [2, 8])
def test_a_server_takes_all_gradients_over_its_link_and_gives_all_parameters(ranks):
    found_s = predicted_s(pattern="ps_sync", ranks=str(ranks), **NOTHING)
    assert found_s == pytest.approx(2 * (ranks - 1) * WHOLE_S, rel=0.002)


def test_buckets_go_to_a_server_one_after_the_other_and_parameters_come_back_meanwhile():
    [case] = converted(pattern="ps_sync", ranks="2").cases
    settings = dict(case.settings) | {"plan.overlap": "true"}
    [answer] = SUITE.predict([replace(case, settings=settings)], {})
    assert isinstance(answer, Prediction)
    assert answer.value == pytest.approx(0.016 + 0.04 / 8 + WHOLE_S * 9 / 8, rel=0.02)


def test_one_worker_of_a_server_that_does_not_wait_goes_to_and_fro():
    found_s = predicted_s(pattern="ps_async_4rounds_20ms", ranks="2", **NOTHING)
    assert found_s == pytest.approx(4 * (0.02 + 2 * WHOLE_S), rel=0.20)


@pytest.mark.parametrize("pattern", ["ddp", "local_sgd", "ps_sync"])
def test_a_row_of_a_table_is_a_case_that_is_measured_live(measured, pattern):
    changes = {"ddp": {}, "local_sgd": {"local_steps_H": "4"}, "ps_sync": NOTHING}[pattern]
    [case] = converted(pattern=pattern, **changes).cases
    assert case.measured == pytest.approx(0.12804)
    assert case.case_id in {one.case_id for one in measured}


def test_a_measurement_beside_several_closed_forms_is_one_case():
    assert SUITE.convert is not None
    found = SUITE.convert([ROW, ROW | {"closed_form": "f+pipe"}])
    assert len(found.cases) == 1
    assert found.cases[0].repeats == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"rate": "none"}, "no limited rate"), ({"pattern": "pipeline"}, "pattern 'pipeline'")],
)
def test_what_is_not_predicted_is_out_of_scope(changes, why):
    found = converted(**changes)
    assert found.cases == ()
    assert why in next(iter(found.out_of_scope))


def test_an_unknown_workload_of_a_case_file_is_skipped_with_its_reason():
    [case] = converted().cases
    odd = replace(case, settings=dict(case.settings) | {"workload": "mlp"})
    [answer] = SUITE.predict([odd], {})
    assert isinstance(answer, Skip)


def test_ranks_are_told_apart_by_whether_cores_can_serve_them():
    [few], [many] = converted().cases, converted(ranks="8").cases
    assert SUITE.groups(few) == ("torch-ddp, up to 4 ranks",)
    assert SUITE.groups(many) == ("torch-ddp, more ranks",)
    [alone] = converted(pattern="ps_async_4rounds_20ms", **NOTHING).cases
    assert SUITE.groups(alone) == ("parameter-server, asynchronous, up to 4 ranks",)
