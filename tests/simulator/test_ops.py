"""Ops carry checked sizes; graphs hold many as arrays and give them back unchanged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError, UnknownNameError
from simulator.ops import DIMS, DTYPES, PHASES, Graph, Op

amounts = st.floats(0, 1e15)


@st.composite
def ops(draw):
    kind = draw(st.sampled_from(sorted(DIMS)))
    size = len(DIMS[kind])
    return Op(
        kind=kind,
        name=draw(st.sampled_from(["", "add", "mm"])),
        dims=tuple(draw(st.lists(st.integers(0, 10**9), min_size=size, max_size=size))),
        dtype=draw(st.sampled_from(DTYPES)),
        flops=draw(amounts), bytes_read=draw(amounts), bytes_written=draw(amounts),
        phase=draw(st.sampled_from(PHASES)), density=draw(st.floats(0.01, 1)),
    )  # fmt: skip


def same(a, b):
    fields = ("kind", "label", "dims", "dtype", "flops", "bytes_read", "phase", "density")
    return all(getattr(a, f) == getattr(b, f) for f in fields)


@given(st.lists(ops(), max_size=8))
def test_a_graph_gives_its_ops_back(listed):
    graph = Graph.of(listed)
    assert len(graph) == len(listed)
    assert all(same(a, b) for a, b in zip(listed, graph, strict=True))


def op(kind="elementwise", dims=(4,), **more):
    return Op(kind=kind, dims=dims, **more)


def test_without_dependencies_ops_form_a_chain():
    graph = Graph.of([op(bytes_read=8.0)] * 3)
    assert [graph.deps_of(i).tolist() for i in range(3)] == [[], [0], [1]]
    assert graph.dep_bytes.tolist() == [8.0, 8.0]


def test_reads_are_dealt_evenly_over_dependencies_weights_left_out():
    graph = Graph.of([op(), op(), op(bytes_read=10.0, weight_bytes=4.0)], [[], [], [0, 1]])
    assert graph.dep_bytes.tolist() == [3.0, 3.0]
    told = Graph.of([op(), op(), op(bytes_read=10.0)], [[], [], {0: 1.0, 1: 9.0}])
    assert told.dep_bytes.tolist() == [1.0, 9.0]


def test_sizes_are_read_by_name_and_are_zero_where_a_kind_has_none():
    graph = Graph.of([op("gemm", (1, 2, 3, 4)), op("softmax", (5, 6))])
    assert graph.dim("k").tolist() == [4, 0]
    assert graph.dim("columns").tolist() == [0, 6]


@given(st.lists(st.booleans(), min_size=4, max_size=4))
def test_a_selection_keeps_ops_and_the_dependencies_between_them(mask):
    graph = Graph.of([op(flops=float(i)) for i in range(4)], [[], [0], [0, 1], [2, 0]])
    kept = np.flatnonzero(mask).tolist()
    part = graph.select(np.array(mask))
    assert part.flops.tolist() == [float(i) for i in kept]
    for new, old in enumerate(kept):
        inside = [kept.index(d) for d in graph.deps_of(old).tolist() if d in kept]
        assert part.deps_of(new).tolist() == inside


def test_masks_by_kind_and_phase():
    graph = Graph.of([op(phase="backward"), op("copy"), op("gemm", (1, 1, 1, 1), phase="update")])
    assert graph.of_kind("copy", "gemm").tolist() == [False, True, True]
    assert graph.in_phase("backward", "update").tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "gem"}, "unknown op kind 'gem'"),
        ({"dtype": "fp32"}, "unknown dtype 'fp32'"),
        ({"phase": "back"}, "did you mean 'backward'"),
        ({"dims": (1, 2)}, "takes the sizes elements"),
        ({"dims": (-1,)}, "sizes must be whole numbers from 0"),
        ({"dims": (1.5,)}, r"got 1.5 in \(1.5,\)"),
        ({"dims": (float("nan"),)}, "sizes must be whole numbers from 0"),
        ({"dims": (2**63,)}, r"to 9.2e\+18; got 9223372036854775808"),
        ({"kind": None}, "unknown op kind 'None'"),
        ({"flops": -1.0}, "flops must be finite and not negative"),
        ({"bytes_read": float("nan")}, "bytes_read must be finite"),
        ({"density": 0.0}, "density must lie in"),
    ],
)
def test_nonsense_is_refused_by_name(wrong, message):
    with pytest.raises((InputError, UnknownNameError), match=message):
        op(**wrong)


def test_an_op_waits_for_earlier_ops_only():
    with pytest.raises(InputError, match="may wait for ops 0 to 0 only"):
        Graph.of([op(), op()], [[], [1]])
    with pytest.raises(InputError, match="needs as many dependencies"):
        Graph.of([op(), op()], [[]])
