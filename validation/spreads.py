"""Say how well a least-squares fit knows each of its numbers."""

from __future__ import annotations

import numpy as np

from simulator.ops import FloatArray

LARGEST = 1.0
"""A number that the data tell nothing of has this spread: of a logarithm, a factor of e."""


def spreads(jacobian: FloatArray, residuals: FloatArray, freedom: int) -> FloatArray:
    """Return the standard deviation of each fitted number by the curvature at the optimum (p,).

    The covariance is (J^T J)^-1 times the mean square of the residuals (Seber & Wild, Nonlinear
    Regression, 1989, section 2.1.2); no deviation is larger than `LARGEST`.

    Parameters
    ----------
    jacobian : (n, p) of the residuals at the optimum
    residuals : (n,) at the optimum
    freedom : measured values beyond the fitted numbers; at least 1 is counted

    >>> spreads(np.ones((4, 1)), np.array([0.1, -0.1, 0.1, -0.1]), freedom=3).round(4)
    array([0.0577])
    """
    scale = float(residuals @ residuals) / max(freedom, 1)
    variances = np.diag(np.linalg.pinv(jacobian.T @ jacobian)) * scale
    return np.minimum(np.sqrt(np.maximum(variances, 0.0)), LARGEST)
