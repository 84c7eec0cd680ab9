"""Hold what the ranks of one simulated run share: the clock, what is open on it, the record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from simulator.energy import exact_sum
from simulator.engine.clock import EngineClock
from simulator.errors import InputError
from simulator.protocols import Machine, OpenDevice, Placement, Values
from simulator.timeline import Row

ValuesByRank: TypeAlias = Sequence[Values] | Mapping[int, Values]


class UnfoldableError(Exception):
    """Say that a run must simulate every rank after all; never leaves the engine."""


@dataclass(frozen=True, slots=True)
class CollectiveTotal:
    """Count the collectives of one kind.

    Parameters
    ----------
    calls : how many were done; one for a whole group
    nbytes : the sum of their buffers' sizes, one rank's buffer for a whole group, bytes
    """

    calls: int
    nbytes: float


class Scene:
    """Be where a run takes place.

    Parameters
    ----------
    machine : devices and the network between them
    placement : where each rank runs
    record : whether to keep a timeline
    values : tensors by rank, for co-simulation

    `communicators` are where groups meet (see `collectives.Communicators`). `live` counts the
    programs and started works that have not ended; `alone` says that one rank runs and nothing has
    stood in the clock's queue yet, so that time may go forward at once. A rank that does more than
    `most_actions` is taken for one that never ends.
    """

    __slots__ = (
        "_collectives", "alone", "clock", "communicators", "copies", "devices", "fabric", "folded",
        "keeps_ends", "live", "machine", "most_actions", "rows", "values",
    )  # fmt: skip

    def __init__(
        self,
        machine: Machine,
        placement: Placement,
        record: bool,
        values: ValuesByRank | None,
    ) -> None:
        self.clock = EngineClock()
        self.machine = machine
        network = machine.network
        self.fabric = None if network is None else network.open(self.clock, placement)
        self.rows: list[Row] | None = [] if record else None
        self.values = values
        self.live = self.most_actions = 0
        self.communicators: Any = None
        self.keeps_ends = self.folded = self.alone = False
        self._collectives: Counter[tuple[str, float]] = Counter()
        self.devices: dict[int, OpenDevice] = {}
        self.copies: dict[int, int] = {}

    def device(self, index: int, copies: int) -> OpenDevice:
        """Return the open device of this index, which stands for so many equal ones."""
        if index not in self.devices:
            self.devices[index] = self.machine.devices[index].open(self.clock)
            self.copies[index] = copies
        return self.devices[index]

    def no_network(self, what: str) -> InputError:
        """Return the error of communicating between devices that nothing connects."""
        return InputError(f"machine '{self.machine.name}' has no network, but {what} on another "
                          "device")  # fmt: skip

    def count_collective(self, kind: str, nbytes: float, copies: int) -> None:
        """Add a collective, done in so many equal copies, to the totals."""
        self._collectives[kind, nbytes] += copies

    def collectives(self) -> dict[str, CollectiveTotal]:
        """Return the collectives done, by kind."""
        by_kind: dict[str, list[tuple[float, int]]] = {}
        for (kind, nbytes), calls in self._collectives.items():
            by_kind.setdefault(kind, []).append((nbytes, calls))
        return {
            kind: CollectiveTotal(sum(calls for _, calls in sizes), exact_sum(sizes))
            for kind, sizes in sorted(by_kind.items())
        }
