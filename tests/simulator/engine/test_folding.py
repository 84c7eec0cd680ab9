"""Simulating equal copies once gives what simulating all of them gives, to the last bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.actions import Group
from simulator.engine.execute import execute
from simulator.engine.folding import choose_ranks
from simulator.errors import DeadlockError, InputError, ProgramError
from simulator.ideal import AlphaBetaStar, IdealDevice
from simulator.protocols import Machine, Placement
from simulator.workload import Buffer
from tests.simulator.plans import By, DataParallel, LocalSGD, job, work

DEVICE = IdealDevice(power_w=3.7, idle_w=0.9)
SLOW = IdealDevice(flops_per_s=0.61e9, power_w=3.1, idle_w=0.7, name="slow")
STAR = AlphaBetaStar(1.3e-6, 0.97e9, joules_per_byte=1.1e-9)
ACTIVATION, GRADIENT, WEIGHTS = Buffer("act", 1e6), Buffer("grad", 2e6), Buffer("weights", 3e7)


@dataclass
class Mesh:
    """Pipeline over `stages` roles, data parallel over the copies; rank = stage x copies + copy."""

    stages: int
    microbatches: int

    def place(self, machine):
        ranks = len(machine.devices)
        return Placement(range(ranks), [1] * ranks)

    def copies(self, ranks):
        return np.arange(ranks).reshape(self.stages, -1)

    def program(self, rank, job):
        width = rank.size // self.stages
        stage = rank.id // width
        row = Group.of(range(stage * width, (stage + 1) * width))
        column = Group.of(range(rank.id % width, rank.size, width))
        before, after = rank.id - width, rank.id + width
        for _ in range(job.steps):
            for _ in range(self.microbatches):
                if stage:
                    yield rank.recv(job.act, before)
                yield rank.compute(job.forward)
                if after < rank.size:
                    yield rank.send(job.act, after)
            for _ in range(self.microbatches):
                if after < rank.size:
                    yield rank.recv(job.grad, after)
                yield rank.compute(job.backward)
                if stage:
                    yield rank.send(job.grad, before)
            reduced = yield rank.start(rank.all_reduce(job.weights, row))
            yield rank.wait(reduced)
            yield rank.all_gather(job.weights, column)
            yield rank.barrier()


def machine(devices):
    return Machine("test", devices, STAR)


def mesh_job(forward=1e-3, backward=2.1e-3, steps=2):
    works = [work("forward", forward, forward / 3), work("backward", backward)]
    return job(works, [ACTIVATION, GRADIENT, WEIGHTS], steps=steps)


def both(the_job, the_machine, plan):
    """Return the folded and the whole run, whose figures must be equal to the last bit."""
    folded = execute(the_job, the_machine, plan)
    whole = execute(the_job, the_machine, plan, fold=False)
    assert folded.time_s == whole.time_s
    assert folded.step_ends_s == whole.step_ends_s
    assert folded.energy == whole.energy
    assert folded.collectives == whole.collectives
    assert folded.size == whole.size == whole.simulated
    for name in ("compute_s", "communication_s", "waiting_s", "sleep_s", "idle_s", "sent_bytes",
                 "received_bytes", "sent_messages", "received_messages"):  # fmt: skip
        assert folded.total(name) == whole.total(name), name
    chosen = {rank.rank for rank in folded.ranks}
    assert [span for span in whole.timeline or () if span.rank in chosen] == list(
        folded.timeline or ()
    )
    return folded, whole


@given(
    stages=st.integers(1, 4),
    width=st.integers(2, 9),
    microbatches=st.integers(1, 4),
    forward=st.floats(1e-6, 1.0),
    slow=st.sets(st.integers(0, 8), max_size=3),
)
def test_folded_equals_whole_for_a_mesh_with_stragglers(stages, width, microbatches, forward, slow):
    devices = [DEVICE] * (stages * width)
    for place in slow:
        devices[place % len(devices)] = SLOW
    folded, _ = both(mesh_job(forward), machine(devices), Mesh(stages, microbatches))
    assert folded.simulated % stages == 0


@given(
    ranks=st.integers(2, 12),
    sizes=st.lists(st.floats(1.0, 1e7), min_size=1, max_size=4),
    seconds=st.lists(st.floats(1e-6, 1e-2), min_size=4, max_size=4),
    straggler=st.booleans(),
)
def test_folded_equals_whole_for_data_parallel_plans(ranks, sizes, seconds, straggler):
    buckets = tuple(Buffer(f"bucket{i}", size) for i, size in enumerate(sizes))
    names = tuple(bucket.name for bucket in buckets)
    marks = tuple((name, i) for i, name in enumerate(names))
    works = [
        work("forward", 1e-3),
        work("backward", *seconds, marks=marks, writes=names),
        work("update", 1e-4, reads=names),
        work("local_step", *seconds),
    ]
    the_job = job(works, [*buckets, Buffer("params", sizes[0])], steps=3, buckets=buckets)
    devices = [DEVICE] * ranks
    if straggler:
        devices[ranks // 2] = SLOW
    for plan in (DataParallel(), LocalSGD(2)):
        folded, _ = both(the_job, machine(devices), plan)
        assert folded.simulated == min(1 + straggler, ranks)


def test_eight_of_1024_ranks_are_simulated():
    folded = execute(mesh_job(), machine([DEVICE] * 1024), Mesh(8, 4))
    assert folded.folding == "8 of 1,024 ranks simulated"
    assert [rank.copies for rank in folded.ranks] == [128] * 8


def test_a_straggler_splits_off_its_whole_copy():
    devices = [DEVICE] * 12
    devices[5] = SLOW  # stage 1, copy 1
    folded, _ = both(mesh_job(), machine(devices), Mesh(3, 2))
    assert {rank.rank: rank.copies for rank in folded.ranks} == {
        0: 3, 4: 3, 8: 3, 1: 1, 5: 1, 9: 1,
    }  # fmt: skip


def test_devices_that_are_equal_but_not_the_same_object_are_alike():
    devices = [IdealDevice(name="twin") for _ in range(6)]
    assert execute(mesh_job(), machine(devices), Mesh(2, 1)).simulated == 2


def test_threads_tell_copies_apart():
    table = np.arange(4)[None, :]
    devices = [IdealDevice(max_threads=4)] * 4
    folding = choose_ranks(table, machine(devices), Placement(range(4), [1, 2, 2, 1]))
    assert (folding.columns, folding.copies) == ([[0], [1]], [2, 2])


@dataclass(frozen=True, slots=True)
class TwoRacks(AlphaBetaStar):
    """Tell copies that lie in one rack from those that lie in two."""

    rack: int = 4

    def link_classes(self, devices):
        return (devices // self.rack).max(axis=0) - (devices // self.rack).min(axis=0)


def test_links_tell_copies_apart():
    devices = [DEVICE] * 8
    place = Placement(range(8), [1] * 8)
    table = np.array([[0, 2, 4, 3], [1, 5, 6, 7]])
    even = choose_ranks(table, machine(devices), place)
    assert even.copies == [4]
    racks = choose_ranks(table, Machine("racks", devices, TwoRacks(1e-6, 1e9)), place)
    assert (racks.columns, racks.copies) == ([[0, 1], [2, 5]], [2, 2])


def test_ranks_that_share_a_device_within_a_copy_are_folded_with_their_like():
    place = Placement([0, 1, 2, 3, 0, 1, 2, 4], [1] * 8)
    table = np.arange(8).reshape(2, 4)
    folding = choose_ranks(table, machine([DEVICE] * 5), place)
    assert (folding.columns, folding.copies) == ([[0, 4], [3, 7]], [3, 1])


@pytest.mark.parametrize(
    ("table", "devices", "why"),
    [
        (None, range(4), "the plan names no equal copies"),
        (np.arange(4)[None, :], [0, 0, 1, 1], "copies share a device"),
        (np.arange(4)[:, None], range(4), "no two copies are alike"),
    ],
)
def test_a_refusal_tells_why(table, devices, why):
    folding = choose_ranks(table, machine([DEVICE] * 4), Placement(devices, [1] * 4))
    assert folding.told == f"all 4 ranks simulated: {why}"


def test_a_receive_from_any_rank_unfolds():
    def program(rank, _):
        yield rank.send(ACTIVATION, to=rank.id)
        yield rank.recv(ACTIVATION)

    outcome = execute(job(), machine([DEVICE] * 3), By(program, np.arange(3)[None, :]))
    assert outcome.folding == "all 3 ranks simulated: a rank receives from any rank"
    assert outcome.total("received_messages") == 3


def test_folding_may_be_switched_off():
    outcome = execute(mesh_job(), machine([DEVICE] * 4), Mesh(2, 1), fold=False)
    assert outcome.folding == "all 4 ranks simulated: folding is off"


@pytest.mark.parametrize(
    "table", [np.arange(3)[None, :], np.array([[0, 1], [1, 2]]), np.arange(4), np.zeros((2, 2))]
)
def test_a_table_of_copies_holds_each_rank_once(table):
    with pytest.raises(InputError, match="with each of the 4 ranks once"):
        choose_ranks(table, machine([DEVICE] * 4), Placement(range(4), [1] * 4))


def test_messages_stay_within_a_copy():
    def program(rank, _):
        yield rank.send(ACTIVATION, to=(rank.id + 1) % rank.size)
        yield rank.recv(ACTIVATION, source=(rank.id - 1) % rank.size)

    with pytest.raises(ProgramError, match=r"rank 0 exchanges messages with rank 1.*`copies`"):
        execute(job(), machine([DEVICE] * 4), By(program, np.arange(4)[None, :]))


def test_an_error_of_a_folded_run_says_that_it_was_folded():
    def program(rank, _):
        yield rank.recv(ACTIVATION, source=rank.id)

    with pytest.raises(DeadlockError) as caught:
        execute(job(), machine([DEVICE] * 4), By(program, np.arange(4)[None, :]))
    assert caught.value.__notes__ == ["1 of 4 ranks simulated; the others are their equals"]


def test_groups_lie_in_a_copy_or_are_whole_rows():
    def program(rank, _):
        yield rank.barrier(Group.of([0, 1] if rank.id < 2 else [2, 3]))

    with pytest.raises(ProgramError, match="neither in one copy nor is it made of whole rows"):
        execute(job(), machine([DEVICE] * 4), By(program, np.arange(4)[None, :]))
