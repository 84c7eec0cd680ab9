"""What ranks noted by the clock on the wall becomes the outcome that a simulated run has."""

import pytest

from validation.wall_record import SLEEPING, Noted, RankRecord, outcome_of, ready_s

CALL = ("all_reduce", 0)
MAIL = (0, 1, 0)


@pytest.fixture
def late():
    """Rank 1 comes a second later to an all-reduce that ends at 3 s."""
    first = RankRecord(0, 3.0, [Noted(1.0, 3.0, "all_reduce", "grad", CALL)], [(1.0, 3.0, CALL)])
    second = RankRecord(1, 3.0, [Noted(0.0, 2.0, "compute", "step"),
                                 Noted(2.0, 3.0, "all_reduce", "grad", CALL)],
                        [(2.0, 3.0, CALL)])  # fmt: skip
    first.collectives.append(("all_reduce", 8.0))
    return [first, second]


@pytest.fixture
def mail():
    """Rank 0 sends at 1 s what rank 1 waits for from 0 s on and takes at 1.5 s."""
    sender = RankRecord(0, 1.0, sent={MAIL: (1.0, "grad", 4.0)})
    receiver = RankRecord(1, 1.5, [Noted(0.0, 1.5, "recv", "grad", MAIL)], [(0.0, 1.5, MAIL)],
                          arrived={MAIL: 1.4}, received_bytes=[4.0])  # fmt: skip
    return [sender, receiver]


def test_a_collective_begins_when_the_last_member_has_come(late):
    assert ready_s(late) == {CALL: 2.0}
    outcome = outcome_of(late, 1, "")
    assert (outcome.ranks[0].waiting_s, outcome.ranks[0].communication_s) == (1.0, 1.0)
    assert (outcome.ranks[1].waiting_s, outcome.ranks[1].communication_s) == (0.0, 1.0)
    assert outcome.timeline is not None
    assert outcome.timeline.totals_s() == {"compute": 2.0, "all_reduce": 2.0, "wait": 1.0}


def test_a_collective_counts_once_for_its_group(late):
    total = outcome_of(late, 1, "").collectives["all_reduce"]
    assert (total.calls, total.nbytes) == (1, 8.0)


def test_a_receive_waits_until_the_message_is_sent(mail):
    outcome = outcome_of(mail, 1, "")
    assert (outcome.ranks[1].waiting_s, outcome.ranks[1].communication_s) == (1.0, 0.5)
    assert (outcome.total("sent_bytes"), outcome.total("received_bytes")) == (4.0, 4.0)


def test_a_send_lasts_until_its_message_has_arrived(mail):
    outcome = outcome_of(mail, 1, "")
    assert outcome.timeline is not None
    [send] = outcome.timeline.spans(kind="send")
    assert (send.rank, send.start_s, send.end_s) == (0, 1.0, 1.4)


def test_what_is_hidden_behind_computing_is_no_communication():
    record = RankRecord(0, 3.0, [Noted(0.0, 2.0, "compute", "backward")], [(1.0, 3.0, CALL)])
    [totals] = outcome_of([record], 1, "").ranks
    assert (totals.compute_s, totals.communication_s) == (2.0, 1.0)


def test_the_five_times_add_up_to_the_time_of_the_run(late, mail):
    asleep = RankRecord(2, 1.0, blocked=[(0.25, 1.0, SLEEPING)])
    for records in (late, mail, [asleep]):
        outcome = outcome_of(records, 1, "")
        for t in outcome.ranks:
            parts = t.compute_s + t.communication_s + t.waiting_s + t.sleep_s + t.idle_s
            assert parts == pytest.approx(outcome.time_s)


def test_steps_end_when_what_recurs_recurs():
    record = RankRecord(0, 4.0, ends=[("step", 2.0), ("step", 4.0)])
    assert outcome_of([record], 2, "").step_ends_s == (2.0, 4.0)


def test_the_energy_of_a_measured_run_is_unknown(late):
    assert outcome_of(late, 1, "").energy.total_j is None
