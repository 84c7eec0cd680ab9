"""Logs of nccl-tests, made up: times of an alpha-beta line."""

from __future__ import annotations

from collections.abc import Sequence

SIZES = tuple(2**n for n in range(10, 34))


def log(
    test: str = "all_reduce_perf", ranks: int = 8, gpu: str = "NVIDIA H100 80GB HBM3",
    sizes: Sequence[int] = SIZES, alpha_us: float = 20.0, gb_per_s: float = 200.0,
    dtype: str = "float", hosts: int = 1,
) -> str:  # fmt: skip
    """Return what nccl-tests print."""
    host = [f"node{rank * hosts // ranks}" for rank in range(ranks)]
    lines = [
        "# nccl-tests version 2.17.6 nccl-headers=22803 nccl-library=22803",
        f"# Collective test starting: {test}",
        "# nThread 1 nGpus 8 minBytes 1024 maxBytes 8589934592 step: 2(factor) warmup iters: 5",
        "#",
        "# Using devices",
        *(f"#  Rank {rank:2d} Group  0 Pid  4711 on {host[rank]:>8s} device {rank:2d} "
          f"[0000:1b:00] {gpu}" for rank in range(ranks)),
        "#",
        "#                                            out-of-place                   in-place",
        COLUMNS,
        "#        (B)    (elements)                   (us)  (GB/s)  (GB/s)       (us)  (GB/s)",
        *(row(size, alpha_us, gb_per_s, ranks, dtype) for size in sizes),
        "# Out of bounds values : 0 OK",
        "# Avg bus bandwidth    : 123.4",
        "#",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


COLUMNS = ("#       size         count      type   redop    root     time   algbw   busbw #wrong"
           "     time   algbw   busbw #wrong")  # fmt: skip


def row(size: int, alpha_us: float, gb_per_s: float, ranks: int, dtype: str = "float") -> str:
    """Return the line of a size; in place it takes 1 us longer."""
    time_us = alpha_us + size / gb_per_s / 1e3
    rate = size / time_us / 1e3
    bus = rate * 2 * (ranks - 1) / ranks
    cells = f"{time_us:8.2f} {rate:7.2f} {bus:7.2f}      0"
    return f"{size:12d} {size // 4:13d} {dtype:>9s} sum -1 {cells} {time_us + 1:8.2f} {cells[9:]}"
