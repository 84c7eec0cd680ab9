"""Draw random numbers that depend on nothing but what they are for."""

from __future__ import annotations

import zlib

import numpy as np

from simulator.errors import InputError


def stream(seed: int, rank: int, name: str) -> np.random.Generator:
    """Return the random numbers of one rank for one purpose.

    The same three arguments give the same numbers in any process, in any order of asking and
    whatever other ranks there are; different ones give independent numbers (NumPy's SeedSequence).

    Parameters
    ----------
    seed : of the run, 0 or more
    rank : whose numbers, 0 or more
    name : what they are for: "compute noise"

    >>> stream(0, 3, "noise").random() == stream(0, 3, "noise").random()
    True
    >>> stream(0, 3, "noise").random() == stream(0, 4, "noise").random()
    False
    """
    if seed < 0 or rank < 0:
        raise InputError(f"seed and rank must not be negative; got {seed} and {rank}")
    # Not `hash`, which differs from process to process.
    purpose = zlib.crc32(name.encode())
    return np.random.default_rng(np.random.SeedSequence((seed, rank, purpose)))
