"""A rank makes actions and refuses impossible ones; equal groups are one object."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.actions import ANY, COLLECTIVES, Group, Rank
from simulator.errors import InputError, UnknownNameError
from simulator.workload import Buffer

GRAD = Buffer("grad", 8.0)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8, unique=True))
def test_equal_groups_are_one_object_also_after_a_trip_to_another_process(ranks):
    group = Group.of(ranks)
    assert group is Group.of(tuple(ranks)) is pickle.loads(pickle.dumps(group))
    assert [group.index(rank) for rank in ranks] == list(range(len(ranks)))
    assert all(rank in group for rank in ranks)
    assert 51 not in group


def test_a_range_and_its_ranks_are_one_group():
    assert Group.of(range(8)) is Group.of(list(range(8))) is Rank(3, 8).world


@pytest.mark.parametrize(
    ("ranks", "message"), [([], "at least one"), ([1, 1], "twice"), ([-1, 2], "not be negative")]
)
def test_impossible_groups_are_refused(ranks, message):
    with pytest.raises(InputError, match=message):
        Group.of(ranks)


@pytest.mark.parametrize("kind", [k for k in COLLECTIVES if k != "barrier"])
def test_every_collective_has_a_method_of_its_name(kind):
    action = getattr(Rank(0, 4), kind)(GRAD)
    assert (action.kind, action.buffer, action.group) == (kind, GRAD, Group.of(range(4)))


def test_a_barrier_moves_nothing():
    assert Rank(0, 4).barrier().buffer.nbytes == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda r: r.collective("all_reduc", GRAD), "did you mean 'all_reduce'"),
        (lambda r: r.all_reduce(GRAD, op="avg"), "unknown reduction 'avg'"),
        (lambda r: r.all_reduce(GRAD, Group.of([1, 2])), "rank 0 calls all_reduce over a group"),
        (lambda r: r.send(GRAD, 4), "sends 'grad' to rank 4; ranks are 0 to 3"),
        (lambda r: r.recv(GRAD, 9), "receives 'grad' from rank 9; ranks are 0 to 3, or ANY"),
        (lambda r: r.sleep(-1), "sleeps -1 s"),
        (lambda r: r.sleep(float("nan")), "sleeps nan s"),
        (lambda r: r.wait(mark="m"), "a mark belongs to one handle"),
    ],
)
def test_impossible_actions_are_refused_where_they_are_made(make, message):
    with pytest.raises((InputError, UnknownNameError), match=message):
        make(Rank(0, 4))


def test_any_is_a_source():
    assert Rank(0, 4).recv(GRAD).source == ANY
