"""Turn DeepBench's table into cases: products, and three kernels of each convolution.

A convolution of height H x width W has filters R x S (R along the height) and takes `time_ms`
forward, `bwd_in_ms` for the gradient by its input, `bwd_w_ms` for that by its weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from hwmodels.devices import find_spec
from hwmodels.gpu.convolution import input_gradient
from simulator.errors import InputError, UnknownNameError
from validation.cases import Case, Conversion, convert_rows, number
from validation.suite import Row

SUITE = "gpu-deepbench"
COLUMNS = (
    "device", "mode", "precision", "op", "M", "N", "K", "a_t", "b_t", "time_ms", "bwd_in_ms",
    "bwd_w_ms", "W", "H", "C", "R", "S", "pad_h", "pad_w", "stride_v", "stride_h", "source",
    "licence",
)  # fmt: skip
DTYPES: Mapping[str, str] = MappingProxyType({
    "FP32": "float32", "FP16 ip, Mixed math": "float16", "Psuedo FP16": "float16",
    "Mixed Precision": "int8",
})  # fmt: skip
"""Dtypes as the table spells them; its inference multiplies 8-bit integers."""
WITHOUT_MATRIX_UNITS = ("FP32", "Psuedo FP16")
SCOPE = ("gemm", "conv")
REASONS: Mapping[str, str] = MappingProxyType({
    "rnn": "recurrent layers: many kernels, of a library's own fusion",
    "allreduce": "collectives: see the suites of networks",
    "sparse_gemm": "products with unstructured zeros",
})  # fmt: skip


def convert(rows: Sequence[Row]) -> Conversion:
    """Return the cases of the table, and how many rows are out of scope, by reason.

    Raises
    ------
    InputError : the table lacks a column, or a number is none
    """
    return convert_rows(
        SUITE, rows, COLUMNS, lambda row, where: _out_of_scope(row) or _cases(row, where)
    )


def _out_of_scope(row: Row) -> str | None:
    if row["op"] not in SCOPE:
        return REASONS.get(row["op"], f"op {row['op']}")
    if row["precision"] not in DTYPES:
        return f"precision {row['precision']}"
    try:
        kind = find_spec(row["device"]).kind
    except UnknownNameError:
        return f"device {row['device']} is not in the catalog"
    return None if kind == "gpu" else f"device {row['device']} is no GPU"


def _cases(row: Row, where: str) -> Iterator[Case]:
    if row["op"] == "gemm":
        sizes = {"batch": 1.0}
        sizes |= {name.lower(): number(row, name, where) for name in ("M", "N", "K")}
        vector = row["precision"] in WITHOUT_MATRIX_UNITS
        layout = {"workload.layout": (row["a_t"] + row["b_t"]).lower()}
        yield _case(row, where, ("vector_gemm" if vector else "gemm", "time_ms"), sizes, layout)
        return
    sizes = _convolution(row, where)
    yield _case(row, where, ("convolution", "time_ms"), sizes, {"workload.pass": "forward"})
    if row["bwd_in_ms"]:
        gradient = input_gradient({name: np.array(size) for name, size in sizes.items()})
        backward = {name: float(size) for name, size in gradient.items()}
        which = {"workload.pass": "input gradient"}
        yield _case(row, where, ("convolution", "bwd_in_ms"), backward, which)
    if row["bwd_w_ms"]:
        yield _case(row, where, ("convolution_weights", "bwd_w_ms"), sizes, {})


def _convolution(row: Row, where: str) -> dict[str, float]:
    """Return the sizes of a forward convolution."""
    window_h, window_w = number(row, "R", where), number(row, "S", where)
    stride_h, stride_w = number(row, "stride_v", where), number(row, "stride_h", where)
    height = number(row, "H", where) + 2.0 * _whole(row, "pad_h", where)
    width = number(row, "W", where) + 2.0 * _whole(row, "pad_w", where)
    sizes = {
        "batch": number(row, "N", where),
        "in_channels": number(row, "C", where),
        "out_channels": number(row, "K", where),
        "out_h": (height - window_h) // stride_h + 1.0,
        "out_w": (width - window_w) // stride_w + 1.0,
        "kernel_h": window_h,
        "kernel_w": window_w,
        "stride": (stride_h * stride_w) ** 0.5,
    }
    if min(sizes["out_h"], sizes["out_w"]) < 1.0:
        raise InputError(f"{where}: a window of {window_h:g} x {window_w:g} does not fit into "
                         f"{height:g} x {width:g}")  # fmt: skip
    return sizes


def _whole(row: Row, column: str, where: str) -> float:
    """Return a cell that may be 0."""
    return 0.0 if row[column] in ("0", "0.0") else number(row, column, where)


def _case(
    row: Row, where: str, kernel: tuple[str, str], sizes: Mapping[str, float],
    more: Mapping[str, str],
) -> Case:  # fmt: skip
    """Return the case of a kernel: its family, and the column with its time."""
    family, column = kernel
    return Case(
        suite=SUITE,
        group=family,
        settings={
            "workload": family,
            "workload.dtype": DTYPES[row["precision"]],
            **{f"workload.{name}": size for name, size in sizes.items()},
            **more,
            "on": row["device"],
            "plan": "single",
        },
        metric="time_s",
        measured=number(row, column, where) * 1e-3,
        unit="s",
        source=row["source"],
        licence=row["licence"],
    )
