"""Time fused attention: scores, softmax and weighted values in one kernel, without storing scores.

*Prefill* computes many queries of each sequence. A tile is some queries of one head; a
multiprocessor walks over the keys that they see, in iterations of `KEYS`. The tile with the longest
walk may be the last to start, so that not all multiprocessors end at the same time (the *tail*).

*Decode* computes one query of each sequence. A tile is all heads that share keys and values (a
*group*); its time is that of reading them. Where there are few tiles, each is split along the keys
and the parts are merged.

Forms of this kind: Dao, "FlashAttention-2", ICLR 2024 (tiles); Dao et al., "Flash-Decoding", 2023
(splits); Ainslie et al., "GQA", EMNLP 2023 (groups). Libraries differ in all numbers, and in the
devices that they run on: each is a family of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from hwmodels.gpu.chip import Chip
from hwmodels.gpu.family import Axis, Family, Numbers, Parameter, Parts, Sizes
from simulator.ops import DTYPE_BYTES, FloatArray

LIBRARIES = ("fa3", "flash_attention", "flashinfer", "triton", "trtllm_mha")
"""Kernels, as the serving engine that was measured calls them."""
KEYS = 64.0
"""Keys of an iteration."""
LEAST_ROWS = 16.0
"""Rows of the smallest product of a matrix unit."""
HIT_STEEPNESS = 8.0
"""How steeply hits in the L2 cache fall, once the data do not fit: as the power of their size."""
GROUP_STEEPNESS = 6.0
"""How steeply a library goes over to matrix units, as the power of a group's size."""

_MEMORY = {
    "memory_share": Parameter(0.1, 0.8, 1.0, "share of the memory bandwidth that is reached"),
    "l2_bytes_per_cycle": Parameter(3.0, 30.0, 200.0, "of one multiprocessor, from the L2 cache"),
    "l2_share": Parameter(0.05, 0.7, 2.0, "data that half stay in the L2 cache, over its size"),
    "serial_share": Parameter(0.01, 0.3, 1.0, "share of the shorter of arithmetic and memory "
                              "that the longer does not hide"),
    "floor_s": Parameter(1e-6, 8e-6, 3e-5, "time of an empty kernel, seconds"),
    "tail": Parameter(0.01, 0.4, 2.0, "longest tiles that are left when others are done"),
}  # fmt: skip
PREFILL: Mapping[str, Parameter] = MappingProxyType({
    **_MEMORY,
    "peak_share": Parameter(0.05, 0.6, 1.1, "share of the peak that products reach"),
    "scores_per_cycle": Parameter(4.0, 128.0, 4e3, "of one multiprocessor, through the softmax"),
    "fed_flop_per_cycle": Parameter(200.0, 2e3, 1e5, "FLOP that one multiprocessor feeds operands "
                                    "for in a cycle, which its matrix units do not hide"),
    "tile_rows": Parameter(16.0, 128.0, 256.0, "rows of a tile at most"),
    "tile_elements": Parameter(2048.0, 24e3, 131072.0, "rows times head size of a tile at most"),
    "least_rows": Parameter(4.0, 32.0, 256.0, "rows that a tile computes at least"),
    "packing": Parameter(0.01, 0.5, 1.0, "part of a group (exponent) that shares a tile"),
    "tile_cycles": Parameter(50.0, 2e3, 5e4, "cycles of a tile outside of its iterations"),
    "iteration_cycles": Parameter(10.0, 300.0, 1e4, "cycles of an iteration beside its arithmetic"),
    "rows_bytes_per_cycle": Parameter(0.3, 16.0, 1e3, "of a tile, for its queries and results"),
    "cache_moves": Parameter(1.0, 1.5, 6.0, "times that keys and values are moved, as they are "
                             "written into a cache too"),
})  # fmt: skip
DECODE: Mapping[str, Parameter] = MappingProxyType({
    **_MEMORY,
    "peak_share": Parameter(0.01, 0.3, 1.1, "share of the peak that products reach"),
    "load_bytes_per_cycle": Parameter(0.5, 20.0, 300.0, "of one tile, for keys and values"),
    "residents": Parameter(1.0, 2.0, 8.0, "tiles that a multiprocessor holds at a time"),
    "most_splits": Parameter(1.0, 64.0, 1024.0, "parts that a sequence is split into at most"),
    "tile_cycles": Parameter(50.0, 1500.0, 5e4, "cycles of a tile outside of its iterations"),
    "head_cycles": Parameter(1.0, 100.0, 5e3, "the same, for each head of a group"),
    "width_cycles": Parameter(0.05, 2.0, 200.0, "the same, for each element of a head, on matrix "
                              "units"),
    "matrix_group": Parameter(0.7, 2.0, 8.0, "heads of a group from which on a library uses them"),
    "iteration_cycles": Parameter(5.0, 200.0, 1e4, "cycles of an iteration beside its loads"),
    "split_s": Parameter(1e-8, 2e-6, 2e-5, "time to merge the parts of a sequence, seconds"),
})  # fmt: skip


class Heads(NamedTuple):
    """Hold what kernels (n,) compute.

    Parameters
    ----------
    streams : sequences times heads of keys and values
    group : heads of queries that share one of keys and values
    queries, keys : of a sequence, those in the cache included
    width : elements of a head
    """

    streams: FloatArray
    group: FloatArray
    queries: FloatArray | float
    keys: FloatArray
    width: FloatArray


def _heads(sizes: Sizes) -> Heads:
    batch, heads, shared, keys, width = (
        np.asarray(sizes[name], float)
        for name in ("batch", "heads", "kv_heads", "kv_len", "head_dim")
    )
    queries = np.asarray(sizes["q_len"], float) if "q_len" in sizes else 1.0
    return Heads(batch * shared, heads / shared, queries, keys, width)


class _Run(NamedTuple):
    """Say where kernels run, in which dtype, and with which numbers."""

    chip: Chip
    dtype: str
    numbers: Numbers

    @property
    def flops_per_cycle(self) -> float:
        """Return the rate of one multiprocessor on large products, FLOP per cycle."""
        chip, share = self.chip, self.numbers["peak_share"]
        return share * chip.peak_flop_per_s(self.dtype) / (chip.sms * chip.clock_hz)


def prefill_parts(chip: Chip, dtype: str, numbers: Numbers, sizes: Sizes) -> Parts:
    """Return what attention of many queries a sequence spends time on, seconds.

    Sizes: batch, q_len, kv_len (with what is in the cache), heads, kv_heads, head_dim, causal (0:
    each query sees all keys).
    """
    run, of = _Run(chip, dtype, numbers), _heads(sizes)
    shared = of.group ** numbers["packing"]
    most = np.minimum(numbers["tile_rows"], numbers["tile_elements"] / of.width)
    blocks = np.maximum(of.queries * shared / most, 1.0)
    rows = np.clip(of.queries * shared, np.minimum(numbers["least_rows"], most), most)
    span = np.minimum(np.maximum(most / shared, 1.0), of.queries)
    unseen = np.asarray(sizes["causal"], float) * (of.queries - span) / 2.0
    walk = np.maximum((of.keys - unseen) / KEYS, 1.0)
    step = _prefill_step(run, rows, of.width)
    width_bytes = of.width * DTYPE_BYTES[dtype]
    fixed = numbers["tile_cycles"] + rows * width_bytes / numbers["rows_bytes_per_cycle"]
    tiles = of.streams * of.group / shared * blocks
    longest = fixed + np.maximum(of.keys / KEYS, 1.0) * step
    cycles = _makespan(numbers, tiles * (fixed + walk * step) / chip.sms, longest)
    return _together(run, cycles, _moved(dtype, of, numbers["cache_moves"]))


def _prefill_step(run: _Run, rows: FloatArray, width: FloatArray) -> FloatArray:
    """Return the cycles of an iteration (n,): two products and the softmax between them.

    Quicker matrix units shorten the products, but not what feeds them.
    """
    flop = 1.0 / run.flops_per_cycle + 1.0 / run.numbers["fed_flop_per_cycle"]
    score = 4.0 * width * flop + 1.0 / run.numbers["scores_per_cycle"]
    cycles: FloatArray = run.numbers["iteration_cycles"] + rows * KEYS * score
    return cycles


def decode_parts(chip: Chip, dtype: str, numbers: Numbers, sizes: Sizes) -> Parts:
    """Return what attention of one query a sequence spends time on, seconds.

    Sizes: batch, kv_len, heads, kv_heads, head_dim. Of three ways to split, the quickest counts.
    """
    run, of = _Run(chip, dtype, numbers), _heads(sizes)
    walk = np.maximum(of.keys / KEYS, 1.0)
    slots = chip.sms * numbers["residents"]
    most = np.clip(slots / of.streams, 1.0, np.minimum(walk, numbers["most_splits"]))
    splits = np.stack([np.ones_like(most), np.sqrt(most), most])
    multiply, alone = _decode_step(run, of)
    tile = _decode_fixed(numbers, of) + walk / splits * alone
    cycles = np.maximum(
        _makespan(numbers, of.streams * splits * tile / slots, tile),
        of.streams * walk * multiply / chip.sms,
    )
    ways = _together(run, cycles, _moved(dtype, of))
    merging = numbers["split_s"] * (1.0 - 1.0 / splits)
    ways = ways._replace(overhead_s=ways.overhead_s + merging)
    best = ways.time_s.argmin(axis=0)[None]
    every = (np.broadcast_to(part, cycles.shape) for part in ways)
    return Parts(*(np.take_along_axis(part, best, axis=0)[0] for part in every))


def _decode_step(run: _Run, of: Heads) -> tuple[FloatArray, FloatArray]:
    """Return the cycles of an iteration (n,): of its products, and of all when nothing overlaps."""
    rows = np.maximum(of.group, LEAST_ROWS)
    multiply = rows * KEYS * 4.0 * of.width / run.flops_per_cycle
    loaded = 2.0 * KEYS * of.width * DTYPE_BYTES[run.dtype]
    loading = run.numbers["iteration_cycles"] + loaded / run.numbers["load_bytes_per_cycle"]
    return multiply, loading + multiply


def _decode_fixed(numbers: Numbers, of: Heads) -> FloatArray:
    """Return the cycles of a tile (n,) outside of its iterations."""
    on_matrix = 1.0 / (1.0 + (numbers["matrix_group"] / of.group) ** GROUP_STEEPNESS)
    fixed: FloatArray = numbers["tile_cycles"] + of.group * numbers["head_cycles"]
    return fixed + on_matrix * of.width * numbers["width_cycles"]


def _makespan(numbers: Numbers, work: FloatArray, longest: FloatArray) -> FloatArray:
    """Return the cycles until the last of all tiles is done.

    At least the work of each place for a tile, and the longest tile; at most both together (Graham,
    SIAM J. Applied Mathematics 17(2), 1969). What lies between is the tail.
    """
    left = numbers["tail"] * np.minimum(work, longest)
    cycles: FloatArray = np.maximum(longest, work + left)
    return cycles


def _moved(dtype: str, of: Heads, times: float = 1.0) -> FloatArray:
    """Return the bytes (n,) of queries and results, moved once, and of keys and values."""
    rows = of.queries * of.group + of.keys * times
    moved: FloatArray = 2.0 * DTYPE_BYTES[dtype] * of.streams * of.width * rows
    return moved


def _together(run: _Run, cycles: FloatArray, moved: FloatArray) -> Parts:
    """Return the parts of kernels, of which the longer does not hide all of the shorter."""
    chip, numbers = run.chip, run.numbers
    full = moved / (numbers["l2_share"] * chip.l2_bytes)
    missed = 1.0 / (1.0 + full**-HIT_STEEPNESS)
    l2 = numbers["l2_bytes_per_cycle"] * chip.sms * chip.clock_hz
    dram = chip.bandwidth_bytes_per_s * numbers["memory_share"]
    memory = moved * (missed / dram + (1.0 - missed) / l2)
    compute = cycles / chip.clock_hz
    serial = numbers["serial_share"] * np.minimum(compute, memory)
    return Parts(np.zeros_like(serial), compute, memory).then(numbers["floor_s"], serial)


def attention_amounts(dtype: str, sizes: Sizes) -> tuple[FloatArray, FloatArray]:
    """Return FLOP and bytes of attention (n,): only keys that a query sees, all data moved once.

    >>> one = {name: np.array([2.0]) for name in ("batch", "heads", "kv_heads", "kv_len")}
    >>> attention_amounts("float32", {**one, "head_dim": np.array([1.0])})
    (array([32.]), array([96.]))
    """
    of = _heads(sizes)
    unseen = np.asarray(sizes.get("causal", 0.0), float) * (of.queries - 1.0) / 2.0
    pairs = of.streams * of.group * of.queries * (of.keys - unseen)
    return 4.0 * pairs * of.width, _moved(dtype, of)


_STREAMS, _GROUP = (("kv_heads", 1.0),), (("kv_heads", -1.0),)
_AXES = (
    Axis("heads", 0.0, 7 / 3, 4, _GROUP),
    # Kernels of different head sizes have little in common: these count as six times as far apart.
    Axis("head_dim", 36.0, 3.0, 7, (("head_dim", 5.0),)),
)
_SIZES = ("batch", "kv_len", "heads", "kv_heads", "head_dim")


def _prefill(library: str) -> Family:
    return Family(
        name=f"prefill_{library}",
        sizes=(*_SIZES, "q_len", "causal"),
        parameters=PREFILL,
        form=prefill_parts,
        amounts=attention_amounts,
        axes=(Axis("batch", 0.0, 2.0, 8, _STREAMS), Axis("q_len", 0.0, 2.0, 8), *_AXES),
    )


def _decode(library: str) -> Family:
    return Family(
        name=f"decode_{library}",
        sizes=_SIZES,
        parameters=DECODE,
        form=decode_parts,
        amounts=attention_amounts,
        axes=(Axis("batch", 0.0, 2.0, 9, _STREAMS), Axis("kv_len", 1.0, 2.0, 9), *_AXES),
    )


ATTENTION = tuple(make(library) for make in (_prefill, _decode) for library in LIBRARIES)
"""A family for each phase and library, "prefill_fa3"."""
