"""Memory is counted by the lifetime of each result."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.memory import last_use, live_bytes, peak_memory
from simulator.ops import Graph, Op
from simulator.workload import Gradient, Workload


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
