"""Judge a collective of the user's own by the numbers that it leaves: its name is a promise.

A function whose name ends with that of a collective, such as `ring_all_reduce`, must leave in the
buffer what that collective leaves. Both are co-simulated on the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.actions import COLLECTIVES, Action, Rank
from simulator.check_plan import Verdict
from simulator.engine.cosimulation import part
from simulator.engine.execute import execute
from simulator.errors import ScalemodelError
from simulator.ideal import ideal_machine
from simulator.ops import IntArray
from simulator.protocols import Machine, Placement, Plan
from simulator.workload import Buffer, Job
from validation.check_on_gloo import TOLERANCE, Numbers, NumberValues, Watched
from validation.measure_plan import communication_job

BYTES = 4.0 * 1021
"""Of the buffer: no multiple of any number of ranks."""


def promised(name: str) -> str | None:
    """Return the collective with whose name a name ends, None where it does with none.

    >>> promised("ring_all_reduce"), promised("reduce"), promised("ring")
    ('all_reduce', 'reduce', None)
    """
    return max((kind for kind in COLLECTIVES if name.endswith(kind)), key=len, default=None)


@dataclass(frozen=True, slots=True)
class Built:
    """Be the plan of a collective that is built in."""

    kind: str

    def place(self, machine: Machine) -> Placement:
        """Return one rank on each device."""
        return Placement(range(len(machine.devices)), [1] * len(machine.devices))

    def program(self, rank: Rank, job: Job) -> Generator[Action, Any, None]:
        """Call it once."""
        yield rank.collective(self.kind, job.grad)

    def copies(self, ranks: int) -> IntArray | None:
        """Return None: all ranks hold numbers."""
        return None


def check_collective(plan: Plan, kind: str, devices: int) -> Verdict:
    """Return whether a plan leaves in the gradient's buffer what a collective leaves there.

    Parameters
    ----------
    plan : one rank on each device
    kind : one of `COLLECTIVES`
    devices : how many

    >>> check_collective(Built("all_gather"), "all_gather", 3).verdict
    'fine'
    """
    try:
        found, wanted = (_left_by(one, devices) for one in (plan, Built(kind)))
    except (ScalemodelError, ValueError) as error:
        return Verdict(devices, "broken", f"on numbers: {error}")
    for rank, (got, right) in enumerate(zip(found, wanted, strict=True)):
        counts = _WHAT_COUNTS.get(kind, _whole)(rank, devices)
        if not np.allclose(got[counts], right[counts], rtol=TOLERANCE):
            return Verdict(devices, "broken", f"rank {rank} is left with other numbers than "
                           f"{kind} leaves")  # fmt: skip
    return Verdict(devices, "fine")


def _left_by(plan: Plan, devices: int) -> list[Numbers]:
    """Return what a plan leaves in the gradient's buffer of each rank."""
    job = communication_job(BYTES)
    values = {rank: NumberValues(rank) for rank in range(devices)}

    def see(rank: int, buffer: Buffer) -> None:
        values[rank].make(buffer)

    for rank in values:
        see(rank, job.grad)
    execute(job, ideal_machine(devices), Watched(plan, see), values=values)
    return [values[rank].buffers["grad"] for rank in range(devices)]


def _whole(rank: int, ranks: int) -> slice:
    return slice(None)


def _own_part(rank: int, ranks: int) -> slice:
    return part(int(BYTES) // 4, rank, ranks)


def _at_root(rank: int, ranks: int) -> slice:
    return slice(None) if rank == 0 else slice(0)


_WHAT_COUNTS: dict[str, Callable[[int, int], slice]] = {
    "reduce_scatter": _own_part,
    "reduce": _at_root,
    "barrier": lambda rank, ranks: slice(0),
}
"""Which numbers of a rank a collective is about; of others all."""
