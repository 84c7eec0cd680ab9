"""Jobs beside each other take their own times where they share nothing, longer where they do."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from hwmodels.devices import find_device
from simulator.actions import Group
from simulator.check_plan import training_step
from simulator.engine.execute import Part, execute_jobs
from simulator.errors import DeadlockError, DoesNotFitError, InputError
from simulator.ideal import AlphaBetaStar, IdealDevice, ideal_machine
from simulator.jobs import JobSpec, OnDevices, simulate_jobs
from simulator.ops import Graph, Op
from simulator.protocols import Machine
from simulator.simulate import job_of, simulate
from simulator.workload import Buffer, Workload
from tests.simulator.plans import By, DataParallel
from workloads.plans.one_device import Single, Threads

STEP = training_step()
NAME: Any = "mlp"
NUMBERS = Buffer("numbers", 1e6)


class Folded(DataParallel):
    """Have equal ranks."""

    def copies(self, ranks):
        return np.arange(ranks)[None, :]


def both(machine: Machine, *jobs: JobSpec) -> Any:
    """Return the runs of jobs beside each other, and alone."""
    runs = simulate_jobs(jobs, machine)
    return [one.run for one in runs], [one.alone for one in runs]


@pytest.mark.parametrize("start_s", [0.0, 0.25, 1e6])
@pytest.mark.parametrize("plan", [DataParallel(), Folded()])
def test_jobs_that_share_nothing_run_as_if_alone(plan, start_s):
    machine = ideal_machine(6, device=IdealDevice(1e9, power_w=2.0, idle_w=1.0))
    first = JobSpec(STEP, plan, devices=[0, 1, 2, 3], steps=3)
    second = JobSpec(STEP, plan, devices=[5, 4], start_s=start_s, steps=2)
    for beside, alone in zip(*both(machine, first, second), strict=True):
        assert beside.time_s == pytest.approx(alone.time_s, abs=1e-15 + 1e-9 * start_s)
        assert beside.compute_share == pytest.approx(alone.compute_share, rel=1e-3)
        assert beside.notes[:-1] == alone.notes
        assert beside.energy.components["compute"] == alone.energy.components["compute"]
        for one, other in zip(beside.timeline.spans(), alone.timeline.spans(), strict=True):
            assert one.start_s == pytest.approx(other.start_s, abs=1e-15 + 1e-9 * start_s)
            assert (one.rank, one.kind, one.name) == (other.rank, other.kind, other.name)


def test_one_job_is_what_simulate_gives():
    machine = ideal_machine(4)
    one: Any
    [one] = simulate_jobs([JobSpec(STEP, DataParallel(), steps=2)], machine)
    whole: Any = simulate(STEP, machine, DataParallel(), steps=2)
    assert (one.run.metrics, one.slowdown) == (whole.metrics, 1.0)
    assert one.run.timeline.spans() == whole.timeline.spans()


def test_ranks_and_groups_are_counted_within_a_job():
    def program(rank, _):
        half = Group.of(range(rank.size // 2))
        odd = Group.of([3, 1])
        assert rank.world.size == rank.size == 4
        if rank.id in half:
            yield rank.all_reduce(NUMBERS, half)
        if rank.id in odd:
            yield rank.all_reduce(NUMBERS, odd)
        yield rank.send(NUMBERS, (rank.id + 1) % 4)
        message = yield rank.recv(NUMBERS)
        assert message.source == (rank.id - 1) % 4

    star: Any = Remembering()
    machine = Machine("star", [IdealDevice()] * 8, star)
    jobs = [JobSpec(STEP, By(program), devices=some) for some in ([0, 1, 2, 3], [7, 6, 5, 4])]
    simulate_jobs(jobs, machine)
    assert star.placed.devices == [0, 1, 2, 3, 7, 6, 5, 4]
    groups = {tuple(group.ranks) for group in star.groups}
    assert groups == {(0, 1), (3, 1), (4, 5), (7, 5)}
    assert set(star.pairs) == {(0, 1), (1, 2), (2, 3), (3, 0), (7, 6), (6, 5), (5, 4), (4, 7)}


def test_jobs_compete_for_a_device_while_both_run():
    machine = Machine("a board", [find_device("raspberry-pi-4")])
    large = Op(kind="gemm", dims=(1, 512, 512, 512), flops=2 * 512**3, bytes_read=2**21)
    step = Workload(name="gemm", parameters={}, graph=Graph.of([large]), samples=1)
    job = JobSpec(step, Threads(4), steps=4)
    (first, second), (alone, _) = both(machine, job, job)
    assert first.time_s == pytest.approx(second.time_s)
    assert first.time_s > 1.5 * alone.time_s
    assert set(first.energy.components.values()) == {None}
    late = replace(job, start_s=2 * first.time_s)
    assert [one.slowdown for one in simulate_jobs([late, job], machine)] == pytest.approx([1, 1])


def test_ranks_whose_device_has_another_job_are_all_simulated():
    machine = ideal_machine(4)
    jobs = [JobSpec(STEP, Folded()), JobSpec(STEP, Single(), devices=[2])]
    notes = simulate_jobs(jobs, machine)[0].run.notes
    assert "all 4 ranks simulated: other jobs use their devices" in notes


@pytest.mark.parametrize("start_s", [0.0, 0.01, 0.25])
def test_jobs_with_the_same_copies_at_the_same_places_are_simulated_once(start_s):
    machine = Machine("boards", [find_device("raspberry-pi-4")] * 4, AlphaBetaStar(1e-5, 1e8))
    parts = [Part(job_of(STEP, plan, 3, 0), plan, at) for plan, at in
             ((Folded(), 0.0), (Folded(), start_s))]  # fmt: skip
    folded = execute_jobs(parts, machine)
    every = execute_jobs(parts, machine, fold=False)
    assert [one.folding for one in folded] == ["1 of 4 ranks simulated"] * 2
    for one, other in zip(folded, every, strict=True):
        assert one.time_s == pytest.approx(other.time_s, rel=1e-12)
        assert one.ranks[0].compute_s == pytest.approx(other.ranks[3].compute_s, rel=1e-12)
        assert one.energy.components == other.energy.components
        assert one.collectives == other.collectives


def test_energy_of_the_network_is_told_of_a_job_that_has_it_alone_only():
    machine = Machine("star", [IdealDevice(power_w=1.0)] * 4, AlphaBetaStar(1e-6, 1e9, 1e-9))
    job = JobSpec(STEP, DataParallel(), devices=[0, 1])
    [alone] = simulate_jobs([job], machine)
    first, _ = simulate_jobs([job, JobSpec(STEP, DataParallel(), devices=[2, 3])], machine)
    assert alone.run.energy_j is not None
    assert "network" not in first.run.energy.components
    assert first.run.notes[-1] == "energy leaves out the network, which other jobs use as well"
    assert first.run.energy.components["compute"] == alone.run.energy.components["compute"]


def test_a_deadlock_names_the_job():
    def waits(rank, _):
        yield rank.recv(NUMBERS, (rank.id + 1) % 2)

    machine = ideal_machine(4)
    jobs = [JobSpec(STEP, DataParallel(), devices=[0, 1]), JobSpec(STEP, By(waits), devices=[2, 3])]
    with pytest.raises(DeadlockError, match="rank 0: recv 'numbers' from rank 1") as error:
        simulate_jobs(jobs, machine)
    assert "in job 1 of 2" in error.value.__notes__


@dataclass(frozen=True)
class SmallDevice(IdealDevice):
    """Have memory for a single job."""

    @property
    def memory_bytes(self):
        return 5e8


def test_jobs_on_a_device_must_fit_together():
    machine = Machine("small", [SmallDevice()] * 2)
    simulate_jobs([JobSpec(STEP, Single(), devices=[at]) for at in (0, 1)], machine)
    with pytest.raises(DoesNotFitError, match="on device 0"):
        simulate_jobs([JobSpec(STEP, Single())] * 4, machine)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (list, "expected one or more JobSpec"),
        (lambda: [STEP], "expected one or more JobSpec"),
        (lambda: [JobSpec(NAME, Single())], "expected a Workload, got 'mlp'"),
        (lambda: [JobSpec(STEP, Single(), start_s=-1.0)], "start_s: expected"),
        (lambda: [JobSpec(STEP, Single(), start_s=math.inf)], "start_s: expected"),
        (lambda: [JobSpec(STEP, Single(), devices=[4])], "has devices 0 to 3, got 4"),
        (lambda: [JobSpec(STEP, Single(), devices=[-1])], "devices: expected"),
        (lambda: [JobSpec(STEP, Single(), devices=[])], "at least one device"),
        (lambda: [JobSpec(STEP, Single(), devices=[1, 1])], "expected each once"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        simulate_jobs(make(), ideal_machine(4))


def test_a_plan_sees_the_devices_that_it_is_given_and_no_others():
    quick, slow = IdealDevice(2e9), IdealDevice(1e9)
    machine = Machine("mixed", [slow, quick, slow, quick], AlphaBetaStar(1e-6, 1e9))
    placement = OnDevices(DataParallel(), [3, 1]).place(machine)
    assert placement.devices == [3, 1]
    times = [simulate(STEP, machine, OnDevices(Single(), [at])).time_s for at in (0, 1)]
    assert times[0] == pytest.approx(2 * times[1])


class Remembering:
    """Be a star, and remember what it is opened for and what it carries."""

    def __init__(self) -> None:
        self._star = AlphaBetaStar(1e-6, 1e9)
        self.placed: Any = None
        self.groups: list[Group] = []
        self.pairs: list[tuple[int, int]] = []
        self.collective_s = self._star.collective_s

    def open(self, clock, placement):
        self.placed, self._fabric = placement, self._star.open(clock, placement)
        self.energy = self._fabric.energy
        return self

    def transfer(self, src, dst, nbytes, copies):
        self.pairs.append((src, dst))
        return self._fabric.transfer(src, dst, nbytes, copies)

    def collective(self, kind, nbytes, group, copies):
        self.groups.append(group)
        return self._fabric.collective(kind, nbytes, group, copies)
