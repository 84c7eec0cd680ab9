"""Ranks make actions, checked where they are made; equal groups are one object."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.actions import (
    ANY,
    Collective,
    Compute,
    Group,
    Handle,
    Message,
    Rank,
    Recv,
    Send,
    Sleep,
    Start,
    Wait,
)
from simulator.errors import InputError, UnknownNameError
from simulator.frozen import quick
from simulator.protocols import Running
from simulator.workload import Buffer
from tests.simulator.plans import work

X = Buffer("x", 1.0)
RANK = Rank(1, 4)


@given(
    st.one_of(
        st.builds(
            range, st.integers(0, 9), st.integers(0, 40), st.integers(-4, 4).filter(bool)
        ).filter(len),
        st.lists(st.integers(0, 9), min_size=1, unique=True),
    )
)
def test_groups_of_the_same_ranks_are_one_object(ranks):
    if min(ranks) < 0:
        return
    group = Group.of(ranks)
    assert group is Group.of(tuple(ranks)) is Group.of(iter(list(ranks)))
    assert [group.index(rank) for rank in ranks] == list(range(group.size))
    assert all(rank in group for rank in ranks)
    assert max(ranks) + 1 not in group
    assert pickle.loads(pickle.dumps(group)) is group


def test_the_order_of_a_group_matters():
    assert Group.of([0, 1]) is not Group.of([1, 0])


@pytest.mark.parametrize(
    ("ranks", "message"),
    [([], "at least one rank"), ([1, 1], "twice"), ([0, 2, 2], "twice"), ([-1, 0], "negative")],
)
def test_a_group_is_a_set_of_ranks(ranks, message):
    with pytest.raises(InputError, match=message):
        Group.of(ranks)


def test_a_rank_makes_actions():
    step = work("step", 1.0)
    handle = Handle(Sleep(1.0))
    world, pair = Group.of(range(4)), Group.of([1, 2])
    made = {
        RANK.compute(step): Compute(step),
        RANK.all_reduce(X, op="mean"): Collective("all_reduce", X, world, "mean"),
        RANK.broadcast(X, root=2): Collective("broadcast", X, world, root=2),
        RANK.reduce(X, pair, "max", 2): Collective("reduce", X, pair, "max", 2),
        RANK.all_gather(X): Collective("all_gather", X, world),
        RANK.reduce_scatter(X): Collective("reduce_scatter", X, world),
        RANK.all_to_all(X): Collective("all_to_all", X, world),
        RANK.barrier(): Collective("barrier", Buffer("barrier", 0.0), world),
        RANK.send(X, 3): Send(X, 3),
        RANK.recv(X): Recv(X, ANY),
        RANK.recv(X, 2, timeout_s=1.0): Recv(X, 2, 1.0),
        RANK.sleep(2.0): Sleep(2.0),
        RANK.start(RANK.sleep(2.0)): Start(Sleep(2.0)),
        RANK.wait(handle, mark="m", timeout_s=1.0): Wait((handle,), "m", False, 1.0),
        RANK.wait(handle, handle, first=True): Wait((handle, handle), None, True),
    }  # fmt: skip
    for action, expected in made.items():
        assert action == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.send(X, 4), "rank 1 sends 'x' to rank 4; ranks are 0 to 3"),
        (lambda r: r.send(X, -1), "to rank -1"),
        (lambda r: r.recv(X, 4), "receives 'x' from rank 4; ranks are 0 to 3, or ANY"),
        (lambda r: r.recv(X, -2), "from rank -2"),
        (lambda r: r.sleep(-1.0), "sleeps -1.0 s"),
        (lambda r: r.sleep(float("nan")), "sleeps nan s"),
        (lambda r: r.sleep(float("inf")), "sleeps inf s"),
        (lambda r: r.all_reduce(X, Group.of([0, 2])), "over a group without it"),
        (lambda r: r.wait(mark="m"), "a mark belongs to one handle; got 0"),
    ],
)
def test_an_action_that_cannot_be_is_refused_each_time(call, message):
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            call(RANK)


@pytest.mark.parametrize(
    ("make", "wrong", "message"),
    [
        (RANK.compute, "forward", "rank 1: expected a Work, such as the job names, got 'forward'"),
        (RANK.compute, None, "expected a Work"),
        (lambda b: RANK.send(b, to=0), "grad", "expected a Buffer, such as the job names, got 'gr"),
        (RANK.recv, 4096, "expected a Buffer"),
        (RANK.all_reduce, None, "expected a Buffer"),
    ],
)
def test_only_works_are_computed_and_only_buffers_communicated(make, wrong, message):
    with pytest.raises(InputError, match=message):
        make(wrong)


def test_unknown_collectives_and_reductions_are_named():
    with pytest.raises(UnknownNameError, match="did you mean 'all_reduce'"):
        RANK.collective("allreduce", X)
    with pytest.raises(UnknownNameError, match="unknown reduction 'avg'"):
        RANK.all_reduce(X, op="avg")


@pytest.mark.parametrize(("index", "size"), [(-1, 2), (2, 2), (0, 0)])
def test_a_rank_is_one_of_size(index, size):
    with pytest.raises(InputError, match=f"rank {index} of {size}"):
        Rank(index, size)


def test_actions_asked_for_again_are_the_same_but_never_another_buffers():
    assert RANK.send(X, 2) is RANK.send(X, 2)
    assert RANK.all_reduce(X) is RANK.all_reduce(X)
    assert RANK.start(RANK.send(X, 2)) is RANK.start(RANK.send(X, 2))
    for count in range(10_000):  # many short-lived buffers, whose identities are used again
        buffer = Buffer("y", float(count))
        assert RANK.send(buffer, 2).buffer is buffer
        assert RANK.recv(buffer).buffer is buffer
        assert RANK.start(RANK.sleep(float(count))).action == Sleep(float(count))


def test_a_rank_forgets_what_it_made_when_it_goes_to_another_process():
    rank = Rank(1, 4)
    rank.send(X, 2)
    copy = pickle.loads(pickle.dumps(rank))
    assert copy == rank
    assert copy.world is rank.world
    assert copy._made == {}


@pytest.mark.parametrize("thing", [Compute(work("a", 1.0)), Send(X, 1), Message(0, X), Sleep(1.0)])
def test_actions_cannot_be_changed(thing):
    name = dataclasses.fields(thing)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(thing, name, None)


def test_quick_dataclasses_take_what_ordinary_ones_take():
    @quick
    @dataclasses.dataclass(frozen=True, slots=True)
    class Point:
        x: float
        y: float = 2.0
        tags: list[str] = dataclasses.field(default_factory=list)

    assert Point(1.0) == Point(x=1.0, y=2.0, tags=[])
    assert Point(1.0).tags is not Point(1.0).tags
    assert dataclasses.replace(Point(1.0), y=3.0) == Point(1.0, 3.0)
    assert pickle.loads(pickle.dumps(Running(1.0))) == Running(1.0, {})
    with pytest.raises(TypeError, match="x"):
        Point()  # type: ignore[call-arg]


def test_what_is_received_can_be_reduced_but_not_averaged_one_by_one():
    rank = Rank(0, 2)
    assert rank.recv(Buffer("x", 8.0), op="sum").op == "sum"
    with pytest.raises(UnknownNameError, match="unknown reduction of what is received 'mean'"):
        rank.recv(Buffer("x", 8.0), op="mean")
