"""Time kernels that only stream their operands: elementwise, normalization, softmax, gather ..."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwmodels.gpu.chip import Chip
from hwmodels.gpu.family import Family, Numbers, Parameter, Parts, Sizes
from simulator.ops import FloatArray

PARAMETERS: Mapping[str, Parameter] = {
    "memory_share": Parameter(0.2, 0.8, 1.0, "share of the memory bandwidth that is reached"),
    "floor_s": Parameter(1e-7, 2e-6, 5e-5, "time of an empty kernel, seconds"),
}


def streaming_parts(chip: Chip, dtype: str, numbers: Numbers, sizes: Sizes) -> Parts:
    """Return what kernels that stream their operands spend time on, seconds."""
    moved = sizes["read_bytes"] + sizes["written_bytes"]
    memory = moved / (chip.bandwidth_bytes_per_s * numbers["memory_share"])
    return Parts(np.full(len(moved), numbers["floor_s"]), np.zeros(len(moved)), memory)


def streaming_amounts(dtype: str, sizes: Sizes) -> tuple[FloatArray, FloatArray]:
    """Return FLOP (0) and bytes of kernels (n,)."""
    moved = sizes["read_bytes"] + sizes["written_bytes"]
    return np.zeros(len(moved)), moved


STREAMING = Family(
    name="streaming",
    sizes=("read_bytes", "written_bytes"),
    parameters=PARAMETERS,
    form=streaming_parts,
    amounts=streaming_amounts,
    axes=(),
)
