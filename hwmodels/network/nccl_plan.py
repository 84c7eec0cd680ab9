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
    """

    name: str
    bytes_per_s: float
    own_links: bool
    generation: str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Be n groups of equal devices that a collective runs on.

    Parameters
    ----------
    ranks : of each group (n,), at least 2
    nodes : that they are spread over evenly (n,)
    nic_bytes_per_s : of all network cards of a node, one direction (n,); 0 where there is one node
    """

    ranks: FloatArray
    nodes: FloatArray
    nic_bytes_per_s: FloatArray

    @property
    def steps(self) -> FloatArray:
        """Return the steps once around a ring (n,)."""
        return self.ranks - 1


@functools.cache
def tuning() -> Mapping[str, Any]:
    """Return the figures of NCCL's tuning model."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def way(kind: str, dtype: str, wires: Wires, nbytes: FloatArray, group: Group) -> IntArray:
    """Return which of the `WAYS` NCCL takes for each message (n,).

    Parameters
    ----------
    kind : of the collective; all that are not all_reduce go by rings
    dtype : of what is reduced
    wires : of each rank
    nbytes : size of the message as NCCL counts it (n,)
    group : that it is exchanged in (n,)

    >>> from hwmodels.devices import find_spec
    >>> a100 = wires_of(find_spec("nvidia-a100-sxm-80gb"))
    >>> two = Group(ranks=np.full(2, 2.0), nodes=np.ones(2), nic_bytes_per_s=np.zeros(2))
    >>> [WAYS[i] for i in way("all_reduce", "float16", a100, np.array([2.0**19, 2.0**20]), two)]
    ['ring ll', 'ring simple']
    """
    fastest: IntArray = np.argmin(_forecasts_s(kind, dtype, wires, nbytes, group), axis=0)
    return fastest


def _forecasts_s(
    kind: str, dtype: str, wires: Wires, nbytes: FloatArray, group: Group
) -> FloatArray:
    """Return NCCL's own forecast of each way (ways, n), seconds; infinite where it is ruled out."""
    found = np.full((len(WAYS), len(nbytes)), np.inf)
    bus = _bus_bytes_per_s(wires, group)
    around = 2.0 if kind == "all_reduce" else 1.0
    for place, protocol in enumerate(PROTOCOLS):
        if protocol == "ll128" and not wires.own_links:
            continue
        found[RING + place] = _ring_s(around, place, wires, nbytes, group, bus)
        if kind == "all_reduce":
            found[TREE + place] = _tree_s(place, wires, nbytes, group, bus)
    if kind == "all_reduce" and dtype in _IN_SWITCH_DTYPES:
        found[IN_SWITCH] = _in_switch_s(wires, nbytes, group, bus)
    return found


def _bus_bytes_per_s(wires: Wires, group: Group) -> FloatArray:
    """Return the bus bandwidth that NCCL counts on (n,)."""
    share = tuning()["wire_share"]
    wire = wires.bytes_per_s
    if wires.own_links:
        inside = np.full(len(group.ranks), wire * share["nvlink"])
    else:
        local = group.ranks / group.nodes
        inside = wire * share["pcie"] * np.maximum(local / 2, 1) ** -share["pcie_group_power"]
    outside = np.where(group.nodes > 1, group.nic_bytes_per_s, np.inf)
    narrower: FloatArray = np.minimum(inside, outside)
    return narrower


def _ll_limit(wires: Wires, group: Group) -> FloatArray:
    """Return the most that LL carries (n,), bytes/s."""
    limits = np.array(tuning()["ll_gb_per_s"][wires.generation]) * 1e9
    limited: FloatArray = limits[np.clip(group.nodes, 1, 3).astype(int) - 1]
    return limited


def _step_s(wires: Wires, algorithm: str, place: int) -> tuple[float, float]:
    """Return the time of a step inside a node and between nodes, seconds."""
    steps = tuning()["step_us"]
    inside = steps["pcie" if not wires.own_links else "nvlink"]
    return inside[algorithm][place] * 1e-6, steps["network"][algorithm][place] * 1e-6


def _ring_s(
    around: float, place: int, wires: Wires, nbytes: FloatArray, group: Group, bus: FloatArray
) -> FloatArray:  # fmt: skip
    inside_s, outside_s = _step_s(wires, "ring", place)
    steps, far = around * group.steps, around * (group.nodes - 1)
    rate = bus * tuning()["share"]["ring"][place]
    if PROTOCOLS[place] == "ll":
        rate = np.minimum(rate, _ll_limit(wires, group))
    base_s = tuning()["base_us"]["ring"][place] * 1e-6
    time: FloatArray = base_s + (steps - far) * inside_s + far * outside_s + (
        nbytes * steps / group.ranks / rate)  # fmt: skip
    return time


def _tree_s(
    place: int, wires: Wires, nbytes: FloatArray, group: Group, bus: FloatArray
) -> FloatArray:
    inside_s, outside_s = _step_s(wires, "tree", place)
    factors = np.array(tuning()["tree_factor"][PROTOCOLS[place]])
    octave = np.floor(np.log2(np.maximum(nbytes, 64.0) / 64)).astype(int)
    factor = np.where(octave < len(factors), factors[np.minimum(octave, len(factors) - 1)], 1.0)
    rate = bus * tuning()["share"]["tree"][place]
    if PROTOCOLS[place] == "ll":
        rate = np.minimum(rate, _ll_limit(wires, group))
    down = (group.ranks / group.nodes - 1) * inside_s
    down = down + np.floor(np.log2(group.nodes)) * outside_s
    time: FloatArray = (
        tuning()["base_us"]["tree"][place] * 1e-6 + 2 * down + 2 * nbytes / (rate * factor)
    )
    return time


def _in_switch_s(wires: Wires, nbytes: FloatArray, group: Group, bus: FloatArray) -> FloatArray:
    """Return the forecast of a reduction by the switch of a node (n,)."""
    figures = tuning()["in_switch"]
    channel = figures["channel_gb_per_s"].get(wires.generation)
    if channel is None or not wires.own_links:
        return np.full(len(nbytes), np.inf)
    rate = np.minimum(group.ranks * channel * 1e9, bus) * figures["share"]
    time: FloatArray = figures["nvlink_us"] * 1e-6 + nbytes / rate
    return np.where((group.ranks > 2) & (group.nodes == 1), time, np.inf)
