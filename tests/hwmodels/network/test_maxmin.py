"""What is max-min fair: known solutions, and the certificate that a solution is one."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.network.maxmin import max_min_rates
from hwmodels.network.shapes import fat_tree
from hwmodels.network.symmetry import fold_rows, needed_links
from hwmodels.network.wires import Wire
from simulator.ops import FloatArray, IntArray

CROWDS = st.integers(1, 6).flatmap(
    lambda links: st.lists(
        st.lists(st.integers(0, links - 1), min_size=1, max_size=links, unique=True),
        min_size=1, max_size=12,
    ).map(lambda paths: _padded(paths, links))
)  # fmt: skip
"""Flows that cross any of up to six links."""


def _padded(paths: list[list[int]], hops: int) -> IntArray:
    return np.array([path + [-1] * (hops - len(path)) for path in paths])


def _loads(routes: IntArray, rates: FloatArray, links: int) -> FloatArray:
    on = routes >= 0
    sums = np.bincount(routes[on], np.broadcast_to(rates[:, None], routes.shape)[on], links)
    return np.asarray(sums, float)


class TestKnownSolutions:
    """SimGrid's own tests of its solver (src/kernel/lmm/maxmin_test.cpp), and by hand."""

    @pytest.mark.parametrize(
        ("capacity", "penalty", "weight", "rates"),
        [
            (3.0, [1.0, 2.0], [1.0, 1.0], [2.0, 1.0]),
            (3.0, [1.0, 2.0], [1.0, 2.0], [1.5, 0.75]),
            (20.0, [1.0, 2.0], [1.0, 2.0], [10.0, 5.0]),
        ],
    )
    def test_one_link(
        self, capacity: float, penalty: list[float], weight: list[float], rates: list[float]
    ) -> None:
        found = max_min_rates(
            np.zeros((2, 1), int), np.array([capacity]),
            1 / np.asarray(penalty, float), np.array(weight)[:, None],
        )  # fmt: skip
        assert found == pytest.approx(rates, rel=1e-12)

    def test_the_long_flow_of_a_chain_gets_what_the_narrowest_link_gives(self) -> None:
        routes = np.array([[0, 1, 2], [0, -1, -1], [1, -1, -1], [2, -1, -1]])
        assert max_min_rates(routes, np.array([6.0, 2.0, 9.0])).tolist() == [1, 5, 1, 8]

    def test_a_flow_without_links_is_not_held_up(self) -> None:
        assert max_min_rates(np.array([[-1], [0]]), np.array([3.0])).tolist() == [np.inf, 3]

    def test_a_flow_that_stands_for_several_counts_so_often(self) -> None:
        routes, counts = np.array([[0], [0]]), np.array([[3.0], [1.0]])
        assert max_min_rates(routes, np.array([8.0]), None, counts).tolist() == [2, 2]


@given(routes=CROWDS, seed=st.integers(0, 1000))
def test_every_flow_has_a_full_link_on_which_none_is_larger(routes: IntArray, seed: int) -> None:
    links = routes.shape[1]
    capacity = np.random.default_rng(seed).uniform(1.0, 10.0, size=(links,))
    rates = max_min_rates(routes, capacity)
    loads = _loads(routes, rates, links)
    assert (loads <= capacity * (1 + 1e-9)).all()
    full = loads >= capacity * (1 - 1e-9)
    for path, rate in zip(routes, rates, strict=True):
        mine = [link for link in path if link >= 0 and full[link]]
        assert any(rates[(routes == link).any(axis=1)].max() <= rate * (1 + 1e-9) for link in mine)


@given(routes=CROWDS, seed=st.integers(0, 1000))
def test_links_that_cannot_bind_change_nothing(routes: IntArray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    capacity = rng.integers(1, 4, routes.shape[1]).astype(float)
    some = rng.random(len(routes)) < 0.7
    whole = max_min_rates(routes[some], capacity)
    assert max_min_rates(needed_links(routes, capacity)[some], capacity) == pytest.approx(whole)


@given(seed=st.integers(0, 1000), shift=st.integers(1, 63), more=st.integers(1, 63))
def test_kinds_of_messages_get_the_rates_of_messages(seed: int, shift: int, more: int) -> None:
    topology = fat_tree(4, Wire(1e9, 1e-6))
    here = np.arange(topology.devices)
    size = topology.devices
    routes = np.concatenate([
        topology.routes(here, (here + 1 + step % (size - 1)) % size) for step in (shift, more)
    ])  # fmt: skip
    owner = np.repeat([0, 1], size)
    before = np.full(len(routes), -1)
    rows = fold_rows(routes, [owner], before, topology.bandwidth_bytes_per_s)
    assert rows.capacity is not None
    for flowing in (owner >= 0, owner == seed % 2):
        kinds = flowing[rows.first]
        folded = np.zeros(len(kinds))
        assert rows.counts is not None
        folded[kinds] = max_min_rates(
            rows.routes[kinds], rows.capacity, None, rows.counts[kinds]
        )  # fmt: skip
        plain = max_min_rates(routes[flowing], topology.bandwidth_bytes_per_s)
        assert folded[rows.row][flowing] == pytest.approx(plain, rel=1e-12)


@pytest.mark.benchmark
@pytest.mark.parametrize(("flows", "k", "goal_s"), [(10_000, 16, 0.015), (100_000, 32, 0.25)])
def test_random_flows_on_a_fat_tree(flows: int, k: int, goal_s: float) -> None:
    topology = fat_tree(k, Wire(1.25e9, 1e-6))
    rng = np.random.default_rng(0)
    src = rng.integers(0, topology.devices, flows)
    dst = (src + rng.integers(1, topology.devices, flows)) % topology.devices
    routes = topology.routes(src, dst)
    times = []
    for _ in range(5):
        start_s = time.process_time()
        max_min_rates(routes, topology.bandwidth_bytes_per_s)
        times.append(time.process_time() - start_s)
    print(f"\n{flows:,} flows on {topology.devices:,} hosts: {min(times) * 1e3:.0f} ms "
          f"(goal {goal_s * 1e3:.0f})")  # fmt: skip
