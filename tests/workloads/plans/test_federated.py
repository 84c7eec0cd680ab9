"""Federated rounds: who takes part, how long they take, what comes too late."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from hwmodels.network.cluster import Cluster
from hwmodels.network.composed_shapes import edge_cloud
from hwmodels.network.libraries import Textbook
from hwmodels.network.wires import Wire
from simulator.check_plan import check_plan
from simulator.errors import DoesNotFitError, FileError, InputError
from simulator.protocols import Machine
from simulator.simulate import simulate
from tests.workloads.plans.machines import (
    ALPHA,
    FAST,
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
from validation.cases import read_table
from workloads.plans import Federated, find_plan
from workloads.plans.federated import _Averaging
from workloads.plans.fleet import Fleet, Link, find_fleet
from workloads.plans.population import population

RAW = Path("../shared/measured/federated.csv")
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
    Federated(wanted=3, fleet="flash", over_selection=1.3, dropout=0.08, deadline_s=2.0),
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


def test_under_edge_servers_each_way_is_a_hop_of_access_and_one_of_backhaul():
    access, backhaul = 1e6, 1e8
    topology = edge_cloud(2, 4, Wire(access, 1e-3), Wire(backhaul, 1e-3))
    machine = Machine("edge", [FAST] * 11, Cluster(topology=topology, library=Textbook()))
    found = simulate(STEP, machine, Federated(wanted=8, edges=2), steps=3)
    sums = 4 * seconds(WORKS.accumulate) + served_s(2)
    expected = 2 * (SIZE / access + SIZE / backhaul) + LOCAL_S + sums
    assert found.step_time_s == pytest.approx(expected, rel=0.01)
    # The cloud sends to two servers and they to it, whatever the number of clients.
    assert found.sent_bytes == pytest.approx(3 * SIZE * (2 * 8 + 2 * 2))


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
    asked = {"selected": 100, "edges": 0, "dropout": 0.0, "fleet": Fleet()} | changes
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
    first, again, other = (
        people(fleet=Fleet(device_spread=1.0), seed=seed, rounds=3) for seed in (1, 1, 2)
    )
    assert (first.slowdown == again.slowdown).all()
    assert (first.slowdown != other.slowdown).any()


def test_no_client_is_quicker_than_its_device():
    slowdown = people(clients=20_000, fleet=Fleet(device_spread=0.5)).slowdown
    assert slowdown.min() >= 1
    assert np.log(slowdown).mean() == pytest.approx(0.5 * math.sqrt(2 / math.pi), rel=0.02)


def test_links_are_lognormal_around_their_median():
    link = Link(1e6, 0.5)
    found = people(clients=20_000, fleet=Fleet(download=link, upload=link))
    rates = found.download
    assert (found.upload == rates).all()
    assert np.median(rates) == pytest.approx(1e6, rel=0.02)
    assert np.log(rates).std() == pytest.approx(0.5, rel=0.02)


def test_edges_have_clients_in_order():
    for groups in people(clients=10, selected=10, edges=3, rounds=2).members:
        assert [group.tolist() for group in groups] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]


# --- fleets


def test_a_fleet_has_kinds_by_their_weights():
    fleet = Fleet(weights=(1.0, 3.0), slowdowns=(4.0, 1.0))
    slowdown = fleet.slowdown(20_000, seed=0)
    assert set(slowdown.tolist()) == {4.0, 1.0}
    assert (slowdown == 4.0).mean() == pytest.approx(0.25, abs=0.01)


def test_links_down_and_up_of_a_fleet_are_lognormal_and_correlated():
    fleet = Fleet(download=Link(4e6, 0.5), upload=Link(2e6, 0.7), correlation=0.6)
    down, up = (np.log(np.array(rates)) for rates in fleet.rates(50_000, seed=0))
    assert np.exp(np.median(down)) == pytest.approx(4e6, rel=0.02)
    assert np.exp(np.median(up)) == pytest.approx(2e6, rel=0.02)
    assert (down.std(), up.std()) == (pytest.approx(0.5, rel=0.02), pytest.approx(0.7, rel=0.02))
    assert np.corrcoef(down, up)[0, 1] == pytest.approx(0.6, abs=0.02)


def test_a_clients_links_differ_from_round_to_round():
    link = Link(4e6, 0.0, 0.4)
    found = people(rounds=200, fleet=Fleet(download=link, upload=link))
    luck = np.log([(task.luck_down, task.luck_up) for tasks in found.tasks for task in tasks])
    assert luck.std(axis=0) == pytest.approx([0.4, 0.4], rel=0.03)
    assert luck.mean(axis=0) == pytest.approx([0.0, 0.0], abs=0.02)


def test_a_round_of_a_fleet_takes_what_its_slowest_client_does():
    plan = Federated(wanted=5, fleet="flash")
    found = population(5, 1, 0, selected=5, edges=0, dropout=0.0, fleet=plan.clients)
    assert found.download is not None is not found.upload
    luck = np.array([(task.luck_down, task.luck_up) for (task,) in found.tasks])
    times = LOCAL_S * found.slowdown
    times += SIZE / (found.download * luck[:, 0]) + SIZE / (found.upload * luck[:, 1])
    time_s = run(plan, ideal(6)).step_ends_s[0]
    assert time_s == pytest.approx(times.max() + 2 * message_s(SIZE), abs=served_s(6))


def test_the_fleet_of_flash_is_that_of_its_sources():
    flash = find_fleet("flash")
    assert np.array(flash.weights) / sum(flash.weights) == pytest.approx([0.5315, 0.464, 0.0045],
                                                                        abs=1e-3)  # fmt: skip
    assert all(source.licence for source in flash.sources)
    run_of_it = simulate(STEP, ideal(6), Federated(wanted=3, fleet="flash"))
    assert set(flash.sources) <= set(run_of_it.sources)
    disturbed = find_plan("federated", wanted=3, fleet="flash", slow_ranks=1)
    assert set(flash.sources) <= set(simulate(STEP, ideal(6), disturbed).sources)


@pytest.mark.skipif(not RAW.exists(), reason="the raw table is not here")
def test_the_fleet_of_flash_is_fitted_to_the_measured_table():
    rows = read_table(RAW)
    flash = find_fleet("flash")

    def values(system, metric):
        chosen = (row for row in rows if (row["system"], row["metric"].strip()) == (system, metric))
        return np.array([float(row["value"]) for row in chosen])

    mean = {way: values("FLASH network", f"{way}_u") for way in ("down", "up")}
    spread = {way: values("FLASH network", f"{way}_sigma") for way in ("down", "up")}
    for way, link in (("down", flash.download), ("up", flash.upload)):
        assert link is not None
        logs = np.log(1024 * mean[way])
        assert link.median_bytes_per_s == pytest.approx(np.exp(logs.mean()), rel=2e-3)
        assert link.spread == pytest.approx(logs.std(ddof=1), abs=1e-3)
        assert link.round_spread == pytest.approx(np.median(spread[way] / mean[way]), abs=1e-3)
    correlation = np.corrcoef(np.log(mean["down"]), np.log(mean["up"]))[0, 1]
    assert flash.correlation == pytest.approx(correlation, abs=1e-3)
    assert flash.weights == tuple(values("FLASH device mix", "weight"))
    times = np.log(values("FLASH on-device training", "train time per batch mean")).reshape(4, 3)
    slowdowns = np.exp((times - times[:, 2:]).mean(axis=0))
    assert flash.slowdowns == pytest.approx(tuple(slowdowns), rel=5e-3)


GOOD = """
title = "two kinds"
[kinds.slow]
weight = 1
slowdown = 3
source = "me"
[kinds.quick]
weight = 2
slowdown = 1
source = "me"
[upload]
median_bytes_per_s = "8 Mbit/s"
source = "me"
[sources.me]
text = "seen"
"""


def test_a_fleet_of_ones_own_is_a_file(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(GOOD)
    fleet = Federated(fleet=str(path)).clients
    assert (fleet.weights, fleet.slowdowns) == ((1.0, 2.0), (3.0, 1.0))
    assert (fleet.download, fleet.upload) == (None, Link(1e6))


@pytest.mark.parametrize(("old", "new", "message"), [
    ("weight = 1", "weight = 0", "kinds.slow.weight: expected a finite number above 0, got 0"),
    ("weight = 1", "wait = 1", "unknown key of kinds.slow 'wait'"),
    ("weight = 1", "", "kinds.slow.weight: expected a number, got None"),
    ("[kinds", "[kind", "unknown key of fleet 'kind'"),
    ('source = "me"', 'source = "you"', r"kinds.slow.source: expected one of \[sources\]"),
    ('"8 Mbit/s"', '"8 miles"', "upload.median_bytes_per_s"),
    ('"8 Mbit/s"', '"0 Mbit/s"', "upload.median_bytes_per_s: expected a finite number above 0"),
    ("[upload]", "[upload", "is not a fleet; is it truncated"),
    ('title = "two kinds"', "download = 3", "download: expected a table, got 3"),
    ("text =", "title =", "unknown key of sources.me 'title'"),
    ('"seen"', "3", "sources.me.text: expected a text, got 3"),
    ('[sources.me]\ntext = "seen"', "[sources]\nme = 3", "me: expected a table, got 3"),
    ('source = "me"', 'source = ["me"]', r"kinds.slow.source: expected one of \[sources\]"),
    ("weight = ", "weight = 1e308 # ", "the sum of all weights: expected a finite number"),
    ('title = "two kinds"', "links = { correlation = 2, source = 'me' }", "from -1 to 1, got 2"),
])  # fmt: skip
def test_a_file_that_is_no_fleet_says_why(old, new, message, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(FileError, match=message):
        Federated(fleet=str(path))


def test_a_fleet_that_is_not_there_cannot_be_read(tmp_path):
    with pytest.raises(FileError, match=r"cannot be read \(No such file"):
        Federated(fleet=str(tmp_path / "own.toml"))


def test_a_fleet_without_kinds_is_none(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('title = "nobody"')
    with pytest.raises(FileError, match="kinds: there must be at least one"):
        Federated(fleet=str(path))


# --- slow clients, lost clients, deadlines


def test_without_over_selection_the_slowest_binds():
    """The last of n order statistics."""
    plan = Federated(wanted=20, device_spread=0.5, local_steps=10)
    slowest = population(
        20, 1, 0, selected=20, edges=0, dropout=0.0, fleet=Fleet(device_spread=0.5)
    ).slowdown.max()
    time_s = run(plan, ideal(21)).step_ends_s[0]
    assert time_s == pytest.approx(10 * LOCAL_S * slowest + 2 * ALPHA, rel=0.05, abs=served_s(21))


def test_over_selection_does_not_wait_for_the_slowest():
    def round_s(over):
        plan = Federated(wanted=20, over_selection=over, device_spread=0.5, local_steps=200)
        return step_s(plan, ideal(200))

    assert round_s(1.5) < 0.8 * round_s(1.0)


@pytest.mark.parametrize("wanted", [1, 10, 19, 20])
def test_a_round_ends_with_the_last_update_wanted(wanted):
    """The k-th of n order statistics of the selected clients' times."""
    plan = Federated(wanted=wanted, over_selection=20 / wanted, device_spread=0.5, local_steps=100)
    found = population(200, 1, 0, selected=plan.selected, edges=0, dropout=0.0, fleet=plan.clients)
    ((members,),) = found.members
    last = np.sort(found.slowdown[members])[wanted - 1]
    time_s = run(plan, quick_server(200)).step_ends_s[0]
    assert plan.selected == 20
    assert time_s == pytest.approx(100 * LOCAL_S * last + 2 * message_s(SIZE), rel=1e-6)


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


def test_when_every_client_is_lost_rounds_end_without_updates():
    found = simulate(STEP, ideal(20), Federated(wanted=4, dropout=1.0), steps=3)
    assert found.throughput == 0
    assert {"rounds without updates: 3", "dropouts: 12"} <= set(found.notes)


@pytest.mark.parametrize("dropout", [0.06, 0.10])
def test_googles_over_selection_makes_up_for_its_dropouts(dropout):
    """130 % of the target for 6 to 10 % lost (Bonawitz et al., MLSys 2019, section 9)."""

    def come(over_selection):
        plan = Federated(wanted=100, over_selection=over_selection, dropout=dropout)
        return simulate(STEP, quick_server(1000), plan, steps=10).samples_per_step / STEP.samples

    assert come(1.3) == 100
    assert come(1.0) == pytest.approx(100 * (1 - dropout), abs=3)


def test_more_may_be_selected_than_there_are_clients():
    plan = Federated(wanted=8, over_selection=100.0)
    assert simulate(STEP, ideal(11), plan).samples_per_step == 8 * STEP.samples


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
        ({"fleet": "flush"}, "unknown fleet 'flush'; did you mean 'flash'"),
        ({"fleet": 3}, "fleet: expected a name or the path of a file, got 3"),
        ({"fleet": "flash", "device_spread": 0.5}, "a fleet says what device_spread"),
        ({"fleet": "flash", "link_bytes_per_s": 1e6}, "give one or the other"),
    ],
)
def test_what_makes_no_sense_is_refused(parameters, message):
    with pytest.raises(InputError, match=message):
        find_plan("federated", **parameters)


def test_more_clients_than_devices_do_not_fit():
    with pytest.raises(DoesNotFitError, match="at least 11 devices"):
        simulate(STEP, ideal(10), Federated(wanted=10))
