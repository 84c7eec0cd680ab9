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

WIDE = DTYPE_BYTES[NUMBER]
INDEX_BYTES = DTYPE_BYTES["int32"]
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


@functools.lru_cache(maxsize=MOST_KEPT)
def code_of(compression: Compression, bucket: Buffer, ranks: int) -> Code:
    """Return how a bucket of gradients is exchanged between so many ranks.

    >>> code = code_of(Compression("sign"), Buffer("bucket0", 3200.0), ranks=4)
    >>> code.stages[0].kind, code.stages[0].buffer.nbytes
    ('all_gather', 416.0)
    """
    return METHODS[compression.method](compression, bucket, ranks)


def _float16(_: Compression, bucket: Buffer, ranks: int) -> Code:
    """Send halves; they add up as they are."""
    count = _numbers(bucket)
    half = DTYPE_BYTES["float16"] * count
    sent = Buffer(f"{bucket.name}.code", half)
    encode = _work("encode", [_pass(count, 1, WIDE * count, half)], bucket, sent)
    decode = _work("decode", [_pass(count, 1, half, WIDE * count)], sent, bucket)
    return Code((Stage(encode, "all_reduce", sent),), decode)


def _int8(_: Compression, bucket: Buffer, ranks: int) -> Code:
    """Send 8 bits of a number: find the largest, then scale and round (Alistarh et al., 2017)."""
    count = _numbers(bucket)
    whole, code = WIDE * count, float(count)
    find = Op(kind="reduction", dims=(count, 1), name="largest", flops=count, bytes_read=2 * whole)
    rounded = _pass(count, 4, 2 * whole, code + whole)
    return _gathered(bucket, ranks, [find, rounded], code + SCALE_BYTES)


def _sign(_: Compression, bucket: Buffer, ranks: int) -> Code:
    """Send signs and their mean size (Bernstein et al., 2018; Karimireddy et al., 2019)."""
    count = _numbers(bucket)
    whole, code = WIDE * count, math.ceil(count / 8)
    mean = Op(kind="reduction", dims=(count, 1), name="size", flops=count, bytes_read=2 * whole)
    packed = _pass(count, 3, 2 * whole, code + whole)
    return _gathered(bucket, ranks, [mean, packed], code + SCALE_BYTES)


def _gathered(bucket: Buffer, ranks: int, ops: Sequence[Op], code_bytes: float) -> Code:
    """Return the exchange of codes of all numbers, which each rank decodes and adds up."""
    count = _numbers(bucket)
    sent = Buffer(f"{bucket.name}.code", float(ranks * code_bytes))
    add = _pass(count, 2 * ranks, sent.nbytes, WIDE * count)
    encode = _work("encode", ops, bucket, sent)
    return Code((Stage(encode, "all_gather", sent),), _work("decode", [add], sent, bucket))


def _top_k(compression: Compression, bucket: Buffer, ranks: int) -> Code:
    """Send the largest numbers and where they stand (Aji & Heafield, 2017)."""
    count = _numbers(bucket)
    kept = max(1, math.ceil(compression.share * count))
    whole, code = WIDE * count, kept * (WIDE + INDEX_BYTES)
    feedback = _pass(count, 1, 2 * whole, whole)
    find = Op(kind="sort", dims=(1, count), name="topk", flops=count, bytes_read=whole,
              bytes_written=code, phase="update")  # fmt: skip
    sent = Buffer(f"{bucket.name}.code", float(ranks * code))
    cleared = _pass(count, 0, 0.0, whole)
    add = Op(kind="scatter", dims=(ranks * kept, 1, count), name="add", flops=ranks * kept,
             bytes_read=sent.nbytes, bytes_written=ranks * kept * WIDE, phase="update")  # fmt: skip
    encode = _work("encode", [feedback, find], bucket, sent)
    decode = _work("decode", [cleared, add], sent, bucket)
    return Code((Stage(encode, "all_gather", sent),), decode)


def _low_rank(compression: Compression, bucket: Buffer, ranks: int) -> Code:
    """Send two thin factors, one after the other (PowerSGD, Vogels et al., 2019).

    A bucket is taken for one square matrix, as torch's `batched_powerSGD_hook` does.
    """
    count, thin = _numbers(bucket), compression.rank
    side = math.ceil(math.sqrt(count))
    whole, factor = WIDE * count, WIDE * side * thin
    left, right = Buffer(f"{bucket.name}.left", factor), Buffer(f"{bucket.name}.right", factor)
    project = _gemm(side, thin, side)
    orthogonal = Op(kind="gemm", dims=(1, thin, thin, side), name="orthogonalize",
                    flops=2.0 * side * thin**2, bytes_read=factor, bytes_written=factor,
                    phase="update")  # fmt: skip
    feedback = _pass(count, 1, 2 * whole, whole)
    first = _work("encode", [feedback, project], bucket, left)
    second = _work("encode_right", [orthogonal, project], left, right)
    decode = _work("decode", [_gemm(side, side, thin), feedback], right, bucket)
    return Code((Stage(first, "all_reduce", left), Stage(second, "all_reduce", right)), decode)


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


def _pass(count: int, flops: float, read: float, written: float) -> Op:
    """Return an op that goes once over so many numbers."""
    return Op(kind="elementwise", dims=(count,), name="pass", flops=flops * count,
              bytes_read=read, bytes_written=written, phase="update")  # fmt: skip


def _gemm(m: int, n: int, k: int) -> Op:
    return Op(kind="gemm", dims=(1, m, n, k), name="product", phase="update",
              flops=2.0 * m * n * k, bytes_read=WIDE * k * (m + n),
              bytes_written=WIDE * m * n)  # fmt: skip


def _work(name: str, ops: Sequence[Op], read: Buffer, written: Buffer) -> Work:
    return Work(name, Graph.of(list(ops)), reads=(read.name,), writes=(written.name,))


def check_compression(compression: Compression) -> None:
    """Raise where a share is not in (0, 1]."""
    if not 0 < compression.share <= 1:
        raise InputError(f"plan data-parallel: share must lie in (0, 1]; got {compression.share}")
