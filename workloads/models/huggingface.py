"""Transformers as HuggingFace's library runs them in eager mode, with unfused attention.

Wolf et al., "Transformers: State-of-the-Art Natural Language Processing", EMNLP 2020;
`attn_implementation="eager"`. Dropout of 0.1 is on when training.
"""

from __future__ import annotations

from workloads.layers import (
    add,
    classified,
    embedding,
    first_token,
    gelu,
    layer_norm,
    linear,
    relu,
    tanh,
)
from workloads.model import Sizes, model
from workloads.models.text import check_transformer
from workloads.network import Network, Recorded
from workloads.tape import Tensor
from workloads.unfused import Style, fused_dropout, new_gelu, unfused_attention

_EXTRA_POSITIONS = 2
"""Rows of OPT's table of positions that no token uses."""


def _tokens(net: Network, sizes: Sizes) -> Tensor:
    return net.given((sizes.batch, sizes.sequence), "int64")


def _embedded(net: Network, sizes: Sizes, tokens: Tensor, *tables: Tensor) -> Tensor:
    """Return tokens by the first table plus their places by the second."""
    at = net.call("arange", [], (sizes.sequence,), "int64")
    return add(net, embedding(net, tables[0], tokens), embedding(net, tables[1], at))


def _square(net: Network, sizes: Sizes, dtype: str = "") -> tuple[Tensor, Tensor]:
    """Return a mask of all pairs of tokens, and a number."""
    return net.given((1, 1, sizes.sequence, sizes.sequence), dtype), net.given(())


def _pre_norm(
    net: Network, x: Tensor, heads: int, style: Style, mask: tuple[Tensor, Tensor]
) -> Tensor:
    """Return tokens after a layer that normalizes first."""
    width = x.shape[-1]
    attended = unfused_attention(net, layer_norm(net, x), heads, style, mask)
    x = add(net, x, fused_dropout(net, attended))
    wide = linear(net, layer_norm(net, x), 4 * width)
    active = new_gelu(net, wide) if style == "gpt2" else relu(net, wide)
    return add(net, x, fused_dropout(net, linear(net, active, width)))


def _scored(net: Network, x: Tensor, table: Tensor, tokens: Tensor) -> Recorded:
    """Return scores of all tokens by the table of their embeddings."""
    rows, width = x.shape[0] * x.shape[1], x.shape[2]
    x = net.view(layer_norm(net, x), rows, width)
    return classified(net, linear(net, x, table.shape[0], bias=False, tied=table), tokens)


@model("hf-gpt2", batch=1, sequence=1024, layers=12, width=768, heads=12, vocabulary=50_257,
       positions=1024, compiled=False)  # fmt: skip
def hf_gpt2(net: Network, sizes: Sizes) -> Recorded:
    """GPT-2 of any size as HuggingFace runs it, attention and GELU unfused, tied head.

    Parameters
    ----------
    positions : longest sequence
    compiled : whether a compiler fuses its kernels (inference only)

    >>> hf_gpt2().weight_count
    124439808
    """
    check_transformer(sizes)
    tokens = _tokens(net, sizes)
    table = net.weight(sizes.vocabulary, sizes.width)
    places = net.weight(sizes.positions, sizes.width)
    x = _embedded(net, sizes, tokens, table, places)
    x = fused_dropout(net, x)
    mask = _square(net, sizes, "bool")
    for _ in range(sizes.layers):
        x = _pre_norm(net, x, sizes.heads, "gpt2", mask)
    return _scored(net, x, table, tokens)


@model("hf-opt", batch=1, sequence=2048, layers=24, width=2048, heads=32, vocabulary=50_272,
       positions=2048, compiled=False)  # fmt: skip
def hf_opt(net: Network, sizes: Sizes) -> Recorded:
    """OPT of any size (1.3B) as HuggingFace runs it, attention unfused, tied head.

    Zhang et al., arXiv:2205.01068.

    Parameters
    ----------
    positions : longest sequence
    compiled : whether a compiler fuses its kernels (inference only)

    >>> hf_opt().weight_count
    1315758080
    """
    check_transformer(sizes)
    tokens = _tokens(net, sizes)
    table = net.weight(sizes.vocabulary, sizes.width)
    places = net.weight(sizes.positions + _EXTRA_POSITIONS, sizes.width)
    x = _embedded(net, sizes, tokens, table, places)
    mask = _square(net, sizes)
    for _ in range(sizes.layers):
        x = _pre_norm(net, x, sizes.heads, "opt", mask)
    return _scored(net, x, table, tokens)


@model("hf-bert", batch=1, sequence=512, layers=12, width=768, heads=12, vocabulary=30_522,
       positions=512, compiled=False)  # fmt: skip
def hf_bert(net: Network, sizes: Sizes) -> Recorded:
    """BERT of any size as HuggingFace runs it: predicts masked tokens, or classifies sequences.

    Training has the head for masked tokens, inference that for two classes.

    Parameters
    ----------
    positions : longest sequence
    compiled : whether a compiler fuses its kernels (inference only)

    >>> hf_bert().weight_count
    109483778
    """
    check_transformer(sizes)
    tokens, segments = _tokens(net, sizes), _tokens(net, sizes)
    rows = (sizes.vocabulary, sizes.positions, 2)
    table, places, kinds = (net.weight(count, sizes.width) for count in rows)
    at = net.call("arange", [], (sizes.sequence,), "int64")
    x = add(net, embedding(net, table, tokens), embedding(net, kinds, segments))
    x = add(net, x, embedding(net, places, at))
    x = fused_dropout(net, layer_norm(net, x))
    mask = (net.given((1, 1, 1, sizes.sequence)),)
    for _ in range(sizes.layers):
        attended = unfused_attention(net, x, sizes.heads, "bert", mask)
        x = layer_norm(net, add(net, fused_dropout(net, attended), x))
        mapped = linear(net, gelu(net, linear(net, x, 4 * sizes.width)), sizes.width)
        x = layer_norm(net, add(net, fused_dropout(net, mapped), x))
    if not net.training:
        pooled = tanh(net, linear(net, first_token(net, x), sizes.width))
        return Recorded(linear(net, pooled, 2), (tokens, segments))
    mapped = layer_norm(net, gelu(net, linear(net, x, sizes.width)))
    flat = net.view(mapped, sizes.batch * sizes.sequence, sizes.width)
    scores = linear(net, flat, sizes.vocabulary, tied=table)
    return classified(net, scores, tokens, segments)


BERT_LARGE = hf_bert.preset(
    "bert-large", "BERT-large (Devlin et al., NAACL 2019) as HuggingFace runs it",
    layers=24, width=1024, heads=16,
)  # fmt: skip
GPT2_LARGE = hf_gpt2.preset(
    "gpt2-large", "GPT-2 large (Radford et al., 2019) as HuggingFace runs it",
    layers=36, width=1280, heads=20,
)  # fmt: skip
GPT_2_7B = hf_gpt2.preset(
    "gpt-2.7b", "GPT-3 2.7B (Brown et al., NeurIPS 2020, Table 2.1) as HuggingFace runs GPT-2",
    layers=32, width=2560, heads=32, sequence=2048, positions=2048,
)  # fmt: skip
OPT_1_3B = hf_opt.preset(
    "opt-1.3b", "OPT-1.3B (Zhang et al., arXiv:2205.01068) as HuggingFace runs it",
)  # fmt: skip
