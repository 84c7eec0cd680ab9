"""Shared bandwidth is divided max-min fairly: nobody gets more without someone poorer losing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.cores import Cores
from hwmodels.sharing import fair_rates, shared_paces
from tests.hwmodels.machines import cpu, graph, product

pytestmark = pytest.mark.usefixtures("plain_costs")


def rates(limit, use, capacity, weight=None):
    limit = np.array(limit, float)
    weight = np.ones(len(limit)) if weight is None else np.array(weight, float)
    return fair_rates(limit, np.array(use, float), np.array(capacity, float), weight)


def test_without_contention_everyone_has_their_limit():
    assert rates([1, 2], [[1], [1]], [3]).tolist() == [1, 2]


def test_who_wants_less_than_an_equal_share_gets_it_and_the_others_share_the_rest():
    assert rates([1, 9, 9], [[1], [1], [1]], [7]) == pytest.approx([1, 3, 3])


def test_shares_are_of_bytes_not_of_progress():
    assert rates([9, 9], [[1], [4]], [8]) == pytest.approx([4, 1])


def test_a_team_of_three_draws_three_times_what_one_thread_draws():
    assert rates([9, 9], [[1], [1]], [8], weight=[3, 1]) == pytest.approx([6, 2])


def test_who_uses_nothing_shared_is_not_slowed():
    assert rates([5, 9], [[0], [1]], [2]) == pytest.approx([5, 2])


def test_a_resource_without_end_slows_nobody():
    assert rates([5, 9], [[1], [1]], [np.inf]).tolist() == [5, 9]


def test_each_flow_stops_at_the_first_resource_that_is_full():
    # The second and third share the second resource; what they leave of the first goes to the
    # first flow.
    got = rates([99, 99, 99], [[1, 0], [1, 1], [0, 1]], [10, 4])
    assert got == pytest.approx([8, 2, 2])


FLOWS = st.integers(1, 5).flatmap(
    lambda k: st.tuples(
        st.lists(st.floats(0.01, 100), min_size=k, max_size=k),
        st.lists(st.tuples(*[st.just(0.0) | st.floats(0.01, 10)] * 2), min_size=k, max_size=k),
        st.tuples(*[st.floats(0.1, 50)] * 2),
        st.lists(st.integers(1, 8), min_size=k, max_size=k),
    )
)


@given(FLOWS)
def test_no_limit_and_no_capacity_is_exceeded_and_everyone_is_stopped_by_one(flows):
    limit, use, capacity, weight = (np.array(part, float) for part in flows)
    got = fair_rates(limit, use, capacity, weight)
    assert (got <= limit * (1 + 1e-9)).all()
    assert (got @ use <= capacity * (1 + 1e-9)).all()
    full = got @ use >= capacity * (1 - 1e-6)
    stopped = (got >= limit * (1 - 1e-6)) | (use[:, full] > 0).any(axis=1)
    assert stopped.all()


@given(FLOWS, st.randoms(use_true_random=False))
def test_the_order_of_flows_changes_nothing(flows, random):
    limit, use, capacity, weight = (np.array(part, float) for part in flows)
    order = list(range(len(limit)))
    random.shuffle(order)
    got = fair_rates(limit, use, capacity, weight)
    shuffled = fair_rates(limit[order], use[order], capacity, weight[order])
    assert shuffled == pytest.approx(got[order], rel=1e-9)


def phases(device, *ops_and_threads):
    return [(device.profile(graph(op), threads), 1) for op, threads in ops_and_threads]


def paces(device, *ops_and_threads):
    listed = phases(device, *ops_and_threads)
    return shared_paces(listed, device.rates, device.cores)


COMPUTE = product(1e9)
STREAM = product(1e7, moved=4e8)


def test_a_phase_alone_goes_at_its_own_pace():
    assert paces(cpu(), (STREAM, 8)) == (1.0,)


def test_works_that_fit_beside_each_other_do_not_slow_each_other():
    assert paces(cpu(), (COMPUTE, 4), (COMPUTE, 4)) == pytest.approx((1, 1))


def test_works_on_more_threads_than_cores_share_them():
    cores = Cores(per_socket=8)
    assert paces(cpu(cores=cores), (COMPUTE, 8), (COMPUTE, 8)) == pytest.approx((0.5, 0.5))


def test_second_hardware_threads_give_what_they_add():
    cores = Cores(per_socket=8, threads_per_core=2, sibling_work=0.2)
    assert paces(cpu(cores=cores), (COMPUTE, 8), (COMPUTE, 8)) == pytest.approx((0.6, 0.6))


def test_memory_is_shared_by_threads_and_computing_is_not_slowed_by_it():
    device = cpu(one=10e9, shared=40e9)
    assert paces(device, (STREAM, 4), (STREAM, 4)) == pytest.approx((0.5, 0.5))
    assert paces(device, (STREAM, 4), (COMPUTE, 4)) == pytest.approx((1, 1))


def test_one_thread_does_not_fill_the_memory_and_so_is_not_slowed_by_another():
    assert paces(cpu(one=10e9, shared=40e9), (STREAM, 1), (STREAM, 1)) == pytest.approx((1, 1))


def test_more_busy_cores_lower_the_clock_of_all():
    cores = Cores(per_socket=8, all_core_clock=0.65)
    pace = 0.65 / (1 - 0.35 * 3 / 7)
    assert paces(cpu(cores=cores), (COMPUTE, 4), (COMPUTE, 4)) == pytest.approx((pace, pace))


def test_overhead_is_slowed_only_where_threads_take_turns():
    device = cpu(cores=Cores(per_socket=1))
    profile = device.profile(graph(COMPUTE), 1)
    both = [(profile, 0), (profile, 0)]
    assert shared_paces(both, device.rates, device.cores) == pytest.approx((0.5, 0.5))
    device = cpu()
    assert shared_paces(both, device.rates, device.cores) == pytest.approx((1, 1))
