"""Say what a team of threads gets from a machine of several cores.

Threads take cores in order: those of the first socket, then of the next, and only then second
hardware threads of busy cores. A team's *speed* is that of its slowest thread, for its work is
dealt evenly. Clock falls as more cores are busy; caches and memory have a bandwidth that all cores
share; two sockets have twice of it, but what lies in the other socket comes over the link.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwmodels.spec import Spec
from simulator.errors import InputError
from simulator.ops import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Hold what the cores of a machine share and how they slow each other down.

    Parameters
    ----------
    per_socket, sockets, threads_per_core : how many there are
    all_core_clock : clock while all cores of a socket are busy, over that of one busy core
    sibling_work : what a second hardware thread adds to a core's speed, in cores
    link_bytes_per_s : between two sockets, one direction; inf where unknown
    far_fork : time to start and join a team on several sockets, over that on one
    """

    per_socket: int
    sockets: int = 1
    threads_per_core: int = 1
    all_core_clock: float = 1.0
    sibling_work: float = 0.0
    link_bytes_per_s: float = np.inf
    far_fork: float = 1.0

    @property
    def count(self) -> int:
        """Return the number of cores."""
        return self.per_socket * self.sockets

    @property
    def max_threads(self) -> int:
        """Return the number of hardware threads."""
        return self.count * self.threads_per_core

    def check(self, threads: int, name: str) -> int:
        """Return the number of threads if it is from 1 to `max_threads`.

        Raises
        ------
        InputError : it is not
        """
        if not 1 <= threads <= self.max_threads or threads != int(threads):
            raise InputError(f"threads on '{name}': expected a whole number from 1 to "
                             f"{self.max_threads}, got {threads}")  # fmt: skip
        return int(threads)

    def busy(self, team: IntArray) -> IntArray:
        """Return how many cores a team has."""
        return np.minimum(team, self.count)

    def sockets_of(self, team: IntArray) -> IntArray:
        """Return on how many sockets a team lies."""
        return -(-self.busy(team) // self.per_socket)

    def clock(self, team: IntArray) -> FloatArray:
        """Return the clock of a team's cores, over that of one busy core.

        It falls evenly from one busy core of the socket to all of them.
        """
        first = np.minimum(team, self.per_socket)
        share = (first - 1) / max(self.per_socket - 1, 1)
        return 1 - (1 - self.all_core_clock) * share

    def speed(self, team: IntArray) -> FloatArray:
        """Return the speed of a team's slowest thread, over that of a core at the same clock."""
        with_sibling = (1 + self.sibling_work * (self.threads_per_core - 1)) / self.threads_per_core
        return np.where(team > self.count, with_sibling, 1.0)


def cores_of(spec: Spec) -> Cores:
    """Return the cores of a CPU.

    >>> from hwmodels.devices import find_spec
    >>> cores_of(find_spec("amd-epyc-7742")).max_threads
    128
    """
    boost = spec.known("clock.boost_hz")
    return Cores(
        per_socket=int(spec.known("cores")),
        sockets=int(spec.number("sockets") or 1),
        threads_per_core=int(spec.known("threads_per_core")),
        all_core_clock=(spec.number("clock.all_core_hz") or boost) / boost,
        sibling_work=spec.number("model.sibling_work") or 0.0,
        link_bytes_per_s=spec.number("memory.link_bandwidth_bytes_per_s") or np.inf,
        far_fork=spec.number("model.far_fork") or 1.0,
    )
