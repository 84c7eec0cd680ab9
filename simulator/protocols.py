"""What the engine asks of others: Device, Network, Plan, Values; and the Machine made of them.

Frozen descriptions (`Device`, `Network`) are opened on a clock; only what is open has state.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

import simpy

from simulator.actions import Action, Group, Rank
from simulator.energy import Energy
from simulator.errors import InputError
from simulator.frozen import quick
from simulator.ops import FloatArray, Graph, IntArray
from simulator.source import Source
from simulator.workload import Job, Work

Clock: TypeAlias = simpy.Environment
"""The simulated clock: `now`, `timeout(seconds)`, `event()`."""

Program: TypeAlias = Generator[Action, Any, None]


Delay: TypeAlias = simpy.Event | float
"""When something ends: an event; or the seconds until then, where nothing later can change them
(which costs less)."""


@quick
@dataclass(frozen=True, slots=True)
class Running:
    """Hold when a work in progress ends.

    Parameters
    ----------
    done : when the work ends
    marks : when each mark of the work is reached, counted from its beginning
    """

    done: Delay
    marks: Mapping[str, Delay] = field(default_factory=dict)


class OpenDevice(Protocol):
    """Be a device in use on a clock."""

    def run(self, work: Work, threads: int) -> Running:
        """Begin a work on so many threads."""

    def energy(self, time_s: float) -> Energy:
        """Return what the device has used from 0 to `time_s`, by component."""


@runtime_checkable
class RunsThrough(OpenDevice, Protocol):
    """Be an open device that does works at once where nothing can come beside them."""

    def run_through(self, work: Work, threads: int) -> float:
        """Do a work on so many threads, beside which nothing else will be; return its seconds."""


@runtime_checkable
class Device(Protocol):
    """Describe what computes."""

    @property
    def name(self) -> str:
        """Return the name in the catalog."""

    @property
    def max_threads(self) -> int:
        """Return how many threads a rank may use (1 for an accelerator)."""

    @property
    def memory_bytes(self) -> float | None:
        """Return the memory that a job may fill, bytes; None where unknown."""

    def times_s(self, graph: Graph, threads: int) -> FloatArray:
        """Return the time of each op (n,) when the graph runs alone, seconds."""

    def open(self, clock: Clock) -> OpenDevice:
        """Return the device in use on a clock."""


@runtime_checkable
class Sourced(Protocol):
    """Say where the numbers of a device or network come from, and what if they change.

    What also meets this protocol can be explained.
    """

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return where the numbers come from."""

    @property
    def resources(self) -> tuple[str, ...]:
        """Return what can bind a run: dotted names of fields, such as "memory.bandwidth"."""

    def scaled(self, resource: str, factor: float) -> Self:
        """Return the device or network with so many times of a resource."""

    def drawn(self, seed: int) -> Self:
        """Return the device or network with its calibrated numbers drawn from their spreads.

        Equal seeds draw equal errors for numbers that two of them share.
        """


@runtime_checkable
class Calibrated(Sourced, Protocol):
    """Say how wrong a device's times may be, what they are spent on, and what it draws.

    A device that also meets this protocol has intervals and can be compared.
    """

    def error_ratio(self, graph: Graph) -> tuple[float, float] | None:
        """Return the 5 % and 95 % quantiles of measured over predicted time of runs of a graph.

        It is None where no error is known.
        """

    def power_w(self, threads: int) -> float | None:
        """Return the power drawn while so many threads compute, watts; None where unknown."""

    def breakdown_s(self, graph: Graph, threads: int) -> Mapping[str, FloatArray]:
        """Return what each op's time (n,) is spent on: parts that add up to `times_s`, seconds.

        Parts are named "compute", "memory" and "overhead" (dispatch, fork, barrier).
        """


@runtime_checkable
class Metered(Protocol):
    """Say how wrong a device's power may be: its runs have intervals of energy."""

    @property
    def power_ratio(self) -> tuple[float, float] | None:
        """Return the 5 % and 95 % quantiles of measured over predicted power, if it is known."""


class Fabric(Protocol):
    """Be a network in use on a clock."""

    def transfer(self, src: int, dst: int, nbytes: float, copies: int) -> Delay:
        """Begin a message between devices, in so many equal copies; return when it is delivered."""

    def collective(self, kind: str, nbytes: float, group: Group, copies: int) -> Delay:
        """Begin a collective among ranks, in so many equal copies; return when it ends for all."""

    def energy(self, time_s: float) -> Energy:
        """Return what the network has used from 0 to `time_s`, by component."""


@runtime_checkable
class Counting(Protocol):
    """Say what a network in use has carried."""

    @property
    def sent_bytes(self) -> float:
        """Return what all ranks have put on it, bytes."""


@quick
@dataclass(frozen=True, slots=True)
class Footprint:
    """Be what a collective takes of each device that takes part, while it runs.

    Parameters
    ----------
    units : multiprocessors
    bytes_per_s : that it reads from and writes to the device's memory, B/s
    """

    units: float
    bytes_per_s: float


@runtime_checkable
class UsesDevices(Protocol):
    """Be a fabric whose collectives are done by the devices, beside what these compute."""

    def footprint(self, kind: str, nbytes: float, group: Group) -> Footprint | None:
        """Return what a collective takes of each device; None: nothing."""


@runtime_checkable
class Occupiable(Protocol):
    """Be an open device that computes more slowly while a part of it is taken."""

    def occupy(self, footprint: Footprint) -> Callable[[], None]:
        """Take a part of the device until the returned function is called."""


@runtime_checkable
class Network(Protocol):
    """Describe what connects devices."""

    def collective_s(self, kind: str, nbytes: float, group: Group) -> float:
        """Return the time of a collective that has the network for itself, seconds."""

    def open(self, clock: Clock, placement: Placement) -> Fabric:
        """Return the network in use on a clock, between the devices of a placement."""


@runtime_checkable
class CalibratedNetwork(Sourced, Protocol):
    """Say how wrong a network's times may be, and how it communicates."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what the reader of a run must know, such as what energy leaves out."""

    def error_ratio(self, kinds: Collection[str]) -> tuple[float, float] | None:
        """Return the 5 % and 95 % quantiles of measured over predicted time of communication.

        Parameters
        ----------
        kinds : of collectives, or "send_recv"; None is returned where of one no error is known
        """

    def algorithm(self, kind: str, nbytes: float, devices: Sequence[int]) -> str:
        """Return what a collective among devices is done by, in words ("gloo: ring")."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Be devices and the network between them.

    Parameters
    ----------
    name : in the catalog, or the device's
    devices : equal devices are the same object
    network : None where there is one device
    """

    name: str
    devices: Sequence[Device]
    network: Network | None = None

    def __post_init__(self) -> None:
        if not self.devices:
            raise InputError(f"machine '{self.name}' needs at least one device")


@dataclass(frozen=True, slots=True)
class Placement:
    """Say where each rank runs; several ranks on one device are allowed.

    Parameters
    ----------
    devices : index of the machine's device, for each rank
    threads : how many threads each rank uses on it
    """

    devices: Sequence[int]
    threads: Sequence[int]

    def __post_init__(self) -> None:
        if not len(self.devices) == len(self.threads) >= 1:
            raise InputError(f"a placement needs a device and threads for each rank; got "
                             f"{len(self.devices)} and {len(self.threads)}")  # fmt: skip

    @property
    def size(self) -> int:
        """Return the number of ranks."""
        return len(self.devices)


@runtime_checkable
class Plan(Protocol):
    """Say who does what in which order."""

    def place(self, machine: Machine) -> Placement:
        """Return where each rank runs."""

    def program(self, rank: Rank, job: Job) -> Program:
        """Yield the actions of one rank."""

    def copies(self, ranks: int) -> IntArray | None:
        """Return which ranks are alike, as [role, copy]; None: no two are.

        Messages stay within a copy (a column); the group of a collective lies in one column, or is
        made of whole rows (all copies of some roles).
        """


class Values(Protocol):
    """Hold real tensors by the names of buffers, for co-simulation and measurement."""

    def compute(self, work: Work, reached: Callable[[str], None] | None = None) -> None:
        """Do the work on the tensors; on the wall clock `reached` is told each mark of it."""

    def read(self, buffer: str) -> object:
        """Return a copy of a buffer's contents."""

    def write(self, buffer: str, payload: object) -> None:
        """Replace a buffer's contents."""

    def reduce(self, payloads: Sequence[object], op: str) -> object:
        """Return the reduction of payloads, in their order."""
