"""Turn the tables of collectives on many systems into cases; a table is known by its columns.

`nccl_allreduce` and `vtrain_allreduce_lut` are runs of nccl-tests (the out-of-place time, else the
in-place one, else what the bus bandwidth says), `gpu_collectives_vidur` calls of torch. What stands
in two tables is one case. Bytes are the whole message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from hwmodels.devices import find_spec
from simulator.errors import InputError, UnknownNameError
from validation.cases import Case, Conversion, convert_rows, number
from validation.suite import Row

SUITE = "collectives"
Read: TypeAlias = Callable[[Row, str], "Case | str"]
TIMES = ("time_us_out_of_place", "time_us_in_place")
RATES = ("busbw_GBps_out", "busbw_GBps_in")
LEAST_RATE = 0.5
"""Bus bandwidths below this, GB/s, were rounded by more than 1 %."""
VTRAIN = "vTrain profiling node"
FABRICS = (("EFA v1", "efa-v1"), ("EFA v2", "efa-v2"), ("InfiniBand", "infiniband"),
           ("Slingshot", "slingshot"))  # fmt: skip
"""What names of networks begin with or hold, and the fabric that they mean."""
VIDUR_KINDS = {"all_reduce": "all_reduce", "send_recv": "send_recv"}


def convert(rows: Sequence[Row]) -> Conversion:
    """Return the cases of a table, and how many rows are out of scope, by reason.

    Raises
    ------
    InputError : a table of another kind, or a number is none
    """
    for mark, columns, read in TABLES:
        if rows and mark in rows[0]:
            return convert_rows(SUITE, rows, columns, read)
    marks = ", ".join(mark for mark, _, _ in TABLES)
    raise InputError(f"suite {SUITE}: the table must have one of the columns {marks}")


def _published(row: Row, where: str) -> Case | str:
    """Return the case of a row of nccl_allreduce."""
    if "NVLS off" in row["note"]:
        return "NVLS was switched off"
    ranks = number(row, "gpus", where)
    nodes = (
        1.0 if not row["nodes"] and "NVSwitch" in row["network"] else number(row, "nodes", where)
    )
    extra: dict[str, str | float] = {"on.system": row["system"]}
    if nodes > 1:
        network = network_of(row["network"], ranks / nodes)
        if network is None:
            return f"network between nodes: {row['network']}"
        fabric, rate = network
        extra |= {"on.nodes": nodes, "on.fabric": fabric, "on.nic_bytes_per_s": rate}
    time_s = _time_s(row, ranks, where)
    if time_s is None:
        return "bus bandwidth rounded to less than 1 %"
    dtype = "float32" if row["dtype"] in ("", "float") else row["dtype"]
    return _case(row, "all_reduce", row["gpu"], ranks, dtype, time_s, extra, where)


def _vtrain(row: Row, where: str) -> Case | str:
    """Return the case of a row of vtrain_allreduce_lut."""
    ranks = number(row, "gpus", where)
    time_s = _time_s(row, ranks, where)
    if time_s is None:
        return "bus bandwidth rounded to less than 1 %"
    return _case(row, "all_reduce", row["gpu"], ranks, "float32", time_s,
                 {"on.system": VTRAIN}, where)  # fmt: skip


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
    return _case({**row, "size_bytes": row["bytes"]}, VIDUR_KINDS[row["op"]], gpu, ranks, "float16",
                 number(row, "time_median_us", where) * 1e-6,
                 {"on.system": f"vidur {row['cluster']}"}, where)  # fmt: skip


TABLES: tuple[tuple[str, tuple[str, ...], Read], ...] = (
    ("time_median_us", ("cluster", "op", "num_gpus", "devices_per_node", "bytes", "source",
                        "licence"), _vidur),
    ("network", ("gpu", "system", "nodes", "gpus", "size_bytes", "dtype", "note", *TIMES, *RATES,
                 "source", "licence"), _published),
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


def _time_s(row: Row, ranks: float, where: str) -> float | None:
    """Return the time of a row, seconds; None where its bus bandwidth says too little."""
    for column in TIMES:
        if row[column]:
            return number(row, column, where) * 1e-6
    column = RATES[0] if row[RATES[0]] else RATES[1]
    rate = number(row, column, where)
    if rate < LEAST_RATE:
        return None
    return number(row, "size_bytes", where) * 2 * (ranks - 1) / ranks / (rate * 1e9)


def _case(
    row: Mapping[str, str], kind: str, gpu: str, ranks: float, dtype: str, time_s: float,
    extra: Mapping[str, str | float], where: str,
) -> Case | str:  # fmt: skip
    try:
        find_spec(gpu)
    except UnknownNameError:
        return f"GPU '{gpu}' is not named or not known"
    if not math.isfinite(time_s):
        raise InputError(f"{where}: a time of {time_s}")
    return Case(
        suite=SUITE,
        group=str(extra["on.system"]),
        settings={
            "workload": kind,
            "workload.bytes": number(row, "size_bytes", where),
            "workload.dtype": dtype,
            "on": gpu,
            "on.devices": ranks,
            **extra,
            "plan": "nccl",
        },
        metric="time_s",
        measured=time_s,
        unit="s",
        source=row["source"],
        licence=row["licence"],
    )
