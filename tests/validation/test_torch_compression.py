"""Codes of gradients in torch tell what they say they tell, and keep the rest."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.workload import Buffer, Work
from validation.torch_compression import GATHERED, LARGEST_INT8, Codes
from workloads.plans.compression import METHODS, Compression, code_of, kept_of

SIZES = st.integers(1, 300)
SEEDS = st.integers(0, 2**31)
FEEDBACK = sorted(set(METHODS) - {"float16"})


def drawn(size: int, seed: int, spread: float = 1.0) -> torch.Tensor:
    numbers = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    return numbers * spread


class Ranks:
    """Exchange one bucket between ranks, as collectives would."""

    def __init__(self, compression: Compression, size: int, ranks: int = 1) -> None:
        self.code = code_of(compression, Buffer("bucket0", 4.0 * size), ranks)
        self.codes = [Codes(rank, seed=0) for rank in range(ranks)]
        self.tensors: list[dict[str, torch.Tensor]] = [{} for _ in range(ranks)]

    def exchange(self, gradients: list[torch.Tensor]) -> torch.Tensor:
        """Return what is left in the bucket of the first rank; all ranks have the same."""
        for tensors, gradient in zip(self.tensors, gradients, strict=True):
            tensors["bucket0"] = gradient.clone()
        for stage in self.code.stages:
            self.do(stage.encode)
            self.collect(stage.buffer.name, stage.kind)
        self.do(self.code.decode)
        left = [tensors["bucket0"] for tensors in self.tensors]
        assert all((one == left[0]).all() for one in left)
        return left[0]

    def do(self, work: Work) -> None:
        for codes, tensors in zip(self.codes, self.tensors, strict=True):
            codes(work, tensors)

    def collect(self, name: str, kind: str) -> None:
        given = [tensors[name] for tensors in self.tensors]
        if kind == "all_reduce":
            both = torch.stack(given).sum(0)
        else:
            both = torch.cat([one.chunk(len(given))[at] for at, one in enumerate(given)])
        for tensors in self.tensors:
            tensors[name] = both.clone()

    def lost(self, rank: int, size: int) -> torch.Tensor:
        return self.codes[rank].lost["bucket0"][:size]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ranks", [1, 3])
def test_codes_are_as_long_as_the_plan_says(method, ranks):
    group = Ranks(Compression(method), 101, ranks)
    group.exchange([drawn(101, rank) for rank in range(ranks)])
    for stage in group.code.stages:
        sent = group.tensors[0][stage.buffer.name]
        assert len(sent) * sent.element_size() == stage.buffer.nbytes


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(FEEDBACK), SIZES, st.integers(1, 4), SEEDS)
def test_what_was_told_and_what_is_lost_are_all_gradients(method, size, ranks, seed):
    """After each of several steps, on the mean of the ranks, to rounding."""
    group = Ranks(Compression(method, share=0.1, rank=2), size, ranks)
    whole, told = torch.zeros(size), torch.zeros(size)
    for step in range(4):
        gradients = [drawn(size, seed + 7 * step + rank) for rank in range(ranks)]
        whole += torch.stack(gradients).mean(0)
        told += group.exchange(gradients)
        lost = torch.stack([group.lost(rank, size) for rank in range(ranks)]).mean(0)
        assert torch.allclose(told + lost, whole, atol=2e-5)


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(1, 4), SEEDS)
def test_top_k_of_all_numbers_is_the_mean_in_rank_order_bit_for_bit(size, ranks, seed):
    gradients = [drawn(size, seed + rank) for rank in range(ranks)]
    total = torch.zeros(size)
    for gradient in gradients:
        total += gradient
    group = Ranks(Compression("top-k", share=1.0), size, ranks)
    assert (group.exchange(gradients) == total / ranks).all()
    assert (group.lost(0, size) == 0).all()


@settings(max_examples=40, deadline=None)
@given(SIZES, st.floats(0.01, 1.0), SEEDS)
def test_top_k_keeps_the_largest_and_loses_the_others_exactly(size, share, seed):
    """No compressor of k of n numbers contracts better: |x - C(x)|^2 <= (1 - k / n) |x|^2."""
    compression = Compression("top-k", share=share)
    group, gradient = Ranks(compression, size), drawn(size, seed)
    told, lost = group.exchange([gradient]), group.lost(0, size)
    assert (told + lost == gradient).all()
    assert ((told == 0) | (lost == 0)).all()
    kept = kept_of(compression, size)
    assert lost.abs().max() <= gradient.abs().sort(descending=True).values[kept - 1]
    assert (lost**2).sum() <= (1 - kept / size) * (gradient**2).sum() * (1 + 1e-5)


@settings(max_examples=40, deadline=None)
@given(SIZES, SEEDS)
def test_signs_contract_by_the_share_of_the_mean_size(size, seed):
    """|x - C(x)|^2 = |x|^2 - |x|_1^2 / n (Karimireddy et al., 2019, lemma 8)."""
    group, gradient = Ranks(Compression("sign"), size), drawn(size, seed)
    told = group.exchange([gradient])
    expected = (gradient**2).sum() - gradient.abs().sum() ** 2 / size
    assert ((gradient - told) ** 2).sum() == pytest.approx(float(expected), rel=1e-3, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(SIZES, SEEDS, st.sampled_from([1e-6, 1.0, 1e6]))
def test_8_bits_err_by_half_a_step_at_most(size, seed, spread):
    group, gradient = Ranks(Compression("int8"), size), drawn(size, seed, spread)
    told = group.exchange([gradient])
    step = gradient.abs().max() / LARGEST_INT8
    assert (gradient - told).abs().max() <= 0.5001 * step


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(1, 4), SEEDS)
def test_halves_err_by_their_rounding(size, ranks, seed):
    gradients = [drawn(size, seed + rank) for rank in range(ranks)]
    told = Ranks(Compression("float16"), size, ranks).exchange(gradients)
    largest = float(torch.stack(gradients).abs().max())
    mean = torch.stack(gradients).mean(0)
    assert (told - mean).abs().max() <= (ranks + 2) * 2**-11 * largest


@settings(max_examples=30, deadline=None)
@given(st.integers(5, 20), st.integers(1, 4), SEEDS)
def test_low_rank_tells_a_gradient_of_its_rank_whole(side, rank, seed):
    thin = drawn(side * rank, seed).view(side, rank), drawn(rank * side, seed + 1).view(rank, side)
    gradient = (thin[0] @ thin[1]).flatten()
    told = Ranks(Compression("low-rank", rank=rank), side * side).exchange([gradient])
    assert torch.allclose(told, gradient, atol=1e-4 * float(gradient.abs().max()))


@settings(max_examples=30, deadline=None)
@given(st.integers(5, 20), SEEDS)
def test_low_rank_is_a_projection_so_that_it_never_loses_more_than_there_was(side, seed):
    group, gradient = Ranks(Compression("low-rank", rank=2), side * side), drawn(side**2, seed)
    told = group.exchange([gradient])
    lost = ((gradient - told) ** 2).sum()
    assert lost == pytest.approx(float((gradient**2).sum() - (told**2).sum()), rel=1e-3)


def test_low_rank_finds_the_largest_factors_of_a_gradient_that_stays():
    """Each step begins where the last one ended: power iteration. Nothing is lost in between."""
    side, rank = 12, 2
    group = Ranks(Compression("low-rank", rank=rank), side * side)
    gradient = drawn(side * side, seed=3)
    for _ in range(60):
        group.codes[0].lost.clear()
        told = group.exchange([gradient])
    values = torch.linalg.svdvals(gradient.view(side, side))
    least = float((values[rank:] ** 2).sum())
    assert float(((gradient - told) ** 2).sum()) == pytest.approx(least, rel=1e-3)


@pytest.mark.parametrize("method", GATHERED)
def test_nothing_is_told_as_nothing(method):
    assert (Ranks(Compression(method), 9, 2).exchange([torch.zeros(9)] * 2) == 0).all()


def test_what_is_no_code_is_refused():
    work = code_of(Compression("sign"), Buffer("bucket0", 40.0), 1).stages[0].encode
    with pytest.raises(InputError, match=r"compression is of float32; 'bucket0' is torch.float64"):
        Codes(0, 0)(work, {"bucket0": torch.zeros(10, dtype=torch.float64)})
    with pytest.raises(InputError, match="'encode': expected one that code_of gives"):
        Codes(0, 0)(Work("encode", work.graph), {})
