"""Time collectives of NCCL inside a node: a form with bounded numbers, and a smooth correction.

A collective of n ranks is launched, makes n - 1 steps (all_reduce twice as many) of a part of the
message each, and ends with a copy that overlaps with nothing. Which protocol carries it, or whether
the switch reduces it, NCCL decides by its own forecast (`nccl_plan.py`); each has a latency a step
and a share of the wire. So the number of ranks enters by steps and parts, and a device that nobody
measured takes over latencies, and shares of its own wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from hwmodels.gpu.family import Axis, Family, Numbers, Parameter, Parts, Sizes
from hwmodels.network.nccl_plan import IN_SWITCH, RING, Group, Wires, tuning, way
from hwmodels.spec import FamilyFit
from simulator.errors import InputError
from simulator.ops import FloatArray

_PROTOCOLS = {
    "launch_s": Parameter(5e-7, 5e-6, 1e-4, "before the first and after the last step, seconds"),
    "ll_step_s": Parameter(1e-7, 7e-7, 1e-5, "a step of few bytes by LL, seconds"),
    "ll_fill_s": Parameter(1e-9, 3e-7, 1e-5, "what filling one channel adds to a step by LL"),
    "ll_share": Parameter(0.01, 0.35, 0.9, "share of the wire that LL reaches"),
    "ll128_base_s": Parameter(1e-8, 3e-6, 5e-5, "what LL128 adds to the launch, seconds"),
    "ll128_step_s": Parameter(1e-7, 1e-6, 1e-5, "a step by LL128, seconds"),
    "ll128_share": Parameter(0.1, 0.7, 0.95, "share of the wire that LL128 reaches"),
    "simple_base_s": Parameter(1e-8, 8e-6, 5e-5, "what Simple adds to the launch, seconds"),
    "simple_step_s": Parameter(1e-7, 2e-6, 1e-5, "a step by Simple, seconds"),
    "simple_share": Parameter(0.1, 0.8, 0.95, "share of the wire that Simple reaches"),
    "last": Parameter(0.02, 0.7, 2.0, "the last copy, as a share of a step's transfer"),
    "group_power": Parameter(1e-3, 1e-2, 1.0, "power of n/2 by which a bigger group shares wires"),
    "ll_group_power": Parameter(1e-3, 1e-2, 1.2, "the same by LL"),
}
_SWITCH = {
    "switch_base_s": Parameter(2e-6, 2.5e-5, 1e-4, "launch and latency of the switch, seconds"),
    "switch_share": Parameter(0.1, 0.55, 1.0, "message over wire and time, reduced by the switch"),
}
_EXCHANGE = {
    "launch_s": Parameter(5e-7, 5e-6, 1e-4, "launch and latency, seconds"),
    "peer_s": Parameter(1e-9, 3e-7, 1e-5, "what a peer adds, seconds"),
    "ll_peer_share": Parameter(1e-4, 0.02, 0.5, "share of the wire of one peer's channel by LL"),
    "simple_base_s": Parameter(1e-8, 6e-6, 5e-5, "what Simple adds to the launch, seconds"),
    "simple_share": Parameter(0.1, 0.7, 0.95, "share of the wire that Simple reaches"),
    "last": Parameter(0.02, 0.5, 2.0, "the rank's own part, as a share of a peer's"),
    "group_power": Parameter(1e-3, 1e-2, 1.0, "power of n/2 by which a bigger group shares wires"),
    "ll_group_power": Parameter(1e-3, 1e-2, 2.0, "the same by LL"),
}
_AXES = (Axis("bytes", 6.0, 1.0, 23, (("ranks", -1.0),)), Axis("ranks", 1.0, 2.0, 2))
"""Of corrections: a rank's part of the message, and the ranks (2, 8 and between)."""
_AROUND = {"all_reduce": 2.0, "all_gather": 1.0, "reduce_scatter": 1.0, "broadcast": 1.0,
           "reduce": 1.0}  # fmt: skip
"""How many times a message's parts go around the ring."""
_MEASURED = {"broadcast": "all_gather", "reduce": "reduce_scatter", "send_recv": "all_to_all"}
"""Kinds that are timed with the numbers of another one, which uses the wires alike."""
KINDS = (*_AROUND, "all_to_all", "send_recv")
"""What is timed here."""
REDUCING = ("all_reduce", "reduce_scatter", "reduce")
INTEGERS = ("int8", "uint8", "float8")
"""Dtypes that are reduced more slowly, and never by the switch."""
ANY = "any"
"""Stands for the dtype where nothing is reduced."""


class FitKey(NamedTuple):
    """Say whose numbers a collective is timed by: a kind that is measured, and a dtype."""

    kind: str
    dtype: str


def fit_key(kind: str, dtype: str) -> FitKey:
    """Return which numbers time a collective.

    >>> fit_key("broadcast", "float32"), fit_key("all_reduce", "bfloat16")
    (FitKey(kind='all_gather', dtype='any'), FitKey(kind='all_reduce', dtype='float16'))

    Raises
    ------
    InputError : NCCL has no such collective
    """
    if kind not in KINDS:
        raise InputError(f"NCCL has no collective '{kind}'; it has {', '.join(sorted(KINDS))}")
    measured = _MEASURED.get(kind, kind)
    if measured not in REDUCING:
        return FitKey(measured, ANY)
    return FitKey(measured, "int8" if dtype in INTEGERS else "float16")


def family(kind: str, wires: Wires) -> Family:
    """Return the family of a kind of collective on devices with such wires.

    Its sizes are "bytes" (as NCCL's tests count them: the whole message) and "ranks".
    """

    def form(chip: object, dtype: str, numbers: Numbers, sizes: Sizes) -> Parts:
        timed = _exchange if kind in ("all_to_all", "send_recv") else _ring
        return timed(kind, dtype, wires, numbers, sizes)

    return Family(
        name=kind,
        sizes=("bytes", "ranks"),
        parameters=_parameters(kind, wires),
        form=form,
        amounts=lambda dtype, sizes: (np.zeros(len(sizes["bytes"])), sizes["bytes"]),
        axes=_AXES,
    )


def _parameters(kind: str, wires: Wires) -> Mapping[str, Parameter]:
    if kind in ("all_to_all", "send_recv"):
        return MappingProxyType(_EXCHANGE)
    able = wires.own_links and wires.generation in tuning()["in_switch"]["channel_gb_per_s"]
    return MappingProxyType(_PROTOCOLS | (_SWITCH if able and kind == "all_reduce" else {}))


def parts_of(
    kind: str, dtype: str, wires: Wires, fit: FamilyFit, nbytes: FloatArray, ranks: FloatArray
) -> Parts:  # fmt: skip
    """Return what collectives inside a node spend time on (n,): fixed, and moving data, seconds.

    Parameters
    ----------
    kind, dtype : of all
    wires : of each rank
    fit : of the kind on the device, or a relative's
    nbytes : size of each message (n,)
    ranks : of each group (n,), at least 2
    """
    one = family(kind, wires)
    sizes = {"bytes": nbytes, "ranks": ranks}
    timed = _exchange if kind in ("all_to_all", "send_recv") else _ring
    parts = timed(kind, dtype, wires, fit.numbers, sizes)
    return parts.times(np.exp(one.correction(fit, sizes))) if fit.correction else parts


def _ring(kind: str, dtype: str, wires: Wires, numbers: Numbers, sizes: Sizes) -> Parts:
    """Return the parts of collectives that go around a ring, or are reduced by the switch."""
    nbytes, ranks = sizes["bytes"], sizes["ranks"]
    one_node = Group(ranks=ranks, nodes=np.ones(len(ranks)), nic_bytes_per_s=np.zeros(len(ranks)))
    chosen = way(kind, dtype, wires, nbytes, one_node)
    steps = _AROUND[kind] * (ranks - 1)
    chained = kind in ("broadcast", "reduce")
    part = nbytes / ranks
    moved = nbytes if chained else part * (steps + numbers["last"])
    crowd, ll_crowd = _crowds(numbers, ranks)
    channel = tuning()["channel"]["ll_bytes"]
    fixed = [
        steps * (numbers["ll_step_s"] + numbers["ll_fill_s"] * np.minimum(part / channel, 1.0)),
        numbers["ll128_base_s"] + steps * numbers["ll128_step_s"],
        numbers["simple_base_s"] + steps * numbers["simple_step_s"],
    ]
    fixed = [numbers["launch_s"] + one for one in fixed]
    moved = moved * _mesh(wires, ranks)
    bulk = [
        moved / (wires.bytes_per_s * numbers[f"{protocol}_share"]) * shared
        for protocol, shared in (("ll", ll_crowd), ("ll128", crowd), ("simple", crowd))
    ]
    if "switch_share" in numbers:
        fixed.append(np.full(len(nbytes), numbers["switch_base_s"]))
        bulk.append(nbytes / (wires.bytes_per_s * numbers["switch_share"]))
    return _chosen(np.where(chosen > IN_SWITCH, RING + chosen - IN_SWITCH - 1, chosen), fixed, bulk)


def _crowds(numbers: Numbers, ranks: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return how much longer data take because more ranks share wires (n,); by LL the second."""
    more = np.maximum(ranks / 2, 1.0)
    return more ** numbers["group_power"], more ** numbers["ll_group_power"]


def _mesh(wires: Wires, ranks: FloatArray) -> FloatArray:
    """Return how much longer data take (n,) where links form a mesh that rings only partly use."""
    rings = tuning()["mesh_rings"].get(wires.generation) if wires.own_links else None
    if rings is None:
        return np.ones(len(ranks))
    at = np.minimum(ranks, len(rings)).astype(np.int64) - 1
    longer: FloatArray = max(rings) / np.array(rings, float)[at]
    return longer


def _chosen(chosen: FloatArray, fixed: list[FloatArray], bulk: list[FloatArray]) -> Parts:
    at = np.minimum(chosen, len(fixed) - 1), np.arange(len(chosen))
    return Parts(np.stack(fixed)[at], np.zeros(len(chosen)), np.stack(bulk)[at])


def _exchange(kind: str, dtype: str, wires: Wires, numbers: Numbers, sizes: Sizes) -> Parts:
    """Return the parts of exchanges in which each rank sends to all others at once."""
    nbytes, ranks = sizes["bytes"], sizes["ranks"]
    peers = ranks - 1
    part = nbytes / ranks if kind == "all_to_all" else nbytes
    own = numbers["last"] if kind == "all_to_all" else 0.0
    crowd, ll_crowd = _crowds(numbers, ranks)
    start = numbers["launch_s"] + peers * numbers["peer_s"]
    fixed = [start, start + numbers["simple_base_s"]]
    bulk = [
        part / (wires.bytes_per_s * numbers["ll_peer_share"]) * ll_crowd,
        part * (peers + own) / (wires.bytes_per_s * numbers["simple_share"]) * crowd,
    ]
    return _chosen((part > tuning()["peer"]["ll_bytes"]).astype(np.int64), fixed, bulk)
