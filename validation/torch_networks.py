"""Draw small random networks and classic steps, whole: layers in a chain, loss and optimizer.

Where `torch_microbench` covers sizes widely, these have what whole programs have: the same kernels
again and again, results that the next layer reads at once, gradients and updates of all weights.
They are of no published model: depths, widths and kinds of block are drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from validation.torch_insitu import Program, SetPhase
from validation.torch_microbench import Draw

Network: TypeAlias = Callable[[Draw], Program]
OPTIMIZERS: tuple[Callable[..., torch.optim.Optimizer] | None, ...] = (
    None,
    lambda given: torch.optim.SGD(given, lr=0.0),
    lambda given: torch.optim.SGD(given, lr=0.0, momentum=0.9),
    lambda given: torch.optim.Adam(given, lr=0.0),
    lambda given: torch.optim.AdamW(given, lr=0.0),
)
"""Learning rates are 0: the same step can be repeated for ever."""
TRIES = 40


def _program(
    draw: Draw, module: nn.Module, given: torch.Tensor, classes: int, training: bool | None = None
) -> Program:
    """Return a step of a network whose result has so many classes in its last axis."""
    training = draw.chance(0.6) if training is None else training
    module.train(training)
    weights = list(module.parameters())
    make = draw.pick(OPTIMIZERS)
    made = make(weights) if make and training else None
    with torch.no_grad():
        rows = module(given).numel() // classes
    target = torch.randint(0, classes, (rows,))

    def step(set_phase: SetPhase) -> None:
        set_phase("forward")
        module.zero_grad()
        with torch.set_grad_enabled(training):
            result = module(given)
            if not training:
                return
            loss = functional.cross_entropy(result.view(-1, classes), target)
        set_phase("backward")
        loss.backward()
        set_phase("update")
        if made is not None:
            made.step()

    return Program(step, weights)


def perceptron(draw: Draw) -> Program:
    """Draw a multilayer perceptron."""
    depth, share = int(draw.rng.integers(1, 6)), 3.0 * draw.scale
    widths = _fitting(
        lambda: [draw.size(8, 2048) for _ in range(depth + 1)],
        lambda w: sum(a * b for a, b in itertools.pairwise(w)) < share * 2e6,
    )
    classes = draw.size(2, 1000)
    batch = _fitting(
        lambda: draw.size(1, 2048),
        lambda b: b * sum(a * b for a, b in itertools.pairwise(widths)) < share * 4e8,
    )
    activation = draw.pick((nn.ReLU, nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid))
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    module = nn.Sequential(*layers, nn.Linear(widths[-1], classes))
    return _program(draw, module, draw.tensor(batch, widths[0]), classes)


def _fitting(make: Callable[[], Any], fits: Callable[[Any], bool]) -> Any:
    """Return the first thing made that fits, else the last."""
    for _ in range(TRIES):
        made = make()
        if fits(made):
            break
    return made


class Added(nn.Module):
    """Add what a block gives to its input.

    Parameters
    ----------
    block : keeps the shape, or changes it as `skip` does
    skip : of the input
    """

    def __init__(self, block: nn.Module, skip: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.skip = skip

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Return the sum."""
        sum_: torch.Tensor = self.block(given) + self.skip(given)
        return sum_


def _conv(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> list[Any]:
    layer = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(after)]


def _plain(before: int, after: int, stride: int, activation: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(*_conv(before, after, 3, stride), activation())


def _basic(before: int, after: int, stride: int, activation: Callable[[], nn.Module]) -> nn.Module:
    block = [*_conv(before, after, 3, stride), activation(), *_conv(after, after, 3)]
    return nn.Sequential(_added(block, before, after, stride), activation())


def _bottleneck(
    before: int, after: int, stride: int, activation: Callable[[], nn.Module]
) -> nn.Module:
    middle = max(after // 4, 4)
    block = [*_conv(before, middle, 1), activation(), *_conv(middle, middle, 3, stride),
             activation(), *_conv(middle, after, 1)]  # fmt: skip
    return nn.Sequential(_added(block, before, after, stride), activation())


def _inverted(
    before: int, after: int, stride: int, activation: Callable[[], nn.Module]
) -> nn.Module:
    wide = before * 4
    block = [*_conv(before, wide, 1), activation(), *_conv(wide, wide, 3, stride, wide),
             activation(), *_conv(wide, after, 1)]  # fmt: skip
    same = before == after and stride == 1
    return _added(block, before, after, stride) if same else nn.Sequential(*block)


def _added(block: list[Any], before: int, after: int, stride: int) -> nn.Module:
    same = before == after and stride == 1
    skip = nn.Identity() if same else nn.Sequential(*_conv(before, after, 1, stride))
    return Added(nn.Sequential(*block), skip)


BLOCKS = (_plain, _plain, _basic, _bottleneck, _inverted)


def convolutional(draw: Draw) -> Program:
    """Draw a convolutional network: a stem, stages of equal blocks, and a classifier."""
    block, in_place = draw.pick(BLOCKS), draw.chance(0.5)
    kind = draw.pick((nn.ReLU, nn.ReLU, nn.ReLU6))

    def activation() -> nn.Module:
        made: nn.Module = kind(inplace=in_place)
        return made

    stages, repeats = int(draw.rng.integers(1, 5)), int(draw.rng.integers(1, 4))
    channels, image, batch = _fitting(
        lambda: (draw.size(8, 96), draw.size(16, 160), draw.size(1, 32)),
        lambda c: c[2] * c[1] ** 2 * c[0] ** 2 * stages * repeats < draw.scale * 6e8,
    )
    kernel, stride = draw.pick(((3, 1), (3, 2), (7, 2), (5, 1)))
    layers: list[nn.Module] = [*_conv(draw.pick((1, 3, 3)), channels, kernel, stride), activation()]
    pool = draw.pick((nn.MaxPool2d, nn.AvgPool2d, None))
    width = channels
    for stage in range(stages):
        after = channels * 2**stage
        down = 2 if stage and pool is None else 1
        if stage and pool is not None:
            layers.append(pool(2, 2, ceil_mode=True))
        for repeat in range(repeats):
            layers.append(block(width, after, 1 if repeat else down, activation))
            width = after
    classes = draw.size(2, 1000)
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)]
    first = layers[0]
    assert isinstance(first, nn.Conv2d)
    given = draw.tensor(batch, first.in_channels, image, image)
    return _program(draw, nn.Sequential(*layers, *tail), given, classes)


class Attending(nn.Module):
    """Mix tokens by self-attention.

    Parameters
    ----------
    width : of a token
    heads : in which it is split
    causal : whether tokens see earlier ones only
    """

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.mixed = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Return the mixed tokens."""
        batch, length, width = given.shape
        parts = self.mixed(given).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        made: torch.Tensor = self.out(seen.transpose(1, 2).reshape(batch, length, width))
        return made


class Tokens(nn.Module):
    """Embed tokens, do something to them, and score the next.

    Parameters
    ----------
    vocabulary : number of different tokens
    width : of a token
    body : what is done
    """

    def __init__(self, vocabulary: int, width: int, body: nn.Module, out: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.body = body
        self.scores = nn.Linear(out, vocabulary)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Return the scores."""
        made = self.body(self.embedding(given))
        scores: torch.Tensor = self.scores(made[0] if isinstance(made, tuple) else made)
        return scores


def transformer(draw: Draw) -> Program:
    """Draw a transformer over tokens."""
    layers = int(draw.rng.integers(1, 5))
    heads, each, length, batch = _fitting(
        lambda: (draw.pick((1, 2, 4, 8, 12)), draw.pick((16, 32, 64)), draw.size(8, 512),
                 draw.size(1, 32)),
        lambda c: c[3] * c[2] * (12 * (c[0] * c[1]) ** 2 * layers) < draw.scale * 3e9,
    )  # fmt: skip
    width, causal, ratio = heads * each, draw.chance(0.5), draw.pick((2, 4))
    vocabulary = _fitting(
        lambda: draw.size(100, 30000), lambda v: batch * length * width * v < draw.scale * 1.5e9
    )
    activation = draw.pick((nn.GELU, lambda: nn.GELU(approximate="tanh"), nn.ReLU))
    blocks: list[nn.Module] = []
    for _ in range(layers):
        mixing = nn.Sequential(nn.LayerNorm(width), Attending(width, heads, causal))
        mapping = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, ratio * width), activation(),
            nn.Linear(ratio * width, width),
        )  # fmt: skip
        blocks += [Added(mixing, nn.Identity()), Added(mapping, nn.Identity())]
    module = Tokens(vocabulary, width, nn.Sequential(*blocks, nn.LayerNorm(width)), width)
    return _program(draw, module, torch.randint(0, vocabulary, (batch, length)), vocabulary)


def recurrent(draw: Draw) -> Program:
    """Draw an LSTM over tokens."""
    layers = int(draw.rng.integers(1, 3))
    width, hidden, length, batch = _fitting(
        lambda: (draw.size(16, 512), draw.size(16, 512), draw.size(4, 64), draw.size(1, 64)),
        lambda c: c[3] * c[2] * 4 * c[1] * (c[0] + c[1]) * layers < draw.scale * 1e9,
    )
    vocabulary = _fitting(
        lambda: draw.size(100, 20000), lambda v: batch * length * hidden * v < draw.scale * 1e9
    )
    body = nn.LSTM(width, hidden, layers, batch_first=True)
    module = Tokens(vocabulary, width, body, hidden)
    return _program(draw, module, torch.randint(0, vocabulary, (batch, length)), vocabulary)


def clustering(draw: Draw) -> Program:
    """Draw a step that assigns points to centres and means them, or finds nearest neighbours."""
    rows, features, others = draw.sizes(
        (16, 200_000), (2, 512), (2, 100_000),
        cost=lambda n, d, k: (4.0 * n * d * k, 4.0 * (n * d + k * d + 3 * n * k)),
    )  # fmt: skip
    points, centres = draw.tensor(rows, features), draw.tensor(others, features)
    labels, ones = torch.randint(0, 10, (others,)), torch.ones(rows)
    near = min(int(draw.rng.integers(1, 20)), others)
    nearest = others > rows or draw.chance(0.3)

    def step(set_phase: SetPhase) -> None:
        set_phase("forward")
        with torch.no_grad():
            distance = torch.addmm((centres * centres).sum(1), points, centres.t(), alpha=-2)
            if nearest:
                found = distance.topk(near, dim=1, largest=False).indices
                labels[found].float().mean(1)
                return
            owner = distance.argmin(1)
            sums = torch.zeros_like(centres).index_add_(0, owner, points)
            counts = torch.zeros(others).index_add_(0, owner, ones)
            sums / counts.clamp(min=1).unsqueeze(1)

    return Program(step)


def regression(draw: Draw) -> Program:
    """Draw a linear model trained on cross entropy or on a hinge loss."""
    rows, features, classes = draw.sizes(
        (8, 8192), (4, 4096), (1, 64),
        cost=lambda n, d, c: (6.0 * n * d * c, 8.0 * n * d),
    )  # fmt: skip
    layer = nn.Linear(features, max(classes, 2))
    given = draw.tensor(rows, features)
    if draw.chance(0.6):
        return _program(draw, layer, given, max(classes, 2), training=True)
    scorer = nn.Linear(features, 1)
    sign = torch.randint(0, 2, (rows,)) * 2.0 - 1.0
    weights = list(scorer.parameters())
    update = torch.optim.SGD(weights, lr=0.0)
    product = draw.chance(0.3)

    def step(set_phase: SetPhase) -> None:
        set_phase("forward")
        update.zero_grad()
        scores = given @ weights[0][0] if product else scorer(given)[:, 0]
        loss = (1.0 - sign * scores).clamp(min=0).mean() + 1e-3 * weights[0].square().sum()
        set_phase("backward")
        loss.backward()
        set_phase("update")
        update.step()

    return Program(step, weights)


NETWORKS: dict[str, tuple[Network, float]] = {
    "perceptron": (perceptron, 0.2),
    "convolutional": (convolutional, 0.36),
    "transformer": (transformer, 0.18),
    "recurrent": (recurrent, 0.08),
    "clustering": (clustering, 0.1),
    "regression": (regression, 0.08),
}
"""How often each is drawn."""


def draw_network(seed: int, scale: float) -> tuple[str, Program]:
    """Return a network by its kind; equal arguments give equal networks.

    Parameters
    ----------
    seed : of kind, sizes and contents
    scale : 1 is about 50 ms

    >>> draw_network(seed=2, scale=0.01)[0] in NETWORKS
    True
    """
    draw = Draw(np.random.default_rng([seed, 1]), scale)
    kinds = list(NETWORKS)
    weights = np.array([weight for _, weight in NETWORKS.values()])
    kind = kinds[int(draw.rng.choice(len(kinds), p=weights / weights.sum()))]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return kind, NETWORKS[kind][0](draw)
