"""Say which algorithm and protocol NCCL takes for a collective, as its own tuning model decides.

NCCL predicts the time of each way by a latency and a bandwidth and takes the quickest. Its forecast
is rough, its choice is a fact: measured times have steps where it changes its way, on an A100 from
19 to 41 us between 512 KiB and 1 MiB. The figures of its model are in `catalog/nccl_tuning.toml`.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels.spec import Spec
from simulator.errors import InputError
from simulator.ops import FloatArray, IntArray

FILE = Path(__file__).parent.parent / "catalog" / "nccl_tuning.toml"
PROTOCOLS = ("ll", "ll128", "simple")
WAYS = (*(f"ring {name}" for name in PROTOCOLS), "in-switch",
        *(f"tree {name}" for name in PROTOCOLS))  # fmt: skip
"""What NCCL chooses from: places in what `way` returns."""
RING, IN_SWITCH, TREE = 0, 3, 4
"""The first way of each algorithm."""
_GENERATIONS = {"pascal": "volta", "turing": "volta", "ada": "ampere"}
"""Generations that NCCL treats as others."""
_IN_SWITCH_DTYPES = ("float16", "bfloat16", "float32")


@dataclass(frozen=True, slots=True)
class Wires:
    """Hold what collectives depend on of a device.

    Parameters
    ----------
    name : of the device
    bytes_per_s : of all its links to the others of its node by the datasheet, one direction
    own_links : whether these are its own (NVLink), else they go over the host (PCIe)
    generation : that NCCL takes it for
    switched : whether its own links lead to switches, where they may form a mesh
    """

    name: str
    bytes_per_s: float
    own_links: bool
    generation: str
    switched: bool = False


def wires_of(spec: Spec) -> Wires:
    """Return the wires of a device.

    Raises
    ------
    InputError : none are known

    >>> from hwmodels.devices import find_spec
    >>> wires = wires_of(find_spec("nvidia-h200-sxm-141gb"))
    >>> wires.bytes_per_s, wires.own_links, wires.generation
    (450000000000.0, True, 'hopper')
    """
    own = spec.number("link.scaleup_bytes_per_s")
    rate = own or spec.number("link.pcie_bytes_per_s")
    if rate is None:
        raise InputError(f"device '{spec.name}': neither link.scaleup_bytes_per_s nor "
                         "link.pcie_bytes_per_s is known")  # fmt: skip
    return Wires(spec.name, rate, own is not None, _generation(spec))


def _generation(spec: Spec) -> str:
    """Return the generation that NCCL takes a chip for; the newest it knows for unknown ones."""
    name = (spec.architecture or "").partition("-")[0]
    name = _GENERATIONS.get(name, name)
    known = list(tuning()["ll_gb_per_s"])
    return name if name in known else known[-1]


@dataclass(frozen=True, slots=True, eq=False)
class Calls:
    """Be n collectives of one kind between equal devices.

    Parameters
    ----------
    kind : "all_reduce"
    dtype : of what is reduced
    wires : of each device
    nbytes : size of each message (n,) as NCCL's tests count it: the whole message
    ranks : of each group (n,), at least 2
    """

    kind: str
    dtype: str
    wires: Wires
    nbytes: FloatArray
    ranks: FloatArray

    @property
    def steps(self) -> FloatArray:
        """Return the steps of a ring (n,): once around, twice where all are to have the sum."""
        return (self.ranks - 1) * (2.0 if self.kind == "all_reduce" else 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """Say how groups are spread over nodes.

    Parameters
    ----------
    count : of nodes (n,), over which the ranks are spread evenly
    nic_bytes_per_s : of all network cards of a node, one direction (n,)
    """

    count: FloatArray
    nic_bytes_per_s: FloatArray


def one_node(calls: Calls) -> Nodes:
    """Return that each group has a node of its own."""
    return Nodes(np.ones(len(calls.ranks)), np.full(len(calls.ranks), np.inf))


@functools.cache
def tuning() -> Mapping[str, Any]:
    """Return the figures of NCCL's tuning model."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def way(calls: Calls, nodes: Nodes | None = None) -> IntArray:
    """Return which of the `WAYS` NCCL takes for each call (n,).

    Parameters
    ----------
    calls : all that are not all_reduce go by rings
    nodes : that they are spread over; None: one

    >>> from hwmodels.devices import find_spec
    >>> a100 = wires_of(find_spec("nvidia-a100-sxm-80gb"))
    >>> sizes, two = np.array([2.0**19, 2.0**20]), np.full(2, 2.0)
    >>> [WAYS[i] for i in way(Calls("all_reduce", "float16", a100, sizes, two))]
    ['ring ll', 'ring simple']
    """
    fastest: IntArray = np.argmin(_forecasts_s(calls, nodes or one_node(calls)), axis=0)
    return fastest


def _forecasts_s(calls: Calls, nodes: Nodes) -> FloatArray:
    """Return NCCL's own forecast of each way (ways, n), seconds; infinite where it is ruled out."""
    found = np.full((len(WAYS), len(calls.nbytes)), np.inf)
    reduced = calls.kind == "all_reduce"
    for place, protocol in enumerate(PROTOCOLS):
        if protocol == "ll128" and not calls.wires.own_links:
            continue
        found[RING + place] = _ring_s(place, calls, nodes)
        if reduced:
            found[TREE + place] = _tree_s(place, calls, nodes)
    if reduced and calls.dtype in _IN_SWITCH_DTYPES:
        found[IN_SWITCH] = _in_switch_s(calls, nodes)
    return found


def _bus_bytes_per_s(calls: Calls, nodes: Nodes) -> FloatArray:
    """Return the bus bandwidth that NCCL counts on (n,)."""
    share, wires = tuning()["wire_share"], calls.wires
    if wires.own_links:
        inside = np.full(len(calls.ranks), wires.bytes_per_s * share["nvlink"])
    else:
        crowd = np.maximum(calls.ranks / nodes.count / 2, 1.0) ** share["pcie_group_power"]
        inside = wires.bytes_per_s * share["pcie"] / crowd
    narrower: FloatArray = np.minimum(inside, nodes.nic_bytes_per_s)
    return narrower


def _rate(algorithm: str, place: int, calls: Calls, nodes: Nodes) -> FloatArray:
    """Return the share of the bus bandwidth that a way is taken to reach (n,), bytes/s."""
    figures, generation = tuning(), calls.wires.generation
    share, limit = figures["share"][algorithm][place], np.inf
    if PROTOCOLS[place] == "ll":
        limits = np.array(figures["ll_gb_per_s"][generation]) * 1e9
        limit = limits[np.clip(nodes.count, 1, 3).astype(int) - 1]
    elif PROTOCOLS[place] == "ll128":
        limit = figures["ll128_gb_per_s"].get(generation, np.inf) * 1e9
    rate: FloatArray = np.minimum(share * _bus_bytes_per_s(calls, nodes), limit)
    return rate


def _latencies_s(algorithm: str, place: int, wires: Wires) -> tuple[float, float, float]:
    """Return the launch, a step inside a node and one between nodes, seconds."""
    steps = tuning()["step_us"]
    inside = steps["nvlink" if wires.own_links else "pcie"]
    latencies = (tuning()["base_us"], inside, steps["network"])
    base_s, inside_s, outside_s = (one[algorithm][place] * 1e-6 for one in latencies)
    return base_s, inside_s, outside_s


def _ring_s(place: int, calls: Calls, nodes: Nodes) -> FloatArray:
    base_s, inside_s, outside_s = _latencies_s("ring", place, calls.wires)
    far = calls.steps / (calls.ranks - 1) * (nodes.count - 1)
    rate = _rate("ring", place, calls, nodes)
    time: FloatArray = base_s + (calls.steps - far) * inside_s + far * outside_s + (
        calls.nbytes * calls.steps / calls.ranks / rate)  # fmt: skip
    return time


def _tree_s(place: int, calls: Calls, nodes: Nodes) -> FloatArray:
    base_s, inside_s, outside_s = _latencies_s("tree", place, calls.wires)
    factors = np.array(tuning()["tree_factor"][PROTOCOLS[place]])
    octave = np.floor(np.log2(np.maximum(calls.nbytes, 64.0) / 64)).astype(int)
    factor = np.where(octave < len(factors), factors[np.minimum(octave, len(factors) - 1)], 1.0)
    rate = _rate("tree", place, calls, nodes) * factor
    down = (calls.ranks / nodes.count - 1) * inside_s + np.floor(np.log2(nodes.count)) * outside_s
    time: FloatArray = base_s + 2 * down + 2 * calls.nbytes / rate
    return time


def _in_switch_s(calls: Calls, nodes: Nodes) -> FloatArray:
    """Return the forecast of a reduction by the switch of a node (n,)."""
    figures, wires = tuning()["in_switch"], calls.wires
    channel = figures["channel_gb_per_s"].get(wires.generation)
    if channel is None or not wires.own_links:
        return np.full(len(calls.nbytes), np.inf)
    bus = _bus_bytes_per_s(calls, nodes)
    rate = np.minimum(calls.ranks * channel * 1e9, bus) * figures["share"]
    time: FloatArray = figures["nvlink_us"] * 1e-6 + calls.nbytes / rate
    return np.where((calls.ranks > 2) & (nodes.count == 1), time, np.inf)
