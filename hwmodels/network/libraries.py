"""Be software that communicates: algorithms as in textbooks, and gloo."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels.network.closed_forms import Link, best_chunks
from hwmodels.network.collectives import Steps, algorithms, schedule
from hwmodels.network.schedules import Step
from hwmodels.network.topology import Topology
from hwmodels.network.traffic import Traffic
from simulator.errors import InputError, UnknownNameError
from simulator.ops import IntArray
from simulator.source import Source

AUTO = "auto"
CANDIDATES = {
    "all_reduce": ("ring", "recursive_doubling", "halving_doubling", "double_tree"),
    "all_gather": ("ring", "recursive_doubling"),
    "reduce_scatter": ("ring", "recursive_halving"),
    "broadcast": ("binomial", "van_de_geijn"),
    "reduce": ("binomial", "ring"),
    "all_to_all": ("pairwise",),
    "barrier": ("dissemination",),
}
"""What "auto" chooses from: algorithms in which a rank sends to one or two others at a time."""
MOST_ONE_BY_ONE = 512
"""Ranks of a group above which all wait for all before a step: alone it takes as long, beside other
traffic the end moves by some hundredths of a percent to one percent (slow links, fast ones), and
the cost no longer grows with the number of ranks."""
GLOO_FILE = Path(__file__).parent.parent / "catalog" / "calibrated" / "gloo.toml"


def traffic_of(
    steps: Sequence[Step],
    devices: IntArray,
    *,
    overhead_s: float = 0.0,
    reduce_s_per_byte: float = 0.0,
    limit_bytes_per_s: float = inf,
) -> Traffic:
    """Return the traffic of steps among the places of a group.

    Messages between ranks of one device take no time. Where all steps send the same messages, one
    from and one to each device, each device goes on as soon as it can; else, and in large groups,
    all wait for all.

    Parameters
    ----------
    steps : whose messages are between places
    devices : of each place
    overhead_s, reduce_s_per_byte, limit_bytes_per_s : as of `Traffic`
    """
    moves = tuple(moved for step in steps if len((moved := _placed(step, devices)).src))
    rounds = sum(step.repeat for step in moves)
    alike = bool(moves) and moves[0].permutes and all(_same(moves[0], one) for one in moves)
    if alike and rounds > 1:
        # Every round is the same, so that each takes its share of adding up.
        reduce_s_per_byte *= sum(step.repeat for step in moves if step.reduces) / rounds
        moves = (replace(moves[0], repeat=rounds, reduces=True),)
    together = not alike or len(devices) > MOST_ONE_BY_ONE
    return Traffic(steps=moves, together=together, overhead_s=overhead_s,
                   reduce_s_per_byte=reduce_s_per_byte,
                   limit_bytes_per_s=limit_bytes_per_s)  # fmt: skip


def _placed(step: Step, devices: IntArray) -> Step:
    src, dst = devices[step.src], devices[step.dst]
    if (far := src != dst).all():
        return replace(step, src=src, dst=dst)
    return replace(step, src=src[far], dst=dst[far], nbytes=step.nbytes[far])


def _same(one: Step, other: Step) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("src", "dst", "nbytes")
    )


@dataclass(frozen=True, kw_only=True)
class Textbook:
    """Do collectives by the algorithms of textbooks.

    Parameters
    ----------
    algorithms : the algorithm of each kind of collective (`collectives.algorithms`); "auto", or a
        kind left out: what loads the links least (`choice`)
    overhead_s : of each message on top of the links' latency, seconds
    reduce_s_per_byte : to add up a received byte, s/B
    ranks_per_node : of "hierarchical": so many ranks of a group in a row are near to each other

    Raises
    ------
    UnknownNameError : no such collective or algorithm
    InputError : a time below 0

    >>> Textbook(algorithms={"all_reduce": "rnig"})
    Traceback (most recent call last):
    ...
    simulator.errors.UnknownNameError: unknown algorithm of all_reduce 'rnig'; did you mean 'ring'?
    """

    algorithms: Mapping[str, str] = field(default_factory=dict)
    overhead_s: float = 0.0
    reduce_s_per_byte: float = 0.0
    ranks_per_node: int | None = None
    name: str = "textbook"
    sources: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        for kind, algorithm in self.algorithms.items():
            known = (*algorithms(kind), AUTO)
            if algorithm not in known:
                raise UnknownNameError(f"algorithm of {kind}", algorithm, known)
        for name in ("overhead_s", "reduce_s_per_byte"):
            if not 0 <= getattr(self, name) < inf:
                raise InputError(f"{name}: expected a number of at least 0, "
                                 f"got {getattr(self, name)}")  # fmt: skip

    def error_ratio(self, kind: str, topology: Topology) -> None:
        """Return that nobody measured how wrong textbooks are."""
        return

    def scaled(self, factor: float) -> Textbook:
        """Return itself: faster links do not change what it adds."""
        return self

    def told(self, kind: str, nbytes: float, devices: IntArray, topology: Topology) -> str:
        """Return the algorithm of a collective, in words."""
        if kind not in CANDIDATES:
            return "direct"
        return self.choice(kind, nbytes, devices, topology).replace("_", " ")

    def message(self, step: Step, topology: Topology) -> Traffic:
        """Return the traffic of a step of one message between devices."""
        return Traffic(steps=(step,), overhead_s=self.overhead_s)

    def collective(
        self, kind: str, nbytes: float, devices: IntArray, topology: Topology
    ) -> Traffic:
        """Return the traffic of a collective; see `cluster.Library`."""
        algorithm = self.choice(kind, nbytes, devices, topology)
        steps = self._steps(kind, algorithm, nbytes, devices, topology)
        return self._traffic(steps, devices)

    def choice(self, kind: str, nbytes: float, devices: IntArray, topology: Topology) -> str:
        """Return the algorithm of a collective.

        "auto" takes, of `CANDIDATES`, the one with the least sum over its steps of the longest
        latency and the time of the most loaded link: its alpha-beta time on these links.
        """
        algorithm = self.algorithms.get(kind, AUTO)
        if algorithm != AUTO:
            return algorithm
        if kind not in CANDIDATES:
            raise UnknownNameError("collective", kind, list(CANDIDATES))
        candidates = CANDIDATES[kind]
        if len(candidates) == 1 or len(devices) == 1:
            return candidates[0]
        times_s = [
            least_s(self._traffic(self._steps(kind, one, nbytes, devices, topology), devices),
                    topology)
            for one in candidates
        ]  # fmt: skip
        return candidates[int(np.argmin(times_s))]

    def _steps(
        self, kind: str, algorithm: str, nbytes: float, devices: IntArray, topology: Topology
    ) -> Steps:  # fmt: skip
        chunks, ranks = 1, len(devices)
        if algorithm in ("chain", "double_tree") and ranks > 1:
            stages = ranks - 1 if algorithm == "chain" else (ranks - 1).bit_length()
            chunks = best_chunks(nbytes, stages, self._link(devices, topology))
        return schedule(kind, algorithm, nbytes, ranks, chunks=chunks,
                        ranks_per_node=self.ranks_per_node)  # fmt: skip

    def _link(self, devices: IntArray, topology: Topology) -> Link:
        """Return the worst between neighbours in the group."""
        routes = topology.routes(devices, np.roll(devices, -1))
        bandwidth = np.append(topology.bandwidth_bytes_per_s, np.inf)[routes].min()
        latency_s = np.append(topology.latency_s, 0.0)[routes].sum(axis=1).max()
        return Link(latency_s + self.overhead_s, min(bandwidth, np.finfo(float).max))

    def _traffic(self, steps: Steps, devices: IntArray) -> Traffic:
        return traffic_of(steps, devices, overhead_s=self.overhead_s,
                          reduce_s_per_byte=self.reduce_s_per_byte)  # fmt: skip


def least_s(traffic: Traffic, topology: Topology) -> float:
    """Return the time that traffic needs at least when it is alone, seconds.

    Each step takes the longest latency of its messages and the time of the most loaded link. It
    takes longer only where flows wait for different links one after the other.
    """
    time_s = 0.0
    for step in traffic.steps:
        routes = topology.routes(step.src, step.dst)
        latency_s = np.append(topology.latency_s, 0.0)[routes].sum(axis=1).max()
        crosses = routes >= 0
        loads = np.broadcast_to(step.nbytes[:, None], routes.shape)[crosses]
        carried = np.bincount(routes[crosses], loads, topology.links)
        received = np.bincount(step.dst, step.nbytes).max()
        adding_s = traffic.reduce_s_per_byte * received * step.reduces
        flow_s = (carried / topology.bandwidth_bytes_per_s).max()
        time_s += step.repeat * (latency_s + traffic.overhead_s + adding_s + flow_s)
    return float(time_s)


@functools.cache
def _gloo() -> Mapping[str, Any]:
    numbers: Mapping[str, Any] = tomllib.loads(GLOO_FILE.read_text(encoding="utf-8"))["message"]
    return numbers


@dataclass(frozen=True, kw_only=True)
class Gloo:
    """Do collectives as gloo does for torch.distributed.

    all_reduce and all_gather are rings whose chunks are cut so that adding up overlaps with what
    arrives (an all_gather of two takes half as long again, as they take turns); reduce_scatter is
    an all_reduce whose result is cut; reduce is a ring reduce-scatter, then all send to the root at
    once; all_to_all sends to all at once; a barrier is by
    dissemination. A broadcast is a binomial tree in which a rank sends to all of its children at
    once as soon as it has the buffer, so that they share its link. Messages from one rank to
    another go over one connection, one after the other. (Its sources: `allreduce.cc`,
    `allgather.cc`, `reduce.cc`, `alltoall.cc`, `barrier.cc`, `broadcast.cc`.)

    Parameters
    ----------
    overhead_s : of each message on top of the links' latency, seconds
    wire_bytes_per_byte : what links carry for each byte of data

    >>> Gloo().wire_bytes_per_byte
    1.047
    """

    overhead_s: float = field(default_factory=lambda: float(_gloo()["overhead_s"]))
    wire_bytes_per_byte: float = field(
        default_factory=lambda: float(_gloo()["wire_bytes_per_byte"])
    )
    name: str = "gloo"

    def __post_init__(self) -> None:
        if not (0 <= self.overhead_s < inf and 1 <= self.wire_bytes_per_byte < inf):
            raise InputError("gloo: expected an overhead_s of at least 0 and wire_bytes_per_byte "
                             f"of at least 1, got {self.overhead_s} and "
                             f"{self.wire_bytes_per_byte}")  # fmt: skip

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return where its numbers come from."""
        return (Source(_gloo()["data"], kind="calibrated"),)

    def error_ratio(self, kind: str, topology: Topology) -> tuple[float, float] | None:
        """Return the quantiles of measured over predicted time, where they were measured."""
        ratio = _gloo().get("error_ratio")
        return None if ratio is None else (float(ratio[0]), float(ratio[1]))

    def scaled(self, factor: float) -> Gloo:
        """Return itself: faster links do not change what it adds."""
        return self

    def told(self, kind: str, nbytes: float, devices: IntArray, topology: Topology) -> str:
        """Return the algorithm of a collective, in words."""
        return _ALGORITHM.get(kind, "ring")

    def message(self, step: Step, topology: Topology) -> Traffic:
        """Return the traffic of a step of one message between devices."""
        return Traffic(steps=self._on_wire([step]), overhead_s=self.overhead_s, in_order=True)

    def collective(
        self, kind: str, nbytes: float, devices: IntArray, topology: Topology
    ) -> Traffic:
        """Return the traffic of a collective; see `cluster.Library`."""
        steps = gloo_steps(kind, nbytes, len(devices))
        return traffic_of(self._on_wire(steps), devices, overhead_s=self.overhead_s)

    def _on_wire(self, steps: Sequence[Step]) -> Steps:
        share = self.wire_bytes_per_byte
        return tuple(replace(step, nbytes=step.nbytes * share) for step in steps)


def gloo_steps(kind: str, nbytes: float, ranks: int) -> Steps:
    """Return the steps of a collective in gloo.

    >>> [len(step.src) for step in gloo_steps("broadcast", 1e6, 8)]
    [3, 3, 1]
    """
    if kind == "broadcast":
        return _eager_binomial(nbytes, ranks)
    if kind == "all_gather" and ranks == 2:
        return _in_turns(nbytes)
    if kind == "reduce_scatter":
        kind = "all_reduce"
    return schedule(kind, _ALGORITHM.get(kind, "ring"), nbytes, ranks)


_ALGORITHM = {"all_to_all": "direct", "barrier": "dissemination", "broadcast": "binomial",
              "send_recv": "direct"}  # fmt: skip
"""Algorithms that are not rings."""


def _in_turns(nbytes: float) -> Steps:
    """Let two ranks exchange halves of their parts in an all_gather.

    gloo sends only at the receiver's word. Both directions share a connection, on which the word of
    the rank that came last queues behind the half that it sends itself: so one half goes alone
    first, and one alone last.
    """
    first, second = np.array([0]), np.array([1])
    both, half = np.arange(2), nbytes / 4
    return (
        Step(src=second, dst=first, nbytes=np.array(half)),
        Step(src=both, dst=both[::-1], nbytes=np.array(half)),
        Step(src=first, dst=second, nbytes=np.array(half)),
    )


def _eager_binomial(nbytes: float, ranks: int) -> Steps:
    """Let a rank send to all of its children at once; place r descends from r without its top bit.

    What is as deep in the tree has as many bits set.
    """
    place = np.arange(1, ranks)
    depth = np.array([int(one).bit_count() for one in place], int)
    parent = place - (1 << np.floor(np.log2(place)).astype(int)) if ranks > 1 else place
    return tuple(
        Step(src=parent[depth == deep], dst=place[depth == deep], nbytes=np.asarray(nbytes, float))
        for deep in range(1, int(depth.max(initial=0)) + 1)
    )
