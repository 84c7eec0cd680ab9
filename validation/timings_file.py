"""Read timings of kernels that were taken elsewhere, and calibrate a device with them.

A table of timings is a CSV with a row for each timed kernel: `op` (a kernel's name, such as
"addmm", or a kind, such as "gemm"), `dtype`, the sizes of its kind by name (`m`, `n`, `k` ...; a
missing `batch` or `groups` is 1), `time_s`, and optionally `threads`. The operands are taken to be
warm: the same call, again and again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from hwmodels.cores import cores_of
from hwmodels.cpu_cost import Level
from hwmodels.cpu_rates import datasheet_rates, numbers_of
from hwmodels.devices import find_spec
from hwmodels.machine_files import read_machine
from hwmodels.roofline import peak_flop_per_s
from hwmodels.spec import Calibration, Spec
from hwmodels.this_machine import uncalibrated_spec
from simulator.errors import FileError, UnknownNameError
from simulator.ops import DIMS, DTYPE_BYTES, DTYPES, KINDS, Graph, Op
from validation.cases import read_table
from validation.fit_cpu import ENOUGH, Timing, fit_rates, fit_team
from validation.fit_levels import told_bytes
from validation.machine_record import machine_record
from validation.suite import Row

NEEDED = ("op", "dtype", "time_s")
OPTIONAL_SIZES = {"batch": 1, "groups": 1, "causal": 0, "gates": 4}
KERNEL_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm", "mv", "linear"), "gemm"),
    **dict.fromkeys(("convolution", "convolution_backward"), "conv2d"),
    "_scaled_dot_product_flash_attention_for_cpu": "attention",
    "mkldnn_rnn_layer": "rnn",
    **dict.fromkeys(
        ("add", "sub", "mul", "div", "relu", "gelu", "gelu_tanh", "tanh", "sigmoid", "exp", "sqrt",
         "addcmul", "addcdiv", "lerp", "threshold_backward"), "elementwise"),
    **dict.fromkeys(("clone", "copy", "zeros", "fill"), "copy"),
    **dict.fromkeys(("sum", "mean", "argmin", "argmax", "max", "min"), "reduction"),
    **dict.fromkeys(("native_batch_norm", "native_layer_norm"), "normalization"),
    **dict.fromkeys(("_softmax", "_log_softmax"), "softmax"),
    **dict.fromkeys(("max_pool2d_with_indices", "avg_pool2d"), "pool"),
    **dict.fromkeys(("embedding", "index", "index_select", "gather"), "gather"),
    **dict.fromkeys(("index_add", "scatter_add"), "scatter"),
    **dict.fromkeys(("topk", "sort"), "sort"),
}  # fmt: skip
"""The kind of each kernel that a table may name; every kind may be named itself."""
FASTEST = 20.0
"""No op computes at so many times the peak; matrix units that no datasheet tells of give 16."""


def calibrated_from(path: Path, like: str | None) -> Spec:
    """Return a device with its numbers fitted to a table of timings.

    Parameters
    ----------
    path : of the table
    like : name of the device on which the timings were taken; None: one like this machine

    Raises
    ------
    UnknownNameError : no such device
    FileError : what is wrong with the table, and where
    """
    spec = uncalibrated_spec(read_machine()) if like is None else find_spec(like)
    rows = read_timings(path)
    _check_rates(path, rows, spec)
    levels = told_levels(spec)
    alone = [timing for timing, threads in rows if threads == 1]
    _check_enough(path, alone)
    fitted = fit_rates(alone, levels)
    for count in sorted({threads for _, threads in rows} - {1}):
        fitted = fit_team(fitted, [timing for timing, threads in rows if threads == count], count)
    calibration = Calibration(
        numbers=numbers_of(fitted.rates, fitted.spreads),
        data=f"{len(rows)} timings of {path.name}",
        date=machine_record().date,
        machine=spec.title,
        reference=dict(spec.values),
        reference_name=spec.name,
        reference_architecture=spec.architecture,
    )
    return spec.replaced(calibration=calibration)


def told_levels(spec: Spec) -> tuple[Level, ...]:
    """Return the memory of a datasheet behind caches that keep up with one core.

    Such a cache gives a float32 for each operation at the core's peak; how much of that is waited
    for is fitted.
    """
    rates = datasheet_rates(spec)
    *_, memory = rates.levels
    peak = rates.families["gemm", "float32"].rate_per_s
    keeps_up = max(peak * DTYPE_BYTES["float32"], memory.bandwidth_bytes_per_s)
    caches = [
        Level(name=name, capacity_bytes=size, bandwidth_bytes_per_s=keeps_up)
        for name, size in told_bytes(spec).items()
    ]
    return (*caches, memory)


def read_timings(path: Path) -> list[tuple[Timing, int]]:
    """Return the timings of a table, each a graph of one op, with the number of threads.

    Raises
    ------
    FileError : unreadable, without a column, or a row with an unknown op, a size or a time that
        makes no sense
    """
    rows = read_table(path)
    missing = [name for name in NEEDED if name not in rows[0]]
    if missing:
        raise FileError(path, f"needs the columns {', '.join(NEEDED)} and sizes; it lacks "
                              f"{', '.join(missing)}")  # fmt: skip
    return [_timing(path, line, row) for line, row in enumerate(rows, start=2)]


def _timing(path: Path, line: int, row: Row) -> tuple[Timing, int]:
    where = f"row {line}"
    time_s = _number(path, where, "time_s", row)
    if time_s <= 0:
        raise FileError(path, f"time_s must be positive; got {time_s:g}", where)
    threads = 1 if not row.get("threads") else _whole(path, where, "threads", row)
    if threads < 1:
        raise FileError(path, f"threads must be at least 1; got {threads}", where)
    return Timing(Graph.of([_op(path, where, row)]), np.array([time_s])), threads


def _op(path: Path, where: str, row: Row) -> Op:
    name, dtype = (row.get("op") or "").strip(), (row.get("dtype") or "").strip()
    kind = name if name in KINDS else KERNEL_KINDS.get(name.rstrip("_"))
    if kind is None:
        raise UnknownNameError("op", name, (*KINDS, *KERNEL_KINDS), f"{path}: {where}")
    if dtype not in DTYPES:
        raise UnknownNameError("dtype", dtype, DTYPES, f"{path}: {where}")
    dims = tuple(_size(path, where, kind, size, row) for size in DIMS[kind])
    return op_of(kind, name, dtype, dims)


def _size(path: Path, where: str, kind: str, size: str, row: Row) -> int:
    if not row.get(size):
        if size in OPTIONAL_SIZES:
            return OPTIONAL_SIZES[size]
        raise FileError(path, f"an op of kind {kind} needs {', '.join(DIMS[kind])}; {size} is "
                              "missing", where)  # fmt: skip
    value = _whole(path, where, size, row)
    if value < (0 if size == "causal" else 1):
        raise FileError(path, f"{size} must be at least 1; got {value}", where)
    return value


def _number(path: Path, where: str, name: str, row: Row) -> float:
    text = row.get(name) or ""
    try:
        value = float(text)
    except ValueError:
        raise FileError(path, f"{name} must be a number; got '{text}'", where) from None
    if not math.isfinite(value):
        raise FileError(path, f"{name} must be finite; got {text}", where)
    return value


def _whole(path: Path, where: str, name: str, row: Row) -> int:
    value = _number(path, where, name, row)
    if value != int(value):
        raise FileError(path, f"{name} must be a whole number; got {value:g}", where)
    return int(value)


def op_of(kind: str, name: str, dtype: str, dims: tuple[int, ...]) -> Op:
    """Return an op with the arithmetic and the traffic that its sizes mean.

    >>> op_of("gemm", "mm", "float32", (1, 2, 3, 4)).flops
    48.0
    """
    size = dict(zip(DIMS[kind], dims, strict=True))
    element = DTYPE_BYTES[dtype]
    flops, read, written, weights = _amounts(kind, size)
    return Op(
        kind=kind,
        name=name,
        dtype=dtype,
        dims=dims,
        flops=flops,
        bytes_read=read * element,
        bytes_written=written * element,
        weight_bytes=weights * element,
    )


def _amounts(kind: str, size: Mapping[str, int]) -> tuple[float, float, float, float]:
    """Return operations, and elements read, written and of weights."""
    if kind in ("gemm", "sparse_gemm"):
        batch, m, n, k = (size[name] for name in ("batch", "m", "n", "k"))
        return 2.0 * batch * m * n * k, batch * (m * k + k * n), batch * m * n, 0
    if kind in ("conv2d", "depthwise_conv2d"):
        inner = size["in_channels"] // size["groups"] * size["kernel_h"] * size["kernel_w"]
        weights = size["out_channels"] * inner
        out = size["batch"] * size["out_channels"] * size["out_h"] * size["out_w"]
        given = size["batch"] * size["in_channels"] * size["in_h"] * size["in_w"]
        return 2.0 * out * inner, given + weights, out, weights
    if kind == "attention":
        pairs = size["batch"] * size["heads"] * size["q_len"] * size["head_dim"]
        keys = size["batch"] * size["heads"] * size["kv_len"] * size["head_dim"]
        return 4.0 * pairs * size["kv_len"], pairs + 2 * keys, pairs, 0
    if kind == "rnn":
        weights = size["gates"] * size["hidden"] * (size["in_features"] + size["hidden"])
        rows = size["steps"] * size["batch"]
        given = rows * size["in_features"] + weights
        return 2.0 * rows * weights, given, rows * size["hidden"], weights
    return 0.0, *_plain_amounts(kind, size), 0


def _plain_amounts(kind: str, size: Mapping[str, int]) -> tuple[float, float]:
    """Return elements read and written of a kind without arithmetic worth counting."""
    if kind == "reduction":
        return size["elements"], size["outputs"]
    if kind == "pool":
        return size["outputs"] * size["window"], size["outputs"]
    elements = float(math.prod(value for name, value in size.items() if name != "table_rows"))
    return elements, elements


def _check_rates(path: Path, rows: Iterable[tuple[Timing, int]], spec: Spec) -> None:
    """Refuse what the CPU cannot compute so fast: timings of a GPU, or in another unit."""
    most = cores_of(spec).count
    for line, (timing, threads) in enumerate(rows, start=2):
        op, time_s = timing.graph[0], float(timing.times_s[0])
        over = op.flops / time_s / peak_flop_per_s(spec, op.dtype, min(threads, most))
        if over > FASTEST:
            raise FileError(path, f"{time_s:.3g} s is {over:.0f} times as fast as the peak of "
                                  f"'{spec.name}' on {threads} thread(s): are these seconds, and "
                                  "is the device right? Name it by --like DEVICE",
                            f"row {line}, column time_s")  # fmt: skip


def _check_enough(path: Path, timings: Iterable[Timing]) -> None:
    counts = Counter(one.graph[0].label.rstrip("_") for one in timings)
    few = {name: count for name, count in counts.items() if count < ENOUGH}
    if few or not counts:
        shown = ", ".join(f"{name} has {count}" for name, count in few.items()) or "there are none"
        raise FileError(path, f"each op needs at least {ENOUGH} rows on one thread; {shown}")
