"""What ranks note of collectives becomes a table of times and bandwidths."""

import pytest

from simulator.errors import InputError, UnknownNameError
from validation.cluster_table import (
    Calls,
    Point,
    Sampling,
    call_times_s,
    parse_sizes,
    points_of,
    records_of,
)
from validation.ranks import Answers


def calls(begins, ends, delays=None):
    return Calls(list(begins), list(ends), [None] * len(begins) if delays is None else delays)


def test_a_call_lasts_from_the_last_begin_to_the_last_end():
    assert call_times_s([calls([0.0], [2.0]), calls([1.0], [2.5])], one_clock=True) == [1.5]


def test_where_clocks_differ_the_longest_rank_counts():
    assert call_times_s([calls([0.0], [2.0]), calls([7.0], [8.5])], one_clock=False) == [2.0]


def test_calls_in_which_a_rank_waited_for_a_core_are_discarded():
    first = calls([0.0, 10.0, 20.0], [1.0, 19.0, 21.0], [0.0, 8.0, 0.01])
    [record] = records_of([Point("all_reduce", 1e6)], Answers([[first], [first]], "loopback"))
    assert (record["time_s"], record["samples"], record["discarded"]) == (1.0, 2, 1)
    assert record["algorithm_bandwidth_bytes_per_s"] == 1e6


def test_a_record_says_what_was_measured_over_which_network():
    answers = Answers([[calls([0.0], [1.0])]] * 3, "user namespace", 1e9)
    [record] = records_of([Point("broadcast", 8.0)], answers)
    assert (record["kind"], record["bytes"], record["ranks"]) == ("broadcast", 8.0, 3)
    assert (record["network"], record["rate_bit_per_s"]) == ("user namespace", 1e9)


@pytest.mark.parametrize(
    ("call_s", "number"), [(0.0, 25), (1e-6, 25), (0.1, 15), (0.75, 5), (100.0, 5)]
)
def test_as_many_calls_are_made_as_the_budget_allows_within_bounds(call_s, number):
    assert Sampling(most=25, least=5, budget_s=1.5).calls(call_s) == number


def test_the_first_calls_do_not_tell_how_long_one_takes():
    assert calls([0.0, 10.0], [9.0, 11.0]).longest_s(warmup=1) == 1.0


def test_each_kind_is_measured_at_each_size_and_ones_own_too():
    points = points_of(["all_reduce", "send_recv"], [1.0, 2.0], own="ring")
    assert [(one.kind, one.nbytes, one.own) for one in points] == [
        ("all_reduce", 1.0, False), ("all_reduce", 2.0, False),
        ("send_recv", 1.0, False), ("send_recv", 2.0, False),
        ("ring", 1.0, True), ("ring", 2.0, True),
    ]  # fmt: skip


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'all_reduce'"):
        points_of(["allreduce"], [1.0])
    with pytest.raises(InputError, match="more than 0 bytes; got 0"):
        points_of(["all_reduce"], [1.0, 0.0])
    with pytest.raises(InputError, match="nothing to measure"):
        points_of([], [1.0])
    with pytest.raises(InputError, match="sizes"):
        parse_sizes("4MB,many")
