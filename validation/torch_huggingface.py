"""The modules that do in torch what `workloads.models.huggingface` describes.

Transformers as HuggingFace's library runs them without fused attention: scores, scale, mask,
softmax and dropout are kernels of their own. Dropout is the one kernel that accelerators have, and
heads are always copied apart, as they are there for more than one sequence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class EagerSizes:
    """Hold the sizes of a transformer.

    Parameters
    ----------
    style : "bert", "gpt2" or "opt"
    sequence, positions : tokens of a sequence, at most
    training : whether it is made to be trained
    """

    style: str
    layers: int
    width: int
    heads: int
    vocabulary: int
    sequence: int
    positions: int
    training: bool


class Dropout(nn.Module):
    """Set a random part to 0 when training, by one kernel."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what is left of x."""
        return torch.native_dropout(x, 0.1, True)[0] if self.training else x


class NewGelu(nn.Module):
    """Be GELU approximated by tanh, of eight kernels."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of x."""
        inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))
        return 0.5 * x * (1.0 + torch.tanh(inner))


class Attention(nn.Module):
    """Attend among tokens [batch, sequence, width] with several heads."""

    def __init__(self, sizes: EagerSizes) -> None:
        super().__init__()
        self.style, self.heads, width = sizes.style, sizes.heads, sizes.width
        joined = sizes.style == "gpt2"
        widths = [3 * width] if joined else [width] * 3
        self.maps = nn.ModuleList([nn.Linear(width, each) for each in widths])
        self.out = nn.Linear(width, width)
        self.dropped = Dropout()

    def forward(self, x: Tensor, mask: Tensor, low: Tensor) -> Tensor:
        """Return what each token gathers from those that the mask leaves."""
        batch, sequence, width = x.shape
        parts = [each(x) for each in self.maps]
        q, k, v = parts[0].split(width, dim=2) if len(parts) == 1 else parts
        scale = math.sqrt(width // self.heads)
        q = q * scale**-1 if self.style == "opt" else q
        q, k, v = (
            one.view(batch, sequence, self.heads, -1).transpose(1, 2).contiguous()
            .view(batch * self.heads, sequence, -1) for one in (q, k, v)
        )  # fmt: skip
        scores = torch.bmm(q, k.transpose(1, 2)).view(batch, self.heads, sequence, sequence)
        shares = functional.softmax(self._masked(scores, scale, mask, low), dim=-1)
        shares = shares if self.style == "opt" else self.dropped(shares)
        gathered = torch.bmm(shares.view(batch * self.heads, sequence, sequence), v)
        gathered = gathered.view(batch, self.heads, sequence, -1).transpose(1, 2).contiguous()
        out: Tensor = self.out(gathered.view(batch, sequence, width))
        return out

    def _masked(self, scores: Tensor, scale: float, mask: Tensor, low: Tensor) -> Tensor:
        if self.style == "opt":
            return torch.max(scores + mask, low)
        if self.style == "gpt2":
            return torch.where(mask, scores / scale, low)
        return scores / scale + mask


def _map(sizes: EagerSizes) -> nn.Module:
    """Return what maps each token alone."""
    width = sizes.width
    activation = {"bert": nn.GELU, "gpt2": NewGelu, "opt": nn.ReLU}[sizes.style]
    return nn.Sequential(
        nn.Linear(width, 4 * width), activation(), nn.Linear(4 * width, width), Dropout()
    )


class PreNormLayer(nn.Module):
    """Normalize, attend, add; normalize, map, add (GPT-2 and OPT)."""

    def __init__(self, sizes: EagerSizes) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(sizes.width)
        self.attention = Attention(sizes)
        self.norm2 = nn.LayerNorm(sizes.width)
        self.map = _map(sizes)
        self.dropped = Dropout()

    def forward(self, x: Tensor, mask: Tensor, low: Tensor) -> Tensor:
        """Return the tokens after the layer."""
        x = x + self.dropped(self.attention(self.norm1(x), mask, low))
        return x + self.map(self.norm2(x))  # type: ignore[no-any-return]


class PostNormLayer(nn.Module):
    """Attend, add, normalize; map, add, normalize (BERT)."""

    def __init__(self, sizes: EagerSizes) -> None:
        super().__init__()
        self.attention = Attention(sizes)
        self.norm1 = nn.LayerNorm(sizes.width)
        self.map = _map(sizes)
        self.norm2 = nn.LayerNorm(sizes.width)
        self.dropped = Dropout()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the tokens after the layer."""
        x = self.norm1(self.dropped(self.attention(x, mask, mask)) + x)
        return self.norm2(self.map(x) + x)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Be GPT-2 or OPT: score each next token [batch x sequence, vocabulary]."""

    def __init__(self, sizes: EagerSizes) -> None:
        super().__init__()
        extra = 2 if sizes.style == "opt" else 0
        self.tokens = nn.Embedding(sizes.vocabulary, sizes.width)
        self.positions = nn.Embedding(sizes.positions + extra, sizes.width)
        self.layers = nn.ModuleList([PreNormLayer(sizes) for _ in range(sizes.layers)])
        self.norm = nn.LayerNorm(sizes.width)
        self.dropped = nn.Identity() if sizes.style == "opt" else Dropout()
        pairs = torch.ones(1, 1, sizes.sequence, sizes.sequence, dtype=torch.bool).tril()
        later = torch.zeros(pairs.shape).masked_fill(~pairs, -1e9)
        self.register_buffer("mask", later if sizes.style == "opt" else pairs)
        self.register_buffer("low", torch.tensor(-1e9))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the scores of all tokens [batch, sequence]."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.dropped(self.tokens(tokens) + self.positions(places))
        for layer in self.layers:
            x = layer(x, self.mask, self.low)
        return functional.linear(self.norm(x).flatten(0, 1), self.tokens.weight)


class Encoder(nn.Module):
    """Be BERT: score masked tokens [batch x sequence, vocabulary], or two classes [batch, 2]."""

    def __init__(self, sizes: EagerSizes) -> None:
        super().__init__()
        width = sizes.width
        self.tokens = nn.Embedding(sizes.vocabulary, width)
        self.positions = nn.Embedding(sizes.positions, width)
        self.segments = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width)
        self.dropped = Dropout()
        self.layers = nn.ModuleList([PostNormLayer(sizes) for _ in range(sizes.layers)])
        self.register_buffer("mask", torch.zeros(1, 1, 1, sizes.sequence))
        if sizes.training:
            self.map = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
            self.scores = nn.Linear(width, sizes.vocabulary)
            self.scores.weight = self.tokens.weight
        else:
            self.pool = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2))

    def forward(self, tokens: Tensor, segments: Tensor) -> Tensor:
        """Return the scores of tokens and segments [batch, sequence]."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.tokens(tokens) + self.segments(segments) + self.positions(places)
        x = self.dropped(self.norm(x))
        for layer in self.layers:
            x = layer(x, self.mask)
        if not self.training:
            return self.pool(x[:, 0])  # type: ignore[no-any-return]
        return self.scores(self.map(x).flatten(0, 1))  # type: ignore[no-any-return]
