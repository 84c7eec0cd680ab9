"""Draw small random programs whose kernels are timed to calibrate a machine.

A *piece* is one layer or step of an algorithm with random sizes, forward or forward and backward. A
*program* is some pieces in turn; its footprint, from the first-level cache to memory, decides how
cold the operands of its kernels are. Sizes are log-uniform over what models use, half of them
rounded as people round; they are of no workload in particular.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from validation.torch_insitu import Program, SetPhase

Step: TypeAlias = Callable[[SetPhase], object]
Map: TypeAlias = Callable[[torch.Tensor], Any]

FLOPS, BYTES = 3e9, 2.5e7
"""Arithmetic of a piece's main kernel, and bytes of its largest operands, at scale 1."""
TRAINING_SHARE = 0.6
RECIPES = 64
"""Sizes drawn before a piece of the wanted scale is given up for its smallest."""


@dataclass(frozen=True)
class Piece:
    """Be one layer or step of an algorithm.

    Parameters
    ----------
    step : does it
    weights : its trained tensors
    """

    step: Step
    weights: Sequence[torch.Tensor] = ()


class Draw:
    """Draw sizes.

    Parameters
    ----------
    rng : source of all randomness
    scale : of arithmetic and bytes, 1 is about 10 ms
    dtype : of the floating-point tensors
    """

    def __init__(
        self, rng: np.random.Generator, scale: float, dtype: torch.dtype = torch.float32
    ) -> None:
        self.rng = rng
        self.scale = scale
        self.dtype = dtype

    def size(self, low: float, high: float) -> int:
        """Return a log-uniform size, as it is or rounded to 8, 32 or a power of two."""
        value = math.exp(self.rng.uniform(math.log(low), math.log(high)))
        step = (1, 8, 32, 0)[self.rng.integers(4)]
        if step == 0:
            return max(1, 1 << round(math.log2(value)))
        return max(1, round(value / step) * step) if value >= step else max(1, round(value))

    def sizes(self, *ranges: tuple[float, float], cost: Callable[..., tuple[float, float]]) -> Any:
        """Return sizes whose cost (operations, bytes) is within the scale."""
        found: tuple[float, tuple[int, ...]] | None = None
        for _ in range(RECIPES):
            drawn = tuple(self.size(*one) for one in ranges)
            flops, nbytes = cost(*drawn)
            excess = max(flops / FLOPS, nbytes / BYTES) / self.scale
            if excess <= 1:
                return drawn
            if found is None or excess < found[0]:
                found = (excess, drawn)
        assert found is not None
        return found[1]

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return bool(self.rng.random() < probability)

    def pick(self, options: Sequence[Any]) -> Any:
        """Return one of the options."""
        return options[int(self.rng.integers(len(options)))]

    def tensor(self, *shape: int, grad: bool = False) -> torch.Tensor:
        """Return normal numbers."""
        return torch.randn(*shape, dtype=self.dtype).requires_grad_(grad)


ACTIVATIONS: tuple[Map, ...] = (
    functional.relu, functional.relu, functional.relu, functional.relu, functional.gelu,
    torch.tanh, torch.sigmoid, functional.silu, functional.leaky_relu, functional.relu6,
    functional.elu, functional.hardswish,
)  # fmt: skip


def _trained(draw: Draw, forward: Callable[[], torch.Tensor], tensors: Sequence[Any]) -> Step:
    """Return a step that is forward only, or has a backward pass to those tensors."""
    training = draw.chance(TRAINING_SHARE)

    def step(set_phase: SetPhase) -> None:
        set_phase("forward")
        with torch.set_grad_enabled(training):
            result = forward()
            if not training:
                return
            loss = result.sum() if result.dim() else result
        set_phase("backward")
        loss.backward()
        for one in tensors:
            one.grad = None

    return step


def linear(draw: Draw) -> Piece:
    """Draw a fully-connected layer with an activation."""
    rows, outputs, inputs = draw.sizes(
        (1, 4096), (1, 4096), (4, 4096),
        cost=lambda m, n, k: (2.0 * m * n * k, 4.0 * (m * n + n * k + m * k)),
    )  # fmt: skip
    layer = nn.Linear(inputs, outputs, bias=draw.chance(0.8), dtype=draw.dtype)
    activation, given = draw.pick(ACTIVATIONS), draw.tensor(rows, inputs, grad=draw.chance(0.7))
    weights = list(layer.parameters())
    return Piece(_trained(draw, lambda: activation(layer(given)), [*weights, given]), weights)


def convolution(draw: Draw) -> Piece:
    """Draw a convolution, full or depthwise, with or without batch normalization."""
    depthwise, first = draw.chance(0.2), draw.chance(0.1)
    kernel, stride = draw.pick((3, 5) if depthwise else (1, 1, 3, 3, 3, 5, 7)), draw.pick((1, 1, 2))

    def cost(batch: int, channels: int, made: int, image: int) -> tuple[float, float]:
        out = math.ceil(image / stride)
        inner = kernel**2 * (1 if depthwise else channels)
        moved = 4.0 * batch * (channels * image**2 + made * out**2)
        return 2.0 * batch * out**2 * made * inner, moved

    low = (1, 3) if first and not depthwise else (8, 512)
    batch, channels, made, image = draw.sizes((1, 64), low, (8, 512), (4, 112), cost=cost)
    made = channels if depthwise else made
    layer = nn.Conv2d(
        channels, made, kernel, stride, kernel // 2,
        groups=channels if depthwise else 1, bias=draw.chance(0.4), dtype=draw.dtype,
    )  # fmt: skip
    norm = nn.BatchNorm2d(made, dtype=draw.dtype) if draw.chance(0.7) else nn.Identity()
    activation = draw.pick(ACTIVATIONS)
    given = draw.tensor(batch, channels, image, image, grad=draw.chance(0.8))
    weights = [*layer.parameters(), *norm.parameters()]
    norm.train(draw.chance(TRAINING_SHARE))
    step = _trained(draw, lambda: activation(norm(layer(given))), [*weights, given])
    return Piece(step, weights)


def attention(draw: Draw) -> Piece:
    """Draw fused self-attention between the reshapings that models put around it."""
    width, causal = draw.pick((16, 32, 64, 128)), draw.chance(0.5)
    batch, heads, length = draw.sizes(
        (1, 32), (1, 16), (8, 1024),
        cost=lambda b, h, n: (4.0 * b * h * n * n * width, 12.0 * b * h * n * width),
    )  # fmt: skip
    given = draw.tensor(batch, length, 3 * heads * width, grad=True)

    def forward() -> torch.Tensor:
        parts = given.view(batch, length, 3, heads, width).permute(2, 0, 3, 1, 4)
        query, key, value = parts
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return mixed.transpose(1, 2).reshape(batch, length, heads * width)

    return Piece(_trained(draw, forward, [given]))


def products(draw: Draw) -> Piece:
    """Draw batched products with a softmax between them."""
    batch, rows, columns, inner = draw.sizes(
        (1, 128), (4, 512), (4, 512), (8, 256),
        cost=lambda b, m, n, k: (2.0 * b * m * n * k, 4.0 * b * (m * n + n * k + m * k)),
    )  # fmt: skip
    left = draw.tensor(batch, rows, inner, grad=True)
    right = draw.tensor(batch, columns, inner, grad=True)

    def forward() -> torch.Tensor:
        scores = functional.softmax(torch.bmm(left, right.transpose(1, 2)) * 0.1, dim=-1)
        return torch.bmm(scores, right)

    return Piece(_trained(draw, forward, [left, right]))


def normalization(draw: Draw) -> Piece:
    """Draw a layer normalization, with or without a softmax."""
    rows, columns = draw.sizes((1, 16384), (16, 2048), cost=lambda r, c: (0.0, 8.0 * r * c))
    layer, softmax = nn.LayerNorm(columns, dtype=draw.dtype), draw.chance(0.3)
    given = draw.tensor(rows, columns, grad=True)
    weights = list(layer.parameters())

    def forward() -> torch.Tensor:
        normal: torch.Tensor = layer(given)
        return functional.softmax(normal, dim=-1) if softmax else normal

    return Piece(_trained(draw, forward, [*weights, given]), weights)


def cross_entropy(draw: Draw) -> Piece:
    """Draw the loss of a classification."""
    rows, classes = draw.sizes((1, 4096), (2, 8192), cost=lambda r, c: (0.0, 8.0 * r * c))
    scores, target = draw.tensor(rows, classes, grad=True), torch.randint(0, classes, (rows,))
    return Piece(_trained(draw, lambda: functional.cross_entropy(scores, target), [scores]))


def pooling(draw: Draw) -> Piece:
    """Draw a pooling of images after an activation, which leaves it many equal numbers."""
    batch, channels, image = draw.sizes(
        (1, 64), (1, 256), (4, 112), cost=lambda b, c, h: (0.0, 8.0 * b * c * h * h)
    )
    window = draw.pick((2, 2, 3))
    pool: Map = draw.pick((
        lambda x: functional.max_pool2d(x, window, 2),
        lambda x: functional.max_pool2d(x, window, 2),
        lambda x: functional.avg_pool2d(x, window, 2),
        lambda x: functional.adaptive_avg_pool2d(x, 1),
    ))  # fmt: skip
    given = draw.tensor(batch, channels, image, image, grad=True)
    return Piece(_trained(draw, lambda: pool(functional.relu(given)), [given]))


def embedding(draw: Draw) -> Piece:
    """Draw looking up rows of a table."""
    entries, width, rows = draw.sizes(
        (64, 40000), (8, 1024), (8, 8192),
        cost=lambda v, d, n: (0.0, max(4.0 * v * d, 12.0 * n * d)),
    )  # fmt: skip
    table = nn.Embedding(entries, width, dtype=draw.dtype)
    index = torch.randint(0, entries, (rows,))
    weights = list(table.parameters())
    return Piece(_trained(draw, lambda: table(index), weights), weights)


def optimizer(draw: Draw) -> Piece:
    """Draw an update of some weights; the learning rate is 0, so that they stay what they are."""
    weights = []
    for _ in range(int(draw.rng.integers(1, 8))):
        (size,) = draw.sizes((8, 4e6), cost=lambda n: (0.0, 16.0 * n))
        weights.append(nn.Parameter(draw.tensor(size)))
        weights[-1].grad = draw.tensor(size)
    make: Callable[..., torch.optim.Optimizer] = draw.pick((
        lambda given: torch.optim.SGD(given, lr=0.0),
        lambda given: torch.optim.SGD(given, lr=0.0, momentum=0.9),
        lambda given: torch.optim.Adam(given, lr=0.0),
        lambda given: torch.optim.AdamW(given, lr=0.0),
    ))  # fmt: skip
    made = make(weights)

    def step(set_phase: SetPhase) -> None:
        set_phase("update")
        made.step()

    return Piece(step, weights)


UNARY: tuple[Map, ...] = (
    torch.exp, torch.sqrt, torch.log, torch.neg, torch.abs, lambda x: x * 2.0, lambda x: x + 1.0,
    lambda x: x / 3.0, lambda x: x.clamp(min=0), torch.square, lambda x: x.pow(2.5), torch.sin,
    torch.rsqrt, torch.clone, lambda x: x.t().contiguous(), torch.zeros_like, lambda x: x > 0.5,
    torch.ones_like, torch.reciprocal, torch.erf, torch.sign,
    lambda x: functional.dropout(x, 0.1, training=True),
)  # fmt: skip
BINARY: tuple[Callable[[torch.Tensor, torch.Tensor], torch.Tensor], ...] = (
    torch.add, torch.mul, torch.sub, torch.div, torch.maximum,
    lambda x, y: torch.where(x > 0, x, y), lambda x, y: x.add(y, alpha=0.5),
    lambda x, y: torch.cat([x, y])[: len(x)],
)  # fmt: skip
REDUCTIONS: tuple[Map, ...] = (
    torch.sum, lambda x: x.sum(0), lambda x: x.sum(-1), lambda x: x.mean(-1), lambda x: x.max(-1),
    lambda x: x.argmin(-1), torch.mean, lambda x: x.amax(0), torch.linalg.vector_norm,
    lambda x: x.argmax(0), lambda x: x.min(-1), lambda x: x.cumsum(-1), lambda x: x.mean(0),
)  # fmt: skip
IN_PLACE: tuple[Callable[[torch.Tensor, torch.Tensor], torch.Tensor], ...] = (
    lambda x, y: x.add_(y, alpha=1e-3), lambda x, y: x.mul_(0.999), lambda x, y: x.copy_(y),
    lambda x, y: x.zero_(), lambda x, y: torch.add(x, y[:1]), lambda x, y: torch.mul(x, y[:, :1]),
)  # fmt: skip


def elementwise(draw: Draw) -> Piece:
    """Draw some maps, combinations and a reduction of matrices."""
    rows, columns = draw.sizes((1, 4096), (1, 4096), cost=lambda r, c: (0.0, 8.0 * r * c))
    left, right = draw.tensor(rows, columns).abs_().add_(0.1), draw.tensor(rows, columns)
    other = draw.tensor(rows, columns)
    single = [draw.pick(UNARY) for _ in range(3)]
    double = [draw.pick(BINARY) for _ in range(2)]
    reduced, changed = draw.pick(REDUCTIONS), draw.pick(IN_PLACE)

    def step(set_phase: SetPhase) -> None:
        set_phase("forward")
        with torch.no_grad():
            for function in single:
                function(left)
            mixed = left
            for combine in double:
                mixed = combine(mixed, right)
            reduced(mixed)
            changed(other, right)

    return Piece(step)


def recurrent(draw: Draw) -> Piece:
    """Draw one layer of an LSTM."""
    inputs, hidden, batch, steps = draw.sizes(
        (8, 512), (16, 512), (1, 64), (2, 64),
        cost=lambda i, h, b, t: (8.0 * t * b * h * (i + h), 4.0 * t * b * (i + 4 * h)),
    )  # fmt: skip
    layer = nn.LSTM(inputs, hidden, batch_first=draw.chance(0.5), dtype=draw.dtype)
    shape = (batch, steps) if layer.batch_first else (steps, batch)
    given = draw.tensor(*shape, inputs, grad=draw.chance(0.5))
    weights = list(layer.parameters())
    return Piece(_trained(draw, lambda: layer(given)[0], [*weights, given]), weights)


def classic(draw: Draw) -> Piece:
    """Draw parts of clustering and nearest-neighbour steps."""
    rows, features, others = draw.sizes(
        (16, 100_000), (2, 512), (2, 60_000),
        cost=lambda n, d, k: (2.0 * n * d * k, 4.0 * (n * d + k * d + 2 * n * k)),
    )  # fmt: skip
    points, centres, weight = (
        draw.tensor(rows, features), draw.tensor(others, features), draw.tensor(features)
    )  # fmt: skip
    owner, near = torch.randint(0, others, (rows,)), min(int(draw.rng.integers(1, 16)), others)
    wanted = [draw.chance(0.5) for _ in range(6)]

    def step(set_phase: SetPhase) -> None:
        set_phase("forward")
        with torch.no_grad():
            if wanted[0]:
                distance = torch.cdist(points, centres)
            else:
                distance = (points * points).sum(1, keepdim=True) - 2 * (points @ centres.t())
                distance = distance + (centres * centres).sum(1)
            if wanted[1]:
                distance.argmin(1)
            else:
                distance.topk(near, dim=1, largest=False)
            if wanted[2]:
                torch.zeros(others, features, dtype=draw.dtype).index_add_(0, owner, points)
            if wanted[3]:
                torch.zeros(others).index_add_(0, owner, torch.ones(rows))
            if wanted[4]:
                points @ weight
            if wanted[5]:
                centres[owner]

    return Piece(step)


def encoder(draw: Draw) -> Piece:
    """Draw a layer of a transformer's encoder, which torch fuses without gradients."""
    heads, width, ratio = draw.pick((2, 4, 8)), draw.pick((16, 32, 64)), draw.pick((2, 4))
    model = heads * width
    batch, length = draw.sizes(
        (1, 32), (8, 256),
        cost=lambda b, n: (b * n * model * (8.0 + 4 * ratio) * model, 16.0 * b * n * model),
    )  # fmt: skip
    layer = nn.TransformerEncoderLayer(
        model, heads, ratio * model, 0.0, batch_first=True, dtype=draw.dtype
    )
    layer.train(draw.chance(0.2))
    given = draw.tensor(batch, length, model)

    def step(set_phase: SetPhase) -> None:
        set_phase("forward")
        with torch.no_grad():
            layer(given)

    return Piece(step, list(layer.parameters()))


PIECES: dict[Callable[[Draw], Piece], float] = {
    linear: 0.20, convolution: 0.25, attention: 0.06, products: 0.05, normalization: 0.06,
    cross_entropy: 0.05, pooling: 0.06, embedding: 0.04, optimizer: 0.06, elementwise: 0.10,
    recurrent: 0.04, classic: 0.06, encoder: 0.03,
}  # fmt: skip
"""How often each piece is drawn."""
HALF_PIECES: dict[Callable[[Draw], Piece], float] = {
    linear: 0.4, convolution: 0.25, attention: 0.1, products: 0.1, normalization: 0.05,
    optimizer: 0.05, elementwise: 0.05,
}  # fmt: skip
"""The same for 16-bit floats."""


def draw_program(
    seed: int, scale: float, pieces: int, dtype: torch.dtype = torch.float32
) -> Program:
    """Return a program; equal arguments give equal programs.

    Parameters
    ----------
    seed : of sizes and contents
    scale : of each piece, 1 is about 10 ms
    pieces : in the program
    dtype : of the floating-point tensors

    >>> program = draw_program(seed=1, scale=0.01, pieces=3)
    >>> program.step(print) is None
    forward
    ...
    """
    draw = Draw(np.random.default_rng(seed), scale, dtype)
    table = PIECES if dtype == torch.float32 else HALF_PIECES
    kinds, weights = list(table), np.array(list(table.values()))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        chosen = draw.rng.choice(len(kinds), size=pieces, p=weights / weights.sum())
        made = [kinds[index](draw) for index in chosen.tolist()]

    def step(set_phase: SetPhase) -> None:
        for piece in made:
            piece.step(set_phase)

    return Program(step, [weight for piece in made for weight in piece.weights])
