"""Be NCCL on a network: measured times alone, traffic that competes.

A collective takes a fixed time, and then moves data for as long as NCCL was measured to move them.
Meanwhile its messages flow at the rates at which they would just be done by then, so that it
takes longer where others, or links slower than those of the measurement, leave them less.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hwmodels.network.nccl_fits import Nccl, Spread
from hwmodels.network.nccl_nodes import Fabric, outside_bytes
from hwmodels.network.nccl_plan import Calls, Nodes, wires_of
from hwmodels.network.schedules import Step
from hwmodels.network.topology import Topology
from hwmodels.network.traffic import Traffic
from simulator.errors import InputError
from simulator.ops import IntArray
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
        grid = self._grid(kind, devices)
        spread = self._spread(grid, topology)
        fixed_s, bulk_s = (
            float(one[0])
            for one in self.nccl.parts_s(kind, np.array([nbytes]), grid.size, self.dtype, spread)
        )
        wires = wires_of(self.nccl.spec)
        if step is None:
            sizes, count = np.array([nbytes]), np.array([float(len(grid))])
            calls = Calls(kind, self.dtype, wires, sizes, np.array([float(grid.size)]))
            step = _step(calls, grid, float(outside_bytes(calls, Nodes(count, np.inf * count))[0]))
        travel_s = float(topology.latency_s_of(step.src, step.dst).max())
        # A switch that adds lets less pass over the wire than a ring would.
        moved = np.minimum(step.nbytes, wires.bytes_per_s * bulk_s)
        return Traffic(
            steps=(replace(step, nbytes=moved),),
            overhead_s=fixed_s - travel_s,
            limit_bytes_per_s=moved / bulk_s if moved.all() else np.inf,
        )

    def _grid(self, kind: str, devices: IntArray) -> IntArray:
        """Return the devices of each node (nodes, devices of each)."""
        node = devices // (self.devices_per_node or devices.max() + 1)
        names, counts = np.unique(node, return_counts=True)
        if (counts != counts[0]).any():
            raise InputError(f"{kind}: {len(devices)} ranks do not spread evenly over the "
                             f"{len(names)} nodes of {self.devices_per_node} devices that they "
                             "are on")  # fmt: skip
        return devices.reshape(len(names), -1)

    def _spread(self, grid: IntArray, topology: Topology) -> Spread | None:
        """Return how a group is spread; a rank uses no other network card than its own."""
        nodes, local = grid.shape
        if nodes == 1:
            return None
        if self.nic_bytes_per_s is None or self.fabric is None:
            raise InputError("nccl between nodes needs nic_bytes_per_s and a fabric")
        route = topology.routes(grid[0, :1], grid[1, :1])
        own = float(topology.bandwidth_bytes_per_s[route[route >= 0]].min())
        return Spread(nodes, min(self.nic_bytes_per_s, local * own), self.fabric)


def _step(calls: Calls, grid: IntArray, outside: float) -> Step:
    """Return the messages of a collective, all at the same time.

    Parameters
    ----------
    calls : one
    grid : the devices of each node (nodes, devices of each)
    outside : what each node sends to others, bytes
    """
    nodes, local = grid.shape
    ranks, nbytes = grid.size, float(calls.nbytes[0])
    exchanged = calls.kind == "all_to_all"
    part = nbytes / ranks
    if calls.kind in ("broadcast", "reduce"):
        inside = nbytes
    else:
        inside = part * (local - 1 if exchanged else float(calls.steps[0]))
    others = range(1, nodes) if exchanged else range(1, min(nodes, 2))
    ends = [np.roll(grid, -1, axis=1)] if local > 1 else []
    ends += [np.roll(grid, -away, axis=0) for away in others]
    sizes = [inside] if local > 1 else []
    sizes += [outside / local / len(others) for _ in others]
    return Step(src=np.tile(grid.ravel(), len(ends)), dst=np.concatenate(ends, axis=None),
                nbytes=np.repeat(sizes, ranks))  # fmt: skip
