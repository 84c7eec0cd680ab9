"""Federated rounds: who takes part, how long they take, what comes too late."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulator.check_plan import check_plan
from simulator.errors import DoesNotFitError, InputError
from simulator.simulate import simulate
from tests.workloads.plans.machines import (
    ALPHA,
    SIZE,
    STEP,
    ideal,
    job,
    message_s,
    quick_server,
    run,
    seconds,
    step_s,
)
from workloads.plans import Federated, find_plan
from workloads.plans.federated import _Averaging
from workloads.plans.population import population

LOCAL_S = seconds(job().local_step)
WORKS = _Averaging.of(job())


def served_s(updates):
    """Return how long a server sums so many updates and takes their mean."""
    return updates * seconds(WORKS.accumulate) + seconds(WORKS.apply)


EVERY = [
    Federated(wanted=3),
    Federated(wanted=3, over_selection=1.5, device_spread=0.5),
    Federated(wanted=3, dropout=0.5),
    Federated(wanted=3, edges=2, over_selection=1.5, dropout=0.3),
    Federated(wanted=2, deadline_s=0.5, device_spread=1.0, over_selection=2.0),
    Federated(wanted=2, link_bytes_per_s=1e8, link_spread=0.5, secure_bytes=1e3, edges=1),
]


@pytest.mark.parametrize("plan", EVERY, ids=str)
@pytest.mark.parametrize("devices", [4, 9, 20])
def test_federated_keeps_the_contract_of_plans(plan, devices):
    verdict = check_plan(plan, devices)
    assert verdict.verdict == "fine" or (devices == 4 and verdict.verdict == "not for so many")


@pytest.mark.parametrize("steps", [1, 5])
def test_a_round_is_model_training_update_and_their_mean(steps):
    plan = Federated(wanted=4, local_steps=steps)
    expected = 2 * message_s(SIZE) + steps * LOCAL_S + served_s(4)
    assert step_s(plan, ideal(30)) == pytest.approx(expected, rel=1e-9)


def test_edge_servers_add_a_hop_each_way_and_share_the_sums():
    expected = 4 * message_s(SIZE) + LOCAL_S + 4 * seconds(WORKS.accumulate) + served_s(2)
    plan = Federated(wanted=8, edges=2)
    assert step_s(plan, ideal(11)) == pytest.approx(expected, rel=1e-9)


def test_a_clients_own_link_carries_model_and_update():
    own = Federated(wanted=4, link_bytes_per_s=1e6)
    extra_s = step_s(own, ideal(6)) - step_s(Federated(wanted=4), ideal(6))
    assert extra_s == pytest.approx(2 * SIZE / 1e6)


def test_secure_aggregation_sends_more_for_each_peer():
    secure = Federated(wanted=4, secure_bytes=1e6)
    extra_s = step_s(secure, ideal(6)) - step_s(Federated(wanted=4), ideal(6))
    assert extra_s == pytest.approx(3e6 / 1e9)


def test_a_round_learns_from_its_updates():
    assert simulate(STEP, ideal(9), Federated(wanted=4, local_steps=3), steps=2).samples_per_step \
        == 4 * 3 * STEP.samples  # fmt: skip


# --- who takes part


def people(clients=1000, rounds=50, seed=0, **changes):
    asked = {"selected": 100, "edges": 0, "dropout": 0.0, "spreads": (0.0, 0.0),
             "link_bytes_per_s": None} | changes  # fmt: skip
    return population(clients, rounds, seed, **asked)


def test_clients_are_selected_anew_for_each_round_and_all_alike():
    chosen = [members for (members,) in people().members]
    assert all(len(set(members.tolist())) == 100 for members in chosen)
    times = np.bincount(np.concatenate(chosen), minlength=1000)
    assert times.mean() == 5
    assert times.var() == pytest.approx(5 * 0.9, rel=0.2)


def test_each_client_knows_its_rounds():
    found = people(rounds=7, selected=30)
    assert sum(map(len, found.tasks)) == 7 * 30
    assert all(task.peers == 29 for tasks in found.tasks for task in tasks)


def test_equal_seeds_draw_equal_clients():
    first, again, other = (people(spreads=(1.0, 1.0), seed=seed, rounds=3) for seed in (1, 1, 2))
    assert (first.slowdown == again.slowdown).all()
    assert (first.slowdown != other.slowdown).any()


def test_no_client_is_quicker_than_its_device():
    slowdown = people(clients=20_000, spreads=(0.5, 0.0)).slowdown
    assert slowdown.min() >= 1
    assert np.log(slowdown).mean() == pytest.approx(0.5 * math.sqrt(2 / math.pi), rel=0.02)


def test_links_are_lognormal_around_their_median():
    rates = people(clients=20_000, spreads=(0.0, 0.5), link_bytes_per_s=1e6).link_bytes_per_s
    assert np.median(rates) == pytest.approx(1e6, rel=0.02)
    assert np.log(rates).std() == pytest.approx(0.5, rel=0.02)


def test_edges_have_clients_in_order():
    for groups in people(clients=10, selected=10, edges=3, rounds=2).members:
        assert [group.tolist() for group in groups] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]


# --- slow clients, lost clients, deadlines


def test_without_over_selection_the_slowest_binds():
    """The last of n order statistics."""
    plan = Federated(wanted=20, device_spread=0.5, local_steps=10)
    slowest = population(
        20, 1, 0, selected=20, edges=0, dropout=0.0, spreads=(0.5, 0.0), link_bytes_per_s=None
    ).slowdown.max()
    time_s = run(plan, ideal(21)).step_ends_s[0]
    assert time_s == pytest.approx(10 * LOCAL_S * slowest + 2 * ALPHA, rel=0.05, abs=served_s(21))


def test_over_selection_does_not_wait_for_the_slowest():
    def round_s(over):
        plan = Federated(wanted=20, over_selection=over, device_spread=0.5, local_steps=200)
        return step_s(plan, ideal(200))

    assert round_s(1.5) < 0.8 * round_s(1.0)


def test_what_is_not_waited_for_comes_late_and_is_dropped():
    plan = Federated(wanted=10, over_selection=1.3, device_spread=0.5, local_steps=50)
    found = simulate(STEP, ideal(60), plan, steps=4)
    assert found.samples_per_step == 10 * 50 * STEP.samples
    assert "late reports: 12" in found.notes


def test_lost_clients_are_not_waited_for():
    found = simulate(STEP, ideal(60), Federated(wanted=30, dropout=0.5), steps=10)
    assert 10 < found.samples_per_step / STEP.samples < 20
    assert any(note.startswith("dropouts: ") for note in found.notes)


def test_a_deadline_ends_a_round_with_what_has_come():
    plan = Federated(wanted=20, device_spread=1.0, local_steps=10, deadline_s=15 * LOCAL_S)
    found = simulate(STEP, quick_server(50), plan, steps=5)
    assert found.step_time_s == pytest.approx(15 * LOCAL_S)
    assert 0 < found.samples_per_step < 20 * 10 * STEP.samples


@pytest.mark.parametrize("edges", [0, 2])
def test_a_deadline_that_nobody_meets_gives_rounds_without_updates(edges):
    plan = Federated(wanted=4, deadline_s=LOCAL_S / 2, edges=edges)
    found = simulate(STEP, ideal(20), plan, steps=3)
    assert found.throughput == 0
    assert "rounds without updates: 3" in found.notes
    assert found.step_time_s == pytest.approx(LOCAL_S / 2, abs=5 * ALPHA + edges * SIZE / 1e9)


def test_a_client_that_is_late_reports_before_it_starts_anew():
    """All clients take part in all rounds, and none meets the deadline of the first."""
    plan = Federated(wanted=3, deadline_s=0.9 * LOCAL_S)
    outcome = run(plan, ideal(4), 3)
    assert outcome.counts["late reports"] == 9
    assert all(rank.compute_s == pytest.approx(3 * LOCAL_S) for rank in outcome.ranks[:3])


def test_an_update_may_come_late_from_a_round_with_more_peers():
    plan = Federated(wanted=5, over_selection=2.0, local_steps=3, dropout=0.5, device_spread=2.0,
                     edges=2, secure_bytes=1e4, deadline_s=0.3)  # fmt: skip
    assert run(plan, ideal(16), 20).counts["late reports"] > 0


def test_equal_seeds_give_equal_runs():
    plan = Federated(wanted=5, over_selection=1.4, device_spread=0.7, dropout=0.2)
    ends = [run(plan, ideal(30), 4, seed).step_ends_s for seed in (3, 3, 4)]
    assert ends[0] == ends[1] != ends[2]


# --- what is refused


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"wanted": 0}, "wanted: expected a whole number of at least 1, got 0"),
        ({"local_steps": 0}, "local_steps: expected a whole number of at least 1, got 0"),
        ({"over_selection": 0.9}, "over_selection: expected a finite number of at least 1"),
        ({"deadline_s": 0.0}, "deadline_s: expected a finite number above 0, got 0"),
        ({"dropout": 1.5}, "dropout: expected a number from 0 to 1, got 1.5"),
        ({"edges": -1}, "edges: expected a whole number of at least 0, got -1"),
        ({"link_spread": 0.5}, "link_spread means something only with link_bytes_per_s"),
    ],
)
def test_what_makes_no_sense_is_refused(parameters, message):
    with pytest.raises(InputError, match=message):
        find_plan("federated", **parameters)


def test_more_clients_than_devices_do_not_fit():
    with pytest.raises(DoesNotFitError, match="at least 11 devices"):
        simulate(STEP, ideal(10), Federated(wanted=10))
