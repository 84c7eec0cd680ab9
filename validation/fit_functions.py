"""Hold functions that several fits share: a loss that forgives, a correlation of what is near."""

from __future__ import annotations

import numpy as np

from simulator.ops import FloatArray


def soft_l1(errors: FloatArray) -> FloatArray:
    """Return errors (any shape) whose squares grow like the errors themselves beyond 1 (soft L1).

    The square of what is returned is 2 (sqrt(1 + e^2) - 1)   (Triggs et al., Bundle Adjustment: A
    Modern Synthesis, 2000).

    >>> soft_l1(np.array([0.1, -10.0])).round(2).tolist()
    [0.1, -4.25]
    """
    soft: FloatArray = np.sign(errors) * np.sqrt(2 * (np.hypot(1.0, errors) - 1))
    return soft


def matern_3_2(distance: FloatArray) -> FloatArray:
    """Return the Matern 3/2 correlation at distances (any shape) in lengths.

    k = (1 + sqrt(3) r) exp(-sqrt(3) r)   (Rasmussen & Williams, Gaussian Processes, 2006,
    equation 4.17).

    >>> matern_3_2(np.array([0.0, 1.0])).round(3)
    array([1.   , 0.483])
    """
    scaled = np.sqrt(3.0) * distance
    correlation: FloatArray = (1.0 + scaled) * np.exp(-scaled)
    return correlation
