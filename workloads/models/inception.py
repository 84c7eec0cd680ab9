"""Say what Inception-v3 is made of: Szegedy et al., CVPR 2016, arXiv:1512.00567.

A *layer* is a convolution (with batch normalisation and ReLU), a pooling, or a block. A *block* is
branches, each a tuple of layers, whose results have their channels joined.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias, Union

MAX, MEAN = "max", "mean"
"""Poolings of 3 x 3: the greatest number by a stride of 2; the mean by one of 1, padded by 1."""


class Convolution(NamedTuple):
    """Be a convolution; a padding of -1 is half the kernel."""

    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: int = -1


InceptionLayer: TypeAlias = Union[str, Convolution, "Block"]
Block: TypeAlias = tuple[tuple[InceptionLayer, ...], ...]

C = Convolution
_3, _5, _ROW, _COLUMN = (3, 3), (5, 5), (1, 7), (7, 1)

INCEPTION_V3_STEM: tuple[InceptionLayer, ...] = (
    C(32, _3, 2, 0), C(32, _3, 1, 0), C(64, _3), MAX, C(80), C(192, _3, 1, 0), MAX,
)  # fmt: skip


def _fine(pooled: int) -> Block:
    """Return a block of the grid of 35 x 35 (Figure 5, with 5 x 5 kept)."""
    return ((C(64),), (C(48), C(64, _5)), (C(64), C(96, _3), C(96, _3)), (MEAN, C(pooled)))


def _middle(width: int) -> Block:
    """Return a block of the grid of 17 x 17 (Figure 6)."""
    twice = (C(width), C(width, _COLUMN), C(width, _ROW), C(width, _COLUMN), C(192, _ROW))
    return ((C(192),), (C(width), C(width, _ROW), C(192, _COLUMN)), twice, (MEAN, C(192)))


def _coarse() -> Block:
    """Return a block of the grid of 8 x 8 (Figure 7)."""
    fork: Block = ((C(384, (1, 3)),), (C(384, (3, 1)),))
    return ((C(320),), (C(384), fork), (C(448), C(384, _3), fork), (MEAN, C(192)))


_TO_MIDDLE: Block = (
    (C(384, _3, 2, 0),), (C(64), C(96, _3), C(96, _3, 2, 0)), (MAX,),
)  # fmt: skip
_TO_COARSE: Block = (
    (C(192), C(320, _3, 2, 0)),
    (C(192), C(192, _ROW), C(192, _COLUMN), C(192, _3, 2, 0)),
    (MAX,),
)
INCEPTION_V3_BLOCKS: tuple[Block, ...] = (
    _fine(32), _fine(64), _fine(64), _TO_MIDDLE,
    _middle(128), _middle(160), _middle(160), _middle(192), _TO_COARSE,
    _coarse(), _coarse(),
)  # fmt: skip
