"""Twins do in torch the step that a workload describes: the same kernels, to the last operand."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from simulator.errors import UnknownNameError
from simulator.ops import Graph, Op
from simulator.workload import Workload
from validation.torch_twins import Twin, register_twin, twin
from workloads.capture import capture
from workloads.registry import find_workload

SMALL = {
    "mlp": {"batch": 3, "inputs": 8, "width": 16, "depth": 2, "classes": 5},
}
"""Sizes at which every model is quick to run."""
OPTIMIZERS = ("none", "sgd", "momentum", "adam", "adamw")


def captured(workload: Workload) -> Workload:
    does = twin(workload)
    return capture(does.module, does.args, loss=does.loss, target=does.target,
                   optimizer=does.optimizer, training=does.training)  # fmt: skip


def assert_same(built: Workload, seen: Workload) -> None:
    assert [op.label for op in built.graph] == [op.label for op in seen.graph]
    for at, (mine, theirs) in enumerate(zip(built.graph, seen.graph, strict=True)):
        assert mine == theirs, f"op {at}"
        assert built.graph.deps_of(at).tolist() == seen.graph.deps_of(at).tolist(), f"op {at}"
    assert built.graph.dep_bytes.tolist() == seen.graph.dep_bytes.tolist()
    for name in ("samples", "weight_count", "weight_bytes", "state_bytes", "input_bytes"):
        assert getattr(built, name) == getattr(seen, name), name
    assert [(one.nbytes, one.op) for one in built.gradients] == [
        (one.nbytes, one.op) for one in seen.gradients
    ]


@pytest.mark.parametrize("name", SMALL)
def test_a_model_calls_the_kernels_that_its_twin_calls_for_inference(name):
    workload = find_workload(name, **SMALL[name])
    assert_same(workload, captured(workload))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", SMALL)
def test_a_model_calls_the_kernels_that_its_twin_calls_for_training(name, optimizer):
    workload = find_workload(name, training=True, optimizer=optimizer, **SMALL[name])
    assert_same(workload, captured(workload))


@pytest.mark.parametrize("name", SMALL)
def test_a_twin_that_trains_changes_its_weights_and_gives_a_loss(name):
    does = twin(find_workload(name, training=True, **SMALL[name]))
    before = [one.detach().clone() for one in does.module.parameters()]
    assert does.step().isfinite()
    after = does.module.parameters()
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_equal_seeds_give_equal_steps_and_leave_the_users_generator_alone(name):
    workload = find_workload(name, **SMALL[name])
    state = torch.random.get_rng_state()
    first, second = twin(workload, seed=3).step(), twin(workload, seed=3).step()
    assert torch.equal(first, second)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_workload_of_the_users_own_can_have_a_twin():
    graph = Graph.of([Op(kind="copy", dims=(1,))])
    mine = Workload(name="mine", parameters={}, graph=graph, samples=1)
    with pytest.raises(UnknownNameError, match="twin of a workload 'mine'"):
        twin(mine)
    register_twin(mine, lambda workload: Twin(module=torch.nn.Identity(), args=(torch.ones(2),)))
    assert twin(mine).step().tolist() == [1.0, 1.0]
