"""Say what each op of the table computes and moves, in half precision.

A layer is shared by several devices (tensor parallel): each has its part of the heads and of the
MLP's hidden width (Shoeybi et al., "Megatron-LM", arXiv:1909.08053, section 3).
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from simulator.ops import DTYPE_BYTES, Graph, Op
from validation.cases import Case

DTYPE = "float16"


class Sizes(NamedTuple):
    """Hold the sizes of one device's share of a layer.

    Parameters
    ----------
    tokens : of all sequences
    width : of a token
    hidden : of the MLP on this device
    heads : all numbers of queries on this device
    keys : all numbers of keys (or of values) on this device
    maps : products that widen the MLP, 2 with a gate
    """

    tokens: int
    width: int
    hidden: int
    heads: int
    keys: int
    maps: int


@functools.cache
def _models() -> Mapping[str, Any]:
    path = Path(__file__).parent / "models.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def sizes_of(case: Case) -> Sizes:
    """Return the sizes of a case."""
    tokens, tensor, width, hidden, heads, keys = (
        case.number(f"workload.{name}")
        for name in ("tokens", "tensor", "width", "hidden", "heads", "kv_heads")
    )
    known = _models()
    gated = known["models"].get(case.text("workload.model"), known)["gated"]
    each = width / heads
    return Sizes(
        tokens=round(tokens),
        width=round(width),
        hidden=max(round(hidden / tensor), 1),
        heads=max(round(heads * each / tensor), 1),
        keys=max(round(keys * each / tensor), 1),
        maps=2 if gated else 1,
    )


def _product(tokens: int, n: int, k: int) -> Op:
    size = DTYPE_BYTES[DTYPE]
    return Op(
        kind="gemm",
        dims=(1, tokens, n, k),
        dtype=DTYPE,
        flops=2.0 * tokens * n * k,
        bytes_read=size * (tokens * k + k * n),
        bytes_written=size * tokens * n,
    )


def _map(read: int, written: int) -> Op:
    size = DTYPE_BYTES[DTYPE]
    return Op(
        kind="elementwise",
        dims=(written,),
        dtype=DTYPE,
        bytes_read=size * read,
        bytes_written=size * written,
    )


FORMS: Mapping[str, Callable[[Sizes], Op]] = MappingProxyType({
    "emb": lambda s: _map(s.tokens * s.width, s.tokens * s.width),
    "input_layernorm": lambda s: _map(s.tokens * s.width, s.tokens * s.width),
    "attn_pre_proj": lambda s: _product(s.tokens, s.heads + 2 * s.keys, s.width),
    "attn_rope": lambda s: _map(s.tokens * (s.heads + s.keys), s.tokens * (s.heads + s.keys)),
    "attn_post_proj": lambda s: _product(s.tokens, s.width, s.heads),
    "add": lambda s: _map(2 * s.tokens * s.width, s.tokens * s.width),
    "mlp_up_proj": lambda s: _product(s.tokens, s.maps * s.hidden, s.width),
    "mlp_act": lambda s: _map(s.maps * s.tokens * s.hidden, s.tokens * s.hidden),
    "mlp_down_proj": lambda s: _product(s.tokens, s.width, s.hidden),
})  # fmt: skip
"""What an op is, by its name in the table."""


def graph_of(cases: Sequence[Case]) -> Graph:
    """Return the ops of cases, none of which waits for another."""
    ops = [FORMS[case.text("workload")](sizes_of(case)) for case in cases]
    return Graph.of(ops, [()] * len(ops))
