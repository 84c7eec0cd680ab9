"""Say what came out of one simulated run, as the engine saw it."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from simulator.energy import Energy, exact_sum
from simulator.engine.actor import Totals
from simulator.engine.scene import CollectiveTotal
from simulator.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """Hold what came out of one simulated run.

    Parameters
    ----------
    time_s : from the start to the end of the last program and of all it started, seconds
    step_ends_s : when each of the job's steps ended, seconds: as the programs count them; where
        they do not, on the rank that finished last: the times at which what that rank completed
        last recurs; empty where nothing recurs as often as there are steps
    ranks : what each simulated rank did; with folding each stands for `copies` ranks
    size : the number of ranks
    collectives : how many, by kind
    energy : of all devices used and of the network
    timeline : None where none was recorded
    dropped_messages : that came after their receiver had given up
    folding : how many ranks were simulated, and why all where all were
    counts : what the programs counted, by name
    sent_bytes : what all ranks put on the network; None where it does not count that
    """

    time_s: float
    step_ends_s: tuple[float, ...]
    ranks: tuple[Totals, ...]
    size: int
    collectives: Mapping[str, CollectiveTotal]
    energy: Energy
    timeline: Timeline | None
    dropped_messages: int
    folding: str
    counts: Mapping[str, float] = field(default_factory=dict)
    sent_bytes: float | None = None

    def total(self, name: str) -> float:
        """Return the sum over all ranks of one of the numbers of `Totals`, rounded once."""
        return exact_sum((getattr(rank, name), rank.copies) for rank in self.ranks)

    def mean(self, name: str) -> float:
        """Return the mean over all ranks of one of the numbers of `Totals`."""
        return self.total(name) / self.size

    @property
    def simulated(self) -> int:
        """Return the number of ranks that were simulated; the others are equal to these."""
        return len(self.ranks)


def step_time_s(outcome: Outcome, steps: int) -> float:
    """Return the median time between the ends of steps, the first one (warm-up) left out, seconds.

    Where most steps take no time, or do not recur, it is the mean.
    """
    lengths = [b - a for a, b in itertools.pairwise(outcome.step_ends_s)]
    median = statistics.median(lengths) if lengths else 0.0
    return median or outcome.time_s / steps


def step_ends_s(
    ends: Iterable[tuple[object, float]], steps: int, time_s: float
) -> tuple[float, ...]:
    """Return when the steps of a rank ended, seconds; empty where nothing recurs as often.

    Parameters
    ----------
    ends : what the rank completed, and when, in order
    steps : how many there were
    time_s : when all ended, seconds

    >>> step_ends_s([("a", 1.0), ("b", 2.0), ("a", 3.0), ("b", 4.5)], 2, 5.0)
    (2.0, 4.5)
    """
    if steps == 1:
        return (time_s,)
    by_what: dict[object, list[float]] = {}
    for what, end_s in reversed(list(ends)):
        by_what.setdefault(what, []).append(end_s)
    for times in by_what.values():
        each, rest = divmod(len(times), steps)
        if not rest:
            return tuple(reversed(times[::each]))
    return ()
