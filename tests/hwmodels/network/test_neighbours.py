"""Jobs that share a network slow each other down as SimGrid's do."""

from dataclasses import replace
from typing import Any

import pytest

from hwmodels.network.cluster import Cluster
from hwmodels.network.libraries import Textbook
from hwmodels.network.shapes import star
from hwmodels.network.wires import Wire
from simulator.check_plan import training_step
from simulator.engine.execute import execute
from simulator.ideal import IdealDevice
from simulator.jobs import JobSpec, simulate_jobs
from simulator.protocols import Machine
from simulator.workload import Buffer, Job
from tests.simulator.plans import By, DataParallel

STEP = training_step()
GRADIENTS = Buffer("gradients", 1e9)


def cluster(devices):
    network = Cluster(
        topology=star(devices, Wire(1.25e9, 1e-6)),
        library=Textbook(algorithms={"all_reduce": "ring"}),
    )
    return Machine("star", [IdealDevice()] * devices, network)


def reduces(rank, _):
    yield rank.all_reduce(GRADIENTS)


def passes(shift, nbytes, rounds):
    """Return a program that sends to one and receives from another rank, again and again."""
    out, into = Buffer("out", nbytes), Buffer("into", nbytes)

    def program(rank, _):
        for _ in range(rounds):
            sent = yield rank.start(rank.send(out, (rank.id + shift) % rank.size))
            yield rank.recv(into, (rank.id - shift) % rank.size)
            yield rank.wait(sent)

    return By(program)


@pytest.mark.parametrize("first", [By(reduces), passes(1, 1e9 / 64, 126)])
def test_a_ring_beside_exchanges_takes_the_time_of_simgrid(first):
    """SimGrid 3.32 (CM02, TCP-gamma 0, no cross-traffic), on links of 1.25e9 B/s and 1 us."""
    jobs = [JobSpec(STEP, first), JobSpec(STEP, passes(7, 1e6, 200), start_s=0.01)]
    ring, exchanges = simulate_jobs(jobs, cluster(64), record=False)
    assert ring.end_s == pytest.approx(1.735226, rel=1e-6)
    assert exchanges.end_s == pytest.approx(0.330374, rel=2e-6)
    assert ring.slowdown == pytest.approx(1.735226 / (126 * (2e-6 + 1 / 64 / 1.25)), rel=1e-6)


def test_two_rings_over_the_same_links_share_them_until_the_first_ends():
    """The bytes of both go over each link; each waits for as many latencies in the meantime."""
    jobs = [JobSpec(STEP, By(reduces)), JobSpec(STEP, By(reduces), start_s=0.2)]
    first, second = (one.run.time_s for one in simulate_jobs(jobs, cluster(8)))
    alone_s = 14 * (2e-6 + 1 / 8 / 1.25)
    assert first == pytest.approx(0.2 + 2 * (alone_s - 0.2), rel=1e-4)
    assert 0.2 + second == pytest.approx(2 * alone_s, rel=1e-4)


@pytest.mark.parametrize("rank_s", [0.0, 1e-3, 3.7e-3])
def test_clients_of_one_server_take_the_time_of_a_network_without_shortcuts(rank_s):
    """Server 0 answers whoever comes; clients come at once, or each a little later."""
    out, into = Buffer("out", 1e6), Buffer("into", 1e6)

    def program(rank, _):
        if rank.id == 0:
            for _ in range(3 * (rank.size - 1)):
                message = yield rank.recv(into)
                yield rank.send(out, message.source)
            return
        for _ in range(3):
            yield rank.sleep(1e-3 + rank_s * rank.id)
            yield rank.send(out, 0)
            yield rank.recv(into, 0)

    machine = cluster(12)
    network: Any = machine.network
    plain = replace(machine, network=replace(network, coalesce=False, fold=False))
    found, wanted = (
        execute(Job.of(STEP), one, By(program), record=False) for one in (machine, plain)
    )
    assert found.time_s == pytest.approx(wanted.time_s, rel=1e-9)
    for one, other in zip(found.ranks, wanted.ranks, strict=True):
        assert one.end_s == pytest.approx(other.end_s, rel=1e-9)


def test_jobs_on_devices_of_their_own_do_not_disturb_each_other_on_a_star():
    plan = DataParallel()
    jobs = [JobSpec(STEP, plan, devices=some) for some in (range(4), range(4, 8))]
    assert [one.slowdown for one in simulate_jobs(jobs, cluster(8))] == pytest.approx([1, 1])
