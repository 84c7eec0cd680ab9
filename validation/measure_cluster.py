"""Measure collectives between real processes: on this machine, or on a cluster under torchrun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simulator.protocols import Plan
from simulator.units import format_quantity
from validation.cluster_table import Point, Sampling, Timing, points_of, records_of
from validation.measure_plan import communication_job, tried
from validation.ranks import (
    TIMEOUT_S,
    Made,
    Task,
    Tell,
    check_fits_here,
    check_ranks,
    own_cores,
    run_ranks,
    under_torchrun,
)

CALL = "validation.torch_collectives:measure"
BUFFERS = 2
"""How many buffers a rank holds: what it sends, and what comes."""


def measure_collectives(
    kinds: Sequence[str],
    sizes: Sequence[float],
    ranks: int,
    rate_bit_per_s: float | None = None,
    *,
    sampling: Sampling | None = None,
    tell: Tell = lambda _: None,
    timeout_s: float = TIMEOUT_S,
) -> list[dict[str, Any]]:
    """Return how long collectives take between real processes, one record a kind and size.

    Parameters
    ----------
    kinds : of `COLLECTIVES`, or "send_recv": every rank sends to the next one
    sizes : of one rank's buffer, as `Rank.collective` counts it, bytes
    ranks : how many processes
    rate_bit_per_s : of each link and direction, bit/s; None: not limited
    sampling : how often each is measured; None: the usual
    tell : is told of the progress
    timeout_s : how long a rank waits for the others, seconds

    Raises
    ------
    InputError : sizes or ranks that make no sense
    DoesNotFitError : buffers that this machine's memory does not hold
    RankFailedError : a process failed; names the first
    """
    points = points_of(kinds, sizes)
    return measure_points(points, ranks, rate_bit_per_s, sampling=sampling, tell=tell,
                          timeout_s=timeout_s)  # fmt: skip


def measure_points(
    points: Sequence[Point],
    ranks: int,
    rate_bit_per_s: float | None = None,
    *,
    own: tuple[Plan, Made | None] | None = None,
    sampling: Sampling | None = None,
    tell: Tell = lambda _: None,
    timeout_s: float = TIMEOUT_S,
) -> list[dict[str, Any]]:
    """Return one record a point; `own` is the user's plan, and how each process makes it.

    Other arguments and errors as of `measure_collectives`.
    """
    check_ranks(ranks, least=2)
    largest = max(point.nbytes for point in points)
    what = f"a collective of {format_quantity(largest, 'bytes')}"
    check_fits_here(what, BUFFERS * largest, ranks)
    if own is not None:
        tried(communication_job(points[-1].nbytes), own[0], ranks)
    if ranks > own_cores() and not under_torchrun():
        tell(f"{ranks} ranks share {own_cores()} cores: small messages wait for their turn")
    asked = Timing(list(points), sampling or Sampling(),
                   None if own is None else own[1] or own[0])  # fmt: skip
    answers = run_ranks(Task(call=CALL, given=asked), ranks, rate_bit_per_s=rate_bit_per_s,
                        tell=tell, timeout_s=timeout_s)  # fmt: skip
    return records_of(points, answers)
