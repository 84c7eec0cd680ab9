"""Account for energy by component; unknown is None, never 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Energy:
    """Hold joules by component ("idle", "compute", "memory", "network", ...).

    Parameters
    ----------
    components : joules by component; None where the power is unknown
    """

    components: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def total_j(self) -> float | None:
        """Return the sum, joules; None where nothing or not every component is known.

        >>> Energy({"idle": 2.0, "compute": 3.0}).total_j
        5.0
        >>> Energy({"idle": 2.0, "compute": None}).total_j is None
        True
        """
        known = [joules for joules in self.components.values() if joules is not None]
        return sum(known) if known and len(known) == len(self.components) else None

    def times(self, factor: float) -> Energy:
        """Return the energy of so many equal parts."""
        return Energy({n: None if j is None else j * factor for n, j in self.components.items()})

    @classmethod
    def sum(cls, parts: Iterable[Energy]) -> Energy:
        """Return the sum by component; a component unknown in one part is unknown in the sum."""
        total: dict[str, float | None] = {}
        for part in parts:
            for name, joules in part.components.items():
                before = total.get(name, 0.0)
                total[name] = None if joules is None or before is None else before + joules
        return cls(total)


def exact_sum(terms: Iterable[tuple[float, int]]) -> float:
    """Return the sum of so many times each value, rounded once at the end.

    So ten equal parts added one by one and one part taken ten times give the same bits, in any
    order.

    Parameters
    ----------
    terms : (value, how often) pairs

    >>> exact_sum([(0.1, 1)] * 10) == exact_sum([(0.1, 10)]) == 1.0
    True
    """
    terms = list(terms)
    if len(terms) == 1:
        return terms[0][0] * terms[0][1]
    counts: Counter[float] = Counter()
    for value, times in terms:
        counts[value] += times
    if len(counts) == 1:
        [(value, times)] = counts.items()
        return value * times
    return float(sum(Fraction(value) * times for value, times in counts.items()))
