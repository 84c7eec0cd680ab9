"""What a rank's program may yield: actions, and the rank that makes them.

A *program* is a generator of one rank. It yields actions; `x = yield action` gives the result:

    def program(self, rank, job):
        for _ in range(job.steps):
            yield rank.compute(job.gradient)
            yield rank.all_reduce(job.grad, op="mean")
            yield rank.compute(job.apply)

Nothing here knows a clock or a device: the same program runs simulated and for real.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, get_args

from simulator.errors import InputError, UnknownNameError
from simulator.frozen import quick
from simulator.workload import Buffer, Work

T = TypeVar("T")
ANY = -1
"""Receive from whichever rank sends first."""

CollectiveKind: TypeAlias = Literal[
    "all_reduce", "all_gather", "reduce_scatter", "broadcast", "reduce", "all_to_all", "barrier"
]
ReduceOp: TypeAlias = Literal["sum", "mean", "max", "min"]
COLLECTIVES: tuple[str, ...] = get_args(CollectiveKind)
REDUCE_OPS: tuple[str, ...] = get_args(ReduceOp)
RECEIVE_OPS = ("sum", "max", "min")
"""What can be reduced one by one, as messages come."""
_NOTHING = Buffer("barrier", 0.0)


class Group:
    """Be an ordered set of ranks; equal sets are the same object, so that comparing costs O(1).

    >>> Group.of(range(4)) is Group.of([0, 1, 2, 3])
    True
    """

    __slots__ = ("_places", "ranks", "size")
    _interned: ClassVar[dict[tuple[int, ...] | range, Group]] = {}
    ranks: tuple[int, ...] | range
    size: int
    _places: dict[int, int] | None

    @classmethod
    def of(cls, ranks: Iterable[int]) -> Group:
        """Return the group of these ranks; O(1) for a range, O(size) for others."""
        key = ranks if isinstance(ranks, range) else tuple(ranks)
        group = cls._interned.get(key)
        if group is None:
            group = cls._interned[key] = cls._same_as_range(key) or cls._new(key)
        return group

    @classmethod
    def _same_as_range(cls, key: tuple[int, ...] | range) -> Group | None:
        """Return the group of an evenly spaced tuple of ranks, which a range names as well."""
        if isinstance(key, range) or not key:
            return None
        step = key[1] - key[0] if len(key) > 1 else 1
        even = range(key[0], key[-1] + (1 if step > 0 else -1), step) if step else ()
        return cls.of(even) if even and key == tuple(even) else None

    @classmethod
    def _new(cls, key: tuple[int, ...] | range) -> Group:
        if not key:
            raise InputError("a group needs at least one rank")
        if isinstance(key, tuple) and len(set(key)) < len(key):
            raise InputError(f"a group must not name a rank twice; got {key}")
        if min(key) < 0:
            raise InputError(f"ranks of a group must not be negative; got {min(key)}")
        group = cls.__new__(cls)
        group.ranks, group.size = key, len(key)
        group._places = None if isinstance(key, range) else {r: i for i, r in enumerate(key)}
        return group

    def __contains__(self, rank: int) -> bool:
        return rank in (self.ranks if self._places is None else self._places)

    def index(self, rank: int) -> int:
        """Return the place of a rank in the group; O(1)."""
        if self._places is None:
            return self.ranks.index(rank)
        return self._places[rank]

    def __repr__(self) -> str:
        shown = ", ".join(map(str, self.ranks[:4])) + (", ..." if self.size > 4 else "")
        return f"Group({shown}; size {self.size})"

    def __reduce__(self) -> tuple[object, ...]:
        return (Group.of, (self.ranks,))


@quick
@dataclass(frozen=True, slots=True)
class Compute:
    """Do a piece of work on this rank's device; gives None.

    It takes `slowdown` times as long as the device says: so stragglers are put into a program.
    """

    work: Work
    slowdown: float = 1.0


@quick
@dataclass(frozen=True, slots=True)
class Collective:
    """Communicate a buffer with all ranks of a group; gives None."""

    kind: str
    buffer: Buffer
    group: Group
    op: str = "sum"
    root: int = 0


@quick
@dataclass(frozen=True, slots=True)
class Send:
    """Copy a buffer and send the copy to a rank; gives None at once (sends are buffered)."""

    buffer: Buffer
    to: int


@quick
@dataclass(frozen=True, slots=True)
class Recv:
    """Receive into a buffer; gives the `Message`, or None after `timeout_s` seconds.

    With `op` what comes is reduced into what is there.
    """

    buffer: Buffer
    source: int = ANY
    timeout_s: float | None = None
    op: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class Sleep:
    """Do nothing for some seconds; gives None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Now:
    """Ask for the seconds since the run began; takes no time: `time_s = yield NOW`."""


NOW = Now()


@quick
@dataclass(frozen=True, slots=True)
class Count:
    """Add to one of the run's counts; takes no time, gives None.

    Two names mean something to every run: "steps" (a step of the job has ended now; one rank says
    so) and "samples" (so many have been learned from; where no rank says so, a batch on each).
    """

    name: str
    amount: float = 1.0


@quick
@dataclass(frozen=True, slots=True)
class Start:
    """Begin an action and go on; takes no time, gives a `Handle`."""

    action: Compute | Collective | Send | Recv | Sleep


class Handle:
    """Stand for a started action, to be waited for."""

    __slots__ = ("action", "done", "marks", "result")

    def __init__(self, action: Compute | Collective | Send | Recv | Sleep) -> None:
        self.action = action
        self.done: object = None
        self.marks: object = None
        self.result: object = None


@quick
@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until all handles (or the first) are done, or until a mark of a started compute.

    Gives the results in order (of one handle: its result); with `first` the first handle that is
    done; None after `timeout_s` seconds.
    """

    handles: tuple[Handle, ...]
    mark: str | None = None
    first: bool = False
    timeout_s: float | None = None


Action: TypeAlias = Compute | Collective | Send | Recv | Sleep | Now | Count | Start | Wait


@quick
@dataclass(frozen=True, slots=True)
class Message:
    """Say what was received and from whom."""

    source: int
    buffer: Buffer


class _Made(dict[Any, Any]):
    """Keep actions made before: a loop asks for the same ones again and again.

    The keys hold the identities of buffers and actions, which the kept actions keep alive.
    """

    def keep(self, key: object, action: T) -> T:
        """Remember an action; forget all when there are too many."""
        if len(self) >= _MOST_KEPT:
            self.clear()
        self[key] = action
        return action

    def __reduce__(self) -> tuple[type[_Made], tuple[()]]:
        """Forget all when pickled: identities mean nothing in another process."""
        return (_Made, ())


_MOST_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Rank:
    """Be one participant of a program: a pure factory of actions.

    Equal calls may give the same action.

    Parameters
    ----------
    id : 0 to size - 1
    size : number of ranks

    `world` is the group of all ranks.
    """

    id: int
    size: int
    world: Group = field(init=False, repr=False, compare=False)
    _made: _Made = field(init=False, repr=False, compare=False, default_factory=_Made)

    def __post_init__(self) -> None:
        if not 0 <= self.id < self.size:
            raise InputError(f"rank {self.id} of {self.size}; ranks are 0 to {self.size - 1}")
        object.__setattr__(self, "world", Group.of(range(self.size)))

    def compute(self, work: Work, slowdown: float = 1.0) -> Compute:
        """Return the action of doing a piece of work, in so many times its time."""
        if slowdown != 1.0:
            return _slowed(work, slowdown, self.id)
        made: Compute | None = self._made.get(work)
        if made is not None:
            return made
        _expect(Work, work, self.id)
        return self._made.keep(work, Compute(work))

    def collective(
        self, kind: str, buffer: Buffer, group: Group | None = None, op: str = "sum", root: int = 0
    ) -> Collective:
        """Return the action of a collective; `buffer` is one rank's whole result or operand.

        Parameters
        ----------
        kind : one of `COLLECTIVES`
        buffer : all_reduce, broadcast, reduce: what each rank holds; all_gather: what each rank
            holds at the end; reduce_scatter, all_to_all: what each rank holds at the beginning
        group : the ranks that take part; None: all
        op : one of `REDUCE_OPS`
        root : the rank that sends (broadcast) or receives (reduce)
        """
        key = (kind, id(buffer), group, op, root)
        made: Collective | None = self._made.get(key)
        if made is not None:
            return made
        _expect(Buffer, buffer, self.id)
        if kind not in COLLECTIVES:
            raise UnknownNameError("collective", kind, COLLECTIVES)
        if op not in REDUCE_OPS:
            raise UnknownNameError("reduction", op, REDUCE_OPS)
        if group is None:
            group = self.world
        elif self.id not in group:
            raise InputError(f"rank {self.id} calls {kind} over a group without it: {group}")
        return self._made.keep(key, Collective(kind, buffer, group, op, root))

    def all_reduce(self, buffer: Buffer, group: Group | None = None, op: str = "sum") -> Collective:
        """Return the action that leaves the reduction of all buffers in every buffer."""
        return self.collective("all_reduce", buffer, group, op)

    def all_gather(self, buffer: Buffer, group: Group | None = None) -> Collective:
        """Return the action that leaves all parts in every buffer."""
        return self.collective("all_gather", buffer, group)

    def reduce_scatter(
        self, buffer: Buffer, group: Group | None = None, op: str = "sum"
    ) -> Collective:
        """Return the action that leaves one part of the reduction at each rank."""
        return self.collective("reduce_scatter", buffer, group, op)

    def broadcast(self, buffer: Buffer, group: Group | None = None, root: int = 0) -> Collective:
        """Return the action that copies the root's buffer to all."""
        return self.collective("broadcast", buffer, group, root=root)

    def reduce(
        self, buffer: Buffer, group: Group | None = None, op: str = "sum", root: int = 0
    ) -> Collective:
        """Return the action that leaves the reduction of all buffers at the root."""
        return self.collective("reduce", buffer, group, op, root)

    def all_to_all(self, buffer: Buffer, group: Group | None = None) -> Collective:
        """Return the action that sends part j of every buffer to rank j."""
        return self.collective("all_to_all", buffer, group)

    def barrier(self, group: Group | None = None) -> Collective:
        """Return the action that waits for all."""
        return self.collective("barrier", _NOTHING, group)

    def send(self, buffer: Buffer, to: int) -> Send:
        """Return the action of sending a copy of a buffer."""
        key = (id(buffer), to)
        made: Send | None = self._made.get(key)
        if made is not None:
            return made
        _expect(Buffer, buffer, self.id)
        if not 0 <= to < self.size:
            raise InputError(f"rank {self.id} sends '{buffer.name}' to rank {to}; "
                             f"ranks are 0 to {self.size - 1}")  # fmt: skip
        return self._made.keep(key, Send(buffer, to))

    def recv(
        self,
        buffer: Buffer,
        source: int = ANY,
        timeout_s: float | None = None,
        op: str | None = None,
    ) -> Recv:
        """Return the action of receiving into a buffer, from one rank or from any.

        With `op`, "sum", "max" or "min", what comes is reduced into what is there.
        """
        key = (id(buffer), source, timeout_s, op)
        made: Recv | None = self._made.get(key)
        if made is not None:
            return made
        _expect(Buffer, buffer, self.id)
        if not ANY <= source < self.size:
            raise InputError(f"rank {self.id} receives '{buffer.name}' from rank {source}; "
                             f"ranks are 0 to {self.size - 1}, or ANY")  # fmt: skip
        if op is not None and op not in RECEIVE_OPS:
            raise UnknownNameError("reduction of what is received", op, RECEIVE_OPS)
        return self._made.keep(key, Recv(buffer, source, timeout_s, op))

    def sleep(self, seconds: float) -> Sleep:
        """Return the action of doing nothing for some seconds."""
        if not 0 <= seconds < inf:
            raise InputError(f"rank {self.id} sleeps {seconds} s; it must be finite, 0 or more")
        return Sleep(seconds)

    def start(self, action: Compute | Collective | Send | Recv | Sleep) -> Start:
        """Return the action of beginning another one without waiting for it."""
        key = (id(action),)
        return self._made.get(key) or self._made.keep(key, Start(action))

    def wait(
        self,
        *handles: Handle,
        mark: str | None = None,
        first: bool = False,
        timeout_s: float | None = None,
    ) -> Wait:
        """Return the action of waiting for started ones."""
        if mark is not None and len(handles) != 1:
            raise InputError(f"a mark belongs to one handle; got {len(handles)} handles")
        return Wait(handles, mark, first, timeout_s)


def _slowed(work: Work, slowdown: float, rank: int) -> Compute:
    _expect(Work, work, rank)
    if not 1 <= slowdown < inf:
        raise InputError(f"rank {rank}: slowdown of '{work.name}' must be finite and at least 1; "
                         f"got {slowdown}")  # fmt: skip
    return Compute(work, slowdown)


def _expect(kind: type[Work | Buffer], got: object, rank: int) -> None:
    if not isinstance(got, kind):
        raise InputError(f"rank {rank}: expected a {kind.__name__}, such as the job names, "
                         f"got {got!r}")  # fmt: skip
