"""Time kernels on a GPU: which sizes are drawn, and how often each is timed.

What is timed is a *run*: a function that starts the kernel. A `CudaClock` says how long the device
is busy with it. Nothing here needs torch or a GPU; `validation.torch_cuda` has both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, TypeAlias

import numpy as np

from hwmodels.gpu.chip import chip_of
from hwmodels.gpu.families import FAMILIES
from hwmodels.gpu.family import Family
from hwmodels.spec import FamilyFit, Spec
from validation.fit_gpu import Timings
from validation.gpu_table import Timed

Run: TypeAlias = Callable[[], object]
"""Starts a kernel; does not wait for its end."""
Draw: TypeAlias = Callable[[np.random.Generator], dict[str, int]]
Make: TypeAlias = Callable[[Family, str, Mapping[str, int]], Run]
"""From a family, a dtype and sizes to what runs such a kernel; raises `UntimeableError`."""
Known: TypeAlias = Callable[[Family, str], FamilyFit]

REPEATS = 15
"""Timings of a kernel, of which the median counts."""
LONGEST_S = 0.05
"""Kernels that are expected to take longer are not drawn."""
MEMORY_SHARE = 0.1
"""Nor those whose operands take more of the memory."""
TRIES = 20
"""Draws for each kernel that is timed, at most; others are too large or cannot be run."""


class UntimeableError(Exception):
    """Say that a kernel cannot be run here: the library has none for it, or memory is short."""


class CudaClock(Protocol):
    """Say how long a GPU is busy with a run."""

    def prepared(self, run: Run) -> Run:
        """Return what does the same after a warm-up, with as little work of the host as possible.

        Raises
        ------
        UntimeableError : it cannot be run
        """
        ...

    def elapsed_s(self, run: Run) -> float:
        """Return the time of one run that finds none of its operands in the caches, seconds."""
        ...


def kernel_s(clock: CudaClock, run: Run, repeats: int = REPEATS) -> float:
    """Return the median time of a kernel, seconds.

    Parameters
    ----------
    clock : of the device
    run : starts the kernel
    repeats : how often it is timed

    Raises
    ------
    UntimeableError : it cannot be run
    """
    prepared = clock.prepared(run)
    return float(np.median([clock.elapsed_s(prepared) for _ in range(repeats)]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Hold what kernels are timed with.

    Parameters
    ----------
    clock : of the device
    make : makes what runs a kernel
    known : what is known of a family in a dtype, to leave out what takes too long
    spec : of the device, with estimates
    """

    clock: CudaClock
    make: Make
    known: Known
    spec: Spec


@dataclass(frozen=True, slots=True)
class Wanted:
    """Say which kernels are drawn.

    Parameters
    ----------
    family, dtype : of the kernels; the family is one of `DRAWS`
    count : how many
    seed : of the draw
    """

    family: Family
    dtype: str
    count: int
    seed: int = 0


def timed_set(bench: Bench, wanted: Wanted) -> Timed:
    """Return timed kernels of drawn sizes; fewer than wanted where most draws cannot be run.

    Parameters
    ----------
    bench : what they are timed with
    wanted : which kernels
    """
    family, dtype, count = wanted.family, wanted.dtype, wanted.count
    found: list[tuple[dict[str, int], float]] = []
    for sizes in _drawn(bench, wanted):
        try:
            time_s = kernel_s(bench.clock, bench.make(family, dtype, sizes))
        except UntimeableError:
            continue
        found.append((sizes, time_s))
        if len(found) == count:
            break
    sizes_of = {name: np.array([float(sizes[name]) for sizes, _ in found])
                for name in family.sizes}  # fmt: skip
    return Timed(family, dtype, Timings(sizes=sizes_of, time_s=np.array([t for _, t in found])))


def _drawn(bench: Bench, wanted: Wanted) -> Iterator[dict[str, int]]:
    """Give different sizes of kernels that the device can hold and does soon enough."""
    family, dtype = wanted.family, wanted.dtype
    rng, chip = np.random.default_rng(wanted.seed), chip_of(bench.spec)
    known = bench.known(family, dtype)
    most_bytes = MEMORY_SHARE * (bench.spec.number("memory.size_bytes") or np.inf)
    seen: set[tuple[int, ...]] = set()
    for _ in range(wanted.count * TRIES):
        sizes = DRAWS[family.name](rng)
        one = {name: np.array([float(size)]) for name, size in sizes.items()}
        key = tuple(sizes[name] for name in family.sizes)
        fits = family.amounts(dtype, one)[1][0] <= most_bytes
        soon = family.parts(chip, dtype, known, one).time_s[0] <= LONGEST_S
        if fits and soon and key not in seen:
            seen.add(key)
            yield sizes


# --- sizes ---------------------------------------------------------------------------------------


def _between(rng: np.random.Generator, low: int, high: int, step: int = 1) -> int:
    """Return a size that is evenly spread in its logarithm, a multiple of `step`."""
    drawn = np.exp(rng.uniform(np.log(low), np.log(high)))
    return max(round(float(drawn) / step), 1) * step


def _product(rng: np.random.Generator) -> dict[str, int]:
    return {"batch": 1, "m": _between(rng, 1, 16384), "n": _between(rng, 64, 16384, 8),
            "k": _between(rng, 64, 16384, 8)}  # fmt: skip


def _batched(rng: np.random.Generator) -> dict[str, int]:
    return {"batch": _between(rng, 2, 256), "m": _between(rng, 8, 4096),
            "n": _between(rng, 16, 4096, 8), "k": _between(rng, 16, 4096, 8)}  # fmt: skip


def _convolution(rng: np.random.Generator) -> dict[str, int]:
    kernel, side = int(rng.choice([1, 3, 3, 5, 7])), _between(rng, 7, 128)
    return {"batch": _between(rng, 1, 128), "in_channels": _between(rng, 16, 1024, 8),
            "out_channels": _between(rng, 16, 1024, 8), "out_h": side, "out_w": side,
            "kernel_h": kernel, "kernel_w": kernel,
            "stride": int(rng.choice([1, 1, 2]))}  # fmt: skip


def _streaming(rng: np.random.Generator) -> dict[str, int]:
    """Draw one or two operands and a result of as many bytes."""
    each = _between(rng, 2**12, 2**29, 1024)
    return {"read_bytes": int(rng.integers(1, 3)) * each, "written_bytes": each}


def _rows(rng: np.random.Generator) -> dict[str, int]:
    return {"rows": _between(rng, 64, 65536), "columns": _between(rng, 64, 8192, 8)}


def _prefill(rng: np.random.Generator) -> dict[str, int]:
    length, heads = _between(rng, 16, 8192), 2 ** int(rng.integers(0, 7))
    return {"batch": _between(rng, 1, 64), "q_len": length, "kv_len": length, "heads": heads,
            "kv_heads": max(heads // int(rng.choice([1, 4, 8])), 1),
            "head_dim": int(rng.choice([64, 128])), "causal": 1}  # fmt: skip


DRAWS: Mapping[str, Draw] = MappingProxyType({
    "gemm": _product,
    "linear": _product,
    "bmm": _batched,
    "convolution": _convolution,
    "conv2d": _convolution,
    "convolution_weights": _convolution,
    "streaming": _streaming,
    "normalization": _rows,
    "softmax": _rows,
    "prefill_flash_attention": _prefill,
})  # fmt: skip
"""How sizes are drawn, by family. Others are kernels of libraries beside torch."""


def timed_families() -> list[Family]:
    """Return the families that can be timed live."""
    return [family for name, family in FAMILIES.items() if name in DRAWS]
