"""Compress gradients: what encoding and decoding compute, what is sent, and by which collective.

What adds up when encoded (halves, low-rank factors) is all-reduced. The rest is gathered: each rank
gets what all others encoded, and adds it up when decoding, so that bytes grow with the ranks. All
but halves keep what was lost for the next step (error feedback).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from simulator.errors import InputError
from simulator.ops import DTYPE_BYTES, Graph, Op
from simulator.workload import Buffer, Work
from workloads.plans.works import MOST_KEPT, NUMBER

WIDE = int(DTYPE_BYTES[NUMBER])
INDEX_BYTES, TORCH_INDEX_BYTES = int(DTYPE_BYTES["int32"]), int(DTYPE_BYTES["int64"])
"""Of a place, as it is sent and as torch computes with it."""
PAIR_BYTES = 16
"""Of a number and its place, side by side, as torch looks for the largest on a CPU.

A CPU's model takes what writes so much for a selection rather than a partial sort. Where thousands
are kept, these take equally long.
"""
SCALE_BYTES = WIDE
"""Of the one number by which what is quantized is multiplied."""


@dataclass(frozen=True, slots=True)
class Compression:
    """Say how gradients are compressed.

    Parameters
    ----------
    method : one of `METHODS`
    share : of the numbers that top-k keeps
    rank : of the factors, where low-rank
    """

    method: str
    share: float = 0.01
    rank: int = 4


@dataclass(frozen=True, slots=True)
class Stage:
    """Be a part of an exchange: a work, then a collective of what it leaves."""

    encode: Work
    kind: str
    buffer: Buffer


@dataclass(frozen=True, slots=True)
class Code:
    """Be how one bucket is exchanged: stages one after the other, then decoding."""

    stages: tuple[Stage, ...]
    decode: Work


@dataclass(frozen=True, slots=True)
class Coding:
    """Say what a work encodes or decodes, for those who do it on real tensors.

    Parameters
    ----------
    compression : how
    bucket : what
    ranks : how many exchange codes
    code_bytes : of one rank's code, where codes are gathered, bytes
    """

    compression: Compression
    bucket: Buffer
    ranks: int
    code_bytes: int = 0

    def work(self, name: str, ops: Sequence[Op], read: Buffer, written: Buffer) -> Work:
        """Return a work of the exchange."""
        return Work(name, Graph.of(list(ops)), reads=(read.name,), writes=(written.name,),
                    given=self)  # fmt: skip


@functools.lru_cache(maxsize=MOST_KEPT)
def code_of(compression: Compression, bucket: Buffer, ranks: int) -> Code:
    """Return how a bucket of gradients is exchanged between so many ranks.

    The ops are those that torch needs for it, a pass over memory each.

    >>> code = code_of(Compression("sign"), Buffer("bucket0", 3200.0), ranks=4)
    >>> code.stages[0].kind, code.stages[0].buffer.nbytes
    ('all_gather', 416.0)
    """
    return METHODS[compression.method](compression, bucket, ranks)


def _float16(compression: Compression, bucket: Buffer, ranks: int) -> Code:
    """Send halves of the numbers over the ranks; they add up to the mean as they are."""
    count, half = _numbers(bucket), DTYPE_BYTES["float16"]
    sent, coding = Buffer(f"{bucket.name}.code", half * count), Coding(compression, bucket, ranks)
    narrow = _pass("copy", count, 0, read=WIDE, written=half)
    divided = _pass("div", count, 1, read=half, written=half)
    widen = _pass("copy", count, 0, read=half)
    encode = coding.work("encode", [narrow, divided], bucket, sent)
    decode = coding.work("decode", [widen], sent, bucket)
    return Code((Stage(encode, "all_reduce", sent),), decode)


def _int8(compression: Compression, bucket: Buffer, ranks: int) -> Code:
    """Send 8 bits of a number: find the largest, scale, round to the nearest (Dettmers, 2016)."""
    count = _numbers(bucket)
    encode = [
        _lost(count),
        _reduced("aminmax", count),
        _pass("mul", count, 1),
        _pass("round", count, 1),
        _pass("copy", count, 0, written=1),
        _pass("add", count, 2, read=2 * WIDE),
    ]
    return _gathered(compression, bucket, ranks, count + SCALE_BYTES, encode, [
        _pass("copy", count, 0, read=1), _pass("add", count, 2, read=2 * WIDE),
    ])  # fmt: skip


def _sign(compression: Compression, bucket: Buffer, ranks: int) -> Code:
    """Send signs and their mean size (Bernstein et al., 2018; Karimireddy et al., 2019)."""
    count = _numbers(bucket)
    bits = _pass("copy", count, 0, read=1, written=1 / 8)
    signs = [_pass("copy", count, 0, read=1 / 8, written=1), _pass("copy", count, 0, read=1)]
    encode = [
        _lost(count),
        _pass("abs", count, 1),
        _reduced("sum", count),
        _pass("ge", count, 1, written=1),
        bits,
        _pass("copy", count, 0, read=1),
        _pass("add", count, 2, read=2 * WIDE),
        _pass("add", count, 1),
    ]
    return _gathered(compression, bucket, ranks, math.ceil(count / 8) + SCALE_BYTES, encode, [
        *signs, _pass("add", count, 2, read=2 * WIDE), _pass("sub", count, 1),
    ])  # fmt: skip


def _top_k(compression: Compression, bucket: Buffer, ranks: int) -> Code:
    """Send the largest numbers and where they stand (Aji & Heafield, 2017)."""
    count = _numbers(bucket)
    kept = kept_of(compression, count)
    pairs = PAIR_BYTES * count
    find = Op(kind="sort", dims=(1, count), name="topk", flops=count,
              bytes_read=WIDE * count + pairs, allocated_bytes=pairs,
              bytes_written=kept * (WIDE + TORCH_INDEX_BYTES) + pairs, phase="update")  # fmt: skip
    take, clear, add = (
        Op(kind=kind, dims=(kept, 1, count), name=name, flops=flops * kept, phase="update",
           bytes_read=kept * (WIDE + TORCH_INDEX_BYTES), bytes_written=kept * WIDE)
        for kind, name, flops in (("gather", "index", 0), ("scatter", "index_fill", 0),
                                  ("scatter", "index_add", 1))
    )  # fmt: skip
    encode = [_lost(count), _pass("abs", count, 1), find, take, clear]
    return _gathered(compression, bucket, ranks, kept * (WIDE + INDEX_BYTES), encode, [add])


def kept_of(compression: Compression, count: int) -> int:
    """Return how many of so many numbers top-k keeps.

    >>> kept_of(Compression("top-k", share=0.01), 150)
    2
    """
    return max(1, math.ceil(compression.share * count))


def _gathered(
    compression: Compression, bucket: Buffer, ranks: int, code_bytes: int, encode: Sequence[Op],
    decode_one: Sequence[Op],
) -> Code:  # fmt: skip
    """Return the exchange of codes that each rank decodes one by one, adds up and averages."""
    count, coding = _numbers(bucket), Coding(compression, bucket, ranks, code_bytes)
    sent = Buffer(f"{bucket.name}.code", float(ranks * code_bytes))
    begin, end = _pass("zero_", count, 0, read=0), _pass("div", count, 1)
    decode = [begin, *(list(decode_one) * ranks), end]
    stage = Stage(coding.work("encode", encode, bucket, sent), "all_gather", sent)
    return Code((stage,), coding.work("decode", decode, sent, bucket))


def _low_rank(compression: Compression, bucket: Buffer, ranks: int) -> Code:
    """Send two thin factors, one after the other (PowerSGD, Vogels et al., 2019).

    A bucket is taken for one square matrix, as torch's `batched_powerSGD_hook` does.
    """
    count, coding = _numbers(bucket), Coding(compression, bucket, ranks)
    side, thin = factor_shape(compression, count)
    factor = WIDE * side * thin
    left, right = Buffer(f"{bucket.name}.left", factor), Buffer(f"{bucket.name}.right", factor)
    project = _gemm(side, thin, side)
    # Factoring as a product of orthogonal and triangular, then forming the former: by blocks, as
    # products, as much arithmetic each (LAPACK's geqrf and orgqr, for many more rows than columns).
    orthogonal = [_gemm(thin, thin, side)] * 2
    first = coding.work("encode", [_lost(count), project], bucket, left)
    second = coding.work("encode_right", [*orthogonal, project], left, right)
    whole = [_gemm(side, side, thin), _pass("sub", count, 1, read=2 * WIDE),
             _pass("copy", count, 0)]  # fmt: skip
    decode = coding.work("decode", whole, right, bucket)
    return Code((Stage(first, "all_reduce", left), Stage(second, "all_reduce", right)), decode)


def factor_shape(compression: Compression, count: int) -> tuple[int, int]:
    """Return the side of the smallest square with room for so many numbers, and its rank at most.

    >>> factor_shape(Compression("low-rank", rank=2), 10)
    (4, 2)
    """
    side = math.isqrt(count - 1) + 1 if count else 0
    return side, min(compression.rank, side)


METHODS: Mapping[str, Callable[[Compression, Buffer, int], Code]] = {
    "float16": _float16,
    "int8": _int8,
    "sign": _sign,
    "top-k": _top_k,
    "low-rank": _low_rank,
}
"""Ways to compress gradients, by name."""


def _numbers(bucket: Buffer) -> int:
    return math.ceil(bucket.nbytes / WIDE)


def _pass(name: str, count: int, flops: float, read: float = WIDE, written: float = WIDE) -> Op:
    """Return an op that goes once over so many numbers; bytes are those of a number."""
    return Op(kind="elementwise", dims=(count,), name=name, flops=flops * count,
              bytes_read=read * count, bytes_written=written * count, phase="update")  # fmt: skip


def _lost(count: int) -> Op:
    """Return the op of adding what was lost before (error feedback)."""
    return _pass("add", count, 1, read=2 * WIDE)


def _reduced(name: str, count: int) -> Op:
    return Op(kind="reduction", dims=(count, 1), name=name, flops=count,
              bytes_read=WIDE * count, phase="update")  # fmt: skip


def _gemm(m: int, n: int, k: int) -> Op:
    return Op(kind="gemm", dims=(1, m, n, k), name="mm", phase="update",
              flops=2.0 * m * n * k, bytes_read=WIDE * k * (m + n),
              bytes_written=WIDE * m * n)  # fmt: skip


def check_compression(compression: Compression) -> None:
    """Raise where a share is not in (0, 1]."""
    if not 0 < compression.share <= 1:
        raise InputError(f"plan data-parallel: share must lie in (0, 1]; got {compression.share}")
