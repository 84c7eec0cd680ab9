"""Be NCCL on a network: measured times alone, traffic that competes.

A collective takes a fixed time, and then moves data for as long as NCCL was measured to move them.
Meanwhile its messages flow at the rates at which they would just be done by then, so that it
takes longer where others, or links slower than those of the measurement, leave them less.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hwmodels.network.nccl_fits import Nccl, Spread, spreads
from hwmodels.network.nccl_nodes import Fabric, outside_bytes
from hwmodels.network.nccl_plan import IN_SWITCH, WAYS, Calls, Nodes, tuning, way
from hwmodels.network.schedules import Step
from hwmodels.network.topology import Topology
from hwmodels.network.traffic import Traffic
from simulator.errors import InputError
from simulator.ops import IntArray
from simulator.protocols import Footprint
from simulator.source import Source

BARRIER_BYTES = 4.0
"""torch makes a barrier of NCCL by reducing one number."""


@dataclass(frozen=True, kw_only=True)
class NcclLibrary:
    """Do collectives as NCCL does.

    Inside a node each device sends to its neighbour in a ring; between nodes each sends to the
    device of the same number in the next node (in an all-to-all: in all other nodes), and all of a
    node share what it sends to others.

    Parameters
    ----------
    nccl : times of collectives on these devices
    devices_per_node : devices of the network with numbers in a row are in one node; None: all are
    nic_bytes_per_s : of all network cards of a node, one direction; needed for several nodes
    fabric : between the nodes; needed for several
    dtype : of what is reduced
    """

    nccl: Nccl
    devices_per_node: int | None = None
    nic_bytes_per_s: float | None = None
    fabric: Fabric | None = None
    dtype: str = "float32"
    name: str = "nccl"

    def __post_init__(self) -> None:
        if self.devices_per_node is not None and self.devices_per_node < 1:
            raise InputError("devices_per_node: expected at least 1, "
                             f"got {self.devices_per_node}")  # fmt: skip

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return where its numbers come from."""
        return (Source(self.nccl.fit("all_reduce", self.dtype).data, kind="calibrated"),)

    def error_ratio(self, kind: str, topology: Topology) -> tuple[float, float] | None:
        """Return the quantiles of measured over predicted time; wider between nodes."""
        fit = self.nccl.fit("all_reduce" if kind == "barrier" else kind, self.dtype)
        several = self.devices_per_node is not None and topology.devices > self.devices_per_node
        return fit.widened(spreads()["nodes"]).error_ratio if several else fit.error_ratio

    def scaled(self, factor: float) -> NcclLibrary:
        """Return NCCL on links that are so many times as fast."""
        spec = self.nccl.spec
        own = {key: spec.known(key) * factor
               for key in ("link.scaleup_bytes_per_s", "link.pcie_bytes_per_s")
               if key in spec.values}  # fmt: skip
        faster = spec.replaced(values={**spec.values, **own})
        nic = self.nic_bytes_per_s
        return replace(self, nccl=replace(self.nccl, spec=faster),
                       nic_bytes_per_s=None if nic is None else nic * factor)  # fmt: skip

    def told(self, kind: str, nbytes: float, devices: IntArray, topology: Topology) -> str:
        """Return the algorithm and protocol of a collective, in words."""
        if kind in ("barrier", "send_recv", "all_to_all") or len(devices) < 2:
            return "direct"
        group = _grouped(np.sort(devices), self.devices_per_node or int(devices.max()) + 1)
        ranks = len(group.counts) * float(group.counts.max())
        calls = Calls(kind, self.dtype, self.nccl.wires, np.array([nbytes]),
                      np.array([ranks]))  # fmt: skip
        spread = self._spread(group, topology)
        nodes = None
        if spread is not None:
            nodes = Nodes(np.array([float(spread.nodes)]), np.array([spread.nic_bytes_per_s]))
        return WAYS[int(way(calls, nodes)[0])]

    def footprint(
        self, kind: str, nbytes: float, devices: IntArray, topology: Topology
    ) -> Footprint | None:
        """Return what a collective takes of each device: a multiprocessor for each channel.

        What a device sends it reads from its memory, and what it receives it writes there.
        """
        step = self.collective(kind, nbytes, devices, topology)
        if not step.steps:
            return None
        channels = tuning()["channels"]
        wires = self.nccl.wires
        if not wires.own_links:
            units = channels["pcie"]
        else:
            switch = self.told(kind, nbytes, devices, topology) == WAYS[IN_SWITCH]
            units = channels["in_switch" if switch else "nvlink"][wires.generation]
        rates = np.broadcast_to(step.limit_bytes_per_s, len(step.steps[0].src))
        moved = 2.0 * float(rates[np.isfinite(rates)].sum()) / len(devices)
        return Footprint(units, moved)

    def message(self, step: Step, topology: Topology) -> Traffic:
        """Return the traffic of a step of one message between devices."""
        ends = np.array([step.src[0], step.dst[0]])
        if ends[0] == ends[1]:
            return Traffic(steps=(step,))
        return self._traffic("send_recv", float(step.nbytes[0]), ends, topology, step)

    def collective(
        self, kind: str, nbytes: float, devices: IntArray, topology: Topology
    ) -> Traffic:
        """Return the traffic of a collective; see `cluster.Library`."""
        if len(devices) == 1:
            return Traffic(steps=())
        if kind == "barrier":
            kind, nbytes = "all_reduce", BARRIER_BYTES
        where = np.sort(devices)
        if (np.diff(where) == 0).any():
            raise InputError(f"{kind}: NCCL takes one rank a device; several are on device "
                             f"{where[:-1][np.diff(where) == 0][0]}")  # fmt: skip
        return self._traffic(kind, nbytes, where, topology, None)

    def _traffic(
        self, kind: str, nbytes: float, devices: IntArray, topology: Topology, step: Step | None
    ) -> Traffic:
        """Return what takes its measured time alone: a step that is given, or a collective's."""
        group = _grouped(devices, self.devices_per_node or int(devices.max()) + 1)
        nodes = len(group.counts)
        # Nodes that are not filled evenly wait for the fullest.
        ranks = nodes * int(group.counts.max())
        spread = self._spread(group, topology)
        fixed_s, bulk_s = (
            float(one[0])
            for one in self.nccl.parts_s(kind, np.array([nbytes]), ranks, self.dtype, spread)
        )
        wires = self.nccl.wires
        if step is None:
            calls = Calls(kind, self.dtype, wires, np.array([nbytes]), np.array([float(ranks)]))
            step = _step(calls, group)
        travel_s = float(topology.latency_s_of(step.src, step.dst).max())
        # A switch that adds lets less pass over the wire than a ring would.
        moved = np.minimum(step.nbytes, wires.bytes_per_s * bulk_s)
        return Traffic(
            steps=(replace(step, nbytes=moved),),
            overhead_s=fixed_s - travel_s,
            limit_bytes_per_s=moved / bulk_s if moved.all() else np.inf,
        )

    def _spread(self, group: _Grouped, topology: Topology) -> Spread | None:
        """Return how a group is spread; a rank uses no other network card than its own."""
        nodes = len(group.counts)
        if nodes == 1:
            return None
        if self.nic_bytes_per_s is None or self.fabric is None:
            raise InputError("nccl between nodes needs nic_bytes_per_s and a fabric")
        route = topology.routes(group.devices[:1], group.away(1)[:1])
        own = float(topology.bandwidth_bytes_per_s[route[route >= 0]].min())
        cards = min(self.nic_bytes_per_s, int(group.counts.min()) * own)
        return Spread(nodes, cards, self.fabric)


@dataclass(frozen=True, slots=True, eq=False)
class _Grouped:
    """Be a group, node by node.

    Parameters
    ----------
    devices : of all nodes (p,)
    node, place : of each device: its node, and its number among those of the group there (p,)
    counts : devices of each node (nodes,)
    first : where those of each node begin (nodes,)
    """

    devices: IntArray
    node: IntArray
    place: IntArray
    counts: IntArray
    first: IntArray

    def away(self, nodes: int, places: int = 0) -> IntArray:
        """Return the device so many nodes and places on from each (p,), around and around."""
        node = (self.node + nodes) % len(self.counts)
        there: IntArray = self.devices[self.first[node] + (self.place + places) % self.counts[node]]
        return there


def _grouped(devices: IntArray, per_node: int) -> _Grouped:
    """Return a group by node; devices of a node follow each other."""
    _, node, counts = np.unique(devices // per_node, return_inverse=True, return_counts=True)
    order = np.argsort(node, kind="stable")
    first = np.cumsum(counts) - counts
    place = np.arange(len(devices)) - first[node[order]]
    return _Grouped(devices[order], node[order], place, counts, first)


def _step(calls: Calls, group: _Grouped) -> Step:
    """Return the messages of a collective, all at the same time."""
    nbytes, nodes = float(calls.nbytes[0]), len(group.counts)
    here = group.counts[group.node]
    exchanged = calls.kind == "all_to_all"
    inside = nbytes / calls.ranks[0] * (here - 1.0 if exchanged else float(calls.steps[0]))
    if calls.kind in ("broadcast", "reduce"):
        inside = np.full(len(here), nbytes)
    others = range(1, nodes) if exchanged else range(1, min(nodes, 2))
    count = np.array([float(nodes)])
    outside = outside_bytes(calls, Nodes(count, np.inf * count))[0] / here / max(len(others), 1)
    dst = np.concatenate([group.away(0, 1), *(group.away(far) for far in others)])
    sizes = np.concatenate([np.broadcast_to(inside, len(here)), *[outside] * len(others)])
    src = np.tile(group.devices, 1 + len(others))
    far = src != dst
    return Step(src=src[far], dst=dst[far], nbytes=sizes[far])
