"""Specify the queueing formulas by published values, by each other and by simulation."""

import csv
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.queueing import erlang_b, erlang_c, little_number, mg1, mm1, mmc

utilizations = st.floats(0.01, 0.98)
rates = st.floats(1e-3, 1e3)
ORACLES = Path("../shared/measured/oracle_formulas.csv")


def lindley_mean_wait_s(gaps_s, services_s):
    """Return the mean wait of a FIFO queue by Lindley's recursion W' = max(0, W + S - A)."""
    steps = np.concatenate([[0.0], np.cumsum(services_s[:-1] - gaps_s[1:])])
    return float(np.mean(steps - np.minimum.accumulate(steps)))


def test_mm1_equals_its_closed_forms():
    queue = mm1(0.8, 1.0)
    assert queue.utilization == pytest.approx(0.8)
    assert queue.time_s == pytest.approx(1 / (1.0 - 0.8), abs=1e-9)
    assert queue.number == pytest.approx(0.8 / 0.2, abs=1e-9)
    assert queue.waiting == pytest.approx(0.8**2 / 0.2, abs=1e-9)
    assert queue.wait_s == pytest.approx(0.8 / 0.2, abs=1e-9)


@given(utilizations, rates)
def test_mmc_with_one_server_is_mm1(utilization, service_per_s):
    one, many = (
        mm1(utilization * service_per_s, service_per_s),
        mmc(utilization * service_per_s, service_per_s, 1),
    )
    assert many.wait_s == pytest.approx(one.wait_s, rel=1e-9)


@given(utilizations, rates)
def test_mg1_with_exponential_service_is_mm1(utilization, service_per_s):
    arrival = utilization * service_per_s
    general = mg1(arrival, 1 / service_per_s, 1.0)
    assert general.wait_s == pytest.approx(utilization / (service_per_s - arrival), rel=1e-9)


@given(utilizations, st.integers(1, 64))
def test_littles_law_holds_in_every_queue(utilization, servers):
    queue = mmc(utilization * servers, 1.0, servers)
    assert little_number(utilization * servers, queue.time_s) == pytest.approx(queue.number)
    assert little_number(utilization * servers, queue.wait_s) == pytest.approx(queue.waiting)


@given(st.integers(1, 40), st.floats(0.01, 60))
def test_erlang_b_equals_its_sum(servers, load):
    terms = [load**k / math.factorial(k) for k in range(servers + 1)]
    assert erlang_b(servers, load) == pytest.approx(terms[-1] / sum(terms), rel=1e-9)


@given(st.integers(1, 40), utilizations)
def test_waiting_is_likelier_than_being_turned_away(servers, utilization):
    load = utilization * servers
    assert erlang_b(servers, load) <= erlang_c(servers, load) <= 1


def test_pooling_servers_shortens_the_wait():
    apart, pooled = mm1(0.8, 1.0), mmc(3.2, 1.0, 4)
    assert pooled.wait_s < apart.wait_s / 4


def test_steady_service_halves_the_wait():
    assert mg1(0.8, 1.0, 0.0).wait_s == pytest.approx(mm1(0.8, 1.0).wait_s / 2)


def test_an_overloaded_queue_waits_forever():
    for queue in (mm1(1.0, 1.0), mm1(2.0, 1.0), mmc(5.0, 1.0, 4), mg1(1.5, 1.0, 0.0)):
        assert queue.wait_s == queue.number == np.inf
    assert mm1(2.0, 1.0).utilization == 2


def test_nobody_waits_where_nobody_comes():
    assert mm1(0.0, 1.0).wait_s == 0
    assert erlang_c(4, 0.0) == 0


def test_formulas_take_arrays():
    queue = mm1([0.5, 0.8, 1.0], 1.0)
    np.testing.assert_allclose(queue.wait_s, [1.0, 4.0, np.inf])
    np.testing.assert_allclose(erlang_b(2, [0.0, 1.0]), [0.0, 0.2])


@pytest.mark.parametrize(("service_cv2", "shape"), [(0.0, None), (1.0, 1.0), (2.0, 0.5)])
def test_mg1_agrees_with_a_simulated_queue(service_cv2, shape):
    rng = np.random.default_rng(3)
    gaps_s = rng.exponential(1 / 0.6, 400_000)
    services_s = np.ones(400_000) if shape is None else rng.gamma(shape, 1 / shape, 400_000)
    simulated_s = lindley_mean_wait_s(gaps_s, services_s)
    assert simulated_s == pytest.approx(mg1(0.6, 1.0, service_cv2).wait_s, rel=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mm1(-1.0, 1.0), "arrival_per_s: .*got -1"),
        (lambda: mm1(1.0, 0.0), "service_per_s: .*above 0, got 0"),
        (lambda: mg1(1.0, 1.0, -0.5), "service_cv2: .*got -0.5"),
        (lambda: mmc(1.0, 1.0, 0), "servers: .*at least 1, got 0"),
        (
            lambda: mmc(1.0, 1.0, 2.5),  # type: ignore[arg-type]
            "servers: expected one whole number, got 2.5",
        ),
        (lambda: erlang_c(2, float("nan")), "offered_load: .*got nan"),
    ],
)
def test_nonsense_is_one_clear_error(call, message):
    with pytest.raises(InputError, match=message):
        call()


def published(oracle, pattern):
    with ORACLES.open(newline="") as file:
        checks = {row["oracle"]: row["check"] for row in csv.DictReader(file)}
    found = re.search(pattern, checks[oracle])
    assert found, checks[oracle]
    return [float(number) for number in found.groups()]


@pytest.mark.skipif(not ORACLES.exists(), reason="the shared tables are not here")
def test_waits_equal_the_table_of_oracles():
    (wait_s,) = published("M/M/1 time in system", r"Wq=([\d.]+);")
    assert mm1(0.8, 1.0).wait_s == pytest.approx(wait_s, abs=1e-9)
    waits, wait_s = published("M/M/c Erlang C", r"C=([\d.]+) Wq=([\d.]+);")
    assert round(erlang_c(4, 3.2), 5) == waits
    assert round(mmc(3.2, 1.0, 4).wait_s, 6) == wait_s
    constant_s, scattered_s = published(
        "M/G/1 Pollaczek-Khinchine", r"([\d.]+) vs .*cv2=2: ([\d.]+) vs"
    )
    assert mg1(0.8, 1.0, 0.0).wait_s == pytest.approx(constant_s, abs=1e-9)
    assert mg1(0.8, 1.0, 2.0).wait_s == pytest.approx(scattered_s, abs=1e-9)
