"""Say which messages a collective is made of, step by step.

A *place* is a rank's index in its group. The messages of one step run at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.errors import InputError
from simulator.ops import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Step:
    """Be messages that run at the same time, and so many equal steps one after the other.

    Parameters
    ----------
    src, dst : the place that sends and the one that receives each message (m,)
    nbytes : size of each message (m,), or of all, bytes
    repeat : how many equal steps follow each other
    reduces : whether what is received is added to what is there
    """

    src: IntArray
    dst: IntArray
    nbytes: FloatArray
    repeat: int = 1
    reduces: bool = False

    def __post_init__(self) -> None:
        sizes = np.broadcast_to(np.asarray(self.nbytes, float), np.shape(self.src))
        object.__setattr__(self, "nbytes", sizes)
        if np.shape(self.src) != np.shape(self.dst) or np.ndim(self.src) != 1:
            raise InputError(f"a step needs a source and a destination for each message; got "
                             f"{np.shape(self.src)} and {np.shape(self.dst)}")  # fmt: skip
        if self.repeat < 1 or (sizes < 0).any():
            raise InputError("a step is repeated at least once and its messages have 0 or more "
                             f"bytes; got {self.repeat} times, {sizes.min():g} bytes")  # fmt: skip

    @property
    def total_bytes(self) -> float:
        """Return what all messages of all repetitions carry, bytes."""
        return float(self.nbytes.sum()) * self.repeat

    @property
    def permutes(self) -> bool:
        """Tell whether every place that sends or receives does each exactly once."""
        src = np.sort(self.src)
        return bool((np.diff(src) > 0).all() and np.array_equal(src, np.sort(self.dst)))
