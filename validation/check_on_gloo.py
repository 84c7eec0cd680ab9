"""Judge a plan on real processes: it must do there what it does simulated, to the last number.

Every rank holds buffers with contents that follow from their names and its number. The plan is
co-simulated with them, and run with them between processes; what is left in the buffers, and what
was sent and called, must agree. Computing leaves the numbers alone and takes no time.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simulator.actions import ANY, Action, Rank, Recv, Start
from simulator.check_plan import Verdict, training_step
from simulator.engine.execute import execute
from simulator.errors import DoesNotFitError, InputError, ScalemodelError
from simulator.ideal import ideal_machine
from simulator.ops import IntArray
from simulator.protocols import Machine, Placement, Plan, Program
from simulator.workload import Buffer, Job, Work
from validation.measure_plan import Playing
from validation.ranks import Made, Task, run_ranks
from validation.wall_messages import numbers_in
from validation.wall_record import RankRecord

Numbers: TypeAlias = NDArray[np.float32]
GRADIENT_BYTES = 4.0 * 1021
"""Of each gradient: small, and no multiple of any number of ranks."""
STEPS = 2
TIMEOUT_S = 10.0
"""How long a rank waits for another; on a plan that is fine it waits milliseconds."""
TOLERANCE = 1e-5
"""By which results may differ, relative: means of float32 are rounded in another order."""


def job_to_check() -> Job:
    """Return a small training job of which all sizes are odd."""
    return Job.of(training_step(GRADIENT_BYTES), steps=STEPS, bucket_bytes=GRADIENT_BYTES)


def contents_of(buffer: Buffer, rank: int) -> Numbers:
    """Return what a buffer of a rank holds at the beginning: small whole numbers.

    >>> contents_of(Buffer("grad", 8.0), 0).shape
    (2,)
    """
    random = np.random.default_rng([zlib.crc32(buffer.name.encode()), rank])
    return random.integers(0, 8, numbers_in(buffer)).astype(np.float32)


@dataclass(slots=True)
class NumberValues:
    """Hold the buffers of one co-simulated rank; a compute leaves them as they are."""

    rank: int
    buffers: dict[str, Numbers] = field(default_factory=dict)

    def make(self, buffer: Buffer) -> None:
        """Make a buffer that is new; of a part the whole."""
        buffer = buffer.whole or buffer
        if buffer.name not in self.buffers:
            self.buffers[buffer.name] = contents_of(buffer, self.rank)

    def compute(self, work: Work, reached: Callable[[str], None] | None = None) -> None:
        """Leave the numbers as they are."""

    def read(self, buffer: str) -> Numbers:
        """Return a copy of a buffer."""
        return self.buffers[buffer].copy()

    def write(self, buffer: str, payload: Any) -> None:
        """Replace a buffer, or its beginning."""
        self.buffers[buffer][: len(payload)] = payload

    def reduce(self, payloads: Sequence[Any], op: str) -> Numbers:
        """Return the reduction of payloads."""
        reduced: Numbers = getattr(np, op)(np.stack(payloads), axis=0)
        return reduced


@dataclass(slots=True)
class Watched:
    """Be a plan whose actions are seen before they are carried out.

    Parameters
    ----------
    plan : that is watched
    see : is told the rank and each buffer that one of its actions names

    `from_any` says whether a rank received from any other: then the order is not determined.
    """

    plan: Plan
    see: Callable[[int, Buffer], object]
    from_any: bool = False

    def place(self, machine: Machine) -> Placement:
        """Return where each rank runs."""
        return self.plan.place(machine)

    def copies(self, ranks: int) -> IntArray | None:
        """Return which ranks are alike."""
        return self.plan.copies(ranks)

    def program(self, rank: Rank, job: Job) -> Generator[Action, Any, None]:
        """Yield the actions of one rank."""
        program: Program = self.plan.program(rank, job)
        answer: Any = None
        while True:
            try:
                action = program.send(answer)
            except StopIteration:
                return
            inner = action.action if isinstance(action, Start) else action
            if hasattr(inner, "buffer"):
                self.see(rank.id, inner.buffer)
            self.from_any |= isinstance(inner, Recv) and inner.source == ANY
            answer = yield action


@dataclass(frozen=True, slots=True)
class Left:
    """Hold what one process left: its buffers and what it noted."""

    buffers: Mapping[str, Numbers]
    record: RankRecord


def check_on_gloo(plan: Plan, devices: int, made: Made | None = None) -> Verdict:
    """Return whether a plan does on real processes what it does simulated.

    Parameters
    ----------
    plan : fine on the simulator for so many devices
    devices : how many
    made : how each process makes the plan where it cannot be pickled
    """
    job, machine = job_to_check(), ideal_machine(devices)
    values: dict[int, NumberValues] = {}

    def see(rank: int, buffer: Buffer) -> None:
        values[rank].make(buffer)

    watched = Watched(plan, see)
    try:
        size = plan.place(machine).size
        values.update((rank, NumberValues(rank)) for rank in range(size))
        simulated = execute(job, machine, watched, values=values)
        task = Task(call="validation.torch_check:leave",
                    given=Playing(made or plan, job, [1] * size, None))  # fmt: skip
        answers = run_ranks(task, size, timeout_s=TIMEOUT_S)
    except (DoesNotFitError, InputError) as error:
        return Verdict(devices, "not for so many", str(error))
    except ScalemodelError as error:
        return Verdict(devices, "broken", f"between processes: {error}")
    for totals, left in zip(simulated.ranks, answers.of_ranks, strict=True):
        why = _other_messages(totals.rank, totals.sent_messages, left.record) or (
            "" if watched.from_any else _other_numbers(values[totals.rank], left))  # fmt: skip
        if why:
            return Verdict(devices, "broken", f"between processes {why}")
    return Verdict(devices, "fine")


def _other_messages(rank: int, sent: int, record: RankRecord) -> str:
    if len(record.sent) == sent:
        return ""
    return f"rank {rank} sends {len(record.sent)} messages, simulated {sent}"


def _other_numbers(values: NumberValues, left: Left) -> str:
    for name, wanted in values.buffers.items():
        got = left.buffers.get(name)
        if got is None or not np.allclose(got, wanted, rtol=TOLERANCE):
            return f"rank {values.rank} is left with other contents of '{name}' than simulated"
    return ""
