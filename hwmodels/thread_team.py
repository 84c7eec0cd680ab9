"""Say how long a program takes on a team of threads pinned to chosen cores.

A *CPU list* names hardware threads as `taskset` does: "0-3,16-19". A *layout* says on which core
and socket each lies; a *team* is what such a list amounts to. The program is Amdahl's: a serial
part, a parallel part, and barriers whose time grows with the team.

T = W (s + (1 - s)/E) + B (N^g - 1) K

- E, effective cores: cores + sibling_work x siblings, which are second threads of busy cores.
- N, threads in the barrier: cores + sibling_weight x siblings.
- K, distance: socket_factor once for each doubling of sockets, and cache_factor where the team
  lies in several last-level caches of a socket.

Numbers of a team and of a program may be arrays: of many teams, or of many programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np

from simulator.errors import InputError
from simulator.formula import Numbers, Result, numbers, plain
from simulator.ops import FloatArray

Amount: TypeAlias = float | FloatArray

_SPAN = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*(?::\s*(\d+)\s*)?)?")
_MOST_THREADS = 65_536


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Return the hardware threads of a CPU list in the order given.

    Parameters
    ----------
    text : numbers, ranges and ranges by steps, as `taskset --cpu-list` takes them

    Raises
    ------
    InputError : not such a list, an empty or backward range, or a thread named twice

    >>> parse_cpu_list("0-3,16-20:2")
    (0, 1, 2, 3, 16, 18, 20)
    """
    found: list[int] = []
    for part in text.split(","):
        found += _span(part, text)
    if len(set(found)) < len(found):
        raise InputError(f"CPU list '{text}': names a hardware thread twice")
    return tuple(found)


def _span(part: str, text: str) -> range:
    match = _SPAN.fullmatch(part)
    if match is None:
        raise InputError(f"CPU list '{text}': expected numbers and ranges such as 0-3,16-19")
    first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
    if not (first <= last < _MOST_THREADS and step):
        raise InputError(f"CPU list '{text}': '{part}' is no range of hardware threads")
    return range(first, last + 1, step)


def format_cpu_list(threads: Iterable[int]) -> str:
    """Return the shortest CPU list of numbers and ranges that names these hardware threads.

    >>> format_cpu_list(parse_cpu_list("16, 0, 1, 2-3"))
    '0-3,16'
    """
    spans: list[list[int]] = []
    for thread in sorted(threads):
        if spans and thread == spans[-1][-1] + 1:
            spans[-1][1:] = [thread]
        else:
            spans.append([thread])
    return ",".join("-".join(map(str, span)) for span in spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Count what a team of threads has.

    Parameters
    ----------
    cores : cores with at least one of its threads
    siblings : cores with a second one
    sockets : sockets that it lies on
    split : whether it lies in several last-level caches of one socket
    """

    cores: Amount
    siblings: Amount = 0
    sockets: Amount = 1
    split: Amount = False

    @property
    def threads(self) -> Amount:
        """Return the number of hardware threads."""
        return self.cores + self.siblings


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Say where the hardware threads of a machine lie.

    They are numbered as Linux does on x86: first one thread of each core, socket by socket, then
    the second threads in the same order.

    Parameters
    ----------
    sockets : number of sockets
    cores_per_socket : cores of a socket
    threads_per_core : 1, or 2 with simultaneous multithreading
    cores_per_cache : cores that share a last-level cache; 0: all of a socket
    """

    sockets: int
    cores_per_socket: int
    threads_per_core: int = 1
    cores_per_cache: int = 0

    def __post_init__(self) -> None:
        for name in ("sockets", "cores_per_socket", "threads_per_core"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.cores_per_cache < 0:
            raise InputError(f"cores_per_cache: expected 0 or more, got {self.cores_per_cache}")

    @property
    def cores(self) -> int:
        """Return the number of cores."""
        return self.sockets * self.cores_per_socket

    @property
    def threads(self) -> int:
        """Return the number of hardware threads."""
        return self.cores * self.threads_per_core

    def team(self, cpu_list: str) -> Team:
        """Return the team that a CPU list names.

        Raises
        ------
        InputError : not a CPU list, or a hardware thread that the machine does not have

        >>> Layout(sockets=1, cores_per_socket=16, threads_per_core=2).team("0-3,16-19")
        Team(cores=4, siblings=4, sockets=1, split=False)
        >>> Layout(sockets=2, cores_per_socket=16, threads_per_core=2).team("0-3,16-19")
        Team(cores=8, siblings=0, sockets=2, split=False)
        """
        threads = parse_cpu_list(cpu_list)
        if max(threads) >= self.threads:
            raise InputError(
                f"CPU list '{cpu_list}': the machine has hardware threads 0 to {self.threads - 1}"
            )
        cores = {thread % self.cores for thread in threads}
        sockets = {core // self.cores_per_socket for core in cores}
        caches = {core // (self.cores_per_cache or self.cores_per_socket) for core in cores}
        return Team(
            cores=len(cores),
            siblings=len(threads) - len(cores),
            sockets=len(sockets),
            split=len(caches) > len(sockets),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Threading:
    """Say what more threads do to a program on a machine.

    Parameters
    ----------
    sibling_work : what the second thread of a core adds to its work, in cores
    sibling_weight : threads that it counts as in a barrier
    barrier_exponent : power of the number of threads that a barrier takes
    socket_factor : how much dearer barriers are with each doubling of sockets
    cache_factor : how much dearer they are across last-level caches of a socket
    """

    sibling_work: Amount = 0.0
    sibling_weight: Amount = 1.0
    barrier_exponent: Amount = 1.0
    socket_factor: Amount = 1.0
    cache_factor: Amount = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            numbers(field.name, getattr(self, field.name), above=field.name != "sibling_work")

    def effective_cores(self, team: Team) -> Amount:
        """Return how many cores' worth of parallel work a team does.

        >>> Threading(sibling_work=0.25).effective_cores(Team(cores=8, siblings=8))
        10.0
        """
        return team.cores + self.sibling_work * team.siblings

    def barrier_growth(self, team: Team) -> Result:
        """Return the time of barriers over that of the smallest step; 0 for one thread.

        >>> Threading(socket_factor=2.0).barrier_growth(Team(cores=8, sockets=2))
        14.0
        """
        threads = team.cores + self.sibling_weight * team.siblings
        far = self.socket_factor ** np.log2(team.sockets) * self.cache_factor**team.split
        return plain((threads**self.barrier_exponent - 1) * far)

    def time_s(
        self, team: Team, work_s: Numbers, serial_share: Numbers, barrier_s: Numbers
    ) -> Result:
        """Return the time of a program on a team, seconds.

        Parameters
        ----------
        team : its threads
        work_s : time W on one core, seconds
        serial_share : share s of it that stays serial, from 0 to 1
        barrier_s : time B of all barriers per unit of their growth, seconds

        >>> Threading().time_s(Team(cores=4), 8.0, 0.5, 0.25)
        5.75
        """
        work, barriers = numbers("work_s", work_s), numbers("barrier_s", barrier_s)
        serial = numbers("serial_share", serial_share, 0, 1)
        parallel = (1 - serial) / self.effective_cores(team)
        return plain(work * (serial + parallel) + barriers * self.barrier_growth(team))
