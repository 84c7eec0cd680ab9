"""Say how large batches are worth it: the noise scale of gradients, and the critical batch size.

A gradient of B samples is the true one and noise of variance tr(Sigma)/B. While the noise is the
larger part, twice the batch halves the steps; later it only doubles the work. The two are equal at
B = tr(Sigma)/|G|^2, the *simple noise scale* (McCandlish et al., "An Empirical Model of Large-Batch
Training", arXiv:1812.06162, 2018); measured in steps to a target it is the *critical batch size*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.errors import InputError
from simulator.formula import check_whole, numbers
from simulator.ops import FloatArray
from simulator.streams import stream
from simulator.workload import Job, Workload
from workloads.datasets import Dataset

RESAMPLES = 1000
"""Of draws, for the interval."""
LOW, HIGH = 0.05, 0.95
"""The ends of a 90 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseScale:
    """Say how much of a gradient is noise.

    Parameters
    ----------
    samples : the simple noise scale tr(Sigma)/|G|^2: a batch whose noise is as large as the
        gradient; infinite where no gradient is seen
    low, high : 90 % interval of it, by resampling draws
    gradient_squared : |G|^2, of the gradient of all data
    noise : tr(Sigma), of the gradients of single samples
    """

    samples: float
    low: float
    high: float
    gradient_squared: float
    noise: float

    def __str__(self) -> str:
        return (f"noise scale {self.samples:,.3g} samples "
                f"(90 % interval {self.low:,.3g} to {self.high:,.3g})")  # fmt: skip


def gradient_noise_scale(
    model: Workload, data: Dataset, parameters: FloatArray | None = None, *, batches: int = 8,
    draws: int = 64, seed: int = 0,
) -> NoiseScale:  # fmt: skip
    """Estimate the noise scale from gradients of small batches, and of several of them at once.

    With b samples in a small batch and B in a large one, (B |G_B|^2 - b |G_b|^2) / (B - b) is |G|^2
    and (|G_b|^2 - |G_B|^2) / (1/b - 1/B) is tr(Sigma), both without bias (McCandlish et al.,
    appendix A.1); the noise scale is the quotient of their means over draws.

    Parameters
    ----------
    model : the step that trains; its batch is the small one
    data : what is learned from; samples are drawn one by one, with repetition
    parameters : of the model, as `Cosimulation.parameters` has them; None: those it begins with
    batches : small ones in a large one, at least 2
    draws : large ones
    seed : of all draws

    Raises
    ------
    InputError : the model does not train, or does not fit the data or the parameters

    >>> import scalemodel as sm
    >>> model = sm.logistic_regression(batch=4, features=16, classes=4)
    >>> found = gradient_noise_scale(model, sm.blobs())
    >>> found.low < found.samples < found.high
    True
    """
    check_whole("batches", batches, 2)
    check_whole("draws", draws, 1)
    from validation.torch_gradients import drawn_gradients

    found = drawn_gradients(Job.of(model, seed=seed), data, parameters, (draws, batches))
    lone, mean = found.single_squared, found.mean_squared
    small, large = found.batch, found.batch * batches
    gradient = (large * mean - small * lone) / (large - small)
    noise = (lone - mean) / (1 / small - 1 / large)
    picked = stream(seed, 0, "resampled draws").integers(draws, size=(RESAMPLES, draws))
    scales = [_ratio(noise[one].mean(), gradient[one].mean()) for one in picked]
    low, high = np.quantile(scales, [LOW, HIGH], method="nearest")
    return NoiseScale(samples=_ratio(noise.mean(), gradient.mean()), low=float(low),
                      high=float(high), gradient_squared=float(gradient.mean()),
                      noise=float(noise.mean()))  # fmt: skip


def _ratio(noise: float, gradient: float) -> float:
    """Return the noise scale; by chance either estimate may be below 0, which is none."""
    return float(max(noise, 0.0) / gradient) if gradient > 0 else math.inf


# --- from steps to a target ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalBatch:
    """Say what steps to a target cost by batch: steps = least_steps + least_samples / batch.

    Parameters
    ----------
    least_steps : with batches of any size
    least_samples : with the smallest batches
    """

    least_steps: float
    least_samples: float

    @property
    def samples(self) -> float:
        """Return the critical batch size, where steps and samples are twice the least."""
        return self.least_samples / self.least_steps if self.least_steps else math.inf

    def steps(self, batch: float) -> float:
        """Return the steps to the target with batches of so many samples."""
        return self.least_steps + self.least_samples / batch


def fit_critical_batch(batches: Sequence[float], steps: Sequence[float]) -> CriticalBatch:
    """Fit what steps to a target cost by batch, by least squares of relative errors.

    (S / S_min - 1) (E / E_min - 1) = 1, with S steps and E = B S samples (McCandlish et al., eq.
    2.11), is S = S_min + E_min / B: a straight line against 1 / B. Neither may be below 0.

    Parameters
    ----------
    batches : samples of a step, B
    steps : to the target, S

    Raises
    ------
    InputError : fewer than two different batches

    >>> found = fit_critical_batch([10, 100, 1000], [110.0, 20.0, 11.0])
    >>> round(found.samples), round(found.steps(200))
    (100, 15)
    """
    sizes = numbers("batches", batches, above=True)
    needed = numbers("steps", steps, above=True)
    if len(sizes) != len(needed) or len(set(sizes.tolist())) < 2:
        raise InputError("a critical batch size needs steps at two batches or more that differ; "
                         f"got {len(needed)} at {sorted(set(sizes.tolist()))}")  # fmt: skip
    from scipy.optimize import nnls

    rows = np.stack([1 / needed, 1 / (sizes * needed)], axis=1)
    scale = np.abs(rows).max(axis=0)
    (least_steps, least_samples), _ = nnls(rows / scale, np.ones(len(needed)))
    return CriticalBatch(least_steps=float(least_steps / scale[0]),
                         least_samples=float(least_samples / scale[1]))  # fmt: skip
