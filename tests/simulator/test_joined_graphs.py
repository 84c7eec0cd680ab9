"""Graphs joined one after the other keep their ops, names and dependencies."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.ops import Graph, Op

NAMES = ("gelu", "add", "mul", "")


@st.composite
def graphs(draw):
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5))
    ops = [Op(kind="elementwise", dims=(8,), name=name, flops=8.0) for name in names]
    deps = [draw(st.sets(st.integers(0, i - 1))) if i else set() for i in range(len(ops))]
    return Graph.of(ops, [sorted(before) for before in deps])


@given(st.lists(graphs(), min_size=1, max_size=4))
def test_a_joined_graph_has_the_ops_of_all_in_order(parts):
    whole = Graph.joined(parts)
    assert list(whole) == [op for part in parts for op in part]


@given(st.lists(graphs(), min_size=1, max_size=4))
def test_dependencies_stay_within_their_graph(parts):
    whole, first = Graph.joined(parts), 0
    for part in parts:
        for index in range(len(part)):
            assert (whole.deps_of(first + index) == part.deps_of(index) + first).all()
        first += len(part)
    assert len(whole.dep_start) == len(whole) + 1


@given(graphs(), graphs())
def test_selecting_one_part_gives_it_back(one, two):
    whole = Graph.joined([one, two])
    back = whole.select(np.arange(len(whole)) >= len(one))
    assert list(back) == list(two)
    assert (back.dep == two.dep).all()
    assert (back.dep_bytes == two.dep_bytes).all()


def test_what_was_selected_knows_where_it_stood_in_the_whole_step():
    whole = Graph.of([Op(kind="copy", dims=(size,)) for size in range(1, 6)])
    part = whole.select(np.array([0, 1, 0, 1, 1], np.bool_))
    again = part.select(np.array([0, 1, 1], np.bool_))
    for selected, places in ((part, [1, 3, 4]), (again, [3, 4])):
        assert selected.origin is not None
        assert selected.origin[0] is whole
        assert selected.origin[1].tolist() == places


def test_a_joined_graph_knows_its_parts_and_a_selected_one_has_none():
    part = Graph.of([Op(kind="copy", dims=(1,))])
    whole = Graph.joined([part, part])
    assert whole.parts == (part, part)
    assert part.parts == ()
    assert whole.select(np.ones(2, np.bool_)).parts == ()
