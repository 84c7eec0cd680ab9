"""Parameter servers: what a step costs, who waits for whom, and what is dropped."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.check_plan import check_plan
from simulator.errors import DoesNotFitError, InputError, UnknownNameError
from simulator.ideal import IdealDevice
from simulator.protocols import Machine
from simulator.simulate import simulate
from tests.workloads.plans.machines import (
    ALPHA,
    BANDWIDTH,
    INSTANT,
    SIZE,
    STEP,
    contended,
    ideal,
    job,
    message_s,
    quick_server,
    run,
    seconds,
    step_s,
)
from workloads.plans import ParameterServer, find_plan
from workloads.plans.parameter_server import _Clocks, _Shard

GRADIENT_S = seconds(job().gradient)


def served_s(gradients, servers=1):
    """Return how long a server sums so many gradients of its shard and updates it."""
    kept = _Shard.of(job(), job().grad, 0, servers)
    return gradients * seconds(kept.accumulate) + seconds(kept.apply_sum)


EVERY = [
    ParameterServer(),
    ParameterServer(servers=2),
    ParameterServer(overlap=True, servers=2),
    ParameterServer(overlap=True, barrier=True, servers=2),
    ParameterServer(colocated=True, servers=2),
    ParameterServer(backup=1),
    ParameterServer(backup=1, servers=2),
    ParameterServer(mode="asynchronous"),
    ParameterServer(mode="asynchronous", servers=3),
    ParameterServer(mode="stale-synchronous"),
    ParameterServer(mode="stale-synchronous", staleness=2, servers=2, colocated=True),
]


@pytest.mark.parametrize("plan", EVERY, ids=str)
@pytest.mark.parametrize("devices", [2, 4, 7])
def test_every_mode_keeps_the_contract_of_plans(plan, devices):
    verdict = check_plan(plan, devices)
    assert verdict.verdict == "fine" or (devices < 5 and verdict.verdict == "not for so many")


# --- synchronous


@pytest.mark.parametrize(("workers", "servers"), [(1, 1), (4, 1), (4, 3)])
def test_a_synchronous_step_is_push_sum_update_pull(workers, servers):
    """Without contention: gradient + 2 (alpha + S/P/B) + n sums and an update of S/P."""
    expected = GRADIENT_S + 2 * message_s(SIZE / servers) + served_s(workers, servers)
    plan = ParameterServer(servers=servers)
    assert step_s(plan, ideal(workers + servers)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_all_gradients_and_parameters_pass_the_link_of_one_server(workers):
    """Incast: 2 n S/B."""
    time_s = step_s(ParameterServer(), contended(workers + 1, INSTANT))
    assert time_s == pytest.approx(2 * workers * SIZE / BANDWIDTH + 2 * ALPHA, rel=1e-6)


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_a_server_beside_a_worker_spares_two_messages(ranks):
    """The measured form: n ranks with a server among them take 2 (n-1) S/B."""
    time_s = step_s(ParameterServer(colocated=True), contended(ranks, INSTANT))
    assert time_s == pytest.approx(2 * (ranks - 1) * SIZE / BANDWIDTH + 2 * ALPHA, rel=1e-6)


@pytest.mark.parametrize("servers", [1, 2, 8, 16])
def test_shards_divide_the_load_of_the_servers_link_until_the_workers_bind(servers):
    """With P servers max(S/B, N S/(P B)) each way."""
    workers = 8
    time_s = step_s(ParameterServer(servers=servers), contended(workers + servers, INSTANT))
    wire_s = 2 * SIZE / BANDWIDTH * max(1, workers / servers)
    assert time_s == pytest.approx(wire_s, rel=0.02)


@pytest.mark.parametrize("plan", [{"backup": 1}, {"mode": "asynchronous"}], ids=str)
def test_shards_are_asked_for_all_at_once(plan):
    """So that no server's link binds alone: as where all wait for one another, and 4 latencies."""
    machine = contended(12, INSTANT)
    time_s = step_s(ParameterServer(servers=4, **plan), machine)
    in_step = step_s(ParameterServer(servers=4), machine)
    assert time_s <= in_step + 4 * ALPHA


def test_buckets_that_leave_early_hide_behind_the_backward_pass():
    plain, early = (
        step_s(ParameterServer(overlap=overlap), contended(5)) for overlap in (False, True)
    )
    assert early < plain
    assert early > GRADIENT_S + SIZE / BANDWIDTH


@pytest.mark.parametrize("workers", [1, 4])
def test_behind_a_barrier_all_parameters_come_back_when_all_are_updated(workers):
    """What is pulled hides behind nothing: n S/B after the last gradient has come."""
    machine = contended(workers + 1)
    eager, waiting = (
        step_s(ParameterServer(overlap=True, barrier=barrier), machine) for barrier in (False, True)
    )
    assert waiting >= eager
    assert waiting > GRADIENT_S + workers * SIZE / BANDWIDTH


def test_a_slow_worker_slows_all():
    plan = ParameterServer()
    late_s = step_s(plan, quick_server(4, [2])) - step_s(plan, quick_server(4))
    assert late_s == pytest.approx(GRADIENT_S)


# --- asynchronous


def worker_step_s(slowness=1.0):
    """Return the time of a worker's step where servers take no time to speak of."""
    return slowness * GRADIENT_S + 2 * message_s(SIZE)


def test_asynchronous_workers_go_at_their_own_pace():
    """Throughput is the sum of the workers': n - 1 quick ones and one of half the speed."""
    n, steps = 8, 100
    ends = run(ParameterServer(mode="asynchronous"), quick_server(n, [0]), steps).step_ends_s
    rate = (n - 1) / worker_step_s() + 1 / worker_step_s(2.0)
    assert n * (steps - 50) / (ends[-1] - ends[49]) == pytest.approx(rate, rel=0.02)


def test_a_synchronous_step_takes_as_long_as_its_slowest_worker():
    """Of n workers of which one is slow, the last order statistic."""
    n = 8
    assert step_s(ParameterServer(), quick_server(n, [0])) == pytest.approx(
        worker_step_s(2.0), rel=1e-6
    )


def test_without_contention_gradients_of_equal_workers_are_n_minus_1_updates_old():
    counts = run(ParameterServer(mode="asynchronous"), quick_server(6), 400).counts
    assert counts["mean staleness"] == pytest.approx(5, rel=0.01)


def test_one_server_serves_one_worker_after_the_other():
    """A server that computes longer than its workers is busy all the time."""
    n, machine = 4, ideal(5)
    server = IdealDevice(flops_per_s=1e3, name="server")
    busy = Machine("slow server", [*machine.devices[:-1], server], machine.network)
    expected = n * seconds(_Shard.of(job(), job().grad, 0, 1).apply_one, server)
    assert step_s(ParameterServer(mode="asynchronous"), busy, 20) == pytest.approx(
        expected, rel=1e-6
    )


# --- stale-synchronous


def test_staleness_0_is_synchronous():
    """To the works of the server: n updates by one gradient, or one by the sum of n."""
    for slow in ([], [1]):
        ends = [
            run(plan, quick_server(4, slow), 10).step_ends_s
            for plan in (ParameterServer(mode="stale-synchronous"), ParameterServer())
        ]
        assert ends[0] == pytest.approx(ends[1], rel=1e-6)


def test_with_a_lasting_straggler_any_bound_ends_at_its_pace():
    plan = ParameterServer(mode="stale-synchronous", staleness=3)
    ends = run(plan, quick_server(4, [1]), 40).step_ends_s
    assert (ends[-1] - ends[19]) / 20 == pytest.approx(worker_step_s(2.0), rel=1e-3)


def test_a_bound_larger_than_the_run_never_holds():
    loose = ParameterServer(mode="stale-synchronous", staleness=1000)
    times = [run(plan, quick_server(4, [1]), 9).step_ends_s
             for plan in (loose, ParameterServer(mode="asynchronous"))]  # fmt: skip
    assert times[0] == times[1]


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(0, 3))
def test_no_worker_is_further_ahead_than_the_bound(order, bound):
    clocks = _Clocks(5, bound)
    free = {0, 1, 2, 3, 4}
    for worker in order:
        if worker in free:
            free.discard(worker)
            free |= set(clocks.step(worker))
        assert free
        assert all(clocks.done[other] - min(clocks.done) <= bound for other in free)


# --- backup workers


def test_backup_workers_hide_as_many_stragglers():
    quick = step_s(ParameterServer(backup=1), quick_server(6))
    hidden = step_s(ParameterServer(backup=1), quick_server(6, [3]))
    assert hidden == pytest.approx(quick, rel=1e-6)
    assert step_s(ParameterServer(backup=1), quick_server(6, [3, 4])) > 1.3 * quick


def test_late_gradients_are_dropped_and_counted():
    run_ = simulate(STEP, quick_server(6, [3]), ParameterServer(backup=1), steps=20)
    assert run_.samples_per_step == 5 * STEP.samples
    assert any(note.startswith("late gradients: ") for note in run_.notes)


def test_a_dropped_gradients_worker_goes_on_with_the_newest_parameters():
    outcome = run(ParameterServer(backup=1), quick_server(3, [0]), 30)
    slow = outcome.ranks[0]
    assert slow.sent_messages < outcome.ranks[1].sent_messages
    assert slow.end_s / slow.sent_messages == pytest.approx(worker_step_s(2.0), rel=0.02)


# --- several runs, and what is refused


def test_equal_seeds_give_equal_runs():
    plan = ParameterServer(mode="asynchronous", servers=2)
    ends = [run(plan, ideal(6, [1]), 7).step_ends_s for _ in range(2)]
    assert ends[0] == ends[1]


def test_servers_do_not_learn():
    assert simulate(STEP, ideal(5), ParameterServer(servers=2)).samples_per_step == 3 * STEP.samples


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"servers": 0}, "servers: expected a whole number of at least 1, got 0"),
        ({"backup": -1}, "backup: expected a whole number of at least 0, got -1"),
        ({"mode": "stale-synchronous", "staleness": -1},
         "staleness: expected a whole number of at least 0, got -1"),
        ({"staleness": 2}, "staleness means something only with mode stale-synchronous"),
        ({"mode": "asynchronous", "backup": 1}, "backup means something only with mode sync"),
        ({"mode": "asynchronous", "overlap": True}, "overlap means something only with"),
        ({"barrier": True}, "barrier means something only with overlap"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(parameters, message):
    with pytest.raises(InputError, match=message):
        find_plan("parameter-server", **parameters)


def test_a_misspelt_mode_tells_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'asynchronous'"):
        ParameterServer(mode="asynchronus")


def test_more_servers_than_devices_do_not_fit():
    with pytest.raises(DoesNotFitError, match=r"at least 6 devices .5 servers.*'ideal' has 5"):
        simulate(STEP, ideal(5), ParameterServer(servers=5))
    with pytest.raises(DoesNotFitError, match="at least 6 devices"):
        simulate(STEP, ideal(5), ParameterServer(servers=6, colocated=True))


def test_what_does_not_train_has_no_gradients():
    forward = STEP.graph.select(STEP.graph.in_phase("forward"))
    inference = replace(STEP, graph=forward, gradients=())
    with pytest.raises(InputError, match="trains, and workload 'check' does not"):
        simulate(inference, ideal(3), ParameterServer())


# --- groups of workers


@pytest.mark.parametrize("plan", [
    ParameterServer(group=2), ParameterServer(group=4, overlap=True, servers=3),
    ParameterServer(group=9, servers=2), ParameterServer(group=2, overlap=True, colocated=True),
], ids=str)  # fmt: skip
def test_groups_keep_the_contract_of_plans(plan):
    own = 0 if plan.colocated else plan.servers
    assert check_plan(plan, 4 + own).verdict == "fine"


@pytest.mark.parametrize("groups", [1, 3])
def test_a_group_adds_up_then_one_of_it_exchanges_then_all_get_it(groups):
    """Without contention: a tree of lg g messages before and after what a worker does alone."""
    plan, alone = ParameterServer(group=4), ParameterServer()
    trees_s = 2 * 2 * message_s(SIZE)
    expected = step_s(alone, ideal(groups + 1)) + trees_s
    assert step_s(plan, ideal(4 * groups + 1)) == pytest.approx(expected, rel=1e-9)


def test_the_next_bucket_is_added_up_while_servers_have_one():
    whole, buckets = (
        step_s(ParameterServer(group=2, overlap=overlap), contended(5)) for overlap in (False, True)
    )
    assert buckets < whole


def test_workers_that_do_not_make_groups_are_refused():
    with pytest.raises(InputError, match="5 workers do not make groups of 2"):
        run(ParameterServer(group=2), ideal(6))
    with pytest.raises(InputError, match="group means something only with mode synchronous"):
        ParameterServer(group=2, mode="asynchronous")
