"""Say how a graph runs on a team that has the machine for itself, op by op.

An op has two *phases*: overhead (dispatch, fork and join; one thread is busy) and work (the team is
busy). Phase 2 i is the overhead of op i, phase 2 i + 1 its work. A *profile* holds both for all ops
of a graph, as arrays; times are of the graph alone on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from hwmodels.cores import Cores
from hwmodels.cpu_cost import CpuRates, OpCost
from simulator.ops import FloatArray, IntArray


class Used(NamedTuple):
    """Hold what of a device works have used: what its energy depends on.

    Parameters
    ----------
    core_s : summed time of busy cores; of an accelerator, time of kernels on its ordinary units
    matrix_s : time of kernels on the matrix units of an accelerator, seconds
    moved_bytes : to and from memory
    """

    core_s: float = 0.0
    matrix_s: float = 0.0
    moved_bytes: float = 0.0


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
    units : (n, 2) shares of an accelerator's ordinary and of its matrix units that the work keeps
        busy, while in overhead it waits for its host; None: a CPU, whose cores the team keeps busy
    """

    team: IntArray
    overhead_s: FloatArray
    compute_s: FloatArray
    stall_s: FloatArray
    memory_s: FloatArray
    traffic_bytes: FloatArray
    cores: int
    units: FloatArray | None = None

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
    def _units(self) -> FloatArray:
        """Return the cores, and the share of matrix units, that each phase keeps busy (2 n, 2)."""
        units = np.zeros((len(self.ends_s), 2))
        if self.units is None:
            units[:, 0] = np.minimum(self.busy, self.cores)
        else:
            units[1::2] = self.units
        return units

    @cached_property
    def _moved(self) -> FloatArray:
        """Return the bytes to and from memory of each phase (2 n,)."""
        return _phases(np.zeros(len(self.team)), self.traffic_bytes[:, -1])

    @cached_property
    def steps(self) -> tuple[list[float], list[tuple[float, float]], list[float]]:
        """Return end, busy cores and units, and bytes of memory by phase, for quick access."""
        units = [(cores, matrix) for cores, matrix in self._units.tolist()]
        return self.ends_s.tolist(), units, self._moved.tolist()

    @property
    def used_by_op(self) -> FloatArray:
        """Return what each op uses of the device alone (3, n), in the order of `Used`."""
        by_op: FloatArray = self._by_phase[0::2] + self._by_phase[1::2]
        return by_op.T

    def used(self, before_s: float, after_s: float) -> Used:
        """Return what is used of the device between two times of the graph alone."""
        spent = [np.interp((before_s, after_s), self._times, total) for total in self._totals]
        return Used(*(float(after - before) for before, after in spent))

    @cached_property
    def used_in_all(self) -> Used:
        """Return what the whole graph uses of the device."""
        return self.used(0.0, float(self.ends_s[-1]))

    @cached_property
    def _times(self) -> FloatArray:
        """Return when each phase begins, and the last one ends (2 n + 1,), seconds."""
        return np.concatenate(([0.0], self.ends_s))

    @cached_property
    def _totals(self) -> FloatArray:
        """Return what is used of the device until then (3, 2 n + 1), in the order of `Used`."""
        return np.concatenate([np.zeros((1, 3)), self._by_phase.cumsum(axis=0)]).T

    @cached_property
    def _by_phase(self) -> FloatArray:
        """Return what each phase uses of the device (2 n, 3), in the order of `Used`."""
        lengths = _phases(self.overhead_s, self.work_s)[:, None]
        return np.column_stack([self._units * lengths, self._moved])


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


def slower(profile: Profile, factor: float) -> Profile:
    """Return how the same graph runs where all of it takes so many times as long."""
    return replace(
        profile,
        overhead_s=profile.overhead_s * factor,
        compute_s=profile.compute_s * factor,
        stall_s=profile.stall_s * factor,
        memory_s=profile.memory_s * factor,
    )
