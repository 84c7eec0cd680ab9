"""Make the works and buffers that plans add to those of a job.

All are passes over flat tensors: sums of gradients, means of parameters, parts of an update. Equal
calls give the same work, so that a device costs it once.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np

from simulator.ops import DTYPE_BYTES, Graph, Op
from simulator.workload import Buffer, Work

NUMBER = "float32"
"""Data type of parameters and gradients where the job names only their bytes."""
MOST_KEPT = 4096


@functools.lru_cache(maxsize=MOST_KEPT)
def elementwise(
    name: str,
    nbytes: float,
    *,
    reads: tuple[str, ...],
    writes: tuple[str, ...],
    flops_per_number: float = 1.0,
) -> Work:
    """Return a work that reads and writes buffers of one size, number by number.

    >>> elementwise("sum", 8.0, reads=("a", "b"), writes=("b",)).graph.bytes_read.tolist()
    [16.0]
    """
    count = _numbers(nbytes)
    op = Op(kind="elementwise", dims=(count,), name=name, dtype=NUMBER,
            flops=flops_per_number * count, bytes_read=len(reads) * nbytes,
            bytes_written=len(writes) * nbytes, phase="update")  # fmt: skip
    return Work(name, Graph.of([op]), reads=reads, writes=writes)


def accumulate(incoming: Buffer, total: Buffer) -> Work:
    """Return the work of adding what has come to a sum."""
    both = (incoming.name, total.name)
    return elementwise("accumulate", incoming.nbytes, reads=both, writes=(total.name,))


def average(own: Buffer, others: tuple[Buffer, ...]) -> Work:
    """Return the work of taking the mean of an own buffer and others of its size."""
    reads = (own.name, *(other.name for other in others))
    return elementwise(
        "average", own.nbytes, reads=reads, writes=(own.name,), flops_per_number=len(reads)
    )


@functools.lru_cache(maxsize=MOST_KEPT)
def part_of(work: Work, share: float, reads: tuple[str, ...], writes: tuple[str, ...]) -> Work:
    """Return a work on a share of the numbers that it otherwise works on."""
    graph = work.graph
    dims = graph.dims.copy()
    dims[:, 0] = np.ceil(dims[:, 0] * share)
    amounts = {
        name: getattr(graph, name) * share
        for name in ("flops", "bytes_read", "bytes_written", "weight_bytes", "allocated_bytes")
    }
    return Work(work.name, replace(graph, dims=dims, **amounts), reads=reads, writes=writes)


@functools.lru_cache(maxsize=MOST_KEPT)
def shard(buffer: Buffer, index: int, parts: int) -> Buffer:
    """Return one of the equal parts of a buffer, itself where there is one.

    >>> shard(Buffer("grad", 8.0), 1, 2).name
    'grad[1/2]'
    """
    return buffer if parts == 1 else buffer.part(index, parts)


@functools.lru_cache(maxsize=MOST_KEPT)
def another(buffer: Buffer, name: str) -> Buffer:
    """Return a buffer of the same size with another name."""
    return Buffer(name, buffer.nbytes)


def _numbers(nbytes: float) -> int:
    return math.ceil(nbytes / DTYPE_BYTES[NUMBER])
