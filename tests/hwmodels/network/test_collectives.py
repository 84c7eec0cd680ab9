"""Every rank ends with what its collective promises: data are moved as the steps say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.network.collectives import Steps, algorithms, schedule
from hwmodels.network.schedules import Step
from simulator.actions import COLLECTIVES
from simulator.errors import InputError, UnknownNameError

RANKS = st.integers(2, 24)
Round = tuple[Step, list[np.ndarray]]
"""Messages of one round, and the parts that each of them carries."""


def spread(steps: Sequence[Step], holds: np.ndarray, parts: int, to: bool = False) -> list[Round]:
    """Return the rounds of a spreading, after which `holds` [place, part] is up to date.

    A message carries, of what its source has and its destination lacks, the parts that follow the
    source's own one; to scatter (`to`) those from the destination's own one on.
    """
    rounds = []
    for step in steps:
        for _ in range(step.repeat):
            before, carried = holds.copy(), []
            for src, dst, nbytes in zip(step.src, step.dst, step.nbytes, strict=True):
                news = np.flatnonzero(before[src] & ~holds[dst])
                first = np.argsort((news - (dst if to else src)) % parts, kind="stable")
                count = round(float(nbytes))
                assert len(news) >= count, "sends what is there already, or not here"
                carried.append(news[first[:count]])
                holds[dst, carried[-1]] = True
            rounds.append((step, carried))
    return rounds


def mirrored(steps: Sequence[Step]) -> list[Step]:
    return [replace(step, src=step.dst, dst=step.src) for step in reversed(steps)]


def backwards(rounds: Sequence[Round], steps: Sequence[Step]) -> list[Round]:
    """Return the rounds of a reduction whose mirror image has these."""
    assert all(step.reduces for step in steps)
    return [(step, carried) for (_, carried), step in zip(
        reversed(rounds), [step for step in steps for _ in range(step.repeat)], strict=True
    )]  # fmt: skip


def added_up(rounds: Sequence[Round], ranks: int, parts: int) -> np.ndarray:
    """Return whose numbers are in the sum at [place, part], as bits; nobody may count twice."""
    sums = np.array([[1 << place] * parts for place in range(ranks)], object)
    for step, carried in rounds:
        before = sums.copy()
        for src, dst, which in zip(step.src, step.dst, carried, strict=True):
            for part in which:
                if step.reduces:
                    assert sums[dst, part] & before[src, part] == 0, "counts a number twice"
                    sums[dst, part] |= before[src, part]
                else:
                    sums[dst, part] = before[src, part]
    return sums


def whole(steps: Sequence[Step], parts: int = 1) -> list[Round]:
    """Return the rounds of steps whose messages carry the whole buffer."""
    every = np.arange(parts)
    return [(step, [every] * len(step.src)) for step in steps for _ in range(step.repeat)]


def gather(steps: Sequence[Step], ranks: int) -> list[Round]:
    """Return the rounds of an all-gather, at the end of which all have all."""
    holds = np.eye(ranks, dtype=bool)
    rounds = spread(steps, holds, ranks)
    assert holds.all()
    return rounds


def reduce_scatter(steps: Sequence[Step], ranks: int) -> list[Round]:
    return backwards(gather(mirrored(steps), ranks), steps)


def full(ranks: int) -> int:
    return (1 << ranks) - 1


class TestEveryRankEndsWithWhatIsPromised:
    @pytest.mark.parametrize("algorithm", ["ring", "recursive_doubling", "pairwise", "direct"])
    @settings(max_examples=20, deadline=None)
    @given(ranks=RANKS)
    def test_all_gather(self, algorithm: str, ranks: int) -> None:
        gather(schedule("all_gather", algorithm, ranks, ranks), ranks)

    @pytest.mark.parametrize("algorithm", ["ring", "recursive_halving", "pairwise", "direct"])
    @settings(max_examples=20, deadline=None)
    @given(ranks=RANKS)
    def test_reduce_scatter(self, algorithm: str, ranks: int) -> None:
        steps = schedule("reduce_scatter", algorithm, ranks, ranks)
        sums = added_up(reduce_scatter(steps, ranks), ranks, ranks)
        assert (sums.diagonal() == full(ranks)).all()

    @pytest.mark.parametrize("algorithm", ["ring", "direct"])
    @settings(max_examples=20, deadline=None)
    @given(ranks=RANKS)
    def test_all_reduce_there_and_back(self, algorithm: str, ranks: int) -> None:
        there, back = schedule("all_reduce", algorithm, ranks, ranks)
        rounds = reduce_scatter([there], ranks) + gather([back], ranks)
        assert self._is_all_reduced(rounds, ranks, ranks)

    @settings(max_examples=30, deadline=None)
    @given(ranks=RANKS)
    def test_all_reduce_by_halving_and_doubling(self, ranks: int) -> None:
        power = 1 << (ranks.bit_length() - 1)
        steps = schedule("all_reduce", "halving_doubling", power, ranks)
        rest = 0 if power == ranks else 1
        inner = steps[rest : len(steps) - rest]
        place = inner[0].dst[np.argsort(inner[0].dst)] if power > 1 else np.array([0])
        number = np.full(ranks, -1)
        number[place] = np.arange(power)
        near = [replace(one, src=number[one.src], dst=number[one.dst]) for one in inner]
        half = len(near) // 2
        middle = reduce_scatter(near[:half], power) + gather(near[half:], power)
        rounds = [
            *whole(steps[:rest], power),
            *((replace(s, src=place[s.src], dst=place[s.dst]), carried) for s, carried in middle),
            *whole(steps[len(steps) - rest :], power),
        ]
        assert self._is_all_reduced(rounds, ranks, power)

    @pytest.mark.parametrize("algorithm", ["recursive_doubling", "binomial"])
    @settings(max_examples=20, deadline=None)
    @given(ranks=RANKS)
    def test_all_reduce_of_whole_buffers(self, algorithm: str, ranks: int) -> None:
        steps = schedule("all_reduce", algorithm, 1, ranks)
        assert self._is_all_reduced(whole(steps), ranks, 1)

    @settings(max_examples=20, deadline=None)
    @given(ranks=RANKS)
    def test_all_reduce_by_two_trees(self, ranks: int) -> None:
        rounds = []
        for step in schedule("all_reduce", "double_tree", 2, ranks):
            half = len(step.src) // 2
            rounds.append((step, [np.array([0])] * half + [np.array([1])] * half))
        assert self._is_all_reduced(rounds, ranks, 2)

    @settings(max_examples=20, deadline=None)
    @given(ranks=RANKS, chunks=st.integers(1, 9))
    def test_chunks_make_the_trees_carry_the_same(self, ranks: int, chunks: int) -> None:
        once, often = (
            schedule("all_reduce", "double_tree", 1e6, ranks, chunks=k) for k in (1, chunks)
        )
        for end in ("src", "dst"):
            sent = [
                sum(np.bincount(getattr(s, end), s.nbytes, ranks) * s.repeat for s in steps)
                for steps in (once, often)
            ]
            assert sent[0] == pytest.approx(sent[1])

    @settings(max_examples=20, deadline=None)
    @given(nodes=st.integers(1, 5), per_node=st.integers(1, 5))
    def test_within_nodes_and_between_them(self, nodes: int, per_node: int) -> None:
        ranks = nodes * per_node
        steps = {
            kind: schedule(kind, "hierarchical", ranks, ranks, ranks_per_node=per_node)
            for kind in ("all_gather", "reduce_scatter", "all_reduce")
        }
        gathered = gather(steps["all_gather"], ranks)
        reduced = reduce_scatter(steps["reduce_scatter"], ranks)
        assert self._is_all_reduced(reduced + gathered, ranks, ranks)
        both = [*steps["reduce_scatter"], *steps["all_gather"]]
        assert [one.total_bytes for one in steps["all_reduce"]] == [o.total_bytes for o in both]

    @staticmethod
    def _is_all_reduced(rounds: Sequence[Round], ranks: int, parts: int) -> bool:
        return bool((added_up(rounds, ranks, parts) == full(ranks)).all())

    @settings(max_examples=20, deadline=None)
    @given(ranks=RANKS, chunks=st.integers(1, 9))
    def test_broadcast(self, ranks: int, chunks: int) -> None:
        def root(parts: int) -> np.ndarray:
            holds = np.zeros((ranks, parts), bool)
            holds[0] = True
            return holds

        holds = root(1)
        spread(schedule("broadcast", "binomial", 1, ranks), holds, 1)
        assert holds.all()
        holds = root(chunks)
        spread(schedule("broadcast", "chain", chunks, ranks, chunks=chunks), holds, 10**9)
        assert holds.all()
        *scatter, ring = schedule("broadcast", "van_de_geijn", ranks, ranks)
        holds = root(ranks)
        spread(scatter, holds, ranks, to=True)
        gather([ring], ranks)
        assert holds.diagonal().all()

    @settings(max_examples=20, deadline=None)
    @given(ranks=RANKS, chunks=st.integers(1, 9))
    def test_reduce(self, ranks: int, chunks: int) -> None:
        binomial = whole(schedule("reduce", "binomial", 1, ranks))
        assert added_up(binomial, ranks, 1)[0, 0] == full(ranks)
        chain = schedule("reduce", "chain", chunks, ranks, chunks=chunks)
        holds = np.zeros((ranks, chunks), bool)
        holds[0] = True
        rounds = backwards(spread(mirrored(chain), holds, 10**9), chain)
        assert (added_up(rounds, ranks, chunks)[0] == full(ranks)).all()
        scattered, last = schedule("reduce", "ring", ranks, ranks)
        assert scattered.total_bytes == ranks * (ranks - 1)
        assert sorted(last.src) == list(range(1, ranks))
        assert not last.dst.any()

    @pytest.mark.parametrize("algorithm", ["pairwise", "direct"])
    @settings(max_examples=20, deadline=None)
    @given(ranks=RANKS)
    def test_all_to_all(self, algorithm: str, ranks: int) -> None:
        steps = schedule("all_to_all", algorithm, ranks, ranks)
        pairs = [(s, d) for step in steps for s, d in zip(step.src, step.dst, strict=True)]
        assert sorted(pairs) == [(s, d) for s in range(ranks) for d in range(ranks) if s != d]
        assert all((step.nbytes == 1).all() for step in steps)

    @settings(max_examples=20, deadline=None)
    @given(ranks=RANKS)
    def test_barrier(self, ranks: int) -> None:
        heard = np.eye(ranks, dtype=bool)
        for step in schedule("barrier", "dissemination", 0, ranks):
            heard[step.dst] |= heard[step.src]
        assert heard.all()


class TestSteps:
    def test_a_large_group_is_cut_at_once(self) -> None:
        for algorithm in ("ring", "recursive_doubling", "halving_doubling", "double_tree"):
            steps = schedule("all_reduce", algorithm, 1e9, 131072)
            assert len(steps) <= 2 * 17

    def test_a_group_of_one_exchanges_nothing(self) -> None:
        for kind in COLLECTIVES:
            for algorithm in algorithms(kind):
                assert schedule(kind, algorithm, 1e6, 1, ranks_per_node=1) == ()

    def test_nothing_to_send_is_sent_all_the_same(self) -> None:
        steps: Steps = schedule("all_reduce", "ring", 0.0, 4)
        assert sum(step.repeat for step in steps) == 6
        assert sum(step.total_bytes for step in steps) == 0.0


class TestBadInput:
    def test_unknown_names(self) -> None:
        with pytest.raises(UnknownNameError, match="did you mean 'ring'"):
            schedule("all_reduce", "rnig", 1e6, 4)
        with pytest.raises(UnknownNameError, match="collective"):
            schedule("scan", "ring", 1e6, 4)
        with pytest.raises(UnknownNameError):
            schedule("all_to_all", "hierarchical", 1e6, 4)

    def test_sizes_groups_and_nodes(self) -> None:
        with pytest.raises(InputError, match="bytes"):
            schedule("all_reduce", "ring", -1.0, 4)
        with pytest.raises(InputError, match="ranks"):
            schedule("all_reduce", "ring", 1e6, 0)
        with pytest.raises(InputError, match="chunks"):
            schedule("broadcast", "chain", 1e6, 4, chunks=0)
        for per_node in (None, 0, 3):
            with pytest.raises(InputError, match="ranks_per_node"):
                schedule("all_reduce", "hierarchical", 1e6, 4, ranks_per_node=per_node)
