"""Multilayer perceptron."""

from __future__ import annotations

from workloads.layers import classified, linear, relu
from workloads.model import model
from workloads.network import Network, Recorded


@model()
def mlp(
    net: Network,
    batch: int = 64,
    inputs: int = 784,
    width: int = 512,
    depth: int = 2,
    classes: int = 10,
) -> Recorded:
    """Multilayer perceptron with ReLU.

    Parameters
    ----------
    batch : samples per step
    inputs, width, classes : numbers of inputs, of units in a hidden layer, of outputs
    depth : number of hidden layers

    >>> step = mlp(batch=1, inputs=2, width=3, depth=1, classes=4)
    >>> step.weight_count, step.graph.flops.sum()
    (25, np.float64(36.0))
    """
    x = given = net.given((batch, inputs))
    for _ in range(depth):
        x = relu(net, linear(net, x, width))
    return classified(net, linear(net, x, classes), given)
