"""Levels recovered from timings of rings that were made up."""

import numpy as np
import pytest

from hwmodels.cpu_cost import SOFTNESS, Level
from validation.fit_levels import fit_levels, with_shared
from validation.torch_levels import Reach, footprints

TRUE = (
    Level(name="L1", capacity_bytes=40e3, bandwidth_bytes_per_s=4e11),
    Level(name="L2", capacity_bytes=1.5e6, bandwidth_bytes_per_s=8e10),
    Level(name="L3", capacity_bytes=25e6, bandwidth_bytes_per_s=3e10),
    Level(name="DRAM", capacity_bytes=np.inf, bandwidth_bytes_per_s=1e10),
)
TOLD = {"L1": 48e3, "L2": 2e6, "L3": 200e6}
CALL_S = 1.5e-6


def reaches(levels, noise=0.0, seed=0):
    """Return timings as these levels give them."""
    rng, made = np.random.default_rng(seed), []
    for size in footprints():
        beyond = [1.0, *(1 / (1 + (size / one.capacity_bytes) ** (-1 / SOFTNESS))
                         for one in levels[:-1]), 0.0]  # fmt: skip
        share = -np.diff(beyond)
        nbytes = float(min(2**21, size / 4))
        time = CALL_S + nbytes * sum(
            part / one.bandwidth_bytes_per_s for part, one in zip(share, levels, strict=True)
        )
        made.append(Reach(size, nbytes, time * rng.normal(1.0, noise)))
    return made


def test_known_levels_are_recovered():
    found = fit_levels(reaches(TRUE), TOLD).levels
    assert [one.name for one in found] == ["L1", "L2", "L3", "DRAM"]
    for one, true in zip(found[1:], TRUE[1:], strict=True):
        assert one.bandwidth_bytes_per_s == pytest.approx(true.bandwidth_bytes_per_s, rel=0.1)
    for one, true in zip(found[1:-1], TRUE[1:-1], strict=True):
        assert one.capacity_bytes == pytest.approx(true.capacity_bytes, rel=0.15)


def test_noise_shows_in_the_spreads():
    calm, noisy = (fit_levels(reaches(TRUE, noise), TOLD) for noise in (0.001, 0.1))
    name = "level.3.DRAM.bandwidth_bytes_per_s"
    assert noisy.spreads[name] > 3 * calm.spreads[name]
    assert noisy.levels[-1].bandwidth_bytes_per_s == pytest.approx(1e10, rel=0.2)


def test_a_machine_without_a_third_cache_has_three_levels():
    two = (*TRUE[:2], TRUE[3])
    found = fit_levels(reaches(two), {"L1": 48e3, "L2": 2e6})
    assert [one.name for one in found.levels] == ["L1", "L2", "DRAM"]
    assert found.levels[-1].bandwidth_bytes_per_s == pytest.approx(1e10, rel=0.1)


def test_farther_levels_are_never_faster():
    bandwidths = [one.bandwidth_bytes_per_s
                  for one in fit_levels(reaches(TRUE, 0.2, seed=3), TOLD).levels]  # fmt: skip
    assert bandwidths == sorted(bandwidths, reverse=True)


def team(footprint, bytes_per_s):
    return Reach(footprint, 1e6, 1e6 / bytes_per_s)


def test_a_team_that_draws_less_than_its_members_shares_a_limit():
    levels = with_shared(TRUE, [team(3e8, 1.5e10), team(4e8, 1.6e10)], threads=4)
    assert levels[-1].shared_bytes_per_s == pytest.approx(1.55e10)


def test_a_team_that_draws_all_shares_none():
    levels = with_shared(TRUE, [team(2e8, 1.95e10)], threads=2)
    assert levels[-1].shared_bytes_per_s == np.inf


def test_private_caches_are_never_shared():
    levels = with_shared(TRUE, [team(1e6, 1e9), team(3e8, 1e9)], threads=2)
    assert levels[0] == TRUE[0]
    assert levels[1] == TRUE[1]
    # What the team draws is at least what one thread draws.
    assert levels[-1].shared_bytes_per_s == TRUE[-1].bandwidth_bytes_per_s


def test_levels_that_no_ring_reaches_stay_as_they_are():
    assert with_shared(TRUE, [], threads=2) == TRUE
