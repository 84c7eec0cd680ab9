"""Twins do in torch the step that a workload describes: the same kernels, to the last operand."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError, UnknownNameError
from simulator.ops import Graph, Op
from simulator.workload import Workload
from validation.torch_twins import Twin, register_twin, twin
from workloads.capture import capture
from workloads.registry import find_workload

TEXT = {"layers": 2, "width": 16, "heads": 2, "vocabulary": 30, "positions": 8}
SMALL: dict[str, dict[str, int]] = {
    "mlp": {"batch": 3, "inputs": 8, "width": 16, "depth": 2, "classes": 5},
    "logistic-regression": {"batch": 4, "features": 6, "classes": 3},
    "linear-svm": {"batch": 4, "features": 6},
    "lenet5": {"batch": 2},
    "small-cnn": {"batch": 2},
    "femnist-cnn": {"batch": 2},
    "celeba-cnn": {"batch": 2, "image": 12},
    "alexnet": {"batch": 2, "image": 64, "classes": 7},
    "vgg16": {"batch": 2, "image": 32, "classes": 7},
    "resnet18": {"batch": 2, "image": 32, "classes": 7, "width": 8},
    "resnet34": {"batch": 2, "image": 32, "classes": 7, "width": 8},
    "resnet50": {"batch": 2, "image": 64, "classes": 7, "width": 8},
    "resnet101": {"batch": 2, "image": 64, "classes": 7, "width": 4},
    "resnet152": {"batch": 2, "image": 64, "classes": 7, "width": 4},
    "resnext101": {"batch": 2, "image": 64, "classes": 7, "width": 16},
    "se-resnext101": {"batch": 2, "image": 64, "classes": 7, "width": 16},
    "inception-v3": {"batch": 2, "image": 107, "classes": 7},
    "mobilenet-v2": {"batch": 2, "image": 32, "classes": 7},
    "lstm": {"batch": 2, "sequence": 5, "vocabulary": 20, "width": 16, "hidden": 24},
    "bert-base": {"batch": 2, "sequence": 7, **TEXT},
    "gpt": {"batch": 2, "sequence": 7, **TEXT},
    "gpt2-small": {"batch": 1, "sequence": 8, **TEXT},
    "hf-bert": {"batch": 2, "sequence": 7, **TEXT},
    "hf-gpt2": {"batch": 2, "sequence": 7, **TEXT},
    "hf-opt": {"batch": 2, "sequence": 7, **TEXT},
    "bert-large": {"batch": 1, "sequence": 7, **TEXT},
    "gpt2-large": {"batch": 1, "sequence": 7, **TEXT},
    "opt-1.3b": {"batch": 1, "sequence": 7, **TEXT},
}
"""Sizes at which every model is quick to run."""
UNTRAINED = {
    "kmeans": {"batch": 20, "features": 4, "clusters": 5},
    "knn": {"batch": 6, "points": 50, "features": 4, "neighbours": 3, "classes": 7},
}
OPTIMIZERS = ("none", "sgd", "momentum", "adam", "adamw")


def captured(workload: Workload) -> Workload:
    does = twin(workload)
    return capture(does.module, does.args, loss=does.loss, target=does.target,
                   optimizer=does.optimizer, training=does.training)  # fmt: skip


def waits(graph: Graph, at: int) -> dict[int, float]:
    edges = slice(graph.dep_start[at], graph.dep_start[at + 1])
    return dict(zip(graph.dep[edges].tolist(), graph.dep_bytes[edges].tolist(), strict=True))


def assert_same(built: Workload, seen: Workload) -> None:
    assert [op.label for op in built.graph] == [op.label for op in seen.graph]
    for at, (mine, theirs) in enumerate(zip(built.graph, seen.graph, strict=True)):
        assert mine == theirs, f"op {at}"
        assert waits(built.graph, at) == waits(seen.graph, at), f"op {at}"
    for name in ("samples", "weight_count", "weight_bytes", "state_bytes", "input_bytes"):
        assert getattr(built, name) == getattr(seen, name), name
    assert [(one.nbytes, one.op) for one in built.gradients] == [
        (one.nbytes, one.op) for one in seen.gradients
    ]


@pytest.mark.parametrize("name", SMALL)
def test_a_model_calls_the_kernels_that_its_twin_calls_for_inference(name):
    workload = find_workload(name, training=False, **SMALL[name])
    assert_same(workload, captured(workload))


@pytest.mark.parametrize("name", SMALL)
def test_a_model_calls_the_kernels_that_its_twin_calls_for_training(name):
    workload = find_workload(name, training=True, optimizer="adamw", **SMALL[name])
    assert_same(workload, captured(workload))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", ["mlp", "linear-svm", "gpt"])
def test_every_optimizer_calls_the_kernels_that_torchs_calls(name, optimizer):
    workload = find_workload(name, training=True, optimizer=optimizer, **SMALL[name])
    assert_same(workload, captured(workload))


COUNT = st.integers(1, 5)
# A matrix with one column is also one with its columns in memory order, which torch multiplies
# from the other side.
SEVERAL = st.integers(2, 5)
RANDOM = {
    "mlp": {"batch": COUNT, "inputs": COUNT, "width": COUNT, "depth": COUNT, "classes": COUNT},
    "linear-svm": {"batch": COUNT, "features": COUNT},
    "lstm": {"batch": COUNT, "sequence": COUNT, "vocabulary": COUNT, "width": COUNT,
             "hidden": SEVERAL, "layers": COUNT},
    "gpt": {"batch": COUNT, "sequence": COUNT, "layers": COUNT, "heads": st.sampled_from([1, 4]),
            "width": st.sampled_from([4, 12]), "vocabulary": COUNT},
    "kmeans": {"batch": COUNT, "features": COUNT, "clusters": COUNT},
    "knn": {"batch": COUNT, "points": COUNT, "features": COUNT, "neighbours": COUNT,
            "classes": COUNT},
}  # fmt: skip


@pytest.mark.parametrize("name", RANDOM)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_models_and_twins_agree_at_any_size(name, data):
    sizes = data.draw(st.fixed_dictionaries(RANDOM[name]))
    workload = find_workload(name, **sizes)
    assert_same(workload, captured(workload))
    if name in SMALL:
        workload = find_workload(name, training=True, **sizes)
        assert_same(workload, captured(workload))


@pytest.mark.parametrize("name", SMALL)
def test_a_twin_that_trains_changes_its_weights_and_gives_a_loss(name):
    does = twin(find_workload(name, training=True, **SMALL[name]))
    before = [one.detach().clone() for one in does.module.parameters()]
    assert does.step().isfinite()
    after = does.module.parameters()
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
@pytest.mark.parametrize("name", ["lenet5", "resnet18", "lstm", "bert-base", "gpt", "kmeans"])
def test_other_data_types_call_the_same_kernels_on_them(name, dtype):
    if (name, dtype) == ("lstm", "float64"):
        with pytest.raises(InputError, match="lstm: dtype must be float32 or bfloat16"):
            find_workload(name, dtype=dtype)
        return
    training: dict[str, Any] = {"training": True, "optimizer": "adamw"} if name in SMALL else {}
    workload = find_workload(name, dtype=dtype, **(SMALL | UNTRAINED)[name], **training)
    assert_same(workload, captured(workload))


@pytest.mark.parametrize("name", UNTRAINED)
def test_a_model_without_training_calls_the_kernels_that_its_twin_calls(name):
    workload = find_workload(name, **UNTRAINED[name])
    assert_same(workload, captured(workload))


@pytest.mark.parametrize("name", SMALL | UNTRAINED)
def test_equal_seeds_give_equal_steps_and_leave_the_users_generator_alone(name):
    workload = find_workload(name, **(SMALL | UNTRAINED)[name])
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


def test_a_step_with_master_weights_has_no_twin():
    mixed = find_workload("mlp", training=True, dtype="bfloat16", master="float32")
    with pytest.raises(InputError, match=r"mlp: steps with master weights are not measured"):
        twin(mixed)
