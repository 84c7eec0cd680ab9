"""Turn two tables into cases: known by its columns, `n_servers` or `sync_config`.

The first holds MXNet's key-value store on K80s and Multiverso on one host; the second, of two
clusters, null steps, backup workers, and synchronous and asynchronous training of Inception-v3.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator.files import read_toml
from validation.cases import Case, Conversion, convert_table, number
from validation.suite import Row

SUITE = "parameter-server"
NULL, BACKUP, GOOGLE, GCE, MXNET, MULTIVERSO = (
    "null step", "backup workers", "Inception-v3 on K40s", "Inception-v3 on K80s of GCE",
    "MXNet on K80s", "Multiverso",
)  # fmt: skip
"""Groups of the report."""
CLUSTERS = {"Google internal shared cluster": "google-shared-cluster", "GCE K80": "gce-k80"}
UNITS = {"MB": 1e6, "GB": 1e9}
SERVED_COLUMNS = ("system", "application", "n_workers", "n_servers", "hardware", "metric", "value",
                  "unit", "note", "source", "licence")  # fmt: skip
TRAINED_COLUMNS = ("platform", "n_gpus", "model", "sync_config", "metric", "value", "unit",
                   "source", "licence")  # fmt: skip
Settings = dict[str, "str | float"]


@functools.cache
def studies() -> Mapping[str, Any]:
    """Return what `studies.toml` says."""
    return read_toml(Path(__file__).parent / "studies.toml")


def convert(rows: Sequence[Row]) -> Conversion:
    """Return the cases of a table, and how many rows are out of scope, by reason.

    Raises
    ------
    InputError : neither of the two tables, or a number is none
    """
    tables = (("sync_config", TRAINED_COLUMNS, _of_cluster),
              ("n_servers", SERVED_COLUMNS, _of_system))  # fmt: skip
    return convert_table(SUITE, rows, tables)


# --- MXNet and Multiverso ------------------------------------------------------------------------


def _of_system(row: Row, where: str) -> Case | str:
    if row["system"].startswith("MXNet KVStore"):
        return _mxnet(row, where)
    if row["system"].startswith("Multiverso"):
        return _multiverso(row, where)
    return f"{row['system']}: no training on GPUs"


def _mxnet(row: Row, where: str) -> Case | str:
    found = re.match(r"(\S+) bs/GPU (\d+), model ([\d.]+) ([MG]B)", row["application"])
    workload = found and studies()["workload"].get(found[1].lower())
    if found is None or workload is None or row["metric"] != "throughput":
        return f"MXNet: {row['application']}, {row['metric']}"
    settings: Settings = {
        "workload": workload,
        "workload.batch": float(found[2]),
        "workload.bytes": float(found[3]) * UNITS[found[4]],
        "on": "aws-p2.16xlarge",
        "on.devices": number(row, "n_workers", where),
        "plan": "parameter-server",
    }
    return _case(row, MXNET, settings, "samples_per_s", number(row, "value", where), "1/s")


def _multiverso(row: Row, where: str) -> Case | str:
    found = re.match(r"(\S+) \S+ (Torch|Theano) bs(\d+)(?:/worker)?$", row["application"])
    if found is None or row["metric"] != "time per epoch":
        return f"Multiverso: {row['application']}, {row['metric']}"
    served = row["note"].startswith("PS")
    settings: Settings = {
        "workload": found[1].lower(),
        "workload.framework": found[2].lower(),
        "workload.batch": float(found[3]),
        "on": "nvidia-k40",
        "on.devices": number(row, "n_workers", where),
        "plan": "parameter-server" if served else "single",
    }
    return _case(row, MULTIVERSO, settings, "epoch_time_s", number(row, "value", where), "s")


# --- two clusters --------------------------------------------------------------------------------


def _of_cluster(row: Row, where: str) -> Case | str:
    if row["platform"] not in CLUSTERS:
        return f"{row['platform']}: of other suites"
    settings: Settings = {
        "workload": row["model"].lower(),
        "on": CLUSTERS[row["platform"]],
        "on.devices": number(row, "n_gpus", where),
        "plan": "parameter-server",
        "plan.mode": "asynchronous" if "async" in row["sync_config"] else "synchronous",
    }
    if found := re.search(r"(\d+) PS", row["sync_config"]):
        settings["plan.servers"] = float(found[1])
    if row["model"].startswith("null "):
        return _null(row, where, settings)
    if row["model"] == "Inception-v3":
        return _inception(row, where, settings)
    return f"model {row['model']}"


def _null(row: Row, where: str, settings: Settings) -> Case | str:
    found = re.match(r"null (Scalar|Dense|Sparse)(?: ([\d.]+) ?([MG]B))?", row["model"])
    scale = {"ms": 1e-3, "s": 1.0}.get(row["unit"])
    sized = found is not None and (found[2] is not None) >= (found[1] == "Dense")
    if found is None or not sized or scale is None or row["metric"] != "median step time":
        return f"{row['model']}: {row['metric']}, {row['unit']}"
    settings |= {"workload": "null-step", "workload.access": found[1].lower()}
    if found[1] == "Dense":
        settings["workload.bytes"] = float(found[2]) * UNITS[found[3]]
    if rows := re.search(r"(\d+) rows", row["model"]):
        settings["workload.rows"] = float(rows[1])
    return _case(row, NULL, settings, "step_time_s", number(row, "value", where) * scale, "s")


def _inception(row: Row, where: str, settings: Settings) -> Case | str:
    value, metric = number(row, "value", where), row["metric"]
    if found := re.match(r"(median step time|normalized speedup) with (\d+) backup", metric):
        settings["plan.backup"] = float(found[2])
        timed = found[1] == "median step time"
        return _case(row, BACKUP, settings, "step_time_s" if timed else "normalized_speedup",
                     value, "s" if timed else "1")  # fmt: skip
    if metric == "throughput":
        return _case(row, GOOGLE, settings, "samples_per_s", value, "1/s")
    if metric.startswith("throughput per worker "):
        settings["workload.framework"] = metric.rpartition(" ")[2].lower()
        return _case(row, GCE, settings, "samples_per_s_of_a_worker", value, "1/s")
    return f"Inception-v3: {metric}"


def _case(
    row: Row, group: str, settings: Settings, metric: str, measured: float, unit: str
) -> Case:  # fmt: skip
    return Case(suite=SUITE, group=group, settings=settings, metric=metric, measured=measured,
                unit=unit, source=row["source"], licence=row["licence"])  # fmt: skip
