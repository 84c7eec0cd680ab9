"""Model the mean power of single kernels: a smooth function of how they fill the device.

The logarithm of power over power limit is a Gaussian process of the logarithms of a kernel's sizes,
and of its work for each multiprocessor, its FLOP over the peak and its bytes over the bandwidth.
The process is kept at some kernels only (the projected process: Rasmussen and Williams, 2006,
section 8.3.4), far apart from each other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwmodels.gpu.chip import Chip, chip_of
from simulator.errors import InputError
from simulator.ops import FloatArray
from validation.cases import Case
from validation.fit_functions import matern_3_2
from validation.suites.gpu_power.convert import spec_of

HEIGHT, LENGTH, NOISE = 0.4, 8.0, 0.15
"""Of the process; chosen by predicting kernels that took no part in a fit."""
ROUNDS = 4
"""Of weighing wild kernels less."""
KEPT = 250
"""Kernels at which the process is kept."""
APART = 3.0
"""Distance of two kernels that differ in a word, in powers of two of a size."""
WEIGHT = 0.7
"""Of FLOP and bytes, which follow from the sizes."""
BLOCK_ROWS, BLOCK_KEYS, BLOCK_TOKENS, BLOCK_COLUMNS = 128, 256, 64, 128
"""What one block of threads computes, about: of a prefill, a decode, an expert's product."""
HALF_BYTES, BYTE = 2, 1
LONG_S, MOSTLY = 20e-6, 3.0
"""Kernels that keep the matrix units busy: arithmetic alone takes so long, and so many times as
long as data."""
WORDS = {
    "context_attention": (("kv_cache_dtype", "fp8"), ("kernel_source", "vllm_triton_attn")),
    "generation_attention": (("kv_cache_dtype", "fp8"), ("kernel_source", "vllm_triton_attn")),
    "moe": (("moe_dtype", "fp8_block"), ("moe_dtype", "fp8"), ("distribution", "balanced")),
}
"""Settings and words that tell kernels of a family apart."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """Hold what one kernel needs at least.

    Parameters
    ----------
    sizes : that tell it apart
    blocks : of threads that can run at the same time
    flops, nbytes : arithmetic, and data to and from memory
    dtype : of its products
    """

    sizes: tuple[float, ...]
    blocks: float
    flops: float
    nbytes: float
    dtype: str


def attention(case: Case) -> Amounts:
    """Return what an attention kernel needs: causal prefill, or decode of one token a sequence."""
    batch, heads, groups, dim, window = (
        case.number(f"workload.{name}") for name in
        ("batch_size", "num_heads", "num_key_value_heads", "head_dim", "window_size")
    )  # fmt: skip
    cached = BYTE if case.text("workload.kv_cache_dtype") == "fp8" else HALF_BYTES
    prefill = case.text("workload") == "context_attention"
    length = case.number("workload.isl") if prefill else case.number("workload.step") + 1
    seen = min(window, length) if window else length
    rows = length if prefill else 1.0
    pairs = seen * length - seen * (seen - 1) / 2 if prefill else seen
    whole = (heads, length / BLOCK_ROWS) if prefill else (groups, seen / BLOCK_KEYS)
    return Amounts(
        sizes=(batch, heads, groups, dim, length, 2.0 ** (APART * (window > 0))),
        blocks=batch * whole[0] * float(np.ceil(whole[1])),
        flops=4 * batch * heads * pairs * dim,
        nbytes=2 * batch * dim * (heads * rows * HALF_BYTES + groups * seen * cached),
        dtype="bfloat16",
    )


def experts(case: Case) -> Amounts:
    """Return what the kernel of a layer of experts needs, on one of the devices that share them."""
    tokens, hidden, inner, chosen, count, split, spread = (
        case.number(f"workload.{name}") for name in
        ("num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size",
         "moe_ep_size")
    )  # fmt: skip
    width = HALF_BYTES if case.text("workload.moe_dtype") == "bfloat16" else BYTE
    inner, here, rows = inner / split, max(count / spread, 1.0), tokens * chosen / spread
    idle = here * (1 - 1 / here) ** rows if here > 1 else 0.0
    busy = max(here - idle, 1.0)
    blocks = busy * np.ceil(rows / busy / BLOCK_TOKENS) * np.ceil(inner / BLOCK_COLUMNS)
    weights = 3 * busy * hidden * inner * width
    return Amounts(
        sizes=(tokens, hidden, inner, chosen, here, spread, split),
        blocks=float(blocks),
        flops=6 * rows * hidden * inner,
        nbytes=weights + HALF_BYTES * (2 * (tokens + rows) * hidden + 3 * rows * inner),
        dtype="bfloat16" if width == HALF_BYTES else "float8",
    )


FAMILIES: Mapping[str, Callable[[Case], Amounts]] = {
    "context_attention": attention,
    "generation_attention": attention,
    "moe": experts,
}


def places(cases: Sequence[Case]) -> FloatArray:
    """Return the places (n, d) of kernels of one family.

    Raises
    ------
    InputError : a size is missing, or the device does not compute on the dtype
    """
    return np.array([_place(case, _chip(case)) for case in cases])


def waits_for_matrix_units(case: Case) -> bool:
    """Say whether a kernel is long, and arithmetic takes most of it."""
    compute, memory = _ideal_s(FAMILIES[case.text("workload")](case), _chip(case))
    return compute > LONG_S and compute > MOSTLY * memory


def _ideal_s(amounts: Amounts, chip: Chip) -> tuple[float, float]:
    """Return the times of arithmetic and of data by the datasheet, seconds."""
    return (amounts.flops / chip.peak_flop_per_s(amounts.dtype),
            amounts.nbytes / chip.bandwidth_bytes_per_s)  # fmt: skip


def _chip(case: Case) -> Chip:
    return _chip_of(case.text("on"))


@functools.cache
def _chip_of(name: str) -> Chip:
    return chip_of(spec_of(name))


def _place(case: Case, chip: Chip) -> list[float]:
    name = case.text("workload")
    amounts = FAMILIES[name](case)
    words = [APART * (case.text(f"workload.{setting}") == word) for setting, word in WORDS[name]]
    compute, memory = _ideal_s(amounts, chip)
    logs = np.log2([*amounts.sizes, max(amounts.blocks, 1.0) / chip.sms]).tolist()
    return [*logs, *words, WEIGHT * np.log2(compute), WEIGHT * np.log2(memory)]


@dataclass(frozen=True, slots=True)
class Smooth:
    """Be a process that was fitted.

    Parameters
    ----------
    mean : logarithm of power over limit where nothing near is known
    at, weight : places (k, d) where it is kept, and their weights (k,)
    """

    mean: float
    at: FloatArray
    weight: FloatArray

    def __call__(self, places: FloatArray) -> FloatArray:
        """Return the logarithm of power over power limit at places (n, d)."""
        found: FloatArray = self.mean + _covariance(places, self.at) @ self.weight
        return found

    def tables(self) -> dict[str, Any]:
        """Return what a calibration keeps."""
        return {"mean": self.mean, "at": self.at.round(3).tolist(), "weight": self.weight.tolist()}

    @classmethod
    def of_tables(cls, tables: Mapping[str, Any]) -> Smooth:
        """Return what a calibration keeps."""
        return cls(tables["mean"], np.array(tables["at"]), np.array(tables["weight"]))


def fit_smooth(places: FloatArray, shares: FloatArray) -> Smooth:
    """Return the process of power over power limit (n,) at places (n, d).

    Kernels far off count less, round by round (iteratively reweighted least squares).

    Raises
    ------
    InputError : fewer than two kernels
    """
    if len(shares) < 2:
        raise InputError(f"a family of kernels needs at least 2 powers; got {len(shares)}")
    mean = float(np.median(np.log(shares)))
    left, at = np.log(shares) - mean, _far_apart(places.round(3))
    inner = _covariance(at, at) + 1e-4 * HEIGHT**2 * np.eye(len(at))
    outer = _covariance(places, at)
    trust = np.ones(len(left))
    for _ in range(ROUNDS):
        told = outer.T @ (outer * trust[:, None]) / NOISE**2
        weight = np.linalg.solve(inner + told, outer.T @ (trust * left) / NOISE**2)
        trust = 1 / np.maximum(np.abs(left - outer @ weight) / NOISE, 1.0)
    return Smooth(mean, at, np.asarray(weight, np.float64))


def _far_apart(places: FloatArray) -> FloatArray:
    """Return up to `KEPT` places, each the farthest from those before."""
    chosen = [0]
    nearest = ((places - places[0]) ** 2).sum(axis=1)
    while len(chosen) < KEPT and nearest.max() > 0:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((places - places[chosen[-1]]) ** 2).sum(axis=1))
    found: FloatArray = places[chosen]
    return found


def _covariance(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the Matern 3/2 covariance of places (n, d) and (m, d), as (n, m)."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return HEIGHT**2 * matern_3_2(np.sqrt(np.maximum(squares, 0.0)) / LENGTH)
