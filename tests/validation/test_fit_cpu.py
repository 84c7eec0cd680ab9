"""Rates recovered from timings that were made up by the formula the model is named after."""

from dataclasses import replace

import numpy as np
import pytest

from hwmodels.cpu_cost import CpuRates, FamilyRate, Level, op_costs, times_s
from simulator.errors import InputError
from simulator.ops import Graph, Op
from validation.fit_cpu import ENOUGH, MOST, Timing, fit_rates, fit_team

MEMORY = (Level(name="DRAM", capacity_bytes=np.inf, bandwidth_bytes_per_s=1e10),)
RATE, DISPATCH_S, EXPOSURE = 8e10, 3e-6, 0.5
HALF = {"m": 6.0, "n": 10.0, "k": 20.0}


def product(m, n, k, name="mm", phase="forward"):
    return Op(kind="gemm", name=name, dims=(1, m, n, k), flops=2.0 * m * n * k, phase=phase,
              bytes_read=4.0 * (m * k + k * n), bytes_written=4.0 * m * n)  # fmt: skip


def product_s(m, n, k):
    """Return what a product takes: dispatch + work / rate x (1 + half / size) ... + waiting."""
    shape = (1 + HALF["m"] / m) * (1 + HALF["n"] / n) * (1 + HALF["k"] / k)
    moved = 4.0 * (m * k + k * n + m * n)
    return DISPATCH_S + 2.0 * m * n * k / RATE * shape + EXPOSURE * moved / 1e10


def sizes(count, seed):
    rng = np.random.default_rng(seed)
    return np.exp(rng.uniform(np.log(4), np.log(1000), (count, 3))).round().astype(int).tolist()


def timings(count=200, seed=0, noise=0.0, name="mm"):
    rng = np.random.default_rng(seed + 1)
    return [
        Timing(Graph.of([product(m, n, k, name)]),
               np.array([product_s(m, n, k) * np.exp(rng.normal(0, noise))]))
        for m, n, k in sizes(count, seed)
    ]  # fmt: skip


def errors(fitted, seed=99):
    """Return |predicted / true - 1| of products that were not fitted."""
    graph = Graph.of([product(*one) for one in sizes(100, seed)])
    true = np.array([product_s(*one) for one in sizes(100, seed)])
    return np.abs(times_s(op_costs(graph, fitted.rates), fitted.rates, 1) / true - 1)


def test_known_rates_are_recovered():
    fitted = fit_rates(timings(), MEMORY)
    found = fitted.rates.families["mm", "float32"]
    assert found.rate_per_s == pytest.approx(RATE, rel=0.05)
    assert found.dispatch_s == pytest.approx(DISPATCH_S, rel=0.05)
    assert found.half["k"] == pytest.approx(HALF["k"], rel=0.3)
    assert errors(fitted).max() < 0.03
    assert fitted.timings["mm.float32"] == 200


def test_a_few_disturbed_timings_change_little():
    disturbed = [replace(one, times_s=one.times_s * (8.0 if place % 20 == 0 else 1.0))
                 for place, one in enumerate(timings())]  # fmt: skip
    assert np.median(errors(fit_rates(disturbed, MEMORY))) < 0.05


def test_noise_shows_in_the_spreads():
    calm, noisy = (fit_rates(timings(noise=noise), MEMORY) for noise in (0.01, 0.2))
    name = "family.mm.float32.rate_per_s"
    assert 0 < 3 * calm.spreads[name] < noisy.spreads[name] <= 1


def test_a_kernel_with_few_timings_is_known_by_its_kind_only():
    fitted = fit_rates([*timings(), *timings(ENOUGH - 1, seed=5, name="bmm")], MEMORY)
    assert set(fitted.rates.families) == {("gemm", "float32"), ("mm", "float32")}


def test_a_kernel_timed_at_one_size_only_grows_as_its_kind_does():
    rng = np.random.default_rng(3)
    near = [(64 + place, 64, 64) for place in range(ENOUGH)]
    own = [
        Timing(Graph.of([product(*one, name="addmm")]),
               np.array([2 * product_s(*one) * np.exp(rng.normal(0, 0.1))])) for one in near
    ]  # fmt: skip
    rates = fit_rates([*timings(), *own], MEMORY).rates
    large = Graph.of([product(900, 900, 900, name="addmm")])
    found = times_s(op_costs(large, rates), rates, 1)
    assert found[0] == pytest.approx(2 * product_s(900, 900, 900), rel=0.3)


def test_of_very_many_timings_some_are_drawn_by_the_seed():
    many = timings(MOST + 100, noise=0.1)
    first, again = (fit_rates(many, MEMORY, seed=3).rates.to_table() for _ in range(2))
    assert first == again
    assert first != fit_rates(many, MEMORY, seed=4).rates.to_table()


def test_what_a_short_step_takes_beyond_its_kernels_is_the_frameworks():
    around = {"forward": 2e-6, "backward": 5e-6}
    steps = []
    for counts in ((4, 0), (4, 4), (4, 9), (8, 2)):
        phases = ["forward"] * counts[0] + ["backward"] * counts[1]
        graph = Graph.of([product(32, 32, 32, phase=phase) for phase in phases])
        times = np.full(len(graph), product_s(32, 32, 32))
        whole = times.sum() + sum(around[phase] for phase in phases)
        steps.append(Timing(graph, times, whole_s=float(whole)))
    assert fit_rates(steps, MEMORY).rates.framework_s == pytest.approx(around, rel=0.01)


def test_what_a_team_shares_and_what_its_fork_costs_are_recovered():
    share, fork_s, threads = 0.8, 8e-6, 4
    family = FamilyRate(rate_per_s=RATE, dispatch_s=DISPATCH_S)
    rates = CpuRates(families={("mm", "float32"): family}, levels=MEMORY)
    alone = fit_rates(timings(ENOUGH), MEMORY)
    large = [max(m, 128) for m in range(100, 700, 20)]
    team = [
        Timing(Graph.of([product(m, 128, 128)]), threads=threads, times_s=np.array([
            DISPATCH_S + fork_s + 2.0 * m * 128**2 / RATE * (1 - share + share / threads)]))
        for m in large
    ]  # fmt: skip
    found = fit_team(replace(alone, rates=rates), team, threads).rates
    assert found.fork_s == pytest.approx(fork_s, rel=0.1)
    assert found.families["mm", "float32"].parallel == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1e-6])
def test_a_time_that_makes_no_sense_is_named(wrong):
    bad = Timing(Graph.of([product(4, 4, 4), product(8, 8, 8, name="addmm")]),
                 np.array([1e-6, wrong]))  # fmt: skip
    with pytest.raises(InputError, match=f"'addmm'.*{wrong}"):
        fit_rates([bad], MEMORY)


def test_without_timings_nothing_is_fitted():
    with pytest.raises(InputError, match="got none"):
        fit_rates([], MEMORY)
