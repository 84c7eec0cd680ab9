"""Multilayer perceptron."""

from __future__ import annotations

from workloads.layers import classified, linear, relu
from workloads.model import Sizes, model
from workloads.network import Network, Recorded


@model(batch=64, inputs=784, width=512, depth=2, classes=10)
def mlp(net: Network, sizes: Sizes) -> Recorded:
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
    x = given = net.given((sizes.batch, sizes.inputs))
    for _ in range(sizes.depth):
        x = relu(net, linear(net, x, sizes.width))
    return classified(net, linear(net, x, sizes.classes), given)
