"""Time collectives of NCCL between nodes: what one node does, and the network beside it.

Inside each node the collective goes on as on one node; between nodes messages take a latency a
step, longer by the protocols that wait for whole chunks, and the cards of a node reach a share of
their rate. Both go on at the same time once the message is many chunks long; before, one waits for
the other.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hwmodels.gpu.family import Parts
from hwmodels.network.nccl import parts_of
from hwmodels.network.nccl_plan import IN_SWITCH, PROTOCOLS, TREE, Calls, Nodes, tuning, way
from hwmodels.spec import FamilyFit
from simulator.errors import InputError, UnknownNameError
from simulator.ops import FloatArray, IntArray

FABRICS = Path(__file__).parent.parent / "catalog" / "calibrated" / "nccl" / "fabrics.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabric:
    """Be the network between nodes, as NCCL finds it.

    Parameters
    ----------
    name : "infiniband"
    step_s : a step of few bytes from node to node, seconds
    share : of the cards' rate that large messages reach
    pipeline_bytes : message below which node and network wait for one another
    """

    name: str
    step_s: float
    share: float
    pipeline_bytes: float


@functools.cache
def fabrics() -> dict[str, Fabric]:
    """Return the fabrics that were measured, by name."""
    tables = tomllib.loads(FABRICS.read_text(encoding="utf-8"))
    return {name: Fabric(name=name, step_s=one["step_s"], share=float(one["share"]),
                         pipeline_bytes=tables["pipeline_bytes"])
            for name, one in tables["fabric"].items()}  # fmt: skip


def find_fabric(name: str) -> Fabric:
    """Return a fabric by its name.

    >>> find_fabric("infiniband").share > 0.5
    True

    Raises
    ------
    UnknownNameError : none is called so
    """
    if name not in fabrics():
        raise UnknownNameError("fabric", name, fabrics())
    return fabrics()[name]


def between_nodes(calls: Calls, nodes: Nodes, fit: FamilyFit, fabric: Fabric) -> Parts:
    """Return what collectives on several nodes spend time on (n,): fixed, and moving data, seconds.

    Parameters
    ----------
    calls : of one kind
    nodes : that they are spread over, 2 or more
    fit : of the devices inside a node
    fabric : between the nodes

    Raises
    ------
    InputError : ranks that do not fill the nodes evenly
    """
    local = calls.ranks / nodes.count
    if (local != np.floor(local)).any():
        raise InputError(f"{calls.ranks.max():g} ranks do not spread evenly over "
                         f"{nodes.count.max():g} nodes")  # fmt: skip
    inside = _inside(replace(calls, ranks=local), fit)
    protocol = _protocol(way(calls, nodes))
    steps_us = np.array(tuning()["step_us"]["network"]["tree"])
    step_s = fabric.step_s * (steps_us / steps_us[0])[protocol]
    rate = fabric.share * nodes.nic_bytes_per_s * np.array(tuning()["share"]["ring"])[protocol]
    outside = outside_bytes(calls, nodes) / rate
    longer = np.maximum(inside.memory_s, outside)
    shorter = np.minimum(inside.memory_s, outside)
    waiting = np.minimum(1.0, fabric.pipeline_bytes / np.maximum(calls.nbytes, 1.0))
    return Parts(inside.overhead_s + _steps(calls.kind, nodes.count) * step_s,
                 np.zeros(len(calls.nbytes)), longer + waiting * shorter)  # fmt: skip


def _inside(calls: Calls, fit: FamilyFit) -> Parts:
    """Return the parts inside a node; where it has one rank, that of the launch."""
    parts = parts_of(replace(calls, ranks=np.maximum(calls.ranks, 2.0)), fit)
    alone = calls.ranks < 2
    return Parts(np.where(alone, fit.numbers["launch_s"], parts.overhead_s),
                 parts.compute_s, np.where(alone, 0.0, parts.memory_s))  # fmt: skip


def _protocol(ways: IntArray) -> IntArray:
    """Return the place of each way's protocol; the switch works as Simple does."""
    inside = np.where(ways >= TREE, ways - TREE, np.minimum(ways, IN_SWITCH - 1))
    places: IntArray = np.minimum(inside, len(PROTOCOLS) - 1)
    return places


def _steps(kind: str, nodes: FloatArray) -> FloatArray:
    """Return the steps between nodes that follow one another (n,)."""
    deep = np.ceil(np.log2(nodes))
    if kind == "all_reduce":
        return 2.0 * deep
    if kind in ("all_gather", "reduce_scatter"):
        return nodes - 1
    return deep if kind in ("broadcast", "reduce") else np.ones(len(nodes))


def outside_bytes(calls: Calls, nodes: Nodes) -> FloatArray:
    """Return what each node sends to others (n,), bytes."""
    kind, nbytes, count = calls.kind, calls.nbytes, nodes.count
    others = (count - 1) / count
    if kind == "all_reduce":
        return nbytes * np.where(count > 2, 2.0 * others, 1.0)
    if kind in ("all_gather", "reduce_scatter"):
        return nbytes * others
    return nbytes * others * calls.ranks / count if kind == "all_to_all" else nbytes
