"""Threads fill the cores of one socket, then the next, then second hardware threads."""

import numpy as np
import pytest

from hwmodels.cores import Cores, cores_of
from simulator.errors import InputError
from tests.hwmodels.machines import spec

TWO_SOCKETS = Cores(per_socket=4, sockets=2, threads_per_core=2, all_core_clock=0.7,
                    sibling_work=0.2)  # fmt: skip


def teams(*sizes):
    return np.array(sizes)


def test_threads_beyond_the_cores_keep_no_further_core_busy():
    assert TWO_SOCKETS.busy(teams(1, 8, 9, 16)).tolist() == [1, 8, 8, 8]


def test_a_team_lies_on_as_few_sockets_as_it_can():
    assert TWO_SOCKETS.sockets_of(teams(1, 4, 5, 8, 16)).tolist() == [1, 1, 2, 2, 2]


def test_the_clock_falls_evenly_from_one_busy_core_to_all_of_a_socket():
    assert TWO_SOCKETS.clock(teams(1, 2, 3, 4, 8)) == pytest.approx([1, 0.9, 0.8, 0.7, 0.7])


def test_a_single_core_has_one_clock():
    assert Cores(per_socket=1, all_core_clock=0.7).clock(teams(1)) == pytest.approx([1])


def test_a_team_goes_at_the_speed_of_a_thread_that_shares_its_core():
    assert TWO_SOCKETS.speed(teams(8, 9, 16)) == pytest.approx([1, 0.6, 0.6])


@pytest.mark.parametrize("threads", [0, -1, 17, 2.5, float("nan")])
def test_a_machine_has_so_many_threads_and_no_more(threads):
    with pytest.raises(InputError, match=r"threads on 'box': expected a whole number from 1 to 16"):
        TWO_SOCKETS.check(threads, "box")


def test_what_a_file_does_not_say_of_sockets_and_clocks_changes_nothing():
    cores = cores_of(spec())
    assert (cores.count, cores.sockets, cores.max_threads) == (8, 1, 16)
    assert cores.clock(teams(8)) == pytest.approx([1])
    assert cores.link_bytes_per_s == np.inf


def test_the_clock_of_all_cores_is_read_against_that_of_one():
    assert cores_of(spec(clock__all_core_hz=1.5e9)).all_core_clock == 0.75
