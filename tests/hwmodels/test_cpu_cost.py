"""What an op costs: the closed form, part by part."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.cpu_cost import (
    CpuRates,
    FamilyRate,
    Level,
    far_shares,
    op_costs,
    times_s,
    traffic_bytes,
)
from hwmodels.cpu_rates import numbers_of, rates_of
from hwmodels.cpu_traffic import traffic_of
from hwmodels.spec import Calibration
from simulator.errors import UnknownNameError
from simulator.ops import Graph, Op

CACHE, MEMORY = 1e6, np.inf


def levels(shared=np.inf):
    return (
        Level(name="L2", capacity_bytes=CACHE, bandwidth_bytes_per_s=1e11),
        Level(name="DRAM", capacity_bytes=MEMORY, bandwidth_bytes_per_s=1e10,
              shared_bytes_per_s=shared),
    )  # fmt: skip


def rates(shared=np.inf, more=None, **family):
    rate = FamilyRate(**{"rate_per_s": 1e10, **family})
    families = {("gemm", "float32"): rate, ("elementwise", "float32"): rate}
    return CpuRates(families=families, levels=levels(shared), **(more or {}))


def wider(level):
    return replace(
        level,
        bandwidth_bytes_per_s=2 * level.bandwidth_bytes_per_s,
        shared_bytes_per_s=2 * level.shared_bytes_per_s,
    )


def product(m=64, n=64, k=64, read=0.0, weights=0.0, **more):
    return Op(kind="gemm", name="mm", dims=(1, m, n, k), flops=2.0 * m * n * k, bytes_read=read,
              weight_bytes=weights, **more)  # fmt: skip


def time_of(one, known, threads=1):
    graph = Graph.of([one] if isinstance(one, Op) else one)
    return times_s(op_costs(graph, known, threads), known, threads)


def test_work_takes_amount_over_rate():
    assert time_of(product(), rates())[0] == pytest.approx(2 * 64**3 / 1e10)


def test_at_its_half_size_an_op_runs_at_half_its_rate():
    whole = time_of(product(k=50), rates())[0]
    assert time_of(product(k=50), rates(half={"k": 50.0}))[0] == pytest.approx(2 * whole)


def test_shape_efficiency_is_a_product_over_sizes():
    one, half = product(m=10, n=20, k=40), {"m": 10.0, "n": 20.0, "k": 40.0}
    assert time_of(one, rates(half=half))[0] == pytest.approx(8 * time_of(one, rates())[0])


def test_dispatch_adds_and_far_code_adds_more():
    known = rates(dispatch_s=1e-5, far_dispatch_s=3e-5)
    alone = op_costs(Graph.of([product()]), known)
    assert alone.dispatch_s[0] == pytest.approx(1e-5)
    other = Op(kind="elementwise", name="relu", dims=(1,), bytes_read=100 * CACHE)
    between = op_costs(Graph.of([product(), other], [[], []]), known)
    assert between.dispatch_s.tolist() == pytest.approx([4e-5, 1e-5], rel=1e-3)


def test_waiting_is_exposure_times_bytes_over_the_levels_bandwidth():
    one = product(read=100 * CACHE)
    waits = time_of(one, rates(exposure=0.5))[0] - time_of(product(), rates())[0]
    assert waits == pytest.approx(0.5 * 100 * CACHE / 1e10, rel=1e-3)


def test_weights_have_an_exposure_of_their_own():
    one = product(read=100 * CACHE, weights=100 * CACHE)
    cost = op_costs(Graph.of([one]), rates(exposure=5.0, weight_exposure=0.5))
    assert cost.stall_s[0] == pytest.approx(0.5 * 100 * CACHE / 1e10, rel=1e-3)


def test_where_exposure_is_not_known_the_longer_of_work_and_traffic_counts():
    one = product(read=100 * CACHE)
    assert time_of(one, rates())[0] == pytest.approx(100 * CACHE / 1e10, rel=1e-3)
    assert time_of(product(500, 500, 500, read=100 * CACHE), rates())[0] == pytest.approx(0.025)


def test_data_come_from_the_first_level_that_is_large_enough():
    graph = Graph.of([product(read=CACHE / 100), product(read=CACHE / 100)], [[], []])
    near, _ = traffic_bytes(traffic_of(graph), levels(), 2)
    assert near[0, 0] > 0.99 * CACHE / 100
    graph = Graph.of([product(read=CACHE * 100)])
    far, _ = traffic_bytes(traffic_of(graph), levels(), 1)
    assert far[0, 1] > 0.99 * CACHE * 100


def test_half_of_the_data_have_left_a_cache_of_their_own_distance():
    graph = Graph.of([product(read=CACHE)])
    found, _ = traffic_bytes(traffic_of(graph), levels(), 1)
    np.testing.assert_allclose(found, [[CACHE / 2, CACHE / 2]])


def test_without_a_cache_nothing_is_far():
    memory = levels()[-1:]
    assert far_shares(traffic_of(Graph.of([product(read=1e9)])), memory)[0] == 0


def test_mapping_fresh_memory_takes_its_time():
    known = rates(more={"fault_s_per_byte": 1e-9})
    size = 2.0**26
    mapped = product(bytes_written=size, allocated_bytes=size)
    with_, without = (op_costs(Graph.of([mapped]), each).compute_s for each in (known, rates()))
    assert (with_ - without)[0] == pytest.approx(size * 1e-9)


def test_the_framework_adds_its_own_time_by_phase():
    known = rates(more={"framework_s": {"backward": 7e-6}})
    forward, backward = (product(phase=phase) for phase in ("forward", "backward"))
    assert time_of(backward, known)[0] - time_of(forward, known)[0] == pytest.approx(7e-6)


def test_a_framework_that_calls_more_cheaply_never_makes_time_negative():
    known = rates(more={"framework_s": {"forward": -1.0}}, dispatch_s=1e-6)
    cost = op_costs(Graph.of([product()]), known)
    assert cost.dispatch_s[0] == 0


def test_a_team_shares_the_parallel_part():
    one = product(512, 512, 512)
    alone = time_of(one, rates())[0]
    assert time_of(one, rates(), 4)[0] == pytest.approx(alone / 4)
    assert time_of(one, rates(parallel=0.5), 2)[0] == pytest.approx(alone * 0.75)


def test_a_team_pays_for_its_fork():
    known = rates(more={"fork_s": 1e-5, "fork_per_thread_s": 1e-6})
    one = product(512, 512, 512)
    base = time_of(one, rates(), 4)[0]
    assert time_of(one, known, 4)[0] == pytest.approx(base + 1.2e-5)
    assert time_of(one, known, 1)[0] == pytest.approx(time_of(one, rates(), 1)[0])


def test_a_team_shares_the_bandwidth():
    one = product(512, 512, 512, read=1e9)
    known = rates(shared=2e10, exposure=1.0)
    assert time_of(one, known, 64)[0] == pytest.approx(1e9 / 2e10, rel=1e-3)


def test_work_below_the_grain_stays_on_one_thread():
    small = product(16, 16, 16)
    assert time_of(small, rates(), 8)[0] == time_of(small, rates(), 1)[0]


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        ({("mm", "bfloat16"), ("gemm", "bfloat16"), ("mm", "float32")}, ("mm", "bfloat16")),
        ({("gemm", "bfloat16"), ("mm", "float32"), ("gemm", "float32")}, ("gemm", "bfloat16")),
        ({("mm_", "bfloat16"), ("gemm", "bfloat16")}, ("mm_", "bfloat16")),
        ({("mm", "float32"), ("gemm", "float32")}, ("mm", "float32")),
        ({("gemm", "float32"), ("elementwise", "float32")}, ("gemm", "float32")),
    ],
)
def test_the_nearest_known_rate_is_used(known, wanted):
    families = {key: FamilyRate(rate_per_s=2e10 if key == wanted else 1e10) for key in known}
    found = CpuRates(families=families, levels=levels())
    one = product(dtype="bfloat16")
    assert time_of(one, found)[0] == pytest.approx(2 * 64**3 / 2e10)


def test_another_kind_stands_for_one_of_which_nothing_is_known():
    sort = Op(kind="sort", name="sort", dims=(10, 1000))
    assert time_of(sort, rates())[0] == pytest.approx(10_000 / 1e10)


def test_rates_that_know_nothing_of_an_op_say_so():
    empty = CpuRates(families={}, levels=levels())
    with pytest.raises(UnknownNameError, match="unknown kind of op 'gemm in float32'"):
        op_costs(Graph.of([product()]), empty)


def test_rates_survive_being_stored():
    known = rates(
        half={"k": 3.0}, dispatch_s=1e-6, far_dispatch_s=2e-6, exposure=0.3, weight_exposure=0.2,
        parallel=0.9, shared=5e10,
        more={"fork_s": 1e-6, "fault_s_per_byte": 1e-10, "framework_s": {"forward": -1e-6}},
    )  # fmt: skip
    stored = Calibration(numbers=numbers_of(known), data="", date="")
    assert rates_of(stored) == known


@given(
    st.lists(
        st.builds(
            product,
            m=st.integers(1, 500), n=st.integers(1, 500), k=st.integers(1, 500),
            read=st.floats(0, 1e9),
        ),
        min_size=1, max_size=8,
    ),
    st.sampled_from(["rate_per_s", "bandwidth"]),
)  # fmt: skip
def test_more_of_anything_is_never_slower(ops, what):
    known = rates(exposure=0.5, dispatch_s=1e-6, shared=2e10)
    if what == "bandwidth":
        more = replace(known, levels=tuple(wider(one) for one in known.levels))
    else:
        more = rates(rate_per_s=2e10, exposure=0.5, dispatch_s=1e-6, shared=2e10)
    for threads in (1, 4):
        assert (time_of(ops, more, threads) <= time_of(ops, known, threads) * (1 + 1e-12)).all()


@given(
    st.builds(
        product,
        m=st.integers(1, 500), n=st.integers(1, 500), k=st.integers(1, 500), read=st.floats(0, 1e9),
    ),
    st.integers(1, 64),
)  # fmt: skip
def test_a_team_is_at_most_so_many_times_faster(one, threads):
    known = rates(exposure=1.0, shared=3e10)
    alone, together = time_of(one, known)[0], time_of(one, known, threads)[0]
    assert together >= alone / threads * (1 - 1e-12)
    assert together <= alone * (1 + 1e-12)
