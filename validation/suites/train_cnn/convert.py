"""Turn three tables of training throughput into cases.

Each table is known by its columns: TensorFlow's benchmarks of 2017 and others by `study`, the same
and more by `sync_config`, NVIDIA's DeepLearningExamples by `readme`. A case is a curve's point: its
settings but `on.devices` name the curve. What stands in two tables is one case.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator.files import read_toml
from validation.cases import Case, Conversion, Tables, convert_table, number
from validation.suite import Row

SUITE = "train-cnn"
GOOGLE = "TensorFlow benchmarks May 2017"
HOROVOD = "Horovod"
NVIDIA = "NVIDIA DeepLearningExamples"
ABSOLUTE = "NVIDIA DeepLearningExamples, absolute"
"""Studies: groups of the report. Of the last no point is ever given to a prediction."""


@functools.cache
def tables() -> Mapping[str, Any]:
    """Return what `systems.toml` says."""
    return read_toml(Path(__file__).parent / "systems.toml")


def convert(rows: Sequence[Row]) -> Conversion:
    """Return the cases of a table, and how many rows are out of scope, by reason.

    Raises
    ------
    InputError : none of the three tables, or a number is none
    """
    return convert_table(SUITE, rows, _TABLES)


# --- TensorFlow's benchmarks, and Horovod's ------------------------------------------------------


def _of_study(row: Row, where: str) -> Case | str:
    study = row["study"]
    if study == NVIDIA:
        told = (row["framework"], row["model"], row["note"], row["precision"], row["note"])
        return _nvidia(row, where, told, "throughput_images_per_s", NVIDIA)
    if study.startswith(HOROVOD) and row["gpus"] and row["scaling_efficiency"]:
        return _horovod(row, row["model"], number(row, "gpus", where),
                        number(row, "scaling_efficiency", where))  # fmt: skip
    if study != GOOGLE:
        return f"{study}: no throughput on GPUs of a known system"
    words = (row["gpu"], row["model"], row["data"], row["update"])
    sizes = tuple(number(row, name, where) for name in ("gpus", "batch_per_gpu"))
    return _google(row, words, sizes, number(row, "throughput_images_per_s", where))


def _of_sync_config(row: Row, where: str) -> Case | str:
    if row["metric"] == "scaling efficiency":
        return _horovod(row, row["model"], number(row, "n_gpus", where),
                        number(row, "value", where) / 100)  # fmt: skip
    if row["metric"] != "throughput" or row["platform"] not in tables()["TensorFlow"]:
        return f"{row['platform']}: {row['metric']}"
    words = (row["platform"], row["model"], row["data"], row["sync_config"])
    sizes = tuple(number(row, name, where) for name in ("n_gpus", "per_gpu_batch_size"))
    return _google(row, words, sizes, number(row, "value", where))


def _google(
    row: Row, words: tuple[str, str, str, str], sizes: tuple[float, ...], measured: float
) -> Case | str:
    system, model, data, update = words
    workload, plan = _workload(model), _update(update)
    if system not in tables()["TensorFlow"] or workload is None or plan is None:
        return f"{GOOGLE}: {system}, {model}, {update}"
    settings: dict[str, str | float] = {
        "workload": workload,
        "workload.batch": sizes[1],
        "workload.data": data,
        "on": tables()["TensorFlow"][system],
        "on.devices": sizes[0],
        "plan": "data-parallel" if plan == "all-reduce" else "parameter-server",
        "plan.update": plan,
    }
    return _case(row, GOOGLE, settings, measured)


def _horovod(row: Row, model: str, gpus: float, efficiency: float) -> Case | str:
    workload = _workload(model)
    if workload is None:
        return f"{HOROVOD}: {model}"
    settings: dict[str, str | float] = {
        "workload": workload,
        "workload.batch": float(tables()["horovod"]["batch"]),
        "on": "horovod-p100",
        "on.devices": gpus,
        "plan": "data-parallel",
        "plan.update": "all-reduce",
    }
    return _case(row, HOROVOD, settings, efficiency, "scaling_efficiency", "1")


# --- NVIDIA's ------------------------------------------------------------------------------------


def _of_readme(row: Row, where: str) -> Case | str:
    words = (row["framework"], row["model"], f"{row['section']} {row['system']}", row["metric"],
             row["batch_info"])  # fmt: skip
    return _nvidia(row, where, words, "throughput", ABSOLUTE)


def _nvidia(
    row: Row, where: str, words: tuple[str, str, str, str, str], column: str, study: str
) -> Case | str:
    framework, model, header, metric, batch = words
    workload = _workload(model)
    if workload is None:
        return f"model {model}"
    system = next((one for key, one in tables()["NVIDIA"].items() if key in header), None)
    kind = next((key for key in tables()["precision"] if key in metric.lower()), None)
    if not (row["gpus"] and row[column]):
        return f"{model}: no number of GPUs, or no throughput"
    if system is None or kind is None or "SParsity" in header:
        return f"{model}: {header.strip()}, {metric}"
    precision = tables()["precision"][kind]
    device = {"on.device": system["device"]} if "device" in system else {}
    master = {"workload.master": precision["master"]} if "master" in precision else {}
    settings: dict[str, str | float] = {
        "workload": workload,
        "workload.batch": _batch(batch, kind) or float(precision["batch"]),
        "workload.dtype": precision["dtype"],
        **master,
        "on": system["on"],
        **device,
        "on.devices": number(row, "gpus", where),
        "plan": "data-parallel",
        "plan.update": "all-reduce",
        "plan.framework": framework.lower() + (" xla" if "XLA" in metric else ""),
    }
    return _case(row, study, settings, number(row, column, where))


def _batch(text: str, kind: str) -> float | None:
    """Return the images a GPU that a text tells, such as "128 (FP32) / 256 (AMP)"; None: none."""
    found = re.findall(r"(\d+)(?: \((\w+)\))?", text.partition("GPU=")[2])
    own = [float(size) for size, of in found if (of == "AMP") == (kind == "mixed") or not of]
    return own[0] if own else None


# --- both ----------------------------------------------------------------------------------------


def _workload(model: str) -> str | None:
    found = tables()["workload"].get(model.lower())
    return None if found is None else str(found)


def _update(text: str) -> str | None:
    known = tables()["update"]
    return next((str(known[words]) for words in known if words in text.lower()), None)


def _case(
    row: Row, study: str, settings: Mapping[str, str | float], measured: float,
    metric: str = "samples_per_s", unit: str = "1/s",
) -> Case:  # fmt: skip
    return Case(suite=SUITE, group=study, settings=settings, metric=metric, measured=measured,
                unit=unit, source=row["source"], licence=row["licence"])  # fmt: skip


_TABLES: Tables = (
    ("study", ("framework", "model", "gpu", "gpus", "batch_per_gpu", "data", "update", "precision",
               "throughput_images_per_s", "scaling_efficiency", "note", "source",
               "licence"), _of_study),
    ("sync_config", ("platform", "n_gpus", "model", "per_gpu_batch_size", "data", "metric",
                     "value", "source", "licence"), _of_sync_config),
    ("readme", ("framework", "model", "section", "system", "gpus", "metric", "throughput",
                "batch_info", "source", "licence"), _of_readme),
)  # fmt: skip
"""A column that only this table has, all others that it needs, and how a row becomes a case."""
