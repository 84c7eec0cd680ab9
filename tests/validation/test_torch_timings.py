"""Recipes: which programs are timed, which are kept back, and what is kept of each."""

import itertools

import numpy as np
import pytest

pytest.importorskip("torch")

from validation.torch_timings import (
    NETWORK,
    RESERVED_OF,
    SMALLEST_OF_TEAM,
    Recipe,
    recipes,
    time_recipe,
)


def first(count, **given):
    return list(itertools.islice(recipes(**given), count))


def test_no_two_recipes_are_the_same():
    assert len(set(first(200))) == 200


def test_one_network_in_four_is_reserved_and_nothing_else():
    made = first(400)
    reserved = [one for one in made if one.reserved]
    assert {one.kind for one in reserved} == {NETWORK}
    networks = [one for one in made if one.kind == NETWORK]
    assert len(reserved) == pytest.approx(len(networks) / RESERVED_OF, rel=0.05)


def test_networks_of_every_scale_are_reserved():
    made = [one for one in first(400) if one.kind == NETWORK]
    assert {one.scale for one in made if one.reserved} == {one.scale for one in made}


def test_nothing_of_a_team_is_reserved_and_none_of_it_is_small():
    made = first(50, threads=2)
    assert not any(one.reserved for one in made)
    assert min(one.scale for one in made) >= SMALLEST_OF_TEAM


def test_16_bit_floats_are_timed_in_loose_pieces_only():
    assert {(one.kind, one.dtype) for one in first(20, dtype="bfloat16")} == {
        ("pieces", "bfloat16")
    }


def test_no_recipe_is_larger_than_wanted():
    assert max(one.scale for one in first(100, largest=1.0)) == 1.0


@pytest.mark.parametrize("kind", ["network", "pieces"])
def test_what_is_kept_of_a_timing_gives_the_timing_again(kind):
    found = time_recipe(Recipe(kind, seed=3, scale=0.001))
    assert found is not None
    timed, timing = found
    again = timed.timing()
    assert list(again.graph) == list(timing.graph)
    assert np.array_equal(again.times_s, timing.times_s)
    assert again.whole_s == timing.whole_s
    assert again.whole_s is not None
    assert again.whole_s > 0
    assert again.times_s.shape == (len(again.graph),)
