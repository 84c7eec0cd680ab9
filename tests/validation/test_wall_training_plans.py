"""Plans whose programs ask for the time, count and slow works down run on real processes too."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("torch")
if not hasattr(os, "fork"):
    pytest.skip("ranks are forked, which this system cannot", allow_module_level=True)

from simulator.actions import NOW, Count
from simulator.check_plan import training_step
from simulator.errors import RankFailedError, ScalemodelError
from simulator.ideal import IdealDevice
from simulator.workload import Job
from tests.simulator.plans import By
from validation.check_on_gloo import check_on_gloo
from validation.measure_plan import measure_plan
from workloads.plans.data_parallel import DataParallel
from workloads.plans.gossip import Gossip
from workloads.plans.local_sgd import LocalSGD
from workloads.plans.parameter_server import ParameterServer
from workloads.registry import find_workload

DEVICE = IdealDevice(flops_per_s=1e7)
SLOWDOWN = 3.0


def mlp(steps: int = 2) -> Job:
    return Job.of(find_workload("mlp", batch=4, width=8, training=True), steps=steps)


def slowed(rank, job):
    begin_s = yield NOW
    yield rank.compute(job.local_step, slowdown=SLOWDOWN)
    end_s = yield NOW
    yield Count("seconds", end_s - begin_s)


def test_a_slowed_work_takes_so_many_times_as_long_by_the_clock_that_the_program_asks():
    job = Job.of(training_step(4096.0))
    outcome = measure_plan(job, By(slowed), 2, virtual=DEVICE)
    alone_s = float(DEVICE.times_s(job.works["local_step"].graph, 1).sum())
    assert outcome.counts["seconds"] >= 2 * SLOWDOWN * alone_s


@pytest.mark.parametrize(
    ("plan", "learners"),
    [(LocalSGD(every=2), 4), (ParameterServer(), 1), (ParameterServer(mode="asynchronous"), 1),
     (Gossip(), 2), (DataParallel(compression="top-k"), 2),
     (DataParallel(compression="low-rank"), 2)],
    ids=["local SGD", "synchronous server", "asynchronous server", "gossip", "top-k", "low-rank"],
)  # fmt: skip
def test_plans_of_training_are_done_in_torch_and_count_their_steps_and_samples(plan, learners):
    outcome = measure_plan(mlp(), plan, 2)
    assert len(outcome.step_ends_s) == 2
    assert outcome.counts.get("samples", 2 * 2 * 4) == 2 * learners * 4


def test_a_work_that_a_twin_lacks_is_named_with_what_does_it():
    with pytest.raises(
        (RankFailedError, ScalemodelError), match=r"sleeping devices do any.*outer_step"
    ):
        measure_plan(mlp(), LocalSGD(outer="nesterov"), 2)


@pytest.mark.parametrize("plan", [LocalSGD(every=2), ParameterServer(), Gossip()])
def test_plans_that_count_leave_on_processes_what_they_leave_simulated(plan):
    verdict = check_on_gloo(plan, 2)
    assert (verdict.verdict, verdict.why) == ("fine", "")
