"""Encode and decode gradients in torch, as `workloads.plans.compression` says what is exchanged.

A *code* is what one rank makes of a bucket: a flat tensor. Codes that are gathered are bytes, one
after the other by rank. What a code does not tell of a bucket is added to the next one (error
feedback), so that what was sent and what is kept add up to all gradients there were. Signs are
packed by NumPy, which has memory of the host only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from simulator.errors import InputError
from simulator.streams import stream
from simulator.workload import Work
from workloads.plans.compression import INDEX_BYTES, SCALE_BYTES, Coding, factor_shape, kept_of

Tensors: TypeAlias = MutableMapping[str, torch.Tensor]
LARGEST_INT8 = 127
WORKS = ("encode", "encode_right", "decode")
"""The names of works that encode and decode."""


class Codes:
    """Encode and decode the buckets of one rank.

    Parameters
    ----------
    rank : which one
    seed : of the first factors of low-rank codes, the same for all ranks

    `lost` is what the codes of each bucket have not told so far, by the bucket's name.
    """

    def __init__(self, rank: int, seed: int) -> None:
        self._rank, self._seed = rank, seed
        self.lost: dict[str, torch.Tensor] = {}
        self._left: dict[str, torch.Tensor] = {}
        self._right: dict[str, torch.Tensor] = {}

    def __call__(self, work: Work, tensors: Tensors) -> None:
        """Do a work of compression on tensors by name.

        Raises
        ------
        InputError : gradients that are no float32
        """
        coding = work.given
        if not isinstance(coding, Coding):
            raise InputError(f"work '{work.name}': expected one that code_of gives, got {work!r}")
        bucket = tensors[coding.bucket.name]
        if bucket.dtype != torch.float32:
            raise InputError(f"compression is of float32; '{coding.bucket.name}' is {bucket.dtype}")
        method = coding.compression.method
        if method == "float16":
            self._half(work, coding, tensors)
        elif method == "low-rank":
            self._low_rank(work, coding, tensors)
        else:
            self._gathered(work, coding, tensors, GATHERED[method])

    def _with_lost(self, coding: Coding, bucket: torch.Tensor, room: int) -> torch.Tensor:
        """Return the bucket and what was lost before, in the place where what is lost is kept."""
        name = coding.bucket.name
        kept = self.lost.setdefault(name, bucket.new_zeros(room))
        kept[: len(bucket)].add_(bucket)
        return kept

    def _half(self, work: Work, coding: Coding, tensors: Tensors) -> None:
        bucket = tensors[coding.bucket.name]
        if work.name == "encode":
            # Divided before they are added up, so that sums stay in the range of halves.
            tensors[work.writes[0]] = bucket.half().div_(coding.ranks)
        else:
            bucket.copy_(tensors[work.reads[0]])

    def _gathered(self, work: Work, coding: Coding, tensors: Tensors, by: Gathered) -> None:
        bucket, size = tensors[coding.bucket.name], coding.code_bytes
        if work.name == "encode":
            name = work.writes[0]
            if name not in tensors:
                tensors[name] = bucket.new_zeros(coding.ranks * size, dtype=torch.uint8)
            own = tensors[name][self._rank * size : (self._rank + 1) * size]
            by.encode(self._with_lost(coding, bucket, len(bucket)), own, coding)
            return
        bucket.zero_()
        for code in tensors[work.reads[0]].split(size):
            by.decode(code, bucket)
        bucket.div_(coding.ranks)

    def _low_rank(self, work: Work, coding: Coding, tensors: Tensors) -> None:
        bucket, name = tensors[coding.bucket.name], coding.bucket.name
        side, thin = factor_shape(coding.compression, len(bucket))
        if work.name == "encode":
            if name not in self._right:
                draw = stream(self._seed, 0, f"factor of {name}").standard_normal((side, thin))
                self._right[name] = torch.from_numpy(draw).to(bucket)
            matrix = self._with_lost(coding, bucket, side * side).view(side, side)
            tensors[work.writes[0]] = (matrix @ self._right[name]).flatten()
            return
        matrix = self.lost[name].view(side, side)
        if work.name == "encode_right":
            self._left[name] = torch.linalg.qr(tensors[work.reads[0]].view(side, thin))[0]
            tensors[work.writes[0]] = (matrix.T @ self._left[name]).flatten()
            return
        # The right factor is where the next step begins, so that steps together iterate by powers.
        self._right[name] = right = tensors[work.reads[0]].view(side, thin) / coding.ranks
        told = self._left[name] @ right.T
        matrix.sub_(told)
        bucket.copy_(told.flatten()[: len(bucket)])


class Gathered(NamedTuple):
    """Be a code that is gathered.

    Parameters
    ----------
    encode : writes the code of numbers, and takes from them what it tells
    decode : adds what a code tells to numbers
    """

    encode: Callable[[torch.Tensor, torch.Tensor, Coding], None]
    decode: Callable[[torch.Tensor, torch.Tensor], None]


def _to_int8(numbers: torch.Tensor, code: torch.Tensor, _: Coding) -> None:
    low, high = torch.aminmax(numbers)
    scale = torch.maximum(-low, high) / LARGEST_INT8
    _write_scale(code, scale)
    step = float(scale)
    if step:
        whole = (numbers / step).round_()
        code[:-SCALE_BYTES].view(torch.int8).copy_(whole)
        numbers.add_(whole, alpha=-step)
    else:
        code.zero_()


def _from_int8(code: torch.Tensor, into: torch.Tensor) -> None:
    into.add_(code[:-SCALE_BYTES].view(torch.int8).to(into.dtype), alpha=_scale_of(code))


def _to_sign(numbers: torch.Tensor, code: torch.Tensor, _: Coding) -> None:
    size = numbers.abs().sum() / len(numbers)
    _write_scale(code, size)
    bits = numbers.cpu().numpy() >= 0
    code[:-SCALE_BYTES] = torch.from_numpy(np.packbits(bits))
    told = torch.from_numpy(bits.view(np.uint8)).to(numbers)
    numbers.add_(told, alpha=-2 * float(size)).add_(float(size))


def _from_sign(code: torch.Tensor, into: torch.Tensor) -> None:
    size = _scale_of(code)
    bits = np.unpackbits(code[:-SCALE_BYTES].cpu().numpy(), count=len(into))
    into.add_(torch.from_numpy(bits).to(into), alpha=2 * size).sub_(size)


def _to_top_k(numbers: torch.Tensor, code: torch.Tensor, coding: Coding) -> None:
    kept = kept_of(coding.compression, len(numbers))
    at = numbers.abs().topk(kept, sorted=False).indices
    values, places = code.split((code.numel() - INDEX_BYTES * kept, INDEX_BYTES * kept))
    values.copy_(numbers[at].view(torch.uint8))
    places.copy_(at.int().view(torch.uint8))
    numbers.index_fill_(0, at, 0.0)


def _from_top_k(code: torch.Tensor, into: torch.Tensor) -> None:
    half = len(code) * into.element_size() // (into.element_size() + INDEX_BYTES)
    places = code[half:].view(torch.int32)
    into.index_add_(0, places, code[:half].view(into.dtype))


GATHERED: Mapping[str, Gathered] = {
    "int8": Gathered(_to_int8, _from_int8),
    "sign": Gathered(_to_sign, _from_sign),
    "top-k": Gathered(_to_top_k, _from_top_k),
}
"""Codes that do not add up, by method."""


def _write_scale(code: torch.Tensor, scale: torch.Tensor) -> None:
    code[-SCALE_BYTES:] = scale.view(1).view(torch.uint8)


def _scale_of(code: torch.Tensor) -> float:
    # A copy, as bytes of a code may begin where no number can.
    return float(code[-SCALE_BYTES:].clone().view(torch.float32))
