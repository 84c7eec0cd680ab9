"""The ideal machine takes the times that the books say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulator.actions import COLLECTIVES, Group
from simulator.errors import InputError, UnknownNameError
from simulator.ideal import AlphaBetaStar, IdealDevice, ideal_machine
from tests.simulator.plans import work

ALPHA, BANDWIDTH, N = 2e-6, 1.25e9, 1e9
STAR = AlphaBetaStar(ALPHA, BANDWIDTH)


@pytest.mark.parametrize("ranks", [1, 2, 3, 8, 64])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("all_reduce", lambda p: 2 * (p - 1) * ALPHA + 2 * (p - 1) / p * N / BANDWIDTH),
        ("all_gather", lambda p: (p - 1) * ALPHA + (p - 1) / p * N / BANDWIDTH),
        ("reduce_scatter", lambda p: (p - 1) * ALPHA + (p - 1) / p * N / BANDWIDTH),
        ("all_to_all", lambda p: (p - 1) * ALPHA + (p - 1) / p * N / BANDWIDTH),
        ("broadcast", lambda p: math.ceil(math.log2(p)) * (ALPHA + N / BANDWIDTH)),
        ("reduce", lambda p: math.ceil(math.log2(p)) * (ALPHA + N / BANDWIDTH)),
        ("barrier", lambda p: math.ceil(math.log2(p)) * ALPHA),
    ],
)
def test_collectives_take_their_closed_forms(kind, expected, ranks):
    group = Group.of(range(ranks))
    assert STAR.collective_s(kind, N, group) == pytest.approx(expected(ranks), rel=1e-9)


def test_every_collective_has_a_time():
    assert all(STAR.collective_s(kind, N, Group.of(range(4))) > 0 for kind in COLLECTIVES)
    with pytest.raises(UnknownNameError, match="did you mean 'all_reduce'"):
        STAR.collective_s("all_reduc", N, Group.of(range(4)))


def test_a_device_takes_flops_over_speed_and_threads():
    device = IdealDevice(flops_per_s=2e9, max_threads=4)
    times = device.times_s(work("w", 1.0, 3.0).graph, 2)
    np.testing.assert_allclose(times, [0.25, 0.75])
    assert device.memory_bytes is None


def test_a_machine_has_at_least_one_device():
    with pytest.raises(InputError, match="devices: expected a whole number of at least 1, got 0"):
        ideal_machine(0)
    assert ideal_machine(1).network is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IdealDevice(flops_per_s=0.0), "flops_per_s: expected a finite number above 0"),
        (lambda: IdealDevice(flops_per_s=float("nan")), "flops_per_s"),
        (lambda: IdealDevice(max_threads=0), "max_threads: expected a whole number of at least 1"),
        (lambda: IdealDevice(power_w=-1.0), "power_w: expected a finite number of at least 0"),
        (lambda: AlphaBetaStar(-1e-6, 1e9), "latency_s"),
        (lambda: AlphaBetaStar(0.0, 0.0), "bandwidth_bytes_per_s: expected a finite number above"),
        (lambda: ideal_machine(2, bandwidth_bytes_per_s=float("inf")), "bandwidth_bytes_per_s"),
    ],
)
def test_impossible_devices_and_links_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
