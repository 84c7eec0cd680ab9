"""Random programs: drawn alike from equal seeds, of the wanted scale, in phases, repeatable."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st

from simulator.ops import PHASES
from validation.torch_insitu import Program, no_phase, recorded_graph
from validation.torch_microbench import (
    BYTES,
    FLOPS,
    HALF_PIECES,
    PIECES,
    Draw,
    draw_program,
)

TINY = 0.002


def draw(seed=0, scale=TINY, dtype=torch.float32):
    return Draw(np.random.default_rng(seed), scale, dtype)


@given(st.integers(0, 2**32 - 1), st.integers(1, 500), st.integers(1, 1000))
def test_sizes_lie_in_their_range_but_for_rounding(seed, low, factor):
    size = draw(seed).size(low, low * factor)
    assert isinstance(size, int)
    assert low / 2**0.5 - 16 <= size <= low * factor * 2**0.5 + 16
    assert size >= 1


@given(st.integers(0, 2**32 - 1))
def test_drawn_sizes_cost_no_more_than_the_scale_where_any_such_were_drawn(seed):
    made = draw(seed, scale=0.1)
    m, n = made.sizes((1, 4096), (1, 4096), cost=lambda m, n: (2.0 * m * n, 8.0 * m * n))
    assert 2.0 * m * n <= 0.1 * FLOPS
    assert 8.0 * m * n <= 0.1 * BYTES


def test_where_all_drawn_sizes_cost_too_much_the_cheapest_is_taken():
    costs = []

    def cost(m):
        costs.append(float(m))
        return 1e30 * m, 0.0

    (size,) = draw().sizes((1, 4096), cost=cost)
    assert size == min(costs)


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.__name__)
def test_every_piece_runs_again_and_again_and_leaves_its_weights_as_they_are(piece):
    for seed in range(3):
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            made = piece(draw(seed))
        weights = [weight.detach().clone() for weight in made.weights]
        phases: list[str] = []
        made.step(phases.append)
        made.step(no_phase)
        assert phases
        assert set(phases) <= set(PHASES)
        assert all(torch.equal(a, b) for a, b in zip(weights, made.weights, strict=True))


@pytest.mark.parametrize("piece", HALF_PIECES, ids=lambda piece: piece.__name__)
def test_pieces_of_16_bit_floats_compute_with_them(piece):
    made = piece(draw(1, dtype=torch.bfloat16))
    dtypes = {op.dtype for op in recorded_graph(Program(made.step, made.weights))}
    assert "bfloat16" in dtypes


def test_equal_arguments_give_equal_programs_and_others_other_ones():
    def ops(seed):
        return list(recorded_graph(draw_program(seed, TINY, pieces=4)))

    assert ops(3) == ops(3) != ops(4)


def test_drawing_leaves_the_random_numbers_of_others_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    draw_program(1, TINY, pieces=2)
    assert torch.rand(1) == expected


def test_a_larger_scale_is_more_work():
    def moved(scale):
        return sum(recorded_graph(draw_program(seed, scale, pieces=6)).bytes_moved.sum()
                   for seed in range(10))  # fmt: skip

    assert 4 * moved(1e-4) < moved(0.1)
