"""Cut collectives into steps of messages, as each algorithm does it.

The buffer of n bytes is cut into as many *parts* as the group has places; part j belongs to
place j. A reduction is the mirror image in time of a spreading: whoever sends a part in the one
receives it in the other. So only the spreading is written down where both exist.

Sizes count as in `Rank.collective`; a broadcast begins and a reduction ends at place 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TypeAlias

import numpy as np

from hwmodels.network.schedules import Step
from simulator.errors import InputError, UnknownNameError
from simulator.formula import check_whole
from simulator.ops import FloatArray, IntArray

Steps: TypeAlias = tuple[Step, ...]
Algorithm: TypeAlias = Callable[[float, int, int], Steps]
"""From bytes n, places p and chunks (where a buffer is passed on in chunks) to steps."""


def schedule(
    kind: str, algorithm: str, nbytes: float, ranks: int, *, chunks: int = 1,
    ranks_per_node: int | None = None,
) -> Steps:  # fmt: skip
    """Return the steps of a collective.

    Parameters
    ----------
    kind : one of `simulator.actions.COLLECTIVES`
    algorithm : one of `algorithms(kind)`
    nbytes : as of `Rank.collective`, bytes
    ranks : p, at least 1; a group of one exchanges nothing
    chunks : that a buffer is cut into, by "chain" and "double_tree", which pass on one while the
        next arrives
    ranks_per_node : of "hierarchical": neighbours in the group that are near to each other

    Raises
    ------
    UnknownNameError : no such collective or algorithm
    InputError : a size below 0, no ranks, or ranks that do not fill nodes

    >>> [(step.repeat, step.total_bytes) for step in schedule("all_reduce", "ring", 8e6, 4)]
    [(3, 24000000.0), (3, 24000000.0)]
    """
    known = algorithms(kind)
    if algorithm not in known:
        raise UnknownNameError(f"algorithm of {kind}", algorithm, known)
    if not nbytes >= 0:
        raise InputError(f"{kind}: expected 0 or more bytes, got {nbytes}")
    check_whole("ranks", ranks, 1)
    check_whole("chunks", chunks, 1)
    if algorithm == "hierarchical":
        return _hierarchical(kind, nbytes, ranks, ranks_per_node)
    return () if ranks == 1 else _ALGORITHMS[kind][algorithm](nbytes, ranks, chunks)


def algorithms(kind: str) -> tuple[str, ...]:
    """Return the names of what is known for a collective.

    >>> algorithms("all_to_all")
    ('pairwise', 'direct')
    """
    if kind not in _ALGORITHMS:
        raise UnknownNameError("collective", kind, list(_ALGORITHMS))
    near = ("hierarchical",) if kind in _HIERARCHICAL else ()
    return (*_ALGORITHMS[kind], *near)


# --- helpers -------------------------------------------------------------------------------------


def _step(src: IntArray, dst: IntArray, nbytes: float | FloatArray, repeat: int = 1) -> Step:
    return Step(src=src, dst=dst, nbytes=np.asarray(nbytes, float), repeat=repeat)


def _mirrored(steps: Sequence[Step], *, reduces: bool = True) -> Steps:
    """Return the steps backwards in time: who sent receives, and adds up."""
    return tuple(
        replace(step, src=step.dst, dst=step.src, reduces=reduces) for step in reversed(steps)
    )


def _reducing(steps: Sequence[Step]) -> Steps:
    return tuple(replace(step, reduces=True) for step in steps)


def _doublings(ranks: int) -> list[int]:
    """Return the powers of two below a number: 1, 2, 4 ..."""
    return [1 << bit for bit in range((ranks - 1).bit_length())]


# --- spreading: everybody's part to all ----------------------------------------------------------


def _ring(nbytes: float, ranks: int, _: int) -> Steps:
    """Pass a part to the next place, and on, until all have all."""
    here = np.arange(ranks)
    return (_step(here, (here + 1) % ranks, nbytes / ranks, ranks - 1),)


def _doubling(nbytes: float, ranks: int, _: int) -> Steps:
    """Exchange all one has with a place at twice the distance each time.

    Where p is no power of two each sends to the one and receives from the other side (Bruck et
    al., IEEE TPDS 8(11), 1997).
    """
    here = np.arange(ranks)
    if ranks & (ranks - 1) == 0:
        return tuple(_step(here, here ^ far, nbytes * far / ranks) for far in _doublings(ranks))
    return tuple(
        _step(here, (here - far) % ranks, nbytes * min(far, ranks - far) / ranks)
        for far in _doublings(ranks)
    )


def _pairwise(nbytes: float, ranks: int, _: int) -> Steps:
    """Send to each place directly, at another distance in each step."""
    here = np.arange(ranks)
    return tuple(
        _step(here, (here + far) % ranks, nbytes / ranks) for far in range(1, ranks)
    )  # fmt: skip


def _direct(nbytes: float, ranks: int, _: int) -> Steps:
    """Send to each place directly, all at once."""
    here = np.arange(ranks)
    src, far = np.repeat(here, ranks - 1), np.tile(here[1:], ranks)
    return (_step(src, (src + far) % ranks, nbytes / ranks),)


# --- spreading: the buffer of place 0 to all -----------------------------------------------------


def _binomial(nbytes: float, ranks: int, _: int) -> Steps:
    """Let all who have it send it to one more each: 1, 2, 4 ... places have it."""
    return tuple(
        _step(np.arange(min(far, ranks - far)), np.arange(far, min(2 * far, ranks)), nbytes)
        for far in _doublings(ranks)
    )


def _scatter(nbytes: float, ranks: int) -> Steps:
    """Send half of the parts to a place that hands on half of those, and so on."""
    steps = []
    for far in reversed(_doublings(ranks)):
        dst = np.arange(far, ranks, 2 * far)
        steps.append(_step(dst - far, dst, nbytes * np.minimum(far, ranks - dst) / ranks))
    return tuple(steps)


def _scatter_and_ring(nbytes: float, ranks: int, chunks: int) -> Steps:
    """Scatter the parts, then gather them in a ring (van de Geijn)."""
    return _scatter(nbytes, ranks) + _ring(nbytes, ranks, chunks)


def _chain(nbytes: float, ranks: int, chunks: int) -> Steps:
    """Pass chunks from each place to the next, one while the next arrives."""
    here = np.arange(ranks)
    levels = [(here[at : at + 1], here[at + 1 : at + 2]) for at in range(ranks - 1)]
    return _pipeline(levels, nbytes / chunks, chunks)


def _pipeline(levels: Sequence[tuple[IntArray, IntArray]], nbytes: float, chunks: int) -> Steps:
    """Send chunks down levels of messages (src, dst), each chunk one level deeper a step."""
    src, dst = (np.concatenate([level[side] for level in levels]) for side in (0, 1))
    starts = np.cumsum([0, *(len(level[0]) for level in levels)])
    deep = len(levels)
    windows = [
        (max(0, at - chunks + 1), min(deep, at + 1)) for at in range(deep + chunks - 1)
    ]  # fmt: skip
    return tuple(
        _step(src[starts[a] : starts[b]], dst[starts[a] : starts[b]], nbytes, len(list(run)))
        for (a, b), run in groupby(windows)
    )


# --- reductions ----------------------------------------------------------------------------------


def _ring_reduce_scatter(nbytes: float, ranks: int, chunks: int) -> Steps:
    """Pass a part on around the ring, each place adding its own."""
    return _reducing(_ring(nbytes, ranks, chunks))


def _ring_reduce(nbytes: float, ranks: int, chunks: int) -> Steps:
    """Reduce-scatter in a ring, then let all send their part to place 0."""
    others = np.arange(1, ranks)
    gather = _step(others, np.zeros_like(others), nbytes / ranks)
    return (*_ring_reduce_scatter(nbytes, ranks, chunks), gather)


def _mirror_of(spreading: Algorithm) -> Algorithm:
    return lambda nbytes, ranks, chunks: _mirrored(spreading(nbytes, ranks, chunks))


# --- all_reduce ----------------------------------------------------------------------------------


def _there_and_back(spreading: Algorithm) -> Algorithm:
    """Return the reduction that mirrors a spreading, then the spreading."""

    def both(nbytes: float, ranks: int, chunks: int) -> Steps:
        back = spreading(nbytes, ranks, chunks)
        return _mirrored(back) + back

    return both  # fmt: skip


def _ring_all_reduce(nbytes: float, ranks: int, chunks: int) -> Steps:
    return _ring_reduce_scatter(nbytes, ranks, chunks) + _ring(nbytes, ranks, chunks)


def _among_power_of_two(inner: Algorithm) -> Algorithm:
    """Let r of p = 2^k + r places hand their buffer to a neighbour first, and get it back last."""

    def folded(nbytes: float, ranks: int, chunks: int) -> Steps:
        power = 1 << (ranks.bit_length() - 1)
        rest = ranks - power
        steps = inner(nbytes, power, chunks)
        if rest == 0:
            return steps
        place = np.concatenate([2 * np.arange(rest) + 1, np.arange(2 * rest, ranks)])
        steps = tuple(replace(s, src=place[s.src], dst=place[s.dst]) for s in steps)
        last = _step(place[:rest], place[:rest] - 1, nbytes)
        return (*_mirrored([last]), *steps, last)

    return folded  # fmt: skip


def _exchange_all(nbytes: float, ranks: int, _: int) -> Steps:
    """Exchange the whole sum so far with a place at twice the distance each time."""
    here = np.arange(ranks)
    return _reducing([_step(here, here ^ far, nbytes) for far in _doublings(ranks)])


def _double_tree(nbytes: float, ranks: int, chunks: int) -> Steps:
    """Reduce up and spread down two binary trees, each of them with half of the buffer.

    Who passes on in the one is a leaf in the other, so that all links are used (Sanders, Speck &
    Träff, Parallel Computing 35(12), 2009; NCCL's shape of the trees).
    """
    parent = _binary_tree(ranks)
    here = np.arange(ranks)
    turn = here[::-1] if ranks % 2 == 0 else (here + 1) % ranks
    depth = np.zeros(ranks, int)
    above = parent.copy()
    while (above >= 0).any():
        depth += above >= 0
        above = np.where(above >= 0, parent[above], -1)
    levels = []
    for level in range(1, depth.max() + 1):
        child = np.flatnonzero(depth == level)
        src, dst = parent[child], child
        levels.append((np.concatenate([src, turn[src]]), np.concatenate([dst, turn[dst]])))
    down = _pipeline(levels, nbytes / 2 / chunks, chunks)
    return _mirrored(down) + down


def _binary_tree(ranks: int) -> IntArray:
    """Return the parent of each place (p,), -1 of place 0, in a binary tree with places in order.

    A place of lowest bit b stands above those at a distance of b/2.
    """
    here = np.arange(ranks)
    bit = here & -here
    up = (here ^ bit) | (bit << 1)
    parent: IntArray = np.where(up < ranks, up, here ^ bit)
    parent[0] = -1
    return parent


def _in_switch(nbytes: float, ranks: int, _: int) -> Steps:
    """Send the buffer up to switches that add, and get the sum down, at the same time.

    A switch is no place. What links carry is the same as if each place sent its buffer to the
    next: one up and one down; and so it is in trees of switches, where neighbours in the group
    are neighbours in the tree.
    """
    here = np.arange(ranks)
    return (_step(here, (here + 1) % ranks, nbytes),)


# --- within nodes and between them ---------------------------------------------------------------


def _hierarchical(kind: str, nbytes: float, ranks: int, per_node: int | None) -> Steps:
    """Go in a ring within nodes, and in rings between the places of the same number in each."""
    if per_node is None or per_node < 1 or ranks % per_node:
        raise InputError(f"{kind}: hierarchical needs ranks_per_node that divides {ranks} ranks; "
                         f"got {per_node}")  # fmt: skip
    count = ranks // per_node
    nodes = np.arange(ranks).reshape(count, per_node)

    def rings(groups: IntArray, total: float, reduces: bool) -> Steps:
        size = groups.shape[1]
        after = np.roll(groups, -1, axis=1)
        step = _step(groups.ravel(), after.ravel(), total / size, max(size - 1, 1))
        return (replace(step, reduces=reduces),) if size > 1 else ()

    inside, between = nodes, nodes.T
    gather = rings(between, nbytes / per_node, False) + rings(inside, nbytes, False)
    reduce = rings(inside, nbytes, True) + rings(between, nbytes / per_node, True)
    return {"all_gather": gather, "reduce_scatter": reduce, "all_reduce": reduce + gather}[kind]


# --- barrier -------------------------------------------------------------------------------------


def _dissemination(_: float, ranks: int, __: int) -> Steps:
    """Tell a place at twice the distance each time (Hensgen, Finkel & Manber, 1988)."""
    here = np.arange(ranks)
    return tuple(_step(here, (here + far) % ranks, 0.0) for far in _doublings(ranks))


_HIERARCHICAL = ("all_reduce", "all_gather", "reduce_scatter")
_ALGORITHMS: dict[str, dict[str, Algorithm]] = {
    "all_reduce": {
        "ring": _ring_all_reduce,
        "recursive_doubling": _among_power_of_two(_exchange_all),
        "halving_doubling": _among_power_of_two(_there_and_back(_doubling)),
        "binomial": _there_and_back(_binomial),
        "double_tree": _double_tree,
        "direct": _there_and_back(_direct),
        "in_switch": _in_switch,
    },
    "all_gather": {
        "ring": _ring,
        "recursive_doubling": _doubling,
        "pairwise": _pairwise,
        "direct": _direct,
    },
    "reduce_scatter": {
        "ring": _ring_reduce_scatter,
        "recursive_halving": _mirror_of(_doubling),
        "pairwise": _mirror_of(_pairwise),
        "direct": _mirror_of(_direct),
    },
    "broadcast": {
        "binomial": _binomial,
        "van_de_geijn": _scatter_and_ring,
        "chain": _chain,
    },
    "reduce": {
        "binomial": _mirror_of(_binomial),
        "ring": _ring_reduce,
        "chain": _mirror_of(_chain),
    },
    "all_to_all": {"pairwise": _pairwise, "direct": _direct},
    "barrier": {"dissemination": _dissemination},
}
