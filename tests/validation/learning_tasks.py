"""What a rank of a measured run does that learns for real; each process imports it by name."""

from __future__ import annotations

from typing import Any

import torch

from simulator.protocols import Plan
from simulator.simulate import job_of
from validation.ranks import Task, Tell
from validation.torch_learning import Lesson
from validation.torch_peers import Peers
from validation.torch_wall import WallRank
from workloads.datasets import blobs
from workloads.registry import find_workload


def learning(plan: Plan, steps: int, rate: float) -> Task:
    return Task(call="tests.validation.learning_tasks:learn", given=(plan, steps, rate))


def learn(peers: Peers, tell: Tell, given: tuple[Plan, int, float]) -> Any:
    plan, steps, rate = given
    torch.set_num_threads(1)
    model = find_workload("mlp", batch=8, inputs=6, width=7, depth=1, classes=3, training=True)
    job = job_of(model, plan, steps, 0)
    lesson = Lesson(job, blobs(samples=500, features=6, classes=3), peers.size, rate)
    learner = lesson.learner(peers.rank)
    with WallRank(peers, learner) as rank:
        rank.play(plan.program(rank.rank, job))
    return learner.params.numpy()
