"""The layers that networks are built of: which kernels each calls forward and backward.

They are torch's own layers on a CPU: the same kernels with the same operands in the same order.
"""

from __future__ import annotations

from workloads.network import Gradients, Network, Recorded
from workloads.tape import Tensor


def linear(net: Network, x: Tensor, features: int, bias: bool = True) -> Tensor:
    """Return x [rows, k] times a new weight [features, k], plus a new bias."""
    rows, k = x.shape
    weight = net.weight(features, k)
    offset = [net.weight(features)] if bias else []
    name = "addmm" if bias else "mm"
    out = net.call(name, [*offset, x, net.transposed(weight)], (rows, features))

    def backward(grad: Tensor) -> Gradients:
        need = x.node is not None
        to_x = net.call("mm", [grad, weight], (rows, k)) if need else None
        to_weight = net.call("mm", [net.transposed(grad), x], (features, k))
        to_bias = [net.call("sum", [grad], (1, features))] if bias else []
        return *to_bias, to_x, to_weight

    net.link([out], [*offset, x, weight], backward)
    return out


def relu(net: Network, x: Tensor) -> Tensor:
    """Return max(x, 0)."""
    out = net.call("relu", [x], x.shape)

    def backward(grad: Tensor) -> Gradients:
        return (net.call("threshold_backward", [grad, out], x.shape),)

    net.link([out], [x], backward)
    return out


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


def classified(net: Network, scores: Tensor, given: Tensor) -> Recorded:
    """Return the scores, or when training their cross-entropy with targets that are given too."""
    if not net.training:
        return Recorded(scores, [given])
    target = net.given(scores.shape[:1], "int64")
    return Recorded(cross_entropy(net, scores, target), [given, target])
