"""Be the simplest machine: devices of one speed on a star of equal links.

Plans are checked on it, and its times are closed forms that anyone can verify by hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator.actions import Group
from simulator.energy import Energy, exact_sum
from simulator.errors import UnknownNameError
from simulator.formula import check_whole, numbers
from simulator.ops import FloatArray, Graph
from simulator.protocols import Clock, Machine, Placement, Running
from simulator.workload import Work


@dataclass(frozen=True, slots=True)
class IdealDevice:
    """Compute at one speed per thread; works do not disturb each other.

    Parameters
    ----------
    flops_per_s : speed of one thread, FLOP/s
    max_threads : how many threads a rank may use
    power_w : power while a work runs, W
    idle_w : power at all times, W
    name : to tell devices apart
    """

    flops_per_s: float = 1e9
    max_threads: int = 1
    power_w: float = 0.0
    idle_w: float = 0.0
    name: str = "ideal"

    def __post_init__(self) -> None:
        numbers("flops_per_s", self.flops_per_s, above=True)
        check_whole("max_threads", self.max_threads, 1)
        numbers("power_w", self.power_w)
        numbers("idle_w", self.idle_w)

    @property
    def memory_bytes(self) -> None:
        """Return that memory is no limit."""
        return

    def times_s(self, graph: Graph, threads: int) -> FloatArray:
        """Return the time of each op (n,), seconds: flops over speed."""
        return graph.flops / (self.flops_per_s * threads)

    def open(self, clock: Clock) -> OpenIdealDevice:
        """Return the device in use on a clock."""
        return OpenIdealDevice(self)


class OpenIdealDevice:
    """Be an ideal device in use."""

    __slots__ = ("_busy_s", "_costs", "_device")

    def __init__(self, device: IdealDevice) -> None:
        self._device = device
        self._busy_s = 0.0
        self._costs: dict[tuple[Work, int], tuple[float, Running]] = {}

    def run(self, work: Work, threads: int) -> Running:
        """Begin a work; its ops run one after the other."""
        key = (work, threads)
        cost = self._costs.get(key)
        if cost is None:
            cost = self._costs[key] = self._cost(work, threads)
        self._busy_s += cost[0]
        return cost[1]

    def _cost(self, work: Work, threads: int) -> tuple[float, Running]:
        ends = self._device.times_s(work.graph, threads).cumsum()
        total_s = float(ends[-1]) if len(ends) else 0.0
        return total_s, Running(total_s, {name: float(ends[op]) for name, op in work.marks})

    def energy(self, time_s: float) -> Energy:
        """Return idle power over all the time and power over the busy time."""
        return Energy({
            "idle": self._device.idle_w * time_s, "compute": self._device.power_w * self._busy_s,
        })  # fmt: skip


@dataclass(frozen=True, slots=True)
class AlphaBetaStar:
    """Take latency + size / bandwidth for a message; messages do not disturb each other.

    Collectives take their closed forms: ring all-reduce 2 (p-1) (alpha + n/p/B), all-gather,
    reduce-scatter and pairwise all-to-all half of that, binomial broadcast and reduce
    ceil(lg p) (alpha + n/B), barrier ceil(lg p) alpha (Thakur, Rabenseifner & Gropp, IJHPCA 19(1),
    2005; Patarasuk & Yuan, JPDC 69(2), 2009).

    Parameters
    ----------
    latency_s : alpha, seconds
    bandwidth_bytes_per_s : B of each direction of a link, B/s
    joules_per_byte : energy of moving a byte of a message, J/B
    """

    latency_s: float
    bandwidth_bytes_per_s: float
    joules_per_byte: float = 0.0

    def __post_init__(self) -> None:
        numbers("latency_s", self.latency_s)
        numbers("bandwidth_bytes_per_s", self.bandwidth_bytes_per_s, above=True)
        numbers("joules_per_byte", self.joules_per_byte)

    def collective_s(self, kind: str, nbytes: float, group: Group) -> float:
        """Return the time of a collective, seconds.

        >>> star = AlphaBetaStar(2e-6, 1.25e9)
        >>> round(star.collective_s("all_reduce", 1e9, Group.of(range(64))), 6)
        1.575252
        """
        ranks = group.size
        steps = math.ceil(math.log2(ranks))
        part_s = self.message_s(nbytes / ranks)
        whole_s = self.message_s(nbytes)
        times = {
            "all_reduce": 2 * (ranks - 1) * part_s, "all_gather": (ranks - 1) * part_s,
            "reduce_scatter": (ranks - 1) * part_s, "all_to_all": (ranks - 1) * part_s,
            "broadcast": steps * whole_s, "reduce": steps * whole_s,
            "barrier": steps * self.latency_s,
        }  # fmt: skip
        if kind not in times:
            raise UnknownNameError("collective", kind, times)
        return times[kind]

    def message_s(self, nbytes: float) -> float:
        """Return the time of a message, seconds."""
        return self.latency_s + nbytes / self.bandwidth_bytes_per_s

    def open(self, clock: Clock, placement: Placement) -> OpenStar:
        """Return the network in use on a clock."""
        return OpenStar(self)


class OpenStar:
    """Be an alpha-beta star in use."""

    __slots__ = ("_messages", "_star")

    def __init__(self, star: AlphaBetaStar) -> None:
        self._star = star
        self._messages: dict[float, int] = {}

    def transfer(self, src: int, dst: int, nbytes: float, copies: int) -> float:
        """Begin a message; return the seconds until it is delivered."""
        self._messages[nbytes] = self._messages.get(nbytes, 0) + copies
        return self._star.message_s(nbytes)

    def collective(self, kind: str, nbytes: float, group: Group, copies: int) -> float:
        """Begin a collective; return the seconds until it ends for all."""
        return self._star.collective_s(kind, nbytes, group)

    def energy(self, time_s: float) -> Energy:
        """Return the energy of the messages (collectives are not counted)."""
        moved_bytes = exact_sum(self._messages.items())
        return Energy({"network": moved_bytes * self._star.joules_per_byte})


def ideal_machine(
    devices: int,
    *,
    device: IdealDevice | None = None,
    latency_s: float = 1e-6,
    bandwidth_bytes_per_s: float = 1e9,
) -> Machine:
    """Return so many equal ideal devices on an alpha-beta star.

    >>> len(ideal_machine(4).devices)
    4
    """
    check_whole("devices", devices, 1)
    star = AlphaBetaStar(latency_s, bandwidth_bytes_per_s)
    return Machine("ideal", [device or IdealDevice()] * devices, star if devices > 1 else None)
