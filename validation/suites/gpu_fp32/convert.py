"""Turn NeuSight's tables of float32 calls into cases: products, convolutions, elementwise ops.

Which table a file is tell its columns. In the table of products B, M, N, K mean [B, M, N] x
[B, N, K]: N is what is summed up and K the width of the result, as the launch grids of 3,670 of its
3,675 rows show. All calls are waited for, so that times hold the launch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from hwmodels.devices import find_spec
from simulator.errors import InputError
from validation.cases import Case, Conversion, convert_rows, number
from validation.suite import Row

SUITE = "gpu-fp32"
EVERY = ("gpu", "op", "dtype", "time_ms", "source", "licence")
"""Columns of all tables."""
FLOAT_BYTES = 4.0

Found = tuple[str, dict[str, float]]
"""A family and its sizes."""

UNARY = ("addu", "divu", "mulu", "powu", "relu", "gelu", "tanh", "sigmoid", "exp", "sqrt", "neg")
"""Ops on one array (with a number, where the name ends in u)."""
BINARY = ("add", "sub", "mul", "div", "pow", "max", "min")
ROWS: Mapping[str, str] = MappingProxyType({"ln": "normalization", "softmax": "softmax"})


def _product(row: Row, where: str) -> Found | str:
    if row["op"] not in ("linear", "bmm"):
        return f"product {row['op']}"
    names = {"batch": "B", "m": "M", "n": "K", "k": "N"}
    return row["op"], {size: number(row, column, where) for size, column in names.items()}


def _convolution(row: Row, where: str) -> Found | str:
    if row["op"] != "conv":
        return f"convolution {row['op']}"
    side, window, stride = (
        number(row, name, where) for name in ("input_size", "kernel_size", "stride")
    )
    padding = _whole(row, "padding", where)
    out = (side + 2.0 * padding - window) // stride + 1.0
    if out < 1.0:
        raise InputError(f"{where}: a window of {window:g} does not fit into {side:g}")
    return "conv2d", {
        "batch": number(row, "batch", where),
        "in_channels": number(row, "in_ch", where),
        "out_channels": number(row, "out_ch", where),
        "out_h": out,
        "out_w": out,
        "kernel_h": window,
        "kernel_w": window,
        "stride": stride,
    }


def _whole(row: Row, column: str, where: str) -> float:
    """Return a cell that may be 0."""
    return 0.0 if row[column] in ("0", "0.0") else number(row, column, where)


def _elementwise(row: Row, where: str) -> Found | str:
    rows, columns = number(row, "rows_B", where), number(row, "cols_H", where)
    if row["op"] in ROWS:
        return ROWS[row["op"]], {"rows": rows, "columns": columns}
    if row["op"] not in UNARY + BINARY:
        return f"elementwise op {row['op']}"
    written = FLOAT_BYTES * rows * columns
    read = written * (2.0 if row["op"] in BINARY else 1.0)
    return "streaming", {"read_bytes": read, "written_bytes": written}


Reader = Callable[[Row, str], Found | str]
TABLES: Mapping[tuple[str, ...], Reader] = MappingProxyType({
    ("B", "M", "N", "K"): _product,
    ("batch", "in_ch", "out_ch", "kernel_size", "input_size", "stride", "padding"): _convolution,
    ("rows_B", "cols_H"): _elementwise,
})  # fmt: skip
"""How the rows of a table with these columns are read."""


def convert(rows: Sequence[Row]) -> Conversion:
    """Return the cases of any of the tables, and how many rows are out of scope, by reason.

    Raises
    ------
    InputError : the table is none of them, or a number is none
    """
    read = _reader(tuple(rows[0])) if rows else _product
    return convert_rows(SUITE, rows, (), lambda row, where: _case(row, where, read))


def _reader(columns: Sequence[str]) -> Reader:
    missing = [name for name in EVERY if name not in columns]
    if missing:
        raise InputError(f"suite {SUITE}: the table lacks the columns {', '.join(missing)}")
    for names, read in TABLES.items():
        if all(name in columns for name in names):
            return read
    known = "; ".join(", ".join(names) for names in TABLES)
    raise InputError(f"suite {SUITE}: the table has the columns of none of its tables: {known}")


def _case(row: Row, where: str, read: Reader) -> Case | str:
    """Return the case of a row, or why it is out of scope."""
    if row["dtype"] != "fp32":
        return f"dtype {row['dtype']}"
    find_spec(row["gpu"])
    found = read(row, where)
    if isinstance(found, str):
        return found
    family, sizes = found
    return Case(
        suite=SUITE,
        group=family,
        settings={
            "workload": family,
            "workload.op": row["op"],
            "workload.dtype": "float32",
            **{f"workload.{name}": size for name, size in sizes.items()},
            "on": row["gpu"],
            "plan": "single",
        },
        metric="time_s",
        measured=number(row, "time_ms", where) * 1e-3,
        unit="s",
        source=row["source"],
        licence=row["licence"],
    )
