"""The memory that a workload says it needs is what torch allocates for its twin's step."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import numpy as np
from torch.profiler import ProfilerActivity, profile

from simulator.memory import live_bytes
from simulator.workload import Workload
from validation.torch_twins import twin
from workloads.registry import find_workload


def allocated_by_torch(workload: Workload) -> int:
    """Return the most that the allocator hands out at one time during the second step."""
    does = twin(workload)
    does.step()
    does.module.zero_grad()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        does.step()
    events = [one for one in seen.profiler.kineto_results.events() if one.name() == "[memory]"]
    ordered = sorted(events, key=lambda one: one.start_ns())
    return int(np.cumsum([one.nbytes() for one in ordered]).max())


def predicted(workload: Workload) -> float:
    """Return the peak of gradients and passing results together."""
    kept = np.zeros(len(workload.graph))
    for gradient in workload.gradients:
        kept[gradient.op] += gradient.nbytes
    passing = np.maximum(workload.graph.allocated_bytes - kept, 0)
    return float((live_bytes(workload.graph, passing) + np.cumsum(kept)).max())


# With 16 bits the peak of SGD lies in the backward pass, where the CPU's library takes scratch.
@pytest.mark.parametrize(
    ("optimizer", "dtype"), [("sgd", "float32"), ("adamw", "float32"), ("adamw", "bfloat16")]
)
def test_a_perceptron_needs_exactly_what_torch_allocates(optimizer, dtype):
    workload = find_workload("mlp", batch=512, training=True, optimizer=optimizer, dtype=dtype)
    # The allocator also sees the scalars of the loss and of the optimizer.
    assert predicted(workload) == pytest.approx(allocated_by_torch(workload), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("resnet18", {"batch": 4, "image": 64}),
        ("mobilenet-v2", {"batch": 4, "image": 96}),
        ("gpt2-small", {"layers": 2, "sequence": 128, "vocabulary": 1000}),
        ("bert-base", {"batch": 2, "layers": 2, "vocabulary": 1000}),
    ],
)
def test_training_needs_what_torch_allocates_but_for_what_libraries_take_themselves(name, sizes):
    workload = find_workload(name, training=True, optimizer="adamw", **sizes)
    assert predicted(workload) == pytest.approx(allocated_by_torch(workload), rel=0.08)
