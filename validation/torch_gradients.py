"""Draw gradients of a model at given parameters, to see how much of them is noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from simulator.errors import InputError
from simulator.ops import FloatArray
from simulator.streams import stream
from simulator.workload import Job
from validation.cosimulate import own_randomness
from validation.torch_learning import Lesson
from validation.torch_threads import torch_threads
from workloads.datasets import Dataset


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrawnGradients:
    """Hold squared lengths of gradients, one a draw of several batches.

    Parameters
    ----------
    batch : samples of a batch
    single_squared : of the gradient of one batch, the mean over those of the draw
    mean_squared : of the mean of the gradients of all batches of the draw
    """

    batch: int
    single_squared: FloatArray
    mean_squared: FloatArray


def drawn_gradients(
    job: Job, data: Dataset, parameters: FloatArray | None, counts: tuple[int, int]
) -> DrawnGradients:
    """Return gradients of batches whose samples are drawn one by one, with repetition.

    Parameters
    ----------
    job : of a workload that trains; its seed is that of all draws
    data : what samples are drawn from
    parameters : of the model, flat; None: those it begins with
    counts : of draws, and of batches in a draw
    """
    draw = stream(job.seed, 0, "samples of gradients")
    singles, means = [], []
    with torch_threads(1), own_randomness():
        lesson = Lesson(job, data, 1)
        lesson.look_at(lesson.initial if parameters is None else _flat(parameters, lesson.initial))
        for _ in range(counts[0]):
            every = torch.stack([_gradient(lesson, draw) for _ in range(counts[1])])
            singles.append(float((every * every).sum(1).mean()))
            means.append(float((every.mean(0) ** 2).sum()))
    return DrawnGradients(batch=lesson.batch, single_squared=np.array(singles),
                          mean_squared=np.array(means))  # fmt: skip


def _gradient(lesson: Lesson, draw: np.random.Generator) -> torch.Tensor:
    torch.default_generator.manual_seed(int(draw.integers(2**63)))
    loss = lesson.loss_of(draw.integers(len(lesson.data.labels), size=lesson.batch))
    parts = torch.autograd.grad(loss, lesson.held)
    return torch.cat([part.flatten() for part in parts]).double()


def _flat(parameters: FloatArray, like: torch.Tensor) -> torch.Tensor:
    found = torch.from_numpy(np.array(parameters)).to(like.dtype)
    if found.shape != like.shape:
        raise InputError(f"parameters: expected {len(like)} numbers, got {tuple(found.shape)}")
    return found
