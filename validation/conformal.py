"""Make intervals that cover as often as they say, from the errors on cases nobody fitted.

The *ratio* of a case is measured over predicted. Split conformal prediction (Vovk, Gammerman &
Shafer, Algorithmic Learning in a Random World, 2005): if the ratios of old and new cases are
exchangeable, the quantiles of n old ratios, taken at the ranks of n + 1, cover a new one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from simulator.errors import InputError
from simulator.ops import FloatArray

Item = TypeVar("Item")
Model = TypeVar("Model")


def ratio_interval(ratios: ArrayLike, coverage: float = 0.9) -> tuple[float, float]:
    """Return the lowest and highest ratio of measured over predicted to expect.

    Parameters
    ----------
    ratios : measured over predicted of n cases that were not fitted, (n,), positive
    coverage : share of new cases that the interval shall hold, in (0, 1)

    With too few cases for the ranks (n < 2 / (1 - coverage) - 1) the extremes are widened by the
    spread of what is there, as no rank can promise the coverage.

    >>> low, high = ratio_interval(np.linspace(0.8, 1.25, 199))
    >>> round(low, 3), round(high, 3)
    (0.82, 1.23)
    """
    logs = np.sort(np.log(_positive(ratios)))
    if not 0 < coverage < 1:
        raise InputError(f"coverage must lie between 0 and 1; got {coverage}")
    tail = (1 - coverage) / 2
    low_rank = math.floor(tail * (len(logs) + 1) + 1e-9)
    if low_rank >= 1:
        return float(np.exp(logs[low_rank - 1])), float(np.exp(logs[-low_rank]))
    reach = (0.5 / tail) / (len(logs) + 1)
    margin = (logs[-1] - logs[0]) / 2 * min(reach, 1.0)
    return float(np.exp(logs[0] - margin)), float(np.exp(logs[-1] + margin))


def group_factor(ratios: ArrayLike, groups: Sequence[Hashable], coverage: float = 0.9) -> float:
    """Return the factor f such that measured values lie from predicted / f to predicted x f.

    It holds for cases of a *new group*: each old group counts the same, however many cases it has,
    and the new one counts as one more whose ratios may be anything (pooled distributions of groups,
    after Dunn, Wasserman & Ramdas, Distribution-Free Prediction Sets for Two-Layer Hierarchical
    Data, JASA 2023). With too few groups (n < coverage / (1 - coverage)) it is the largest ratio.

    Parameters
    ----------
    ratios : measured over predicted of n cases whose whole groups were not fitted, (n,), positive
    groups : the group of each case
    coverage : share of cases of new groups that shall lie inside, in (0, 1)

    >>> ratios = np.exp(np.linspace(-0.5, 0.5, 99))
    >>> round(group_factor(ratios, range(99)), 3)
    1.583
    """
    if not 0 < coverage < 1:
        raise InputError(f"coverage must lie between 0 and 1; got {coverage}")
    sizes = np.abs(np.log(_positive(ratios)))
    counts = Counter(groups)
    weights = np.array([1 / (counts[group] * (len(counts) + 1)) for group in groups])
    order = np.argsort(sizes)
    rank = int(np.searchsorted(np.cumsum(weights[order]), coverage - 1e-9))
    return float(np.exp(sizes[order[min(rank, len(order) - 1)]]))


def _positive(ratios: ArrayLike) -> FloatArray:
    values = np.asarray(ratios, float).ravel()
    if len(values) < 2 or not (np.isfinite(values) & (values > 0)).all():
        raise InputError(f"an interval needs at least 2 finite, positive ratios; got {values}")
    return values


def cross_ratios(
    items: Sequence[Item],
    groups: Sequence[Hashable],
    fit: Callable[[Sequence[Item]], Model],
    ratio: Callable[[Item, Model], float],
) -> FloatArray:
    """Return each item's ratio under the model fitted without its group (n,).

    Costs one fit a group.

    Parameters
    ----------
    items : what is fitted and predicted
    groups : the group of each item; a whole group is left out at a time
    fit : from items to a model
    ratio : measured over predicted of an item under a model
    """
    ratios = np.empty(len(items))
    for group in dict.fromkeys(groups):
        inside = [i for i, g in enumerate(groups) if g == group]
        rest = [item for item, g in zip(items, groups, strict=True) if g != group]
        model = fit(rest)
        ratios[inside] = [ratio(items[i], model) for i in inside]
    return ratios
