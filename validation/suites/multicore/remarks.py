"""Say in words how far the figures may be trusted: what was tried, what was chosen after what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Groups = Mapping[str, Mapping[str, Any]]

HISTORY = (
    "The split was changed after a result had been seen. The first rule (hash of the curve's name, "
    "a fifth of all curves) gave medians and MAPE of 6.0/9.1 % on one socket and 7.8/39.4 % with "
    "SMT or more sockets, one CatBoost case being 436 % off; the packaged rule takes a fifth of "
    "each tool's curves.",
    "The form of the model, the spreads of its priors and the weights of points were chosen by "
    "ten-fold cross-validation over all curves, those now held out among them; later "
    "simplifications by leaving out one curve at a time of the others. The rule of the interval "
    "was chosen on 20 further splits, none of them shown here.",
)


def remarks(tables: Mapping[str, Any]) -> list[str]:
    """Return sentences on the trials that a calibration holds, and on its history.

    Parameters
    ----------
    tables : with `left_out`, `other_splits` and `plain_split`, each by kind of team
    """
    return [
        f"Median error / MAPE where one curve at a time is left out: "
        f"{_errors(tables['left_out']['curve'])}; where all curves of one device are: "
        f"{_errors(tables['left_out']['device'])}.",
        f"The first rule of the split, under the present model: {_errors(tables['plain_split'])}.",
        f"{_other_splits(tables['other_splits'])}.",
        *HISTORY,
    ]


def _errors(groups: Groups) -> str:
    return ", ".join(
        f"{figures['median_ape_pct']:.1f}/{figures['mape_pct']:.1f} % {name}"
        for name, figures in groups.items()
    )


def _other_splits(groups: Groups) -> str:
    errors = "; ".join(
        f"median {_range(figures['median_ape_pct'])} %, MAPE {_range(figures['mape_pct'])} %, "
        f"coverage {_coverage(figures):.0f} % ({_range(figures['coverage_90_pct'])}) {name}"
        for name, figures in groups.items()
    )
    count = len(next(iter(groups.values()))["n"])
    return (
        f"On {count} other splits (curves dealt to five parts of every tool, twice, each part held "
        f"out in turn): {errors}"
    )


def _coverage(figures: Mapping[str, Sequence[float]]) -> float:
    """Return the share of all cases of all splits that lay inside, in percent."""
    inside = zip(figures["n"], figures["coverage_90_pct"], strict=True)
    return sum(n * share for n, share in inside) / sum(figures["n"])


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.1f} to {max(values):.1f}"
