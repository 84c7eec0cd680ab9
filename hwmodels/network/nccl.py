"""Time collectives of NCCL inside a node: a form with bounded numbers, and a smooth correction.

A collective of n ranks is launched, makes n - 1 steps (all_reduce twice as many) of a part of the
message each, and ends with a copy that overlaps with nothing. Which protocol carries it, or whether
the switch reduces it, NCCL decides by its own forecast (`nccl_plan.py`); each has a latency a step
and a share of the wire. So the number of ranks enters by steps and parts, and a device that nobody
measured takes over latencies, and shares of its own wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from hwmodels.gpu.family import Axis, Family, Numbers, Parameter, Parts, Sizes
from hwmodels.network.nccl_plan import PROTOCOLS, RING, TREE, Calls, Wires, tuning, way
from hwmodels.spec import FamilyFit
from simulator.errors import InputError
from simulator.ops import FloatArray, IntArray

_PROTOCOLS = {
    "launch_s": Parameter(5e-7, 5e-6, 1e-4, "before the first and after the last step, seconds"),
    "ll_step_s": Parameter(1e-7, 7e-7, 3e-6, "a step of few bytes by LL, seconds"),
    "ll_fill_s": Parameter(1e-9, 3e-7, 1e-5, "what filling one channel adds to a step by LL"),
    "ll_channels": Parameter(1.0, 12.0, 64.0, "channels that each take their fill by LL at once"),
    "ll_share": Parameter(0.01, 0.35, 0.9, "share of the wire that LL reaches beyond that"),
    "ll128_base_s": Parameter(1e-8, 3e-6, 5e-5, "what LL128 adds to the launch, seconds"),
    "ll128_step_s": Parameter(1e-7, 1.3e-6, 4e-6, "a step by LL128, seconds"),
    "ll128_share": Parameter(0.1, 0.7, 0.95, "share of the wire that LL128 reaches"),
    "simple_base_s": Parameter(1e-8, 8e-6, 5e-5, "what Simple adds to the launch, seconds"),
    "simple_step_s": Parameter(1e-7, 3e-6, 6e-6, "a step by Simple, seconds"),
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
_MEASURED = {"broadcast": "all_gather", "reduce": "reduce_scatter", "send_recv": "all_to_all"}
"""Kinds that are timed with the numbers of another one, which uses the wires alike."""
KINDS = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "reduce", "all_to_all",
         "send_recv")  # fmt: skip
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

    Its sizes are "bytes" and "ranks" as `as_measured` has them.
    """

    def form(chip: object, dtype: str, numbers: Numbers, sizes: Sizes) -> Parts:
        return _form(Calls(kind, dtype, wires, sizes["bytes"], sizes["ranks"]), numbers)

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


def parts_of(calls: Calls, fit: FamilyFit) -> Parts:
    """Return what collectives inside a node spend time on (n,): fixed, and moving data, seconds.

    Parameters
    ----------
    calls : of one kind
    fit : of the kind on the device, or a relative's
    """
    calls = as_measured(calls)
    parts = _form(calls, fit.numbers)
    if not fit.correction:
        return parts
    sizes = {"bytes": calls.nbytes, "ranks": calls.ranks}
    return parts.times(np.exp(family(calls.kind, calls.wires).correction(fit, sizes)))


def as_measured(calls: Calls) -> Calls:
    """Return calls with bytes and ranks as fits have them: to send is an exchange of two."""
    if calls.kind != "send_recv":
        return calls
    return replace(calls, nbytes=2 * calls.nbytes, ranks=np.full(len(calls.ranks), 2.0))


def _form(calls: Calls, numbers: Numbers) -> Parts:
    exchanged = calls.kind in ("all_to_all", "send_recv")
    return _exchange(calls, numbers) if exchanged else _ring(calls, numbers)


def _ring(calls: Calls, numbers: Numbers) -> Parts:
    """Return the parts of collectives that go around a ring, or are reduced by the switch."""
    chosen = way(calls)
    # Inside a node a tree is a chain up and down: the steps and the traffic of a ring.
    chosen = np.where(chosen >= TREE, RING + chosen - TREE, chosen)
    fixed, bulk = _ring_fixed_s(calls, numbers), _ring_bulk_s(calls, numbers)
    if "switch_share" in numbers:
        fixed.append(np.full(len(calls.nbytes), numbers["switch_base_s"]))
        bulk.append(calls.nbytes / (calls.wires.bytes_per_s * numbers["switch_share"]))
    return _chosen(chosen, fixed, bulk)


def _ring_fixed_s(calls: Calls, numbers: Numbers) -> list[FloatArray]:
    """Return the launch and the latencies by each protocol (n,), seconds."""
    channel = tuning()["channel"]["ll_bytes"]
    filled = np.minimum(calls.nbytes / calls.ranks / channel, 1.0)
    fixed = [
        calls.steps * (numbers["ll_step_s"] + numbers["ll_fill_s"] * filled),
        numbers["ll128_base_s"] + calls.steps * numbers["ll128_step_s"],
        numbers["simple_base_s"] + calls.steps * numbers["simple_step_s"],
    ]
    return [numbers["launch_s"] + one for one in fixed]


def _ring_bulk_s(calls: Calls, numbers: Numbers) -> list[FloatArray]:
    """Return the time of the data by each protocol (n,), seconds."""
    part, times = calls.nbytes / calls.ranks, calls.steps + numbers["last"]
    if calls.kind in ("broadcast", "reduce"):
        part, times = calls.nbytes, np.ones(len(calls.nbytes))
    filled = numbers["ll_channels"] * tuning()["channel"]["ll_bytes"]
    crowd, ll_crowd = _crowds(numbers, calls.ranks)
    ways = ((np.maximum(part - filled, 0.0), ll_crowd), (part, crowd), (part, crowd))
    times = times * _mesh(calls.wires, calls.ranks) / calls.wires.bytes_per_s
    return [moved * times / _share(calls, numbers[f"{protocol}_share"]) * shared
            for protocol, (moved, shared) in zip(PROTOCOLS, ways, strict=True)]  # fmt: skip


def _share(calls: Calls, share: float) -> float:
    """Return the share of the wire that a collective reaches.

    A number of another kind stands beside that kind's last copy, and may be more than the wire's
    protocol leaves; what has no such copy reaches no more than NCCL counts on.
    """
    if calls.kind not in _MEASURED:
        return share
    most: float = tuning()["wire_share"]["nvlink" if calls.wires.own_links else "pcie"]
    return min(share, most)


def _crowds(numbers: Numbers, ranks: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return how much longer data take because more ranks share wires (n,); by LL the second."""
    more = np.maximum(ranks / 2, 1.0)
    return more ** numbers["group_power"], more ** numbers["ll_group_power"]


def _mesh(wires: Wires, ranks: FloatArray) -> FloatArray:
    """Return how much longer data take (n,) where links form a mesh that rings only partly use."""
    meshed = wires.own_links and not wires.switched
    rings = tuning()["mesh_rings"].get(wires.generation) if meshed else None
    if rings is None:
        return np.ones(len(ranks))
    at = np.minimum(ranks, len(rings)).astype(np.int64) - 1
    longer: FloatArray = max(rings) / np.array(rings, float)[at]
    return longer


def _chosen(chosen: IntArray, fixed: list[FloatArray], bulk: list[FloatArray]) -> Parts:
    at = np.minimum(chosen, len(fixed) - 1), np.arange(len(chosen))
    return Parts(np.stack(fixed)[at], np.zeros(len(chosen)), np.stack(bulk)[at])


def _exchange(calls: Calls, numbers: Numbers) -> Parts:
    """Return the parts of exchanges in which each rank sends to all others at once."""
    peers, part = calls.ranks - 1, calls.nbytes / calls.ranks
    own = 0.0 if calls.kind == "send_recv" else numbers["last"]
    crowd, ll_crowd = _crowds(numbers, calls.ranks)
    start = numbers["launch_s"] + peers * numbers["peer_s"]
    fixed = [start, start + numbers["simple_base_s"]]
    wire = calls.wires.bytes_per_s
    bulk = [
        part / (wire * numbers["ll_peer_share"]) * ll_crowd,
        part * (peers + own) / (wire * _share(calls, numbers["simple_share"])) * crowd,
    ]
    return _chosen((part > tuning()["peer"]["ll_bytes"]).astype(np.int64), fixed, bulk)
