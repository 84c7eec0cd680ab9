"""Networks on text: an LSTM, BERT, and GPT of any size."""

from __future__ import annotations

from simulator.errors import InputError
from workloads.layers import (
    add,
    attention,
    classified,
    embedding,
    first_token,
    gelu,
    layer_norm,
    linear,
    tanh,
)
from workloads.model import Sizes, model
from workloads.network import Gradients, Network, Recorded
from workloads.tape import Tensor


def _tokens(net: Network, sizes: Sizes) -> Tensor:
    return net.given((sizes.batch, sizes.sequence), "int64")


@model(batch=16, sequence=64, vocabulary=10_000, width=256, hidden=256, layers=2)
def lstm(net: Network, sizes: Sizes) -> Recorded:
    """LSTM that predicts each next token (Zaremba et al., arXiv:1409.2329, without dropout).

    Parameters
    ----------
    width, hidden : of a token's embedding, of the state

    >>> lstm(vocabulary=20, width=16, hidden=24).weight_count
    9652
    """
    if net.dtype not in ("float32", "bfloat16"):
        raise InputError(f"dtype must be float32 or bfloat16, for which torch has a fused LSTM on "
                         f"a CPU; got {net.dtype}")  # fmt: skip
    batch, sequence, hidden = sizes.batch, sizes.sequence, sizes.hidden
    tokens = _tokens(net, sizes)
    x = embedding(net, net.weight(sizes.vocabulary, sizes.width), tokens)
    stacked = (sizes.layers, batch, hidden)
    first = [net.call("zeros", [], stacked) for _ in range(2)]
    y = _reordered(net, net.view(x, sequence, batch, sizes.width))
    last: list[list[Tensor]] = []
    for layer in range(sizes.layers):
        y, *ended = _lstm_layer(net, y, [_part(net, one, layer) for one in first], hidden)
        last.append(ended)
    for kept in zip(*last, strict=True):
        net.call("stack", kept, stacked)
    rows = _reordered(net, net.view(y, batch, sequence, hidden))
    scores = linear(net, net.view(rows, batch * sequence, hidden), sizes.vocabulary)
    return classified(net, scores, tokens)


def _reordered(net: Network, x: Tensor) -> Tensor:
    """Return x with its first two axes swapped in memory: a copy, unless one of them is 1."""
    if 1 in x.shape[:2]:
        return x
    out = net.call("clone", [x], x.shape)
    net.link([out], [x], lambda grad: (net.view(grad, *x.shape),))
    return out


def _part(net: Network, stacked: Tensor, at: int) -> Tensor:
    return net.view(stacked, *stacked.shape[1:], offset=at)


def _lstm_layer(net: Network, x: Tensor, state: list[Tensor], hidden: int) -> list[Tensor]:
    """Return the outputs of all steps and the last state of one layer."""
    steps, batch, features = x.shape
    weights = [net.weight(4 * hidden, n) for n in (features, hidden)]
    weights += [net.weight(4 * hidden) for _ in range(2)]
    out = [net.given((steps, batch, hidden)), *[net.given((batch, hidden)) for _ in range(2)]]
    # The library's own notes for the backward pass; torch does not say how large they are.
    notes = net.given((0,), "uint8")
    net.call_many("mkldnn_rnn_layer", [x, *weights, *state], [*out, notes])

    def backward(grad: Tensor, *_: Tensor | None) -> Gradients:
        # The library gives float32, whatever the weights are.
        results = [net.given(one.shape, "float32") for one in (x, *weights, *state)]
        inputs = [x, *weights, *state, *out, net.view(grad, *out[0].shape), notes]
        net.call_many("mkldnn_rnn_layer_backward", inputs, results)
        kept = results[:5]
        if net.dtype != "float32":
            kept = [net.call("_to_copy", [one], one.shape) for one in kept]
        return *kept[:3], kept[4], kept[3]

    # The engine's queue hands the two biases out in the other order.
    net.link(out[:1], [x, *weights[:2], weights[3], weights[2]], backward)
    return out


def check_transformer(sizes: Sizes) -> None:
    """Raise an InputError for sizes that do not go together."""
    if sizes.width % sizes.heads:
        raise InputError(f"width must be a multiple of heads; got {sizes.width} and {sizes.heads}")
    if sizes.sequence > sizes.positions:
        raise InputError(f"sequence must be at most positions ({sizes.positions}); "
                         f"got {sizes.sequence}")  # fmt: skip


@model("bert-base", batch=1, sequence=128, layers=12, width=768, heads=12, vocabulary=30_522,
       positions=512)  # fmt: skip
def bert_base(net: Network, sizes: Sizes) -> Recorded:
    """BERT-base with its pooler (Devlin et al., NAACL 2019), without dropout.

    Training takes the cross-entropy of the pooler's output itself, so that the weights are those of
    the published encoder; a head of a few classes would add less than 0.01 % to its arithmetic.

    Parameters
    ----------
    positions : longest sequence

    >>> bert_base().weight_count
    109482240
    """
    check_transformer(sizes)
    tokens, segments = _tokens(net, sizes), _tokens(net, sizes)
    rows = (sizes.vocabulary, sizes.positions, 2)
    tables = [net.weight(count, sizes.width) for count in rows]
    places = net.call("arange", [], (sizes.sequence,), "int64")
    x = embedding(net, tables[0], tokens)
    x = add(net, x, embedding(net, tables[2], segments))
    x = layer_norm(net, add(net, x, embedding(net, tables[1], places)))
    for _ in range(sizes.layers):
        x = layer_norm(net, add(net, x, attention(net, x, sizes.heads, causal=False)))
        x = layer_norm(net, add(net, x, _feed_forward(net, x)))
    pooled = tanh(net, linear(net, first_token(net, x), sizes.width))
    return classified(net, pooled, tokens, segments)


def _feed_forward(net: Network, x: Tensor, approximate: str = "none") -> Tensor:
    width = x.shape[-1]
    return linear(net, gelu(net, linear(net, x, 4 * width), approximate), width)


@model(batch=1, sequence=1024, layers=12, width=768, heads=12, vocabulary=50_257, positions=1024)
def gpt(net: Network, sizes: Sizes) -> Recorded:
    """GPT of any size: pre-norm, learned positions, tied embedding, without dropout.

    Parameters
    ----------
    positions : longest sequence

    >>> gpt().weight_count
    124439808
    """
    check_transformer(sizes)
    tokens = _tokens(net, sizes)
    table = net.weight(sizes.vocabulary, sizes.width)
    places = net.weight(sizes.positions, sizes.width)
    at = net.call("arange", [], (sizes.sequence,), "int64")
    x = add(net, embedding(net, table, tokens), embedding(net, places, at))
    for _ in range(sizes.layers):
        x = add(net, x, attention(net, layer_norm(net, x), sizes.heads, causal=True))
        x = add(net, x, _feed_forward(net, layer_norm(net, x), "tanh"))
    x = net.view(layer_norm(net, x), sizes.batch * sizes.sequence, sizes.width)
    return classified(net, linear(net, x, sizes.vocabulary, bias=False, tied=table), tokens)


GPT2_SMALL = gpt.preset("gpt2-small", "GPT-2 small (Radford et al., 2019)")
GPT_1_3B = gpt.preset(
    "gpt-1.3b", "GPT-3 XL with 16 heads of 128 (Brown et al., NeurIPS 2020, Table 2.1)",
    layers=24, width=2048, heads=16, sequence=2048, positions=2048,
)  # fmt: skip
"""The table prints 24 heads of 128 for 1.3B, which is not its width of 2048; 16 heads are."""
GPT_6_7B = gpt.preset(
    "gpt-6.7b", "GPT-3 6.7B (Brown et al., NeurIPS 2020, Table 2.1)",
    layers=32, width=4096, heads=32, sequence=2048, positions=2048,
)  # fmt: skip
GPT_175B = gpt.preset(
    "gpt-175b", "GPT-3 175B (Brown et al., NeurIPS 2020, Table 2.1)",
    layers=96, width=12288, heads=96, sequence=2048, positions=2048,
)  # fmt: skip
