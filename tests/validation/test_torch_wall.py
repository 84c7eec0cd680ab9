"""Real processes do what a simulated run does: the same numbers, messages, waits and errors."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("torch")
if not hasattr(os, "fork"):
    pytest.skip("ranks are forked, which this system cannot", allow_module_level=True)

import numpy as np
import torch

from simulator.check_plan import training_step
from simulator.errors import DeadlockError, InputError, RankFailedError, UnknownNameError
from simulator.ideal import IdealDevice
from simulator.timeline import LOCAL_KINDS
from simulator.workload import Job
from tests.simulator.plans import By, DataParallel, LocalSGD, ParameterServer, RingAllReduce
from tests.validation import wall_plans
from tests.validation.rank_tasks import task
from validation import check_on_gloo as judge
from validation.check_on_gloo import check_on_gloo
from validation.measure_plan import communication_job, measure_plan
from validation.ranks import run_ranks
from validation.torch_twins import twin
from validation.torch_values import TwinWorks
from workloads.registry import find_workload

TWICE = IdealDevice(flops_per_s=1e7)


def small_step(steps: int = 3) -> Job:
    return Job.of(training_step(4096.0), steps=steps, bucket_bytes=4096.0)


ONE_AFTER_THE_OTHER = wall_plans.InTurn(
    DataParallel(), LocalSGD(2), wall_plans.EveryCollective(), wall_plans.StartedCollectives(),
    wall_plans.Messages(), wall_plans.Impatient(), wall_plans.Sleeper(),
)  # fmt: skip


@pytest.mark.parametrize("plan", [ONE_AFTER_THE_OTHER, ParameterServer()])
def test_processes_leave_the_numbers_that_a_simulated_run_leaves(plan):
    verdict = check_on_gloo(plan, 3)
    assert (verdict.verdict, verdict.why) == ("fine", "")


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (wall_plans.Deaf(), "rank 1 waited 1 s for recv 'some' from rank 0"),
        (wall_plans.Different(), "is left with other contents of 'some'"),
        (wall_plans.Talkative(), "rank 0 sent 'some' to rank 1, and it was never received"),
    ],
    ids=lambda part: type(part).__name__,
)
def test_what_processes_do_otherwise_is_found_and_named(plan, why, monkeypatch):
    monkeypatch.setattr(judge, "TIMEOUT_S", 1.0)
    verdict = check_on_gloo(plan, 2)
    assert verdict.broken
    assert why in verdict.why


def test_a_plan_that_deadlocks_is_not_even_begun():
    def waits(rank, job):
        yield rank.recv(job.grad)

    with pytest.raises(DeadlockError):
        measure_plan(communication_job(8.0), By(waits), 2)


def test_a_measured_run_has_the_form_of_a_simulated_one():
    outcome = measure_plan(small_step(), DataParallel(), 2, virtual=TWICE)
    assert outcome.size == len(outcome.ranks) == 2
    assert len(outcome.step_ends_s) == 3
    assert outcome.collectives["all_reduce"].calls == 9
    assert outcome.collectives["all_reduce"].nbytes == 9 * 4096
    assert outcome.folding == "measured on 2 processes (loopback)"
    assert outcome.timeline is not None
    for totals in outcome.ranks:
        spans = outcome.timeline.spans(rank=totals.rank)
        assert {span.kind for span in spans} >= {"compute", "all_reduce"}
        assert sum(span.kind in LOCAL_KINDS for span in spans) == 9
        parts = (totals.compute_s, totals.communication_s, totals.waiting_s, totals.sleep_s)
        assert sum(parts) + totals.idle_s == pytest.approx(outcome.time_s)


def test_a_virtual_device_sleeps_at_least_as_long_as_it_would_compute():
    job = small_step(steps=1)
    outcome = measure_plan(job, LocalSGD(1), 2, virtual=TWICE)
    wanted_s = float(TWICE.times_s(job.works["local_step"].graph, 1).sum())
    assert all(totals.compute_s >= wanted_s for totals in outcome.ranks)


def test_a_training_step_is_done_in_torch_by_each_process():
    workload = find_workload("mlp", batch=4, width=8, training=True)
    outcome = measure_plan(Job.of(workload, steps=2, bucket_bytes=1000.0), DataParallel(), 2)
    assert outcome.collectives["all_reduce"].nbytes == 2 * workload.weight_bytes
    assert all(totals.compute_s > 0 for totals in outcome.ranks)


def test_what_a_program_asks_and_the_twin_lacks_is_named():
    workload = find_workload("mlp", batch=4, width=8, training=True)
    with pytest.raises(UnknownNameError, match="work"):
        measure_plan(Job.of(workload), RingAllReduce(), 2)


class Local(wall_plans.Failing):
    """Be a plan of the program that runs."""


def test_a_plan_that_other_processes_cannot_import_is_refused(monkeypatch):
    monkeypatch.setattr(Local, "__module__", "__main__")
    with pytest.raises(InputError, match="Local is defined in the program that runs"):
        measure_plan(communication_job(8.0), Local(), 2)


def test_a_program_that_fails_on_one_rank_is_named():
    with pytest.raises(RankFailedError, match=r"rank 1 failed: ZeroDivisionError.*wall_plans"):
        measure_plan(communication_job(8.0), wall_plans.Failing(), 2)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_program_of_data_parallel_trains_as_torch_does_bit_for_bit(optimizer):
    first, second = run_ranks(task("both_ways", optimizer), 2).of_ranks
    for own, torchs in (first, second):
        assert all(np.array_equal(a, b) for a, b in zip(own, torchs, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(first[0], second[0], strict=True))


def test_gradients_are_in_their_buckets_when_these_are_marked():
    workload = find_workload("mlp", batch=4, width=8, training=True)
    job = Job.of(workload, bucket_bytes=1000.0)
    step, alone = twin(workload), twin(workload)
    works = TwinWorks(step, job)
    marked: list[tuple[str, torch.Tensor]] = []

    def reached(mark: str) -> None:
        marked.append((mark, works.tensors[mark].clone()))

    for _ in range(2):
        marked.clear()
        works(job.works["forward"], reached)
        works(job.works["backward"], reached)
    alone.backward(alone.forward())
    gradients = [p.grad for p in alone.module.parameters() if p.grad is not None]
    assert [name for name, _ in marked] == [bucket.name for bucket in job.buckets]
    whole = torch.cat([values for _, values in marked])
    assert torch.equal(whole, works.tensors["grad"])
    assert whole.sort().values.equal(torch.cat([g.flatten() for g in gradients]).sort().values)


def test_the_weights_of_a_twin_are_one_flat_tensor_that_updates_change():
    workload = find_workload("mlp", batch=4, width=8, training=True)
    step = twin(workload)
    works = TwinWorks(step, Job.of(workload))
    before = works.tensors["params"].clone()
    works(Job.of(workload).works["local_step"], lambda _: None)
    assert not torch.equal(before, works.tensors["params"])
    flat = torch.cat([p.detach().flatten() for p in step.module.parameters()])
    assert torch.equal(flat, works.tensors["params"])
