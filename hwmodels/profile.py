"""Say how a graph runs on a team that has the machine for itself, op by op.

An op has two *phases*: overhead (dispatch, fork and join; one thread is busy) and work (the team is
busy). Phase 2 i is the overhead of op i, phase 2 i + 1 its work. A *profile* holds both for all ops
of a graph, as arrays; times are of the graph alone on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwmodels.cores import Cores
from hwmodels.cpu_cost import CpuRates, OpCost
from simulator.ops import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """Hold how each of n ops runs on a team, alone on the machine.

    Parameters
    ----------
    team : (n,) threads of the op's team
    overhead_s : (n,) seconds of one thread before and after the work
    compute_s : (n,) seconds that the team computes
    stall_s : (n,) seconds that it waits for data, beside that
    memory_s : (n,) seconds that what all threads share needs for the data, at the same time
    traffic_bytes : (n, levels) what it moves of each level, the memory last
    cores : of the machine; more threads do not keep more of them busy
    """

    team: IntArray
    overhead_s: FloatArray
    compute_s: FloatArray
    stall_s: FloatArray
    memory_s: FloatArray
    traffic_bytes: FloatArray
    cores: int

    @cached_property
    def work_s(self) -> FloatArray:
        """Return the time of each op's work (n,), seconds."""
        return np.maximum(self.compute_s + self.stall_s, self.memory_s)

    @cached_property
    def times_s(self) -> FloatArray:
        """Return the time of each op (n,), seconds."""
        return self.overhead_s + self.work_s

    @cached_property
    def ends_s(self) -> FloatArray:
        """Return when each phase ends (2 n,), seconds from the graph's start."""
        return np.cumsum(_phases(self.overhead_s, self.work_s))

    @cached_property
    def busy(self) -> IntArray:
        """Return how many threads are busy in each phase (2 n,)."""
        return np.stack([np.ones_like(self.team), self.team], axis=1).ravel()

    @cached_property
    def _cores_s(self) -> FloatArray:
        """Return the busy core-seconds of each phase (2 n,)."""
        used: FloatArray = np.minimum(self.busy, self.cores) * np.diff(self.ends_s, prepend=0.0)
        return used

    @cached_property
    def _moved(self) -> FloatArray:
        """Return the bytes to and from memory of each phase (2 n,)."""
        return _phases(np.zeros(len(self.team)), self.traffic_bytes[:, -1])

    @cached_property
    def steps(self) -> tuple[list[float], list[int], list[float]]:
        """Return end, busy threads and bytes of memory by phase, as lists for quick access."""
        return self.ends_s.tolist(), self.busy.tolist(), self._moved.tolist()

    def core_s(self, before_s: float, after_s: float) -> float:
        """Return the busy core-seconds between two times of the graph alone."""
        return self._between(self._cores_s, before_s, after_s)

    def moved_bytes(self, before_s: float, after_s: float) -> float:
        """Return the bytes to and from memory between two times of the graph alone."""
        return self._between(self._moved, before_s, after_s)

    def _between(self, by_phase: FloatArray, before_s: float, after_s: float) -> float:
        times = np.concatenate(([0.0], self.ends_s))
        total = np.concatenate(([0.0], np.cumsum(by_phase)))
        before, after = np.interp((before_s, after_s), times, total)
        return float(after - before)


def _phases(overhead: FloatArray, work: FloatArray) -> FloatArray:
    return np.stack([overhead, work], axis=1).ravel()


def profile_of(cost: OpCost, rates: CpuRates, cores: Cores, threads: int) -> Profile:
    """Return how ops of this cost run on a team of so many threads.

    An op takes dispatch + fork + max(computing + waiting, moving data), where

    - computing is its arithmetic on one core over the clock, waiting what one core waits for data;
      the share of both that the team shares goes team x speed of the slowest thread as fast;
    - moving data is the sum over cache levels of bytes over what the team draws;
    - the fork costs nothing to a team of one, and more to one on several sockets.

    Parameters
    ----------
    cost : of each op on one thread
    rates : of one thread
    cores : what the threads share
    threads : at most so many in a team
    """
    team = np.minimum(cost.team, threads)
    fork = rates.fork_s + rates.fork_per_thread_s * (team - 2)
    far = np.where(cores.sockets_of(team) > 1, cores.far_fork, 1.0)
    drawn = team_bandwidth(rates, cores, team)
    alone = 1.0 - cost.parallel + cost.parallel / (team * cores.speed(team))
    return Profile(
        team=team,
        overhead_s=cost.dispatch_s + np.where(team > 1, fork * far, 0.0),
        compute_s=cost.compute_s * alone / cores.clock(team),
        stall_s=cost.stall_s * alone,
        memory_s=(cost.traffic_bytes / drawn).sum(axis=1),
        traffic_bytes=cost.traffic_bytes,
        cores=cores.count,
    )


def team_bandwidth(rates: CpuRates, cores: Cores, team: IntArray) -> FloatArray:
    """Return what a team that is alone draws from each level (n, levels), bytes per second.

    Each core draws its own bandwidth (of caches: at its clock), all together no more than the
    sockets they are on have; of memory behind s sockets, (s - 1)/s comes over the links.
    """
    busy, sockets = cores.busy(team)[:, None], cores.sockets_of(team)[:, None]
    one = np.array([level.bandwidth_bytes_per_s for level in rates.levels])
    shared = np.array([level.shared_bytes_per_s for level in rates.levels])
    cached = np.arange(len(one)) < len(one) - 1
    alone = busy * one * np.where(cached, cores.clock(team)[:, None], 1.0)
    drawn: FloatArray = np.minimum(alone, shared * sockets)
    if cores.sockets > 1:
        far = (sockets - 1) / sockets**2
        with np.errstate(divide="ignore"):
            over_links = np.where(cached | (far == 0), np.inf, cores.link_bytes_per_s / far)
        drawn = np.minimum(drawn, over_links)
    return drawn
