"""Random networks: of every kind, whole steps, repeatable to the last weight."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from simulator.ops import PHASES
from validation.torch_insitu import no_phase, recorded_graph
from validation.torch_microbench import Draw
from validation.torch_networks import NETWORKS, draw_network

TINY = 0.002


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_kind_of_network_does_the_same_step_again_and_again(kind):
    for seed in range(3):
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            program = NETWORKS[kind][0](Draw(np.random.default_rng(seed), TINY))
        weights = [weight.detach().clone() for weight in program.weights]
        phases: list[str] = []
        program.step(phases.append)
        program.step(no_phase)
        # A network that is trained goes through the phases in their order, once each.
        assert phases in (["forward"], ["forward", "backward", "update"])
        assert set(phases) <= set(PHASES)
        assert all(torch.equal(a, b) for a, b in zip(weights, program.weights, strict=True))


def test_networks_are_drawn_as_often_as_said():
    drawn = [draw_network(seed, 1e-4)[0] for seed in range(150)]
    assert set(drawn) == set(NETWORKS)
    assert sum(share for _, share in NETWORKS.values()) == pytest.approx(1)
    for kind, (_, share) in NETWORKS.items():
        # Five standard deviations of a binomial.
        assert abs(drawn.count(kind) / 150 - share) < 5 * (share * (1 - share) / 150) ** 0.5


def test_equal_seeds_give_equal_networks():
    (kind, one), (same, other) = (draw_network(5, TINY) for _ in range(2))
    assert kind == same
    assert list(recorded_graph(one)) == list(recorded_graph(other))
    assert all(torch.equal(a, b) for a, b in zip(one.weights, other.weights, strict=True))


def test_what_is_drawn_is_trained_and_is_inferred():
    steps = {frozenset(op.phase for op in recorded_graph(draw_network(seed, TINY)[1]))
             for seed in range(12)}  # fmt: skip
    assert frozenset(["forward"]) in steps
    assert any("backward" in phases for phases in steps)
