"""Turn tables of steps by nodes and devices into cases; a table is known by its columns.

`pollux_sia_throughputs` holds seconds of a step of each application, by the devices taken on each
node (`gpus_per_node_digits`, "112"; blank where they are even). `gavel_throughputs` holds steps
per second summed over all devices, which all do the same step: a step takes devices / throughput.
There "consolidated" is on one node, "unconsolidated" one device a node.
"""

from __future__ import annotations

from collections.abc import Sequence

from validation.cases import Case, Conversion, Tables, convert_table, number, setting
from validation.suite import Row

SUITE = "scaling"
SYSTEMS = {"aws": "aws-g4dn.12xlarge"}
"""Systems of the catalog by what the traces of Pollux and Sia call their clusters."""
PLACEMENTS = ("consolidated", "unconsolidated")


def convert(rows: Sequence[Row]) -> Conversion:
    """Return the cases of a table, and how many rows are out of scope, by reason.

    Raises
    ------
    InputError : a table of another kind, or a number is none
    """
    return convert_table(SUITE, rows, TABLES)


def _pollux(row: Row, where: str) -> Case | str:
    """Return the case of a row of pollux_sia_throughputs."""
    nodes, devices = number(row, "n_nodes", where), number(row, "n_gpus", where)
    digits = setting(row["gpus_per_node_digits"])
    if digits != "" and _totals(digits) != (nodes, devices):
        return "the devices on each node contradict their number"
    return Case(
        suite=SUITE,
        group=row["app"],
        settings=_settings(row["app"], row, where)
        | {"on": SYSTEMS.get(row["cluster"], row["cluster"])}
        | _places(devices, nodes)
        | ({} if digits == "" else {"on.placement": digits}),
        metric="step_time_s",
        measured=number(row, "step_time_s", where),
        unit="s",
        source=row["source"],
        licence=row["licence"],
    )


def _totals(digits: str | float) -> tuple[float, float]:
    """Return the number of nodes and of all devices."""
    whole = isinstance(digits, float) and digits >= 0 and digits.is_integer()
    each = f"{digits:.0f}" if whole else ""
    return float(len(each)), float(sum(map(int, each)))


def _gavel(row: Row, where: str) -> Case | str:
    """Return the case of a row of gavel_throughputs."""
    if row["status"] != "ok":
        return f"status {row['status']}"
    if not row["per_gpu_batch_size"]:
        return "the batch is not said"
    if row["placement"] not in PLACEMENTS:
        return f"placement {row['placement']}"
    devices = number(row, "n_gpus", where)
    nodes = devices if row["placement"] == "unconsolidated" else 1.0
    return Case(
        suite=SUITE,
        group=row["model"],
        settings=_settings(row["model"], row, where)
        | {"on": f"{row['gpu']} of Gavel"}
        | _places(devices, nodes),
        metric="step_time_s",
        measured=devices / number(row, "throughput_steps_per_s_cluster", where),
        unit="s",
        source=row["source"],
        licence=row["licence"],
    )


def _settings(app: str, row: Row, where: str) -> dict[str, str | float]:
    batch = number(row, "per_gpu_batch_size", where)
    return {"workload": app, "workload.batch": batch, "plan": "data-parallel"}


def _places(devices: float, nodes: float) -> dict[str, str | float]:
    return {"on.devices": devices, "on.nodes": nodes}


_ORIGIN = ("source", "licence")
TABLES: Tables = (
    (
        "step_time_s",
        ("app", "cluster", "n_nodes", "n_gpus", "gpus_per_node_digits", "per_gpu_batch_size",
         "step_time_s", *_ORIGIN),
        _pollux,
    ),
    (
        "throughput_steps_per_s_cluster",
        ("gpu", "placement", "model", "per_gpu_batch_size", "n_gpus",
         "throughput_steps_per_s_cluster", "status", *_ORIGIN),
        _gavel,
    ),
)  # fmt: skip
"""A column that no other table has, the columns that are read, and what reads a row."""
