"""Say where a number comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """Name the origin of a number.

    Parameters
    ----------
    text : document, page or table; for a fitted number the data it was fitted on
    licence : under which the figure was published
    kind : "datasheet", "measured", "calibrated", "estimate" or "user"
    note : what to beware of

    >>> print(Source("a stopwatch", kind="measured"))
    source (measured): a stopwatch
    """

    text: str
    licence: str = ""
    kind: str = "datasheet"
    note: str = ""

    def __str__(self) -> str:
        return f"source ({self.kind}): {self.text}"
