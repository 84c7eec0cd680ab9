"""From how far operands come: reuse distances in graphs small enough to count by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.cpu_traffic import LARGEST_KEPT_BYTES, traffic_of
from simulator.ops import Graph, Op


def op(name="relu", read=0.0, written=0.0, weights=0.0, fresh=None, phase="forward"):
    """Return an op that allocates what it writes, unless told otherwise."""
    return Op(kind="elementwise", dims=(1,), name=name, bytes_read=read, bytes_written=written,
              weight_bytes=weights, allocated_bytes=written if fresh is None else fresh,
              phase=phase)  # fmt: skip


def accesses(graph, at):
    """Return (bytes, distance, weight) of each access of an op."""
    found = traffic_of(graph)
    mine = found.op == at
    columns = (found.nbytes, found.distance_bytes, found.weight)
    return sorted(zip(*(column[mine].tolist() for column in columns), strict=True))


def test_a_result_read_at_once_is_as_far_as_it_is_long():
    graph = Graph.of([op(written=100), op(read=100, written=7)], [[], {0: 100}])
    assert (100.0, 100.0, False) in accesses(graph, 1)


def test_ops_between_producer_and_reader_add_what_they_move():
    graph = Graph.of(
        [op(written=100), op(read=30, written=20), op(read=100, written=5)],
        [[], [], {0: 100}],
    )
    footprint = 30 + 100 + 20 + 5
    assert (100.0, min(100.0 + 50.0, footprint), False) in accesses(graph, 2)


def test_weights_come_from_one_whole_step_ago():
    graph = Graph.of([op(read=500, weights=400, written=10), op(read=10, written=10)])
    footprint = 500 + 10 + 10
    assert (400.0, footprint, True) in accesses(graph, 0)
    assert (100.0, footprint, False) in accesses(graph, 0)


def test_what_is_written_in_place_is_near():
    graph = Graph.of([op("add_", read=64, written=64, fresh=0.0)])
    assert (64.0, 0.0, False) in accesses(graph, 0)


def test_a_result_gets_the_memory_that_was_given_back_last():
    chain = Graph.of(
        [op(read=8, written=1000), op(read=1000, written=1000), op(read=1000, written=1000)],
        [[], {0: 1000}, {1: 1000}],
    )
    # The third takes what the second has just freed: the first's result.
    nearest = min(distance for nbytes, distance, _ in accesses(chain, 2) if nbytes == 1000)
    assert nearest == pytest.approx(1000)


def test_gradients_are_kept_until_the_step_ends():
    graph = Graph.of(
        [op("mm", written=1000, phase="backward"), op("mm", written=1000, phase="backward"),
         op("add_", read=1000, written=0, phase="update"),
         op("add_", read=1000, written=0, phase="update")],
        [[], [], {0: 1000}, {1: 1000}],
    )  # fmt: skip
    found = traffic_of(graph)
    fresh = {(i, n) for i, n in zip(found.op.tolist(), found.nbytes.tolist(), strict=True)}
    assert {(0, 1000.0), (1, 1000.0)} <= fresh
    # Both results were given back when the last step ended, the second one on top.
    distances = [max(d for n, d, _ in accesses(graph, at) if n == 1000) for at in (0, 1)]
    assert distances[0] <= distances[1]


def test_only_results_above_the_allocators_bound_are_mapped_anew():
    small, large = LARGEST_KEPT_BYTES, LARGEST_KEPT_BYTES + 4.0
    graph = Graph.of([op(written=small), op(written=large)], [[], []])
    assert traffic_of(graph).fresh_bytes.tolist() == [0.0, large]


def test_code_is_as_far_as_what_was_moved_since_the_kernel_ran():
    graph = Graph.of(
        [op("relu", read=1), op("mm", read=10), op("relu_", read=100), op("relu", read=1000)],
        [[], [], [], []],
    )
    # The first follows the last of the step before; "relu_" is the same kernel as "relu".
    assert traffic_of(graph).code_distance_bytes.tolist() == [0.0, 1101.0, 10.0, 0.0]


def test_an_empty_graph_moves_nothing():
    assert len(traffic_of(Graph.of([])).op) == 0


OPS = st.lists(
    st.builds(
        op,
        name=st.sampled_from(["relu", "mm", "add_"]),
        read=st.floats(0, 1e9),
        written=st.floats(0, 1e9),
        phase=st.sampled_from(["forward", "backward", "update"]),
    ),
    min_size=1,
    max_size=20,
)


@given(OPS)
def test_all_bytes_are_accounted_for_once(ops):
    graph = Graph.of(ops)
    found = traffic_of(graph)
    per_op = np.bincount(found.op, weights=found.nbytes, minlength=len(graph))
    from_ops = np.bincount(
        np.repeat(np.arange(len(graph)), np.diff(graph.dep_start)),
        weights=graph.dep_bytes, minlength=len(graph),
    )  # fmt: skip
    read = np.maximum(graph.bytes_read, from_ops)
    np.testing.assert_allclose(per_op, read + graph.bytes_written, rtol=1e-9, atol=1e-6)


@given(OPS)
def test_no_distance_is_negative_or_beyond_the_step(ops):
    graph = Graph.of(ops)
    found = traffic_of(graph)
    assert (found.distance_bytes >= 0).all()
    assert (found.distance_bytes <= graph.bytes_moved.sum() + 1e-6).all()
    assert (found.code_distance_bytes >= -1e-6).all()


def test_an_op_finds_its_operands_where_the_whole_step_left_them():
    add = Op(kind="elementwise", dims=(1000,), bytes_read=8000.0, bytes_written=4000.0,
             allocated_bytes=4000.0)  # fmt: skip
    whole = Graph.of([add] * 4, [[], [0], [0, 1], [2]])
    step = traffic_of(whole)
    part = traffic_of(whole.select(np.array([0, 1, 0, 1], np.bool_)))
    for op, place in enumerate((1, 3)):
        for column in ("nbytes", "distance_bytes"):
            mine = getattr(part, column)[part.op == op]
            assert mine.tolist() == getattr(step, column)[step.op == place].tolist()
    assert part.code_distance_bytes.tolist() == step.code_distance_bytes[[1, 3]].tolist()
