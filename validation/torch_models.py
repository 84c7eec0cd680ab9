"""The modules that do in torch what the models in `workloads.models` describe."""

from __future__ import annotations

from torch import nn


def mlp(inputs: int, width: int, depth: int, classes: int) -> nn.Module:
    """Return a multilayer perceptron with ReLU."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, classes))
