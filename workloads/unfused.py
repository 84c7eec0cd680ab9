"""Layers as eager libraries call them: attention, masks, dropout and GELU of single kernels.

`workloads.layers` has the fused ones. Scores of all pairs of tokens are written and read by every
kernel here, which is what bounds such a network's speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from workloads.layers import add, linear, tanh
from workloads.network import Gradients, Network
from workloads.tape import Tensor

Style = Literal["bert", "gpt2", "opt"]
"""How scores are scaled and masked: divided, and a mask added; divided, and later tokens replaced;
queries scaled, a mask added, and a lower bound."""


def product(net: Network, left: Tensor, right: Tensor) -> Tensor:
    """Return the products of two batches of matrices, [batch, m, k] x [batch, k, n]."""
    (batch, m, k), n = left.shape, right.shape[2]
    out = net.call("bmm", [left, right], (batch, m, n))

    def backward(grad: Tensor) -> Gradients:
        grad = net.view(grad, *out.shape)
        to_right = net.call("bmm", [net.view(left, batch, k, m), grad], right.shape)
        to_left = net.call("bmm", [grad, net.view(right, batch, n, k)], left.shape)
        return to_left, to_right

    net.link([out], [left, right], backward)
    return out


def scaled(net: Network, x: Tensor, name: str = "mul") -> Tensor:
    """Return x times ("mul") or through ("div") a constant."""
    out = net.call(name, [x], x.shape)
    net.link([out], [x], lambda grad: (net.call(name, [net.view(grad, *x.shape)], x.shape),))
    return out


def shifted(net: Network, x: Tensor) -> Tensor:
    """Return x plus a constant."""
    out = net.call("add", [x], x.shape)
    net.link([out], [x], lambda grad: (grad,))
    return out


def power(net: Network, x: Tensor) -> Tensor:
    """Return a constant power of x."""
    out = net.call("pow", [x], x.shape)

    def backward(grad: Tensor) -> Gradients:
        less = net.call("mul", [net.call("pow", [x], x.shape)], x.shape)
        return (net.call("mul", [grad, less], x.shape),)

    net.link([out], [x], backward)
    return out


def times(net: Network, x: Tensor, y: Tensor) -> Tensor:
    """Return x times y, elementwise."""
    out = net.call("mul", [x, y], x.shape)

    def backward(grad: Tensor) -> Gradients:
        grad = net.view(grad, *x.shape)
        to_y = net.call("mul", [grad, x], x.shape)
        return net.call("mul", [grad, y], x.shape), to_y

    net.link([out], [x, y], backward)
    return out


def new_gelu(net: Network, x: Tensor) -> Tensor:
    """Return GELU approximated by tanh, of eight kernels."""
    inner = scaled(net, add(net, x, scaled(net, power(net, x))))
    half = scaled(net, x)
    return times(net, half, shifted(net, tanh(net, inner)))


def replaced(net: Network, x: Tensor, mask: Tensor, other: Tensor) -> Tensor:
    """Return x where the mask holds, else the other number."""
    out = net.call("where", [mask, x, other], x.shape)

    def backward(grad: Tensor) -> Gradients:
        zero = net.call("scalar_tensor", [], ())
        return (net.call("where", [mask, net.view(grad, *x.shape), zero], x.shape),)

    net.link([out], [x], backward)
    return out


def bounded(net: Network, x: Tensor, bound: Tensor) -> Tensor:
    """Return the greater of x and a number."""
    out = net.call("maximum", [x, bound], x.shape)

    def backward(grad: Tensor) -> Gradients:
        grad = net.view(grad, *x.shape)
        half = net.call("div", [grad], x.shape)
        equal = net.call("eq", [x, bound], x.shape, "bool")
        shared = net.call("where", [equal, half, grad], x.shape)
        below = net.call("lt", [x, bound], x.shape, "bool")
        net.write("masked_fill_", shared, below)
        return (shared,)

    net.link([out], [x], backward)
    return out


def softmax(net: Network, x: Tensor) -> Tensor:
    """Return the softmax over the last axis."""
    out = net.call("_softmax", [x], x.shape, dim=-1)

    def backward(grad: Tensor) -> Gradients:
        inputs = [net.view(grad, *x.shape), out]
        return (net.call("_softmax_backward_data", inputs, x.shape, dim=-1),)

    net.link([out], [x], backward)
    return out


def fused_dropout(net: Network, x: Tensor) -> Tensor:
    """Return x with a random part set to 0 when training, by one kernel."""
    if not net.training:
        return x
    out, kept = net.like(x), net.given(x.shape, "bool")
    net.call_many("native_dropout", [x], [out, kept])

    def backward(grad: Tensor) -> Gradients:
        inputs = [net.view(grad, *x.shape), kept]
        return (net.call("native_dropout_backward", inputs, x.shape),)

    net.link([out], [x], backward)
    return out


def split_heads(net: Network, x: Tensor, heads: int, keys: bool = False) -> Tensor:
    """Return x [batch, tokens, width] as [batch x heads, tokens, width / heads], copied.

    The gradient of keys comes transposed, in an order that needs no copy here.
    """
    batch, tokens, width = x.shape
    out = net.call("clone", [x], (batch * heads, tokens, width // heads))

    def backward(grad: Tensor) -> Gradients:
        return (net.view(grad, *x.shape) if keys else net.call("clone", [grad], x.shape),)

    net.link([out], [x], backward)
    return out


def _gathered(net: Network, x: Tensor) -> Tensor:
    """Return x as it is; its gradient is copied into the order of x."""
    out = net.view(x, *x.shape)
    net.link([out], [x], lambda grad: (net.call("clone", [grad], x.shape),))
    return out


def joined_heads(net: Network, x: Tensor, batch: int) -> Tensor:
    """Return x [batch x heads, tokens, each] as [batch, tokens, heads x each], copied."""
    rows, tokens, each = x.shape
    out = net.call("clone", [x], (batch, tokens, rows // batch * each))

    def backward(grad: Tensor) -> Gradients:
        # The heads of one sequence are a batch of matrices as they lie.
        return (net.view(grad, *x.shape) if batch == 1 else net.call("clone", [grad], x.shape),)

    net.link([out], [x], backward)
    return out


def _parts(net: Network, x: Tensor, joined: bool) -> Sequence[Tensor]:
    """Return queries, keys and values of x, by one product or three."""
    width = x.shape[-1]
    if not joined:
        q, k = linear(net, x, width), linear(net, x, width)
        # The gradient of several sequences' keys is not in the order that the product needs.
        k = _gathered(net, k) if x.shape[0] > 1 else k
        return q, k, linear(net, x, width)
    whole = linear(net, x, 3 * width)
    parts = [net.view(whole, *x.shape, offset=at) for at in range(3)]

    def backward(*grads: Tensor) -> Gradients:
        return (net.call("cat", [net.view(one, *x.shape) for one in grads], whole.shape),)

    net.link(parts, [whole], backward)
    return parts


def unfused_attention(
    net: Network, x: Tensor, heads: int, style: Style, mask: Sequence[Tensor]
) -> Tensor:
    """Return self-attention over x [batch, tokens, width] with its projections.

    Parameters
    ----------
    heads : that the width is split into
    style : how scores are scaled and masked
    mask : what they are masked with, and the number that replaces or bounds them
    """
    batch, tokens, width = x.shape
    q, k, v = _parts(net, x, joined=style == "gpt2")
    q = scaled(net, q) if style == "opt" else q
    q, k, v = (split_heads(net, one, heads, keys=one is k) for one in (q, k, v))
    scores = product(net, q, net.view(k, batch * heads, width // heads, tokens))
    square = scores.shape
    scores = net.view(scores, batch, heads, tokens, tokens)
    scores = scores if style == "opt" else scaled(net, scores, "div")
    if style == "gpt2":
        scores = replaced(net, scores, *mask)
    else:
        scores = add(net, scores, mask[0])
    scores = bounded(net, scores, mask[1]) if style == "opt" else scores
    shares = softmax(net, scores)
    shares = shares if style == "opt" else fused_dropout(net, shares)
    gathered = product(net, net.view(shares, *square), v)
    return linear(net, joined_heads(net, gathered, batch), width)
