"""Specify what a CPU list amounts to on a machine, and what a team of threads costs a program."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.thread_team import Layout, Team, Threading, format_cpu_list, parse_cpu_list
from simulator.errors import InputError
from simulator.laws import amdahl_time_s

TWO_SOCKETS = Layout(sockets=2, cores_per_socket=16, threads_per_core=2)
ONE_SOCKET = Layout(sockets=1, cores_per_socket=16, threads_per_core=2)
CHIPLETS = Layout(sockets=1, cores_per_socket=48, threads_per_core=2, cores_per_cache=4)
BOOSTING = Threading(
    sibling_work=0.22,
    sibling_weight=2.0,
    barrier_exponent=0.75,
    socket_factor=2.0,
    cache_factor=1.5,
)


def test_a_cpu_list_names_threads_and_ranges():
    assert parse_cpu_list("5") == (5,)
    assert parse_cpu_list("0-3,16-19") == (0, 1, 2, 3, 16, 17, 18, 19)
    assert parse_cpu_list(" 0 - 1 , 4 ") == (0, 1, 4)
    assert parse_cpu_list("0-6:2,9") == (0, 2, 4, 6, 9)


@given(st.sets(st.integers(0, 500), min_size=1))
def test_a_list_of_single_threads_is_read_back(threads):
    assert set(parse_cpu_list(",".join(map(str, threads)))) == threads


@given(st.sets(st.integers(0, 60), min_size=1))
def test_what_is_written_is_read_back_in_order(threads):
    assert parse_cpu_list(format_cpu_list(threads)) == tuple(sorted(threads))


@pytest.mark.parametrize("text", ["0", "0-1", "0-3,16-19", "0-47,96-143", "1,3,5"])
def test_a_list_in_its_shortest_form_stays_as_it_is(text):
    assert format_cpu_list(parse_cpu_list(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected numbers and ranges"),
        ("0-", "expected numbers and ranges"),
        ("a-b", "expected numbers and ranges"),
        ("-1", "expected numbers and ranges"),
        ("3-1", "'3-1' is no range"),
        ("0-3:0", "'0-3:0' is no range"),
        ("0-3,", "expected numbers and ranges"),
        ("0x3", "expected numbers and ranges"),
        ("0-9999999999", "is no range"),
        ("0-3,2", "names a hardware thread twice"),
    ],
)
def test_what_is_no_cpu_list_is_one_clear_error(text, message):
    with pytest.raises(InputError, match=message):
        parse_cpu_list(text)


def test_the_same_list_is_another_socket_on_one_machine_and_siblings_on_another():
    assert TWO_SOCKETS.team("0-3,16-19") == Team(cores=8, sockets=2)
    assert ONE_SOCKET.team("0-3,16-19") == Team(cores=4, siblings=4)


def test_a_whole_machine_has_all_cores_siblings_and_sockets():
    assert TWO_SOCKETS.team("0-63") == Team(cores=32, siblings=32, sockets=2)
    assert TWO_SOCKETS.team("0-63").threads == 64


def test_second_threads_alone_are_cores_of_their_own():
    assert TWO_SOCKETS.team("32-35") == Team(cores=4)


def test_a_team_is_split_once_it_leaves_one_cache():
    assert not CHIPLETS.team("0-3").split
    assert CHIPLETS.team("0-4").split
    assert not CHIPLETS.team("0-3,48-51").split


def test_one_cache_in_each_of_two_sockets_is_not_split():
    layout = Layout(sockets=2, cores_per_socket=8, cores_per_cache=4)
    assert layout.team("0-3,8-11") == Team(cores=8, sockets=2)


def test_a_thread_that_the_machine_lacks_is_an_error():
    with pytest.raises(InputError, match="has hardware threads 0 to 31"):
        ONE_SOCKET.team("0-32")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sockets": 0, "cores_per_socket": 4}, "sockets: expected at least 1, got 0"),
        ({"sockets": 1, "cores_per_socket": -4}, "cores_per_socket: .*got -4"),
        ({"sockets": 1, "cores_per_socket": 4, "threads_per_core": 0}, "threads_per_core"),
        ({"sockets": 1, "cores_per_socket": 4, "cores_per_cache": -1}, "cores_per_cache"),
    ],
)
def test_an_impossible_layout_is_an_error(fields, message):
    with pytest.raises(InputError, match=message):
        Layout(**fields)


@given(st.integers(1, 256), st.floats(0, 1), st.floats(1e-3, 1e6))
def test_without_barriers_and_siblings_time_is_amdahls(cores, serial_share, work_s):
    time_s = Threading().time_s(Team(cores=cores), work_s, serial_share, 0.0)
    assert time_s == pytest.approx(amdahl_time_s(cores, work_s, serial_share), rel=1e-9)


def test_one_core_takes_the_work_and_no_barrier():
    assert BOOSTING.time_s(Team(cores=1), 7.0, 0.1, 3.0) == pytest.approx(7.0)


@given(st.integers(1, 64), st.floats(0, 1), st.floats(0, 10))
def test_a_sibling_is_worth_less_than_a_core_but_more_than_nothing(cores, serial_share, work_s):
    alone = BOOSTING.time_s(Team(cores=cores), work_s, serial_share, 0.0)
    shared = BOOSTING.time_s(Team(cores=cores, siblings=cores), work_s, serial_share, 0.0)
    twice = BOOSTING.time_s(Team(cores=2 * cores), work_s, serial_share, 0.0)
    assert twice <= shared <= alone


@given(st.integers(2, 64), st.floats(0.01, 1))
def test_barriers_cost_more_with_siblings_sockets_and_split_caches(cores, barrier_s):
    def barriers_s(**team):
        return BOOSTING.time_s(Team(cores=cores, **team), 0.0, 0.0, barrier_s)

    near = barriers_s()
    assert barriers_s(siblings=cores) > near
    assert barriers_s(sockets=2) == pytest.approx(2 * near)
    assert barriers_s(sockets=4) == pytest.approx(4 * near)
    assert barriers_s(split=True) == pytest.approx(1.5 * near)


def test_little_work_gets_slower_with_cores_and_much_work_faster():
    few, many = Team(cores=12), Team(cores=48, sockets=2)
    assert BOOSTING.time_s(many, 3.0, 0.15, 0.2) > BOOSTING.time_s(few, 3.0, 0.15, 0.2)
    assert BOOSTING.time_s(many, 200.0, 0.01, 0.2) < BOOSTING.time_s(few, 200.0, 0.01, 0.2)


def test_arrays_of_teams_give_the_same_as_one_at_a_time():
    cores, siblings = np.array([1.0, 4.0, 16.0]), np.array([0.0, 4.0, 0.0])
    together = BOOSTING.time_s(Team(cores=cores, siblings=siblings), 10.0, 0.1, 0.05)
    apart = [
        BOOSTING.time_s(Team(cores=c, siblings=s), 10.0, 0.1, 0.05)
        for c, s in zip(cores, siblings, strict=True)
    ]
    np.testing.assert_allclose(together, apart)


def test_nonsense_is_one_clear_error():
    with pytest.raises(InputError, match=r"socket_factor: .*got -1"):
        Threading(socket_factor=-1.0)
    with pytest.raises(InputError, match=r"work_s: .*got nan"):
        BOOSTING.time_s(Team(cores=2), np.nan, 0.1, 0.1)
    with pytest.raises(InputError, match=r"serial_share: .*got 2"):
        BOOSTING.time_s(Team(cores=2), 1.0, 2.0, 0.1)
