"""Formulas of the kernels that multiply and add: products, convolutions, attention, recurrences.

Arithmetic is counted as in published operation counts: 2 per multiply-add, a bias or an activation
free, an attention mask without discount (the op's `causal` size says that half may be skipped).
"""

from __future__ import annotations

from math import prod

from workloads.kernels import Call, Cost, formula


def _gemm(batch: int, m: int, n: int, k: int) -> Cost:
    return Cost("gemm", (batch, m, n, k), 2.0 * batch * m * n * k)


@formula("mm", "addmm", "_addmm_activation")
def matrix_product(call: Call) -> Cost:
    """Cost [m, k] x [k, n], with an addend before the factors or without."""
    left, right = call.inputs[-2:]
    return _gemm(1, left.shape[0], right.shape[1], left.shape[1])


@formula("bmm", "baddbmm", "addbmm")
def batched_product(call: Call) -> Cost:
    """Cost [b, m, k] x [b, k, n], with an addend before the factors or without."""
    left, right = call.inputs[-2:]
    return _gemm(left.shape[0], left.shape[1], right.shape[2], left.shape[2])


@formula("mv", "addmv", "dot", "vdot")
def vector_product(call: Call) -> Cost:
    """Cost [m, k] x [k], or [k] x [k]."""
    left = call.inputs[-2]
    return _gemm(1, prod(left.shape[:-1]), 1, left.shape[-1])


@formula("addr")
def outer_product(call: Call) -> Cost:
    """Cost [m] x [n] added to a matrix."""
    left, right = call.inputs[-2:]
    return _gemm(1, left.elements, right.elements, 1)


@formula("linear", "mkldnn_linear")
def linear(call: Call) -> Cost:
    """Cost [..., k] x [n, k] transposed."""
    left, weight = call.inputs[:2]
    return _gemm(1, prod(left.shape[:-1]), weight.shape[0], weight.shape[1])


@formula("_cdist_forward")
def distances(call: Call) -> Cost:
    """Cost all distances of [..., m, k] to [..., n, k]: a subtraction and a square each."""
    left, right = call.inputs[:2]
    return _gemm(prod(left.shape[:-2]), left.shape[-2], right.shape[-2], left.shape[-1])


@formula("convolution", "_convolution", "mkldnn_convolution")
def convolution(call: Call) -> Cost:
    """Cost a convolution of [batch, channels, ...] with [out, in / groups, ...]."""
    return _convolution(call, 0, 1, call.outputs[0].shape)


@formula("convolution_backward")
def convolution_backward(call: Call) -> Cost:
    """Cost the gradients that are asked for: of input and weight one convolution each."""
    once = _convolution(call, 1, 2, call.inputs[0].shape)
    return Cost(once.kind, once.dims, once.flops * sum(call.options["output_mask"][:2]))


def _convolution(call: Call, data: int, weight: int, out: tuple[int, ...]) -> Cost:
    """Cost a convolution; one with three axes has its first two joined."""
    given, kernel = call.inputs[data].shape, call.inputs[weight].shape
    groups = call.options.get("groups", 1)
    batch, channels, (in_h, in_w) = given[0], given[1], _plane(given)
    (out_h, out_w), (kernel_h, kernel_w) = _plane(out), _plane(kernel)
    depthwise = groups == channels > 1
    dims = (batch, channels, in_h, in_w, out[1], out_h, out_w, kernel_h, kernel_w, groups)
    # Each position of the smaller side meets each number of the kernel once.
    positions = in_h * in_w if call.options.get("transposed") else out_h * out_w
    flops = 2.0 * batch * positions * prod(kernel)
    return Cost("depthwise_conv2d" if depthwise else "conv2d", dims, flops)


def _plane(shape: tuple[int, ...]) -> tuple[int, int]:
    axes = shape[2:]
    return (prod(axes[:-1]), axes[-1])


_ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"


@formula(_ATTENTION)
def attention(call: Call) -> Cost:
    """Cost fused attention of q, k, v [batch, heads, length, width]: two products."""
    return _attention(call, 0, 4.0)


@formula(_ATTENTION + "_backward")
def attention_backward(call: Call) -> Cost:
    """Cost the backward pass of fused attention: scores again, then four products."""
    return _attention(call, 1, 10.0)


def _attention(call: Call, first: int, flops_per_pair: float) -> Cost:
    query, key = call.inputs[first].shape, call.inputs[first + 1].shape
    batch, heads, length, width = query
    causal = int(bool(call.options.get("is_causal")))
    dims = (batch, heads, length, key[2], width, causal)
    return Cost("attention", dims, flops_per_pair * batch * heads * length * key[2] * width)


@formula("_native_multi_head_attention")
def multi_head_attention(call: Call) -> Cost:
    """Cost fused self-attention with its projections on [batch, tokens, width]."""
    batch, tokens, width = call.inputs[0].shape
    keys = call.inputs[1].shape[1]
    heads = call.options["num_head"]
    flops = 8.0 * batch * tokens * width * width + 4.0 * batch * tokens * keys * width
    return Cost("attention", (batch, heads, tokens, keys, width // heads, 0), flops)


@formula("_transformer_encoder_layer_fwd")
def encoder_layer(call: Call) -> Cost:
    """Cost a fused layer of a transformer's encoder on [batch, tokens, width]."""
    batch, tokens, width = call.inputs[0].shape
    hidden = call.inputs[9].shape[0]
    dims = (batch, tokens, width, call.options["num_heads"], hidden)
    products = 4.0 * width * width + 2.0 * width * hidden
    return Cost("encoder_layer", dims, 2.0 * batch * tokens * (products + 2.0 * tokens * width))


@formula("mkldnn_rnn_layer")
def recurrent_layer(call: Call) -> Cost:
    """Cost one layer and direction of an LSTM on [steps, batch, features]."""
    return _recurrent(call, 2.0)


@formula("mkldnn_rnn_layer_backward")
def recurrent_layer_backward(call: Call) -> Cost:
    """Cost the gradients of input and weights of one layer of an LSTM."""
    return _recurrent(call, 4.0)


def _recurrent(call: Call, flops_per_weight: float) -> Cost:
    (steps, batch, features), (rows, hidden) = call.inputs[0].shape, call.inputs[2].shape
    dims = (steps, batch, features, hidden, rows // hidden)
    return Cost("rnn", dims, flops_per_weight * steps * batch * rows * (features + hidden))
