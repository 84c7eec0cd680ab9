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
from workloads.model import model
from workloads.network import Gradients, Network, Recorded
from workloads.tape import Tensor


def _tokens(net: Network, batch: int, sequence: int) -> Tensor:
    return net.given((batch, sequence), "int64")


@model()
def lstm(
    net: Network,
    batch: int = 16,
    sequence: int = 64,
    vocabulary: int = 10_000,
    width: int = 256,
    hidden: int = 256,
    layers: int = 2,
) -> Recorded:
    """LSTM that predicts each next token (Zaremba et al., arXiv:1409.2329, without dropout).

    Parameters
    ----------
    width, hidden : of a token's embedding, of the state

    >>> lstm(vocabulary=20, width=16, hidden=24).weight_count
    9652
    """
    tokens = _tokens(net, batch, sequence)
    x = embedding(net, net.weight(vocabulary, width), tokens)
    first = [net.call("zeros", [], (layers, batch, hidden)) for _ in range(2)]
    steps = net.view(x, sequence, batch, width)
    y = _copied(net, steps) if batch > 1 and sequence > 1 else steps
    last: list[tuple[Tensor, Tensor]] = []
    for layer in range(layers):
        y, *ended = _lstm_layer(net, y, [_part(net, one, layer) for one in first], hidden)
        last.append((ended[0], ended[1]))
    for kept in zip(*last, strict=True):
        net.call("stack", kept, (layers, batch, hidden))
    rows = net.view(y, batch, sequence, hidden)
    rows = _copied(net, rows) if batch > 1 and sequence > 1 else rows
    flat = net.view(rows, batch * sequence, hidden)
    return classified(net, linear(net, flat, vocabulary), tokens)


def _copied(net: Network, x: Tensor) -> Tensor:
    """Return x in another order of memory; its gradient is a view."""
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
        results = [net.like(one) for one in (x, *weights, *state)]
        inputs = [x, *weights, *state, *out, net.view(grad, *out[0].shape), notes]
        net.call_many("mkldnn_rnn_layer_backward", inputs, results)
        return results[:5]

    net.link(out[:1], [x, *weights], backward)
    return out


def _checked_heads(name: str, width: int, heads: int) -> None:
    if width % heads:
        raise InputError(f"{name}: width must be a multiple of heads; got {width} and {heads}")


@model("bert-base")
def bert_base(
    net: Network,
    batch: int = 1,
    sequence: int = 128,
    layers: int = 12,
    width: int = 768,
    heads: int = 12,
    vocabulary: int = 30_522,
    positions: int = 512,
) -> Recorded:
    """BERT-base with its pooler (Devlin et al., NAACL 2019), without dropout.

    Training takes the cross-entropy of the pooler's output itself, so that the weights are those of
    the published encoder; a head of a few classes would add less than 0.01 % to its arithmetic.

    Parameters
    ----------
    positions : longest sequence

    >>> bert_base().weight_count
    109482240
    """
    _checked_heads("bert-base", width, heads)
    _checked_positions("bert-base", sequence, positions)
    tokens, segments = _tokens(net, batch, sequence), _tokens(net, batch, sequence)
    tables = [net.weight(rows, width) for rows in (vocabulary, positions, 2)]
    places = net.call("arange", [], (sequence,), "int64")
    x = embedding(net, tables[0], tokens)
    x = add(net, x, embedding(net, tables[2], segments))
    x = layer_norm(net, add(net, x, embedding(net, tables[1], places)))
    for _ in range(layers):
        x = layer_norm(net, add(net, x, attention(net, x, heads, causal=False)))
        x = layer_norm(net, add(net, x, _feed_forward(net, x)))
    pooled = tanh(net, linear(net, first_token(net, x), width))
    return classified(net, pooled, tokens, segments)


def _checked_positions(name: str, sequence: int, positions: int) -> None:
    if sequence > positions:
        raise InputError(f"{name}: sequence must be at most positions ({positions}); "
                         f"got {sequence}")  # fmt: skip


def _feed_forward(net: Network, x: Tensor) -> Tensor:
    width = x.shape[-1]
    return linear(net, gelu(net, linear(net, x, 4 * width)), width)


@model("gpt")
def gpt(
    net: Network,
    batch: int = 1,
    sequence: int = 1024,
    layers: int = 12,
    width: int = 768,
    heads: int = 12,
    vocabulary: int = 50_257,
    positions: int = 1024,
) -> Recorded:
    """GPT of any size: pre-norm, learned positions, tied embedding, without dropout.

    Parameters
    ----------
    positions : longest sequence

    >>> gpt().weight_count
    124439808
    """
    _checked_heads("gpt", width, heads)
    _checked_positions("gpt", sequence, positions)
    tokens = _tokens(net, batch, sequence)
    table, places = net.weight(vocabulary, width), net.weight(positions, width)
    at = net.call("arange", [], (sequence,), "int64")
    x = add(net, embedding(net, table, tokens), embedding(net, places, at))
    for _ in range(layers):
        x = add(net, x, attention(net, layer_norm(net, x), heads, causal=True))
        x = add(net, x, _feed_forward(net, layer_norm(net, x)))
    x = net.view(layer_norm(net, x), batch * sequence, width)
    return classified(net, linear(net, x, vocabulary, bias=False, tied=table), tokens)


GPT2_SMALL = gpt.preset("gpt2-small", "GPT-2 small (Radford et al., 2019)")
GPT_1_3B = gpt.preset(
    "gpt-1.3b", "GPT-3 XL with 16 heads of 128 (Brown et al., NeurIPS 2020, Table 2.1)",
    layers=24, width=2048, heads=16, sequence=2048, positions=2048,
)  # fmt: skip
GPT_6_7B = gpt.preset(
    "gpt-6.7b", "GPT-3 6.7B (Brown et al., NeurIPS 2020, Table 2.1)",
    layers=32, width=4096, heads=32, sequence=2048, positions=2048,
)  # fmt: skip
GPT_175B = gpt.preset(
    "gpt-175b", "GPT-3 175B (Brown et al., NeurIPS 2020, Table 2.1)",
    layers=96, width=12288, heads=96, sequence=2048, positions=2048,
)  # fmt: skip
"""The table prints 24 heads of 128 for 1.3B, which is not its width of 2048; 16 heads are."""
