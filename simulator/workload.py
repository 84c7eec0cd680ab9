"""Say what is to be done: a workload, and the job of doing it for some steps.

A *workload* is a graph of one step with the sizes of what it keeps. A *job* names the pieces of a
step (`Work`) and of memory (`Buffer`) that a plan's program puts in order.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulator.errors import InputError, UnknownNameError
from simulator.formula import check_whole
from simulator.ops import FROM_HOST, Graph, Op

BUCKET_BYTES = 25 * 2**20
"""Gradient bucket size: the default `bucket_cap_mb` of torch's DistributedDataParallel."""
SEND_RECV = "send_recv"
"""What messages between two ranks are called among kinds of communication."""
MOST_STEPS = 1_000_000
"""More would take minutes and say the same."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """Name a piece of a rank's memory that is communicated or protected.

    Parameters
    ----------
    name : unique within a job
    nbytes : size, bytes
    whole, place : of a part: of which buffer, and which of how many nearly equal parts it is
    """

    name: str
    nbytes: float
    whole: Buffer | None = field(default=None, repr=False)
    place: tuple[int, int] = field(default=(0, 1), repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InputError(f"buffer: name must be a text; got {self.name!r}")
        size: Any = self.nbytes
        is_number = isinstance(size, (int, float, np.number)) and not isinstance(size, bool)
        if not is_number or not 0 <= size < np.inf:
            raise InputError(f"buffer '{self.name}': nbytes must be finite and not negative; "
                             f"got {size!r}")  # fmt: skip

    def part(self, index: int, parts: int) -> Buffer:
        """Return one of so many nearly equal parts of this buffer.

        For errors and races a part is a buffer of its own; its contents are those of the whole.

        Raises
        ------
        InputError : there is no such part, or this is a part itself

        >>> Buffer("grad", 8.0).part(1, 4).name
        'grad[1/4]'
        """
        check_whole("parts", parts, 1)
        if self.whole is not None or not 0 <= index < parts:
            raise InputError(f"buffer '{self.name}' has no part {index} of {parts}")
        return Buffer(f"{self.name}[{index}/{parts}]", self.nbytes / parts, self, (index, parts))


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Name a piece of computing.

    Parameters
    ----------
    name : what it is, for timelines
    graph : its ops
    marks : (name, op index) pairs: the mark is reached when that op has ended
    reads, writes : names of the buffers it uses; a buffer with the name of a mark is in use only
        until that mark
    given : what its name does not say to those who do it on real tensors
    """

    name: str
    graph: Graph
    marks: tuple[tuple[str, int], ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    given: object = None


@dataclass(frozen=True, slots=True)
class Gradient:
    """Say how large one parameter's gradient is and when it is ready.

    Parameters
    ----------
    name : of the parameter
    nbytes : size, bytes
    op : index in the workload's graph of the op that makes it ready
    """

    name: str
    nbytes: float
    op: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """Say what is communicated by a workload that computes nothing.

    Parameters
    ----------
    kind : a collective, or "send_recv": each rank sends to the next and receives from the one
        before
    nbytes : of one rank's buffer, counted as `Rank.collective` does, bytes
    count : how often a step does it
    """

    kind: str
    nbytes: float
    count: int = 1

    def bus_factor(self, ranks: int) -> float:
        """Return bytes over the busiest link over `nbytes`, as NCCL's tests count the bandwidth.

        >>> Pattern("all_reduce", 1e9).bus_factor(8)
        1.75
        """
        others = (ranks - 1) / ranks
        exchanged = ("all_gather", "reduce_scatter", "all_to_all")
        return {"all_reduce": 2 * others, **dict.fromkeys(exchanged, others)}.get(self.kind, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Workload:
    """Describe one step of a workload, torch-free.

    Parameters
    ----------
    name : "resnet50"
    parameters : what it was built with, e.g. {"batch": 32, "training": True}
    graph : the ops of one step
    samples : samples per step on one rank
    weight_count : number of trained numbers
    weight_bytes : their size, bytes
    state_bytes : optimizer state, bytes
    input_bytes : one step's input, bytes
    gradients : in the order in which they are ready; empty without training
    unmodelled : how often kernels are called whose arithmetic is not known (and counts 0)
    pattern : what is communicated instead of computing; None: it computes
    """

    name: str
    parameters: Mapping[str, Any]
    graph: Graph
    samples: float
    weight_count: int = 0
    weight_bytes: float = 0.0
    state_bytes: float = 0.0
    input_bytes: float = 0.0
    gradients: tuple[Gradient, ...] = ()
    unmodelled: Mapping[str, int] = field(default_factory=dict)
    pattern: Pattern | None = None

    def __post_init__(self) -> None:
        if not 0 < self.samples < np.inf:
            raise InputError(f"workload '{self.name}': samples per step must be positive and "
                             f"finite; got {self.samples}")  # fmt: skip

    @property
    def training(self) -> bool:
        """Say whether the step has a backward pass or an update."""
        return bool(self.graph.in_phase("backward", "update").any())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """Name the works and buffers of a workload; `job.forward` is `job.works["forward"]`.

    Parameters
    ----------
    workload : what is done
    works : pieces of a step by name
    buffers : pieces of memory by name
    buckets : the buffers of the gradients, in the order in which they are ready
    steps : how often the step is done
    seed : of all draws
    """

    workload: Workload
    works: Mapping[str, Work]
    buffers: Mapping[str, Buffer] = field(default_factory=dict)
    buckets: tuple[Buffer, ...] = ()
    steps: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 1)
        if self.steps > MOST_STEPS:
            raise InputError(f"steps: at most {MOST_STEPS:,} are simulated, got {self.steps:,}; "
                             "how long a whole job is, its tariff says (job.steps)")  # fmt: skip
        check_whole("seed", self.seed, 0)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        for named in (self.works, self.buffers):
            if name in named:
                return named[name]
        known = [*self.works, *self.buffers]
        raise UnknownNameError("work or buffer", name, known, f"a job of '{self.workload.name}'")

    @classmethod
    def of(
        cls, workload: Workload, steps: int = 1, seed: int = 0, bucket_bytes: float = BUCKET_BYTES
    ) -> Job:
        """Return the job of a workload, cut into works by the phase of its ops.

        Every job has `step` (all ops), and `input` where a step has one: to copy it from the host,
        once. One that trains has also `forward`, `backward` (with a mark
        for each gradient bucket), `update`, `gradient` (forward and backward), `apply` (another
        name of update), `local_step` (another name of step) and the buffers `params` and `grad`.
        One that only communicates has the buffers `message` and `received`.
        """
        graph = workload.graph
        step = Work("step", graph)
        given = {"input": _input(workload.input_bytes)} if workload.input_bytes else {}
        if workload.pattern is not None:
            buffers = {
                name: Buffer(name, workload.pattern.nbytes) for name in ("message", "received")
            }
            return cls(workload=workload, works={"step": step}, buffers=buffers,
                       steps=steps, seed=seed)  # fmt: skip
        if not workload.training:
            return cls(workload=workload, works={"step": step, **given}, steps=steps, seed=seed)
        buckets, marks = _buckets(workload, bucket_bytes)
        names = tuple(bucket.name for bucket in buckets)
        backward = graph.in_phase("backward")
        place = np.cumsum(backward) - 1
        both = ~graph.in_phase("update")
        update = Work("update", graph.select(~both), reads=(*names, "grad"), writes=("params",))
        works = {
            "step": step,
            "local_step": Work("local_step", graph, writes=("params", "grad")),
            "forward": Work("forward", graph.select(both & ~backward), reads=("params",)),
            "backward": Work(
                "backward",
                graph.select(backward),
                marks=tuple((name, int(place[op])) for name, op in marks),
                reads=("params",),
                writes=names or ("grad",),
            ),
            "gradient": Work("gradient", graph.select(both), reads=("params",), writes=("grad",)),
            "update": update,
            "apply": update,
            **given,
        }
        buffers = {
            "params": Buffer("params", workload.weight_bytes),
            "grad": Buffer("grad", workload.weight_bytes),
        }
        return cls(workload=workload, works=works, buffers=buffers, buckets=buckets,
                   steps=steps, seed=seed)  # fmt: skip


@functools.lru_cache(maxsize=256)
def _input(nbytes: float) -> Work:
    """Return the work that copies the input of a step from the host."""
    copy = Op(kind=FROM_HOST, dims=(int(nbytes),), dtype="uint8", bytes_read=nbytes,
              bytes_written=nbytes)  # fmt: skip
    return Work("input", Graph.of([copy]))


def _buckets(
    workload: Workload, bucket_bytes: float
) -> tuple[tuple[Buffer, ...], list[tuple[str, int]]]:
    """Return the gradient buckets and, for each, the op that completes it."""
    if not bucket_bytes > 0:
        raise InputError(f"bucket_bytes must be positive; got {bucket_bytes}")
    buckets: list[Buffer] = []
    marks: list[tuple[str, int]] = []
    size, last = 0.0, 0
    for position, gradient in enumerate(workload.gradients):
        size, last = size + gradient.nbytes, max(last, gradient.op)
        if size >= bucket_bytes or position == len(workload.gradients) - 1:
            name = f"bucket{len(buckets)}"
            buckets.append(Buffer(name, size))
            marks.append((name, last))
            size, last = 0.0, 0
    return tuple(buckets), marks
