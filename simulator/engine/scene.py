"""Hold what the ranks of one job share: the clock, what is open on it, the record."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from simulator.actions import Group
from simulator.energy import exact_sum
from simulator.engine.stage import Stage
from simulator.errors import InputError
from simulator.protocols import Footprint, OpenDevice, UsesDevices, Values
from simulator.timeline import Row
from simulator.workload import Work

Footprints: TypeAlias = Callable[[str, float, Group], Footprint | None]
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
    """Be where a job takes place.

    Parameters
    ----------
    stage : the clock, and the machine that is open on it
    first : how many ranks the jobs before this one have
    record : whether to keep a timeline
    values : tensors by rank, for co-simulation

    `communicators` are where groups meet (see `collectives.Communicators`). `live` counts the
    programs and started works that have not ended; `alone` says that one rank runs and nothing has
    stood in the clock's queue yet, so that time may go forward at once. A rank that does more than
    `most_actions` is taken for one that never ends. `counts` and `step_ends_s` are what programs
    tell, in seconds since `start_s`, when the job began.
    """

    __slots__ = (
        "_collectives", "_stage", "alone", "clock", "communicators", "copies", "counts", "fabric",
        "folded", "footprint", "keeps_ends", "live", "machine", "most_actions", "rows", "start_s",
        "step_ends_s", "values",
    )  # fmt: skip

    def __init__(self, stage: Stage, first: int, record: bool, values: ValuesByRank | None) -> None:
        self._stage = stage
        self.clock, self.machine = stage.clock, stage.machine
        self.fabric = fabric = stage.fabric(first)
        self.footprint: Footprints | None = None
        if fabric is not None and isinstance(fabric, UsesDevices):
            self.footprint = fabric.footprint
        self.rows: list[Row] | None = [] if record else None
        self.values = values
        self.live = self.most_actions = 0
        self.communicators: Any = None
        self.keeps_ends = self.folded = self.alone = False
        self._collectives: Counter[tuple[str, float]] = Counter()
        self.start_s = 0.0
        self.counts: defaultdict[str, float] = defaultdict(float)
        self.step_ends_s: list[float] = []
        self.copies: dict[int, int] = {}

    def device(self, index: int, copies: int) -> OpenDevice:
        """Return the open device of this index, which stands for so many equal ones."""
        self.copies.setdefault(index, copies)
        return self._stage.device(index)

    def run_through(self, index: int) -> Callable[[Work, int], float] | None:
        """Return what does works in one go on the device of this index, if one rank has it."""
        return self._stage.run_through(index)

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
