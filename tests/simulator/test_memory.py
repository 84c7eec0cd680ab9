"""Memory is counted by the lifetime of each result."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.ideal import IdealDevice
from simulator.memory import largest_batch, last_use, live_bytes, memory_of_a_rank, peak_memory
from simulator.ops import Graph, Op
from simulator.protocols import Machine, Placement
from simulator.workload import Gradient, Workload
from workloads.registry import find_workload


def op(allocated):
    return Op(kind="elementwise", dims=(1,), allocated_bytes=float(allocated), bytes_written=1.0)


def graph_of(sizes, deps):
    return Graph.of([op(size) for size in sizes], deps)


@st.composite
def graphs(draw):
    sizes = draw(st.lists(st.integers(0, 100), min_size=1, max_size=12))
    deps = [
        draw(st.lists(st.integers(0, i - 1), unique=True)) if i else [] for i in range(len(sizes))
    ]
    return sizes, deps


def brute_force(sizes, deps):
    """Walk through the program with explicit sets of live results."""
    users = [[j for j in range(len(sizes)) if i in deps[j]] for i in range(len(sizes))]

    def end(i):
        return max([i, *users[i], *(end(j) for j in users[i] if sizes[j] == 0)])

    return [sum(s for i, s in enumerate(sizes) if i <= now <= end(i)) for now in range(len(sizes))]


@given(graphs())
def test_live_bytes_equal_a_walk_through_the_program(drawn):
    sizes, deps = drawn
    assert live_bytes(graph_of(sizes, deps)).tolist() == brute_force(sizes, deps)


def test_a_chain_holds_two_results_at_a_time():
    assert live_bytes(graph_of([10, 20, 30], None)).tolist() == [10, 30, 50]


def test_a_result_saved_for_backward_lives_until_then():
    graph = graph_of([10, 1, 1, 1], [[], [0], [1], [2, 0]])
    assert last_use(graph).tolist() == [3, 2, 3, 3]


def test_work_in_place_keeps_its_operand_alive():
    graph = graph_of([10, 0, 5], [[], [0], [1]])
    assert live_bytes(graph).tolist() == [10, 10, 15]


def test_gradients_of_weights_are_not_counted_twice():
    workload = Workload(
        name="toy", parameters={}, graph=graph_of([10, 40], None), samples=1, weight_bytes=40.0,
        state_bytes=80.0, input_bytes=3.0, gradients=(Gradient("w", 40.0, 1),),
    )  # fmt: skip
    assert peak_memory(workload) == {
        "weights": 40.0, "gradients": 40.0, "state": 80.0, "input": 3.0, "activations": 10.0,
        "total": 173.0,
    }  # fmt: skip


@given(graphs(), st.integers(2, 9))
def test_a_larger_batch_needs_proportionally_larger_activations(drawn, factor):
    sizes, deps = drawn
    once, more = (
        live_bytes(graph_of(sizes, deps)),
        live_bytes(graph_of([size * factor for size in sizes], deps)),
    )
    assert np.max(more) == pytest.approx(factor * np.max(once))


def test_waiting_without_reading_keeps_nothing_alive():
    reader = Op(kind="copy", dims=(1,), bytes_read=8.0, bytes_written=8.0, allocated_bytes=8.0)
    graph = Graph.of([reader] * 4, [{}, {0: 8.0}, {1: 8.0}, {0: 0.0, 2: 8.0}])
    assert last_use(graph).tolist() == [1, 2, 3, 3]


# --- the largest batch that fits


def toy(batch, at_once=10.0, kept=0.0, extra=0.0):
    """Need 100 bytes, and for each sample what is kept and what is there at once."""
    graph = graph_of([at_once * batch], None)
    return Workload(name="toy", parameters={}, graph=graph, samples=batch, weight_bytes=100.0,
                    input_bytes=kept * batch + max(extra * (batch - 50), 0.0))  # fmt: skip


@given(st.floats(0, 1e12), st.floats(1, 1e4), st.floats(0, 1e3), st.floats(0, 1e3))
def test_one_more_than_the_largest_batch_does_not_fit(memory, at_once, kept, extra):
    def need(batch):
        return peak_memory(toy(batch, at_once, kept, extra))["total"]

    largest = largest_batch(lambda batch: toy(batch, at_once, kept, extra), memory)
    assert need(largest + 1) > memory
    assert largest == 0 or need(largest) <= memory


def test_the_largest_batch_of_a_straight_line_takes_five_workloads():
    asked = []

    def make(batch):
        asked.append(batch)
        return toy(batch)

    assert largest_batch(make, 100.0 + 10.0 * 4711 + 5.0) == 4711
    assert len(asked) <= 5


def test_memory_that_does_not_depend_on_the_batch_has_no_largest():
    with pytest.raises(InputError, match="does not depend on its batch"):
        largest_batch(lambda batch: toy(1), 1e6)


def test_ranks_on_one_device_share_its_memory():
    small, large = IdealDevice(1.0), SizedDevice(1.0)
    machine = Machine("two", (large, small))
    assert memory_of_a_rank(machine, Placement((0, 0, 1), (1, 1, 1))) == 500.0
    assert memory_of_a_rank(machine, Placement((1,), (1,))) is None


@dataclass(frozen=True)
class SizedDevice(IdealDevice):
    """Have a memory of 1 kB."""

    @property
    def memory_bytes(self):
        return 1000.0


# --- 16-bit numbers


@pytest.mark.parametrize("optimizer", ["none", "sgd", "adamw"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_numbers_of_half_the_width_need_half_of_each_part(dtype, optimizer):
    wide, narrow = (
        peak_memory(find_workload("resnet18", batch=8, image=64, training=True,
                                  optimizer=optimizer, dtype=kind))
        for kind in ("float32", dtype)
    )  # fmt: skip
    for part in ("weights", "gradients"):
        assert narrow[part] == wide[part] / 2
    # Labels, counts of steps and sums of batch normalization stay as wide as they are.
    assert narrow["input"] == pytest.approx(wide["input"] / 2, rel=1e-3)
    assert narrow["state"] == pytest.approx(wide["state"] / 2, rel=1e-4)
    assert narrow["activations"] == pytest.approx(wide["activations"] / 2, rel=0.1)


def test_adam_keeps_two_numbers_a_weight_and_sgd_none():
    sgd, adam = (
        peak_memory(find_workload("mlp", training=True, optimizer=kind))
        for kind in ("sgd", "adamw")
    )
    assert sgd["state"] == 0
    assert adam["state"] == pytest.approx(2 * adam["weights"], rel=1e-4)
