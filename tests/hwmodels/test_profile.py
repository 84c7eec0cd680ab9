"""An op takes dispatch, fork, and the longer of its own work and of what all threads share."""

import numpy as np
import pytest

from hwmodels.cores import Cores
from hwmodels.cpu_cost import OpCost
from hwmodels.profile import profile_of
from tests.hwmodels.machines import rates

CORES = Cores(per_socket=8, all_core_clock=0.5)


def profile(threads, compute_s=0.0, stall_s=0.0, parallel=1.0, cached=0.0, memory=0.0, team=8):
    """Return how one op runs on a cache of 100 GB/s a core and a memory of 10, 40 shared."""
    cost = OpCost(
        dispatch_s=np.array([1e-6]),
        compute_s=np.array([compute_s]),
        stall_s=np.array([stall_s]),
        parallel=np.array([parallel]),
        traffic_bytes=np.array([[cached, memory]]),
        team=np.array([team]),
    )
    return profile_of(cost, rates(), CORES, threads)


def test_computing_and_waiting_for_data_add_up():
    assert profile(1, compute_s=0.3, stall_s=0.1).times_s == pytest.approx([0.4 + 1e-6])


def test_what_the_team_does_not_share_takes_as_long_as_on_one_thread():
    clock = 1 - 0.5 * 3 / 7
    assert profile(4, compute_s=0.8, parallel=0.75).compute_s == pytest.approx(
        0.8 * (0.25 + 0.75 / 4) / clock
    )
    assert profile(4, stall_s=0.8, parallel=0.75).stall_s == pytest.approx(0.8 * (0.25 + 0.75 / 4))


def test_the_clock_slows_computing_but_not_waiting():
    both = profile(8, compute_s=0.8, stall_s=0.8)
    assert both.compute_s == pytest.approx(0.8 / 8 / 0.5)
    assert both.stall_s == pytest.approx(0.8 / 8)


def test_what_all_share_binds_once_the_team_wants_more():
    assert profile(4, stall_s=0.4, memory=4e9).work_s == pytest.approx([0.1])
    assert profile(8, stall_s=0.4, memory=4e9).work_s == pytest.approx([0.1])
    assert profile(2, stall_s=0.4, memory=4e9).work_s == pytest.approx([0.2])


def test_levels_add_up():
    assert profile(1, cached=1e9, memory=1e9).memory_s == pytest.approx([0.01 + 0.1])


def test_an_op_uses_no_more_threads_than_it_can():
    assert profile(8, compute_s=0.8, team=2).busy.tolist() == [1, 2]


def test_phases_end_one_after_the_other():
    one = profile(1, compute_s=0.3)
    assert one.ends_s == pytest.approx([1e-6, 0.3 + 1e-6])


def test_busy_cores_and_moved_bytes_grow_evenly_within_a_phase():
    one = profile(8, stall_s=0.8, memory=4e9, team=4)
    start, end = one.ends_s
    middle = (start + end) / 2
    assert one.used(0.0, start) == pytest.approx((start, 0.0, 0.0))
    assert one.used(start, middle) == pytest.approx((4 * (middle - start), 0.0, 2e9))
    assert one.used(0.0, end) == pytest.approx((start + 4 * (end - start), 0.0, 4e9))
