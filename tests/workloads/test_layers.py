"""Each layer calls the kernels of torch's layer, whatever the shapes; so do stacks of layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from simulator.errors import InputError
from workloads import layers
from workloads.capture import capture
from workloads.network import Network
from workloads.optimizers import update
from workloads.tape import Tensor

Apply = Callable[[Network, Tensor], Tensor]


def recorded(apply: Apply, shape: tuple[int, ...], training: bool) -> Any:
    net = Network(training)
    x = net.given(shape)
    out = apply(net, x)
    if training:
        loss = net.call("sum", [out], ())
        net.link([loss], [out], lambda grad: (net.expanded(grad, *out.shape),))
        net.backward(loss)
        update(net, "sgd")
    return net.workload("layer", {}, shape[0], [x])


def assert_equal(apply: Apply, module: nn.Module, shape: tuple[int, ...]) -> None:
    trains = any(True for _ in module.parameters())
    for training in (False, True) if trains else (False,):
        mine = recorded(apply, shape, training)
        seen = capture(module, shape, training=training, optimizer="sgd" if training else None)
        assert list(mine.graph) == list(seen.graph)
        assert mine.weight_count == seen.weight_count


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(5, 9), st.sampled_from([1, 3, 5]),
    st.integers(1, 2), st.integers(0, 2), st.booleans(),
)  # fmt: skip
def test_convolutions_of_any_shape(batch, channels, side, kernel, stride, padding, bias):
    def apply(net, x):
        y = layers.conv(net, x, 2 * channels, kernel, stride, padding, channels, bias)
        return layers.conv(net, y, 4, 1)

    module = nn.Sequential(
        nn.Conv2d(channels, 2 * channels, kernel, stride, padding, groups=channels, bias=bias),
        nn.Conv2d(2 * channels, 4, 1, bias=False),
    )
    assert_equal(apply, module, (batch, channels, side, side))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_linear_layers_with_and_without_bias(rows, inputs, outputs, bias):
    def apply(net, x):
        return layers.linear(net, layers.linear(net, x, outputs, bias), 3)

    module = nn.Sequential(nn.Linear(inputs, outputs, bias=bias), nn.Linear(outputs, 3))
    assert_equal(apply, module, (rows, inputs))


MAPS: dict[str, tuple[Callable[..., Tensor], Callable[[], nn.Module]]] = {
    "relu": (layers.relu, nn.ReLU),
    "tanh": (layers.tanh, nn.Tanh),
    "gelu": (layers.gelu, nn.GELU),
    "relu6": (layers.relu6, lambda: nn.ReLU6(inplace=True)),
    "dropout": (layers.dropout, nn.Dropout),
    "batch norm": (layers.batch_norm, lambda: nn.BatchNorm2d(4)),
    "max pool": (lambda net, x: layers.max_pool(net, x, 3, 2, 1), lambda: nn.MaxPool2d(3, 2, 1)),
    "mean pool": (lambda net, x: layers.avg_pool(net, x, 2), lambda: nn.AvgPool2d(2)),
    "adaptive pool": (
        lambda net, x: layers.adaptive_pool(net, x, 3),
        lambda: nn.AdaptiveAvgPool2d(3),
    ),
    "global pool": (layers.global_pool, lambda: nn.AdaptiveAvgPool2d(1)),
}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 1, 7, 9)])
def test_layers_between_convolutions(name, shape):
    apply, make = MAPS[name]
    module = nn.Sequential(nn.Conv2d(shape[1], 4, 3, padding=1, bias=False), make(), nn.Flatten())
    assert_equal(lambda net, x: apply(net, layers.conv(net, x, 4, 3)), module, shape)


@st.composite
def stacks(draw):
    """Draw layers for images that keep their shape, by name."""
    names = st.sampled_from(["relu", "tanh", "gelu", "dropout", "batch norm", "conv", "norm relu6"])
    return draw(st.lists(names, max_size=8))


@settings(max_examples=20, deadline=None)
@given(stacks())
def test_any_stack_of_layers(names):
    known = MAPS | {
        "conv": (
            lambda net, x: layers.conv(net, x, 4, 3, bias=True),
            lambda: nn.Conv2d(4, 4, 3, padding=1),
        ),
        # In place after another map, torch would have to refuse.
        "norm relu6": (
            lambda net, x: layers.relu6(net, layers.batch_norm(net, x)),
            lambda: nn.Sequential(nn.BatchNorm2d(4), nn.ReLU6(inplace=True)),
        ),
    }

    def apply(net, x):
        x = layers.conv(net, x, 4, 3)
        for name in names:
            x = known[name][0](net, x)
        return x

    first = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    assert_equal(apply, nn.Sequential(first, *[known[name][1]() for name in names]), (2, 3, 5, 5))


class Residual(nn.Module):
    """Add two branches of one input, as many times as asked."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = nn.ModuleList(nn.Linear(4, 4) for _ in range(times))
        self.right = nn.ModuleList(nn.Linear(4, 4, bias=False) for _ in range(times))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for left, right in zip(self.left, self.right, strict=True):
            x = left(x).tanh() + right(x) + x
        return x


@pytest.mark.parametrize("times", [1, 2, 5])
def test_branches_that_meet_are_visited_in_the_engines_order(times):
    def apply(net, x):
        for _ in range(times):
            branch = layers.tanh(net, layers.linear(net, x, 4))
            x = layers.add(net, layers.add(net, branch, layers.linear(net, x, 4, bias=False)), x)
        return x

    mine = recorded(apply, (3, 4), training=True).graph
    seen = capture(Residual(times), (3, 4), training=True).graph
    # The order of weights differs, so the updates do: only forward and backward are compared.
    kept = mine.select(mine.in_phase("forward", "backward"))
    assert list(kept) == list(seen)


def test_a_window_larger_than_the_image_is_refused():
    net = Network(training=False)
    with pytest.raises(InputError, match="a window of 5 does not fit what is left of it, 3 and 0"):
        layers.conv(net, net.given((1, 1, 3, 3)), 2, 5, padding=0)
    with pytest.raises(InputError, match="a window of 2 does not fit"):
        layers.avg_pool(net, net.given((1, 1, 1, 1)), 2)
