"""Tapes know what waits for what; networks visit their nodes as torch's engine does."""

from __future__ import annotations

import pytest

from simulator.errors import InputError
from workloads.layers import add, linear, relu
from workloads.network import Network
from workloads.tape import Storage, Tape


def labels(graph):
    return [op.label for op in graph]


def deps(graph):
    return [graph.deps_of(at).tolist() for at in range(len(graph))]


def test_calls_wait_for_those_that_wrote_what_they_read():
    tape = Tape()
    x, y, z = (tape.tensor((4,), "float32") for _ in range(3))
    tape.call("exp", [x], [y])
    tape.call("add", [y, x], [z])
    graph = tape.graph()
    assert deps(graph) == [[], [0]]
    assert graph.dep_bytes.tolist() == [16]
    assert graph.bytes_read.tolist() == [16, 32]


def test_a_write_in_place_waits_for_readers_and_later_reads_wait_for_it():
    tape = Tape()
    x, y, z = (tape.tensor((4,), "float32") for _ in range(3))
    tape.call("exp", [x], [y])
    tape.call("mul_", [x], (), [x])
    tape.call("exp", [x], [z])
    graph = tape.graph()
    assert deps(graph) == [[], [0], [1]]
    assert graph.dep_bytes.tolist() == [0, 16]
    assert graph.allocated_bytes.tolist() == [16, 0, 16]


def test_a_step_of_too_many_calls_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr("workloads.tape.MOST_CALLS", 2)
    tape = Tape()
    x, y = (tape.tensor((4,), "float32") for _ in range(2))
    tape.call("exp", [x], [y])
    tape.call("exp", [x], [y])
    with pytest.raises(InputError, match="more than 2 kernel calls"):
        tape.call("exp", [x], [y])


def test_views_of_one_memory_are_told_apart_by_offset():
    tape = Tape()
    memory = Storage()
    left, right = (tape.tensor((4,), "float32", memory, offset=at) for at in (0, 4))
    tape.call("mul", [left, right], [tape.tensor((4,), "float32")])
    tape.call("mul", [left, left], [tape.tensor((4,), "float32")])
    assert tape.graph().bytes_read.tolist() == [32, 16]


def test_an_empty_tape_has_no_graph():
    with pytest.raises(InputError, match="nothing was recorded"):
        Tape().graph()


def test_a_piece_can_be_cut_out_and_played_where_others_are_waited_for():
    tape = Tape()
    x, y = (tape.tensor((4,), "float32") for _ in range(2))
    tape.call("exp", [x], [y])
    tape.call("exp", [y], [tape.tensor((4,), "float32")])
    start = len(tape)
    stand_in = Storage()
    stand_in.writer = -2
    middle = tape.tensor((4,), "float32")
    tape.call("neg", [tape.tensor((4,), "float32", stand_in)], [middle])
    tape.call("exp", [middle], [tape.tensor((4,), "float32")])
    piece = tape.cut(start)
    tape.play(piece, [0])
    tape.play(piece, [1])
    graph = tape.graph()
    assert labels(graph) == ["exp", "exp", "neg", "exp", "neg", "exp"]
    assert deps(graph) == [[], [0], [0], [2], [1], [4]]


def test_gradients_that_meet_are_added_once_all_have_come():
    net = Network(training=True)
    x = linear(net, net.given((2, 3)), 3)
    loss = net.call("sum", [add(net, relu(net, x), x)], ())
    net.link([loss], [add(net, relu(net, x), x)], lambda grad: (net.expanded(grad, 2, 3),))
    net.backward(loss)
    graph = net.tape.graph()
    backward = labels(graph.select(graph.in_phase("backward")))
    assert backward == ["ones_like", "threshold_backward", "add", "mm", "sum"]
    assert [one.name for one in net.gradients] == ["weight1", "weight0"]


def test_what_no_weight_leads_to_gets_no_gradient():
    net = Network(training=True)
    frozen = relu(net, net.given((2, 3)))
    assert frozen.node is None
    out = linear(net, frozen, 4)
    net.backward(out)
    graph = net.tape.graph()
    assert labels(graph.select(graph.in_phase("backward"))) == ["ones_like", "mm", "sum"]


def test_inference_leaves_no_nodes():
    net = Network(training=False)
    assert linear(net, net.given((2, 3)), 4).node is None
