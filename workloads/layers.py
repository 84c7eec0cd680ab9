"""The layers that networks are built of: which kernels each calls forward and backward.

They are torch's own layers on a CPU: the same kernels with the same operands in the same order.
Shapes are [rows, features], [batch, tokens, width] or [batch, channels, height, width].
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from simulator.errors import InputError
from workloads.network import Gradients, Network, Recorded
from workloads.tape import Tensor


def linear(
    net: Network, x: Tensor, features: int, bias: bool = True, tied: Tensor | None = None
) -> Tensor:
    """Return x [..., k] times a weight [features, k], plus a bias.

    Parameters
    ----------
    tied : the weight; None: a new one
    """
    k = x.shape[-1]
    rows = prod(x.shape[:-1])
    weight = net.weight(features, k) if tied is None else tied
    offset = [net.weight(features)] if bias else []
    flat = net.view(x, rows, k)
    name = "addmm" if bias else "mm"
    out = net.call(name, [*offset, flat, net.transposed(weight)], (rows, features))

    def backward(grad: Tensor) -> Gradients:
        grad = net.view(grad, rows, features)
        # torch asks for the gradients of `mm` in another order than for those of `addmm`.
        if not bias:
            to_weight = net.call("mm", [net.transposed(grad), flat], (features, k))
        need = x.node is not None
        to_x = net.call("mm", [grad, weight], (rows, k)) if need else None
        if not bias:
            return to_x, to_weight
        to_weight = net.call("mm", [net.transposed(grad), flat], (features, k))
        return net.call("sum", [grad], (1, features)), to_x, to_weight

    net.link([out], [*offset, x, weight], backward)
    return net.view(out, *x.shape[:-1], features)


def conv(
    net: Network, x: Tensor, channels: int, kernel: int | tuple[int, int], stride: int = 1,
    padding: int = -1, groups: int = 1, bias: bool = False,
) -> Tensor:  # fmt: skip
    """Return a convolution of x [batch, channels, height, width].

    Parameters
    ----------
    kernel : of a square, or height and width
    padding : -1: half the kernel
    """
    batch, inputs, *plane = x.shape
    window = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    weight = net.weight(channels, inputs // groups, *window)
    operands = [x, weight, *([net.weight(channels)] if bias else [])]
    sides = [_windows(size, side, stride, side // 2 if padding < 0 else padding)
             for size, side in zip(plane, window, strict=True)]  # fmt: skip
    shape = (batch, channels, *sides)
    out = net.call("convolution", operands, shape, groups=groups)

    def backward(grad: Tensor) -> Gradients:
        need = x.node is not None
        results = [net.like(one) for one in operands[0 if need else 1 :]]
        net.call_many("convolution_backward", [grad, x, weight], results, groups=groups,
                      output_mask=(need, True, bias))  # fmt: skip
        return [*([] if need else [None]), *results]

    net.link([out], operands, backward)
    return out


def _windows(size: int, kernel: int, stride: int, padding: int) -> int:
    if size + 2 * padding < kernel:
        raise InputError(f"the image is too small: a window of {kernel} does not fit what is left "
                         f"of it, {size} and {padding} of padding")  # fmt: skip
    return (size + 2 * padding - kernel) // stride + 1


def batch_norm(net: Network, x: Tensor) -> Tensor:
    """Return x normalized by channel, with the batch's statistics when training."""
    channels = (x.shape[1],)
    weight, bias = net.weight(*channels), net.weight(*channels)
    running = [net.given(channels), net.given(channels)]
    if net.training:
        net.write("add_", net.given((), "int64"))
    net.call("empty", [], (0,), "uint8")
    kept = channels if net.training else (0,)
    out, saved = net.like(x), [net.given(kept), net.given(kept)]
    net.call_many("native_batch_norm", [x, weight, bias, *running], [out, *saved])

    def backward(grad: Tensor) -> Gradients:
        results = [net.like(one) for one in (x, weight, bias)]
        inputs = [grad, x, weight, *running, *saved]
        net.call_many("native_batch_norm_backward", inputs, results)
        return results

    net.link([out], [x, weight, bias], backward)
    return out


def layer_norm(net: Network, x: Tensor) -> Tensor:
    """Return x normalized over its last axis."""
    width = x.shape[-1]
    weight, bias = net.weight(width), net.weight(width)
    rows = (*x.shape[:-1], 1)
    out, saved = net.like(x), [net.given(rows), net.given(rows)]
    net.call_many("native_layer_norm", [x, weight, bias], [out, *saved])

    def backward(grad: Tensor) -> Gradients:
        results = [net.like(one) for one in (x, weight, bias)]
        inputs = [net.view(grad, *x.shape), x, *saved, weight, bias]
        net.call_many("native_layer_norm_backward", inputs, results)
        return results

    net.link([out], [x, weight, bias], backward)
    return out


def _map(net: Network, name: str, x: Tensor, saves_result: bool) -> Tensor:
    """Return an elementwise function whose gradient reads the function's result or its input."""
    out = net.call(name, [x], x.shape)
    saved = out if saves_result else x

    def backward(grad: Tensor) -> Gradients:
        return (net.call(name + "_backward", [net.view(grad, *x.shape), saved], x.shape),)

    net.link([out], [x], backward)
    return out


def tanh(net: Network, x: Tensor) -> Tensor:
    """Return the hyperbolic tangent."""
    return _map(net, "tanh", x, saves_result=True)


def gelu(net: Network, x: Tensor, approximate: str = "none") -> Tensor:
    """Return x times the normal distribution function of x, or an approximation by "tanh"."""
    name = "gelu" if approximate == "none" else f"gelu_{approximate}"
    return _map(net, name, x, saves_result=False)


def relu(net: Network, x: Tensor, in_place: bool = False) -> Tensor:
    """Return max(x, 0)."""
    if in_place:
        net.write("relu_", x)
        out = net.view(x, *x.shape)
    else:
        out = net.call("relu", [x], x.shape)

    def backward(grad: Tensor) -> Gradients:
        return (net.call("threshold_backward", [net.view(grad, *x.shape), out], x.shape),)

    net.link([out], [x], backward)
    return out


def sigmoid(net: Network, x: Tensor) -> Tensor:
    """Return 1 / (1 + exp(-x))."""
    return _map(net, "sigmoid", x, saves_result=True)


def relu6(net: Network, x: Tensor) -> Tensor:
    """Return x clamped to [0, 6], in place; the gradient needs a copy of what was there."""
    saved = net.call("clone", [x], x.shape) if net.training else x
    net.write("hardtanh_", x)
    out = net.view(x, *x.shape)

    def backward(grad: Tensor) -> Gradients:
        return (net.call("hardtanh_backward", [grad, saved], x.shape),)

    net.link([out], [x], backward)
    return out


def max_pool(net: Network, x: Tensor, kernel: int, stride: int, padding: int = 0) -> Tensor:
    """Return the greatest number in each window."""
    shape = (*x.shape[:2], *(_windows(size, kernel, stride, padding) for size in x.shape[2:]))
    out, places = net.given(shape), net.given(shape, "int64")
    name, window = "max_pool2d_with_indices", (kernel, kernel)
    net.call_many(name, [x], [out, places], kernel_size=window)

    def backward(grad: Tensor) -> Gradients:
        inputs = [net.view(grad, *shape), x, places]
        return (net.call(name + "_backward", inputs, x.shape, kernel_size=window),)

    net.link([out], [x], backward)
    return out


def avg_pool(net: Network, x: Tensor, kernel: int, stride: int = 0, padding: int = 0) -> Tensor:
    """Return the mean of each window; windows lie side by side where no stride is given."""
    step = stride or kernel
    shape = (*x.shape[:2], *(_windows(size, kernel, step, padding) for size in x.shape[2:]))
    window = (kernel, kernel)
    out = net.call("avg_pool2d", [x], shape, kernel_size=window)

    def backward(grad: Tensor) -> Gradients:
        inputs = [net.view(grad, *shape), x]
        return (net.call("avg_pool2d_backward", inputs, x.shape, kernel_size=window),)

    net.link([out], [x], backward)
    return out


def concatenated(net: Network, parts: Sequence[Tensor]) -> Tensor:
    """Return images of equal size with all their channels, the gradients of which are views."""
    batch, _, *plane = parts[0].shape
    out = net.call("cat", parts, (batch, sum(one.shape[1] for one in parts), *plane), dim=1)
    starts = [sum(one.shape[1] for one in parts[:at]) for at in range(len(parts))]

    def backward(grad: Tensor) -> Gradients:
        return [net.view(grad, *one.shape, offset=start)
                for one, start in zip(parts, starts, strict=True)]  # fmt: skip

    net.link([out], parts, backward)
    return out


def adaptive_pool(net: Network, x: Tensor, size: int) -> Tensor:
    """Return means of windows such that size x size of them cover the image."""
    shape = (*x.shape[:2], size, size)
    out = net.call("_adaptive_avg_pool2d", [x], shape)

    def backward(grad: Tensor) -> Gradients:
        inputs = [net.view(grad, *shape), x]
        return (net.call("_adaptive_avg_pool2d_backward", inputs, x.shape),)

    net.link([out], [x], backward)
    return out


def global_pool(net: Network, x: Tensor) -> Tensor:
    """Return the mean of each channel, [batch, channels]."""
    out = net.call("mean", [x], (*x.shape[:2], 1, 1))

    def backward(grad: Tensor) -> Gradients:
        return (net.call("div", [net.expanded(grad, *x.shape)], x.shape),)

    net.link([out], [x], backward)
    return net.view(out, *x.shape[:2])


def flatten(net: Network, x: Tensor) -> Tensor:
    """Return x as [batch, features]."""
    return net.view(x, x.shape[0], prod(x.shape[1:]))


def dropout(net: Network, x: Tensor) -> Tensor:
    """Return x with a random part set to 0 when training."""
    if not net.training:
        return x
    mask = net.call("empty_like", [x], x.shape)
    net.write("bernoulli_", mask)
    net.write("div_", mask)
    out = net.call("mul", [x, mask], x.shape)

    def backward(grad: Tensor) -> Gradients:
        return (net.call("mul", [grad, mask], x.shape),)

    net.link([out], [x], backward)
    return out


def add(net: Network, x: Tensor, y: Tensor, in_place: bool = False) -> Tensor:
    """Return x + y; y may lack leading axes."""
    if in_place:
        net.write("add_", x, y)
        out = net.view(x, *x.shape)
    else:
        out = net.call("add", [x, y], x.shape)
    missing = len(x.shape) - len(y.shape)

    def backward(grad: Tensor) -> Gradients:
        if not missing:
            return grad, grad
        summed = net.call("sum", [grad], (*(1,) * missing, *y.shape))
        return grad, net.view(summed, *y.shape)

    net.link([out], [x, y], backward)
    return out


def weighted(net: Network, x: Tensor, weight: Tensor) -> Tensor:
    """Return an image x [batch, channels, height, width] times a weight [batch, channels]."""
    by = net.view(weight, *weight.shape, 1, 1)
    out = net.call("mul", [x, by], x.shape)

    def backward(grad: Tensor) -> Gradients:
        # torch asks for the gradient of the second factor first.
        to_each, to_x = (net.call("mul", [grad, other], x.shape) for other in (x, by))
        summed = net.call("sum", [to_each], by.shape)
        return to_x, net.view(summed, *weight.shape)

    net.link([out], [x, weight], backward)
    return out


def embedding(net: Network, table: Tensor, index: Tensor) -> Tensor:
    """Return the rows of a table [rows, width] that an index of any shape names."""
    width = table.shape[1]
    out = net.call("embedding", [table, index], (*index.shape, width))

    def backward(grad: Tensor) -> Gradients:
        inputs = [net.view(grad, *out.shape), index]
        return (net.call("embedding_dense_backward", inputs, table.shape),)

    net.link([out], [table], backward)
    return out


def first_token(net: Network, x: Tensor) -> Tensor:
    """Return the first token of x [batch, tokens, width], [batch, width]."""
    out = net.view(x, x.shape[0], x.shape[2])
    out.node = None

    def backward(grad: Tensor) -> Gradients:
        return (net.call("select_backward", [grad], x.shape),)

    net.link([out], [x], backward)
    return out


_ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"


def attention(net: Network, x: Tensor, heads: int, causal: bool) -> Tensor:
    """Return self-attention over x [batch, tokens, width] with its projections."""
    batch, tokens, width = x.shape
    joined = linear(net, x, 3 * width)
    split = (batch, heads, tokens, width // heads)
    q, k, v = parts = [net.view(joined, *split, offset=at) for at in range(3)]
    # Sums are kept more precisely than half precision.
    precise = "float64" if net.dtype == "float64" else "float32"
    out, sums = net.given(split), net.given((batch, heads, tokens), precise)
    net.call_many(_ATTENTION, parts, [out, sums], is_causal=causal)

    def backward(grad: Tensor) -> Gradients:
        to_parts = [net.given(split) for _ in range(3)]
        inputs = [net.view(grad, *split), q, k, v, out, sums]
        net.call_many(_ATTENTION + "_backward", inputs, to_parts, is_causal=causal)
        flat = [net.view(one, *x.shape) for one in to_parts]
        return (net.call("cat", flat, (batch, tokens, 3 * width)),)

    net.link([out], [joined], backward)
    return linear(net, net.view(out, *x.shape), width)


def cross_entropy(net: Network, scores: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy of scores [rows, classes] and targets [rows]."""
    shape = scores.shape
    logs = net.call("_log_softmax", [scores], shape, dim=1)
    loss, total = net.given(()), net.given(())
    net.call_many("nll_loss_forward", [logs, target], [loss, total])

    def backward(grad: Tensor) -> Gradients:
        to_logs = net.call("nll_loss_backward", [grad, logs, target, total], shape)
        return (net.call("_log_softmax_backward_data", [to_logs, logs], shape, dim=1),)

    net.link([loss], [scores], backward)
    return loss


def classified(net: Network, scores: Tensor, *given: Tensor) -> Recorded:
    """Return the scores, or when training their cross-entropy with targets that are given too."""
    if not net.training:
        return Recorded(scores, given)
    target = net.given(scores.shape[:1], "int64")
    return Recorded(cross_entropy(net, scores, target), (*given, target))
