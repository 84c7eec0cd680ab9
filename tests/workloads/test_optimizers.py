"""What an optimizer keeps and calls for each weight, as its paper and torch have it."""

import pytest

from simulator.errors import UnknownNameError
from workloads.network import Network
from workloads.optimizers import OPTIMIZERS, update
from workloads.registry import find_workload


def step(optimizer):
    return find_workload("mlp", batch=2, width=8, training=True, optimizer=optimizer)


WEIGHTS = step("sgd").weight_bytes
TENSORS = sum(op.label == "add_" and op.phase == "update" for op in step("sgd").graph)


@pytest.mark.parametrize(
    ("optimizer", "copies", "counters"),
    [("none", 0, 0), ("sgd", 0, 0), ("momentum", 1, 0), ("adam", 2, 1), ("adamw", 2, 1)],
)
def test_state_is_so_many_copies_of_the_weights_and_a_counter_for_each(optimizer, copies, counters):
    assert step(optimizer).state_bytes == copies * WEIGHTS + 4 * counters * TENSORS


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_updates_are_the_last_calls_of_a_step_and_the_same_for_each_weight(optimizer):
    graph = step(optimizer).graph
    updates = [at for at, op in enumerate(graph) if op.phase == "update"]
    assert len(updates) % TENSORS == 0
    assert bool(updates) == (optimizer != "none")
    assert updates == list(range(len(graph) - len(updates), len(graph)))


def test_weight_decay_is_one_more_map_of_each_weight():
    plain, decayed = (
        [op.label for op in step(name).graph if op.phase == "update"] for name in ("adam", "adamw")
    )
    assert len(decayed) == len(plain) + TENSORS
    assert decayed.count("mul_") == plain.count("mul_") + TENSORS


def test_weights_that_are_alike_are_updated_by_the_same_calls():
    deep = find_workload("mlp", batch=2, width=8, depth=5, training=True, optimizer="adam").graph
    bias = [op for op in deep if op.phase == "update" and op.label == "addcdiv_"
            and op.dims == (8,)]  # fmt: skip
    assert len(bias) == 5
    assert len(set(bias)) == 1


def mixed(master, **changes):
    sizes = {"batch": 2, "width": 8, "training": True, "optimizer": "adam", "dtype": "bfloat16"}
    return find_workload("mlp", **{**sizes, "master": master, **changes})


def test_mixed_precision_takes_16_bytes_a_weight_with_adam():
    step = mixed("float32")
    gradient_bytes = sum(one.nbytes for one in step.gradients)
    kept = step.weight_bytes + gradient_bytes + step.state_bytes - 4 * TENSORS
    assert kept == 16 * step.weight_count
    plain = mixed("none")
    assert plain.weight_bytes + gradient_bytes + plain.state_bytes - 4 * TENSORS == (
        8 * plain.weight_count
    )


def test_mixed_precision_updates_in_float32_and_leaves_all_else_as_it_was():
    wide, narrow = (
        [op for op in mixed(master).graph if op.phase != "update"] for master in ("float32", "none")
    )
    assert wide == narrow
    update = [op for op in mixed("float32").graph if op.phase == "update"]
    assert {op.dtype for op in update if op.kind == "elementwise"} == {"float32"}
    matrix = max(op.dims[0] for op in update)
    (rounded,) = {op for op in update if op.label == "copy_" and op.dims == (matrix,)}
    assert (rounded.bytes_read, rounded.bytes_written) == (4 * matrix, 2 * matrix)


@pytest.mark.parametrize("changes", [{"dtype": "float32"}, {"optimizer": "none"}])
def test_weights_that_are_as_wide_or_not_trained_have_no_master(changes):
    with_master, without = (mixed(master, **changes) for master in ("float32", "none"))
    assert with_master.state_bytes == without.state_bytes
    assert list(with_master.graph) == list(without.graph)


def test_an_unknown_optimizer_is_named_with_the_nearest_one():
    with pytest.raises(UnknownNameError, match="did you mean 'adamw'"):
        update(Network(training=True, dtype="float32"), "adamww")
