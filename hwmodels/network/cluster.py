"""Be a network of devices: what carries, and the software that uses it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self, runtime_checkable

import numpy as np

from hwmodels.network.fabric import OpenFabric
from hwmodels.network.flows import Flows
from hwmodels.network.schedules import Step
from hwmodels.network.topology import Topology
from hwmodels.network.traffic import SHARING, Traffic
from simulator.actions import Group
from simulator.energy import Energy
from simulator.errors import InputError, UnknownNameError
from simulator.intervals import widest
from simulator.ops import FloatArray, IntArray
from simulator.protocols import Clock, Footprint, Placement
from simulator.source import Source

BANDWIDTH = "network.bandwidth"
"""The resource of all links."""


class Library(Protocol):
    """Be software that communicates, such as gloo or NCCL."""

    @property
    def name(self) -> str:
        """Return what it is called."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return where its numbers come from."""

    def error_ratio(self, kind: str, topology: Topology) -> tuple[float, float] | None:
        """Return the 5 % and 95 % quantiles of measured over predicted time; None: unknown.

        Parameters
        ----------
        kind : a collective, or "send_recv"
        topology : what connects the devices
        """

    def scaled(self, factor: float) -> Self:
        """Return the software on links that are so many times as fast."""

    def told(self, kind: str, nbytes: float, devices: IntArray, topology: Topology) -> str:
        """Return by which algorithm a collective is done, in words; arguments as below."""

    def message(self, step: Step, topology: Topology) -> Traffic:
        """Return the traffic of a step of one message between devices."""

    def collective(
        self, kind: str, nbytes: float, devices: IntArray, topology: Topology
    ) -> Traffic:
        """Return the traffic of a collective.

        Parameters
        ----------
        kind : one of `simulator.actions.COLLECTIVES`
        nbytes : as of `Rank.collective`
        devices : of the group's ranks, in order; two or more ranks may share one
        topology : what connects them

        Raises
        ------
        InputError : the library has no such collective
        """


@runtime_checkable
class DeviceLibrary(Protocol):
    """Be software whose collectives are kernels of the devices."""

    def footprint(
        self, kind: str, nbytes: float, devices: IntArray, topology: Topology
    ) -> Footprint | None:
        """Return what a collective takes of each device; arguments as of `Library.collective`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cluster:
    """Be a network: a topology and the software that uses it.

    Parameters
    ----------
    topology : devices, links, routes
    library : how collectives are done
    sharing : how flows share a link: "plain" or "rtt" (see `Flows`)
    fold, coalesce : whether to use shortcuts that do not change results (see `Flows`)
    joules_per_byte : of each byte over a link, J/B: one for all links, or one for each (l,); None:
        not known, so that it is left out of the energy
    idle_w : of switches and cards at all times, W; None: not known, likewise
    link_sources : of the topology's numbers
    notes : what the reader of a run must know, such as what is left out
    """

    topology: Topology
    library: Library
    sharing: str = "plain"
    fold: bool = True
    coalesce: bool = True
    joules_per_byte: float | FloatArray | None = None
    idle_w: float | None = None
    link_sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.sharing not in SHARING:
            raise UnknownNameError("sharing rule", self.sharing, SHARING)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return where the numbers of the links and of the software come from."""
        return (*self.link_sources, *self.library.sources)

    @property
    def resources(self) -> tuple[str, ...]:
        """Return what can bind a run."""
        return (BANDWIDTH,)

    def scaled(self, resource: str, factor: float) -> Cluster:
        """Return the network with so many times of a resource.

        Raises
        ------
        UnknownNameError : no such resource
        """
        if resource not in self.resources:
            raise UnknownNameError("resource of a network", resource, self.resources)
        faster = self.topology.bandwidth_bytes_per_s * factor
        topology = replace(self.topology, bandwidth_bytes_per_s=faster)
        return replace(self, topology=topology, library=self.library.scaled(factor))

    def drawn(self, seed: int) -> Cluster:
        """Return the network itself: its numbers have no spreads, only whole calls an error."""
        return self

    def error_ratio(self, kinds: Collection[str]) -> tuple[float, float] | None:
        """Return the quantiles of measured over predicted time of the kind known least well."""
        return widest(self.library.error_ratio(kind, self.topology) for kind in kinds)

    def algorithm(self, kind: str, nbytes: float, devices: Sequence[int]) -> str:
        """Return by what a collective among devices is done, in words."""
        told = self.library.told(kind, nbytes, np.asarray(devices), self.topology)
        return f"{self.library.name}: {told}"

    def collective_s(self, kind: str, nbytes: float, group: Group) -> float:
        """Return the time of a collective that has the network for itself, seconds.

        Ranks are devices of the same number.

        Raises
        ------
        InputError : more ranks than devices, a size below 0, or no such collective
        """
        flows = self._flows()
        flows.begin(self._collective(kind, nbytes, group.ranks))
        return flows.advance_all()

    def open(self, clock: Clock, placement: Placement) -> OpenFabric:
        """Return the network in use on a clock, between the devices of a placement."""
        return OpenFabric(clock, self._flows(), placement.devices, self._message,
                          self._collective, self._footprint, self._energy)  # fmt: skip

    def link_classes(self, devices: IntArray) -> IntArray:
        """Return a number for each copy (copies,), given its devices [role, copy].

        Copies of a single role exchange nothing but collectives of all of them, whose messages
        are all carried. Copies of several roles compete for links among each other, so that none
        stands for others.
        """
        roles, copies = devices.shape
        return np.zeros(copies, np.int64) if roles == 1 else np.arange(copies)

    def _flows(self) -> Flows:
        return Flows(self.topology, sharing=self.sharing, fold=self.fold, coalesce=self.coalesce)

    def _message(self, step: Step) -> Traffic:
        return self.library.message(step, self.topology)

    def _collective(self, kind: str, nbytes: float, devices: Sequence[int]) -> Traffic:
        if not nbytes >= 0:
            raise InputError(f"{kind}: expected 0 or more bytes, got {nbytes}")
        where = np.asarray(devices)
        if where.max() >= self.topology.devices:
            raise InputError(f"{kind}: device {where.max()} of a network of "
                             f"{self.topology.devices} devices")  # fmt: skip
        return self.library.collective(kind, nbytes, where, self.topology)

    def _footprint(self, kind: str, nbytes: float, devices: Sequence[int]) -> Footprint | None:
        if not isinstance(self.library, DeviceLibrary):
            return None
        return self.library.footprint(kind, nbytes, np.asarray(devices), self.topology)

    def _energy(self, time_s: float, flows: Flows) -> Energy:
        per_byte = self.joules_per_byte
        moved_j = None if per_byte is None else float((flows.carried_bytes * per_byte).sum())
        idle_j = None if self.idle_w is None else self.idle_w * time_s
        parts = {"network_idle": idle_j, "network": moved_j}
        return Energy({name: joules for name, joules in parts.items() if joules is not None})
