"""Turn the tables of collectives on many systems into cases; a table is known by its columns.

`nccl_allreduce` and `vtrain_allreduce_lut` are runs of nccl-tests (the out-of-place time, else the
in-place one, else what the bus bandwidth says), `gpu_collectives_vidur` calls of torch. What stands
in two tables is one case. Bytes are the whole message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hwmodels.devices import find_spec
from simulator.errors import UnknownNameError
from validation.cases import Case, Conversion, Tables, convert_table, number
from validation.suite import Row
from validation.suites.nccl.convert import DTYPES, KINDS

SUITE = "collectives"
TIMES = ("time_us_out_of_place", "time_us_in_place")
RATES = ("busbw_GBps_out", "busbw_GBps_in")
LEAST_RATE = 0.5
"""Bus bandwidths below this, GB/s, were rounded by more than 1 %."""
ONE_NODE = ("NVSwitch", "NVLink", "one node")
"""What networks are called that no node is left by."""
NO_LICENCE = "facts only (no licence named)"
"""Of pages and threads that say nothing of one."""
VTRAIN = "vTrain profiling node"
FABRICS = (("EFA v1", "efa-v1"), ("EFA v2", "efa-v2"), ("InfiniBand", "infiniband"),
           ("Slingshot", "slingshot"))  # fmt: skip
"""What names of networks begin with or hold, and the fabric that they mean."""
VIDUR_KINDS = {"all_reduce": "all_reduce", "send_recv": "send_recv"}
"""Collectives as Vidur spells them."""


def convert(rows: Sequence[Row]) -> Conversion:
    """Return the cases of a table, and how many rows are out of scope, by reason.

    Raises
    ------
    InputError : a table of another kind, or a number is none
    """
    return convert_table(SUITE, rows, TABLES)


def _published(row: Row, where: str) -> Case | str:
    """Return the case of a row of nccl_allreduce."""
    if "NVLS off" in row["note"]:
        return "NVLS was switched off"
    if row["collective"] not in KINDS:
        return f"collective {row['collective']}"
    if not row["gpus"]:
        return "the number of GPUs is not said"
    ranks = number(row, "gpus", where)
    extra = _spread(row, ranks, where)
    if isinstance(extra, str):
        return extra
    dtype = DTYPES.get(row["dtype"], row["dtype"]) or "float32"
    return _tested(row, KINDS[row["collective"]], dtype, {"on.system": row["system"], **extra},
                   where)  # fmt: skip


def _spread(row: Row, ranks: float, where: str) -> dict[str, str | float] | str:
    """Return the settings of several nodes, {} for one, or why they are unknown."""
    if not row["nodes"]:
        one = any(words in row["network"] for words in ONE_NODE)
        return {} if one else "the number of nodes is not said"
    nodes = number(row, "nodes", where)
    if nodes == 1:
        return {}
    network = network_of(row["network"], ranks / nodes)
    if network is None:
        return f"network between nodes: {row['network']}"
    return {"on.nodes": nodes, "on.fabric": network[0], "on.nic_bytes_per_s": network[1]}


def _vtrain(row: Row, where: str) -> Case | str:
    """Return the case of a row of vtrain_allreduce_lut."""
    return _tested(row, "all_reduce", "float32", {"on.system": VTRAIN}, where)


def _tested(
    row: Row, kind: str, dtype: str, extra: Mapping[str, str | float], where: str
) -> Case | str:
    """Return the case of a run of nccl-tests."""
    ranks = number(row, "gpus", where)
    if not row["size_bytes"]:
        return "the size is not said"
    time_s = _time_s(row, kind, ranks, where)
    if time_s is None:
        return "no time, and no bus bandwidth that is rounded to 1 % or less"
    settings: dict[str, str | float] = {
        "workload": kind,
        "workload.dtype": dtype,
        "on": row["gpu"],
        "on.devices": ranks,
    }
    return _case(row, {**settings, **extra}, time_s, where)


def _vidur(row: Row, where: str) -> Case | str:
    """Return the case of a row of gpu_collectives_vidur."""
    ranks = number(row, "num_gpus", where)
    if row["op"] not in VIDUR_KINDS:
        return f"collective {row['op']}"
    if number(row, "devices_per_node", where) < ranks:
        return "the network between nodes is not said"
    gpu, _, links = row["cluster"].partition("_")
    if links != "dgx":
        return f"GPUs that are linked in pairs ({row['cluster']})"
    settings: dict[str, str | float] = {
        "workload": VIDUR_KINDS[row["op"]],
        "workload.dtype": "float16",
        "on": gpu,
        "on.devices": ranks,
        "on.system": f"vidur {row['cluster']}",
    }
    time_s = number(row, "time_median_us", where) * 1e-6
    return _case({**row, "size_bytes": row["bytes"]}, settings, time_s, where)


TABLES: Tables = (
    ("time_median_us", ("cluster", "op", "num_gpus", "devices_per_node", "bytes", "source",
                        "licence"), _vidur),
    ("network", ("collective", "gpu", "system", "nodes", "gpus", "size_bytes", "dtype", "note",
                 *TIMES, *RATES, "source", "licence"), _published),
    ("time_us_out_of_place", ("gpu", "gpus", "size_bytes", *TIMES, *RATES, "source", "licence"),
     _vtrain),
)  # fmt: skip
"""A column that only this table has, the columns it needs, and what reads its rows."""


def network_of(text: str, local: float) -> tuple[str, float] | None:
    """Return the fabric of a network, and the rate of a node's cards, bytes/s one direction.

    >>> network_of("4x HDR 200 Gb/s InfiniBand a node", 8)
    ('infiniband', 100000000000.0)
    >>> network_of("Slingshot-11 200 Gb/s (one NIC a rank)", 1)
    ('slingshot', 25000000000.0)
    >>> network_of("some wires", 8) is None
    True
    """
    fabric = next((name for mark, name in FABRICS if mark in text), None)
    rate = re.search(r"(\d+) Gb/s", text)
    if fabric is None or rate is None:
        return None
    count = re.search(r"(\d+) ?x ?(?:[A-Z]+ )?\d+ Gb/s|Gb/s x(\d+) a node|, (\d+) a node", text)
    cards = float(next(filter(None, count.groups()))) if count else local
    return fabric, cards * float(rate[1]) * 1e9 / 8


def _time_s(row: Row, kind: str, ranks: float, where: str) -> float | None:
    """Return the time of a row, seconds; None where its bus bandwidth says too little."""
    for column in TIMES:
        if row[column]:
            return number(row, column, where) * 1e-6
    for column in RATES:
        if row[column] and (rate := number(row, column, where)) >= LEAST_RATE:
            return number(row, "size_bytes", where) * _bus_ratio(kind, ranks) / (rate * 1e9)
    return None


def _bus_ratio(kind: str, ranks: float) -> float:
    """Return bus over algorithm bandwidth, as nccl-tests define it."""
    if kind in ("broadcast", "reduce", "send_recv"):
        return 1.0
    return (2.0 if kind == "all_reduce" else 1.0) * (ranks - 1) / ranks


def _case(row: Row, settings: Mapping[str, str | float], time_s: float, where: str) -> Case | str:
    gpu = str(settings["on"])
    try:
        find_spec(gpu)
    except UnknownNameError:
        return f"GPU '{gpu}' is not named or not known"
    return Case(
        suite=SUITE,
        group=str(settings["on.system"]),
        settings={**settings, "workload.bytes": number(row, "size_bytes", where), "plan": "nccl"},
        metric="time_s",
        measured=time_s,
        unit="s",
        source=re.sub(r" \(read_file id \d+\)", "", row["source"]),
        licence=row["licence"] or NO_LICENCE,
    )
