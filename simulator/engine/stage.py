"""Open a machine on a clock, for one job or for several beside each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from simulator.actions import Group
from simulator.engine.clock import EngineClock
from simulator.protocols import (
    Delay,
    Fabric,
    Footprint,
    Machine,
    OpenDevice,
    Placement,
    RunsThrough,
    UsesDevices,
)
from simulator.workload import Work


class Stage:
    """Be a machine that is open on a clock.

    Parameters
    ----------
    machine : devices and the network between them
    placements : where each rank of each job runs

    The fabric counts the ranks of all jobs, one job after the other.
    """

    __slots__ = ("_devices", "_fabric", "_ranks", "clock", "machine", "placements")

    def __init__(self, machine: Machine, placements: Sequence[Placement]) -> None:
        self.clock = EngineClock()
        self.machine, self.placements = machine, placements
        network = machine.network
        self._fabric = None if network is None else network.open(self.clock, _joined(placements))
        self._devices: dict[int, OpenDevice] = {}
        self._ranks = Counter(device for one in placements for device in one.devices)

    def device(self, index: int) -> OpenDevice:
        """Return the open device of this index."""
        if index not in self._devices:
            self._devices[index] = self.machine.devices[index].open(self.clock)
        return self._devices[index]

    def run_through(self, index: int) -> Callable[[Work, int], float] | None:
        """Return what does works in one go on the device of this index, if one rank has it."""
        device = self.device(index)
        if self._ranks[index] > 1 or not isinstance(device, RunsThrough):
            return None
        return device.run_through

    def fabric(self, first: int) -> Fabric | None:
        """Return the network as the ranks of a job see it, with so many ranks before them."""
        return (
            self._fabric if self._fabric is None or not first else _Renumbered(self._fabric, first)
        )


def _joined(placements: Sequence[Placement]) -> Placement:
    if len(placements) == 1:
        return placements[0]
    devices = [device for placement in placements for device in placement.devices]
    return Placement(devices, [count for placement in placements for count in placement.threads])


class _Renumbered:
    """Be a network for a job whose rank 0 is another rank there."""

    def __init__(self, fabric: Fabric, first: int) -> None:
        self._fabric, self._first = fabric, first
        self._groups: dict[Group, Group] = {}
        self.transfer, self.energy = fabric.transfer, fabric.energy

    def collective(self, kind: str, nbytes: float, group: Group, copies: int) -> Delay:
        """Begin a collective among ranks of the job."""
        return self._fabric.collective(kind, nbytes, self._there(group), copies)

    def footprint(self, kind: str, nbytes: float, group: Group) -> Footprint | None:
        """Return what a collective among ranks of the job takes of each device."""
        if not isinstance(self._fabric, UsesDevices):
            return None
        return self._fabric.footprint(kind, nbytes, self._there(group))

    def _there(self, group: Group) -> Group:
        there = self._groups.get(group)
        if there is None:
            there = self._groups[group] = _renumbered(group, self._first)
        return there


def _renumbered(group: Group, first: int) -> Group:
    ranks = group.ranks
    if isinstance(ranks, range):
        return Group.of(range(ranks.start + first, ranks.stop + first, ranks.step))
    return Group.of(rank + first for rank in ranks)
