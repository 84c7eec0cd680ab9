"""Co-simulated training learns what the same training on real machines learns."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from scalemodel import capture
from simulator.ideal import ideal_machine
from simulator.ops import FloatArray
from simulator.simulate import job_of
from validation.cosimulate import Cosimulation, cosimulate
from validation.torch_learning import Lesson
from workloads.datasets import Dataset, blobs
from workloads.plans import (
    DataParallel,
    LocalSGD,
    ParameterServer,
    Single,
)
from workloads.registry import find_workload

CLOUDS = blobs(samples=500, features=6, classes=3)
RATE = 0.05


def step(batch=8, **parameters):
    return find_workload("mlp", batch=batch, inputs=6, width=7, depth=1, classes=3, training=True,
                         **parameters)  # fmt: skip


def trained(plan, ranks, steps=12, data=CLOUDS, rate=RATE, **given) -> Cosimulation:
    model = given.pop("model", None) or step()
    return cosimulate(model, data, plan, ideal_machine(ranks), steps=steps, learning_rate=rate,
                      **given)  # fmt: skip


def by_hand(ranks, steps, model=None, data=CLOUDS, rate=RATE) -> FloatArray:
    """Train in a plain loop: gradients of the ranks' batches, averaged in rank order."""
    job = job_of(model or step(), DataParallel(), steps, 0)
    lesson = Lesson(job, data, ranks)
    dealt = [data.batches(rank, ranks, lesson.batch) for rank in range(ranks)]
    params = lesson.initial.clone()
    for _ in range(steps):
        lesson.look_at(params)
        total = torch.zeros_like(params)
        for batches in dealt:
            loss = lesson.loss_of(next(batches))
            parts = torch.autograd.grad(loss, lesson.held)
            total += torch.cat([one.flatten() for one in parts])
        params.add_(total / ranks, alpha=-rate)
    return params.numpy()


def near(one, other, relative):
    return np.abs(one - other).max() <= relative * np.abs(other).max()


# --- in step ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_data_parallel_is_the_mean_of_gradients_in_rank_order_bit_for_bit(ranks):
    assert (trained(DataParallel(), ranks).parameters == by_hand(ranks, 12)).all()


@pytest.mark.parametrize(
    "plan",
    [ParameterServer(), ParameterServer(servers=2), ParameterServer(overlap=True, servers=2)],
    ids=str,
)
def test_a_synchronous_parameter_server_learns_what_data_parallel_learns_bit_for_bit(plan):
    found = trained(plan, 3 + plan.servers)
    assert (found.parameters == by_hand(3, 12)).all()


def test_buckets_change_nothing():
    small = trained(DataParallel(bucket_bytes=40.0), 3)
    assert (small.parameters == trained(DataParallel(), 3).parameters).all()


def test_data_parallel_is_one_big_batch():
    ranks, steps = 4, 6
    model = step(batch=8, dtype="float64")
    small = trained(DataParallel(), ranks, steps, model=model)
    lesson = Lesson(job_of(model, DataParallel(), steps, 0), CLOUDS, ranks)
    dealt = [CLOUDS.batches(rank, ranks, 8) for rank in range(ranks)]
    params = lesson.initial.clone()
    for _ in range(steps):
        lesson.look_at(params)
        loss = lesson.loss_of(np.concatenate([next(batches) for batches in dealt]))
        parts = torch.autograd.grad(loss, lesson.held)
        params = params - RATE * torch.cat([one.flatten() for one in parts])
    assert near(small.parameters, params.numpy(), 1e-6)


def test_local_sgd_of_one_step_is_data_parallel():
    one = trained(LocalSGD(every=1), 4).parameters
    assert near(one, trained(DataParallel(), 4).parameters, 1e-5)


def test_accumulated_batches_are_as_many_ranks():
    data = CLOUDS.distributed("replicated")
    lesson = Lesson(job_of(step(), Single(), 1, 0), data, 1)
    batches = data.batches(0, 1, 8)
    loss = lesson.loss_of(np.concatenate([next(batches), next(batches)]))
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, lesson.held)])
    found = trained(DataParallel(accumulation=2), 1, steps=1, data=data).parameters
    assert near(found, (lesson.initial - RATE * gradient).numpy(), 1e-6)


# --- stale -----------------------------------------------------------------------------------


def test_stale_synchronous_with_bound_0_is_synchronous_after_equal_samples():
    """Each gradient is an update of its own, so that it weighs 1/n at 1/n of the rate."""
    plan = ParameterServer(mode="stale-synchronous", staleness=0)
    stale = trained(plan, 5, rate=RATE / 4)
    assert near(stale.parameters, trained(ParameterServer(), 5).parameters, 1e-5)


class Bowl(nn.Module):
    """Be half the square of one number: a quadratic of curvature 1."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, given):
        return 0.5 * (self.x * self.x).sum() + 0.0 * given.sum()


def bowl():
    given = torch.zeros(1, 1, dtype=torch.float64)
    return capture(Bowl(), (given,), training=True, optimizer="sgd")


NOTHING = Dataset(name="nothing", inputs=np.zeros((64, 1)), labels=np.zeros(64),
                  test_inputs=np.zeros((1, 1)), test_labels=np.zeros(1),
                  distribution="replicated")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8, 16])
def test_asynchronous_sgd_on_a_quadratic_is_stable_up_to_the_limit_of_its_delay(workers):
    """Equal workers see parameters n - 1 updates old: x' = x - lr x[n - 1 ago]."""
    limit = 2 * math.sin(math.pi / (2 * (2 * workers - 1)))
    steps = 3000 // workers + 400
    plan = ParameterServer(mode="asynchronous")

    def left(rate):
        found = trained(plan, workers + 1, steps, NOTHING, rate, model=bowl(), judgements=1)
        return abs(float(found.parameters[0]))

    assert left(0.97 * limit) < 1e-2
    assert left(1.03 * limit) > 1e2
