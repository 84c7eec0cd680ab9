"""The noise scale is that of closed forms, and of the batches that training is quickest with."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from scalemodel import capture
from simulator.errors import InputError
from validation.noise_scale import CriticalBatch, fit_critical_batch, gradient_noise_scale
from workloads.datasets import Dataset, linear_data
from workloads.registry import find_workload

DRAW = np.random.default_rng(0)
POINTS = DRAW.normal([1.0, -2.0, 0.5], [1.0, 0.3, 2.0], size=(300, 3))


class Distance(nn.Module):
    """Be half the squared distance of a point from the samples: the gradient is a difference."""

    def __init__(self):
        super().__init__()
        self.at = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, given):
        return 0.5 * ((self.at - given) ** 2).sum(1).mean()


def distance(batch):
    given = torch.zeros(batch, 3, dtype=torch.float64)
    return capture(Distance(), (given,), training=True, optimizer="sgd")


def cloud():
    return Dataset(name="cloud", inputs=POINTS, labels=np.zeros(300), test_inputs=POINTS[:1],
                   test_labels=np.zeros(1))  # fmt: skip


@pytest.mark.parametrize("at", [(0.0, 0.0, 0.0), (1.0, -1.0, 0.0)])
@pytest.mark.parametrize(("batch", "batches"), [(1, 4), (8, 2), (4, 16)])
def test_on_a_quadratic_it_is_the_variance_of_samples_over_the_squared_distance(at, batch, batches):
    found = gradient_noise_scale(distance(batch), cloud(), np.array(at), batches=batches,
                                 draws=2000 // batches)  # fmt: skip
    gradient = ((np.array(at) - POINTS.mean(0)) ** 2).sum()
    noise = POINTS.var(0).sum()
    assert found.noise == pytest.approx(noise, rel=0.1)
    assert found.gradient_squared == pytest.approx(gradient, rel=0.1, abs=0.1)
    assert found.low < noise / gradient < found.high


def test_of_linear_regression_it_is_that_of_the_samples_own_gradients():
    data = linear_data(samples=400, features=5)
    weights = np.linspace(-0.5, 0.5, 5)

    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = nn.Parameter(torch.zeros(5))

        def forward(self, given):
            return given @ self.weights

    step = capture(Line(), (torch.zeros(4, 5),), training=True, optimizer="sgd",
                   loss=nn.functional.mse_loss, target=torch.zeros(4))  # fmt: skip
    errors = data.inputs @ weights - data.labels
    gradients = 2 * errors[:, None] * data.inputs
    mean = gradients.mean(0)
    wanted = ((gradients - mean) ** 2).sum(1).mean() / (mean**2).sum()
    found = gradient_noise_scale(step, data, weights, draws=400)
    assert found.samples == pytest.approx(wanted, rel=0.1)
    assert found.low < wanted < found.high


def test_it_grows_while_a_model_learns():
    """McCandlish et al., section 4: the gradient shrinks, the noise stays."""
    near, far = (gradient_noise_scale(distance(4), cloud(), np.array(at)).samples
                 for at in ((1.0, -2.0, 0.2), (5.0, 5.0, 5.0)))  # fmt: skip
    assert near > 10 * far


def test_where_no_gradient_is_seen_no_batch_is_too_large():
    found = gradient_noise_scale(distance(2), cloud(), POINTS.mean(0), draws=16)
    assert found.high == math.inf


def test_the_critical_batch_of_exact_steps_is_found():
    made = CriticalBatch(least_steps=40.0, least_samples=6000.0)
    batches = [8, 32, 128, 512]
    found = fit_critical_batch(batches, [made.steps(batch) for batch in batches])
    assert found.samples == pytest.approx(made.samples) == 150.0
    assert found.steps(150) == pytest.approx(2 * 40)


def test_where_steps_fall_as_batches_grow_there_is_no_critical_batch():
    assert fit_critical_batch([1, 2, 4], [400, 200, 100]).samples == math.inf


def test_where_larger_batches_save_no_step_any_batch_is_too_large():
    assert fit_critical_batch([1, 2, 4], [10, 10, 10]).samples == pytest.approx(0, abs=1e-9)


def test_what_has_no_noise_scale_is_said():
    with pytest.raises(InputError, match="does not train"):
        gradient_noise_scale(find_workload("mlp", inputs=5), linear_data(samples=50, features=5))
    with pytest.raises(InputError, match="expected 3 numbers"):
        gradient_noise_scale(distance(2), cloud(), np.zeros(4))
    with pytest.raises(InputError, match="two batches or more"):
        fit_critical_batch([8, 8], [10, 11])
