"""Time kernels that only stream their operands: elementwise, normalization, softmax, gather ...

`STREAMING` counts what is read and written. `NORMALIZATION` and `SOFTMAX` work on rows: each row
belongs to a block of threads, which sums it up before it writes it. A row that the block cannot
keep is read again from the L2 cache or the memory, and short rows leave part of the memory
bandwidth unused; both are smooth enough in rows and columns for the correction.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from hwmodels.gpu.chip import Chip
from hwmodels.gpu.family import Axis, Family, Numbers, Parameter, Parts, Sizes
from simulator.ops import DTYPE_BYTES, FloatArray

PARAMETERS: Mapping[str, Parameter] = MappingProxyType({
    "memory_share": Parameter(0.2, 0.8, 1.0, "share of the memory bandwidth that is reached"),
    "floor_s": Parameter(1e-7, 2e-6, 1e-4, "time of an empty kernel, seconds"),
})  # fmt: skip


def streaming_parts(chip: Chip, dtype: str, numbers: Numbers, sizes: Sizes) -> Parts:
    """Return what kernels that stream their operands spend time on, seconds."""
    return _streamed(chip, numbers, streaming_amounts(dtype, sizes)[1])


def _streamed(chip: Chip, numbers: Numbers, moved: FloatArray) -> Parts:
    memory = moved / (chip.bandwidth_bytes_per_s * numbers["memory_share"])
    return Parts(np.full(len(moved), numbers["floor_s"]), np.zeros(len(moved)), memory)


def streaming_amounts(dtype: str, sizes: Sizes) -> tuple[FloatArray, FloatArray]:
    """Return FLOP (0) and bytes of kernels (n,)."""
    moved = np.asarray(sizes["read_bytes"] + sizes["written_bytes"], float)
    return np.zeros(len(moved)), moved


def row_parts(chip: Chip, dtype: str, numbers: Numbers, sizes: Sizes) -> Parts:
    """Return what kernels that sum up rows and write them again spend time on, seconds."""
    return _streamed(chip, numbers, row_amounts(dtype, sizes)[1])


def row_amounts(dtype: str, sizes: Sizes) -> tuple[FloatArray, FloatArray]:
    """Return FLOP (0) and bytes of kernels (n,) that read rows x columns and write as many.

    >>> row_amounts("float32", {"rows": np.array([8.0]), "columns": np.array([4.0])})
    (array([0.]), array([256.]))
    """
    elements = np.asarray(sizes["rows"] * sizes["columns"], float)
    return np.zeros(len(elements)), 2.0 * DTYPE_BYTES[dtype] * elements


STREAMING = Family(
    name="streaming",
    sizes=("read_bytes", "written_bytes"),
    parameters=PARAMETERS,
    form=streaming_parts,
    amounts=streaming_amounts,
    axes=(Axis("read_bytes", 20.0, 2.0, 8), Axis("written_bytes", 20.0, 2.0, 8)),
)
_ROWS = (Axis("rows", 10.0, 2.0, 7), Axis("columns", 8.0, 0.5, 14))
NORMALIZATION = Family(
    name="normalization",
    sizes=("rows", "columns"),
    parameters=PARAMETERS,
    form=row_parts,
    amounts=row_amounts,
    axes=_ROWS,
)
SOFTMAX = Family(
    name="softmax",
    sizes=("rows", "columns"),
    parameters=PARAMETERS,
    form=row_parts,
    amounts=row_amounts,
    axes=_ROWS,
)
