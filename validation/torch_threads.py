"""Put torch and the memory allocator into the state in which measurements are comparable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hwmodels.cpu_traffic import LARGEST_KEPT_BYTES
from simulator.errors import InputError


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use so many threads within a block.

    Raises
    ------
    InputError : fewer than one thread

    >>> with torch_threads(1):
    ...     torch.get_num_threads()
    1
    """
    if threads < 1:
        raise InputError(f"threads must be at least 1; got {threads}")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def settle_allocator() -> None:
    """Bring the allocator to where a long-running process has it.

    glibc keeps freed memory up to twice the largest block it has seen freed, at most 32 MiB
    (mallopt(3), M_MMAP_THRESHOLD). In a young process that bound is low, and mapping pages anew at
    every call takes up to a quarter of a step.
    """
    block = torch.empty(LARGEST_KEPT_BYTES - 65_536, dtype=torch.uint8)
    del block
