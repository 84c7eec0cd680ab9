"""State how long collectives take on equal links that nobody else uses.

`n` is the size in bytes as of `Rank.collective`, `p` the number of ranks, `alpha` the latency of a
message, `beta` the time to send a byte while one is received, `gamma` the time to add up a byte.
Formulas take scalars or arrays; arrays broadcast. A group of one takes no time.

Sources: T05 is Thakur, Rabenseifner & Gropp, IJHPCA 19(1), 2005; others are named where they are
used, and what follows from the steps alone has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulator.errors import InputError, UnknownNameError
from simulator.formula import Numbers, Result, numbers, plain
from simulator.ops import FloatArray


@dataclass(frozen=True, slots=True)
class Link:
    """Be what each rank has to every other.

    Parameters
    ----------
    latency_s : alpha, of each message, seconds
    bandwidth_bytes_per_s : 1/beta, of each direction, B/s
    reduce_s_per_byte : gamma, s/B
    """

    latency_s: Numbers
    bandwidth_bytes_per_s: Numbers
    reduce_s_per_byte: Numbers = 0.0


Form = Callable[[Numbers, Numbers, Link], Result]
PipelinedForm = Callable[[Numbers, Numbers, Link, Numbers], Result]


def _letters(
    nbytes: Numbers, ranks: Numbers, link: Link
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return n, p, alpha, beta and gamma."""
    return (
        numbers("nbytes", nbytes),
        numbers("ranks", ranks, low=1),
        numbers("latency_s", link.latency_s),
        1.0 / numbers("bandwidth_bytes_per_s", link.bandwidth_bytes_per_s, above=True),
        numbers("reduce_s_per_byte", link.reduce_s_per_byte),
    )


def _lg(ranks: FloatArray) -> FloatArray:
    """Return the logarithm to base 2, rounded up."""
    return np.asarray(np.ceil(np.log2(ranks)))


def message_s(nbytes: Numbers, link: Link) -> Result:
    """Return the time of a message: T = alpha + n beta (Hockney, 1994).

    >>> message_s(1e6, Link(2e-6, 1e9))
    0.001002
    """
    n, _, a, b, _ = _letters(nbytes, 1, link)
    return plain(a + n * b)


# --- each rank's part to all ---------------------------------------------------------------------


def ring_all_gather_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time of an all-gather by a ring, or pairwise (T05; as MPICH's comments).

    T = (p - 1) alpha + (p - 1)/p n beta

    >>> ring_all_gather_s(4e6, 4, Link(0.0, 1e9))
    0.003
    """
    n, p, a, b, _ = _letters(nbytes, ranks, link)
    return plain((p - 1) * (a + n / p * b))


def recursive_doubling_all_gather_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time of an all-gather by recursive doubling (T05), or Bruck's.

    T = lg p alpha + (p - 1)/p n beta, with lg p rounded up

    >>> recursive_doubling_all_gather_s(0, 4, Link(1e-6, 1e9))
    2e-06
    """
    n, p, a, b, _ = _letters(nbytes, ranks, link)
    return plain(_lg(p) * a + (p - 1) / p * n * b)


def direct_all_gather_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time in which all send to all at once: also that of a direct all-to-all.

    T = alpha + (p - 1)/p n beta

    >>> direct_all_gather_s(4e6, 4, Link(1e-6, 1e9))
    0.003001
    """
    n, p, a, b, _ = _letters(nbytes, ranks, link)
    return plain((p > 1) * a + (p - 1) / p * n * b)


# --- the reduction to each rank's part -----------------------------------------------------------


def pairwise_reduce_scatter_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time of a reduce-scatter pairwise (as MPICH's comments), or by a ring.

    T = (p - 1) alpha + (p - 1)/p n (beta + gamma)

    >>> pairwise_reduce_scatter_s(4e6, 4, Link(0.0, 1e9, 1e-9))
    0.006
    """
    n, p, a, b, g = _letters(nbytes, ranks, link)
    return plain((p - 1) * (a + n / p * (b + g)))


def recursive_halving_reduce_scatter_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time of a reduce-scatter by recursive halving (T05).

    T = lg p alpha + (p - 1)/p n (beta + gamma), with lg p rounded up

    >>> recursive_halving_reduce_scatter_s(4e6, 4, Link(1e-6, 1e9))
    0.003002
    """
    n, p, a, b, g = _letters(nbytes, ranks, link)
    return plain(_lg(p) * a + (p - 1) / p * n * (b + g))


def direct_reduce_scatter_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time in which all send to all at once, and then add up.

    T = alpha + (p - 1)/p n (beta + gamma)

    >>> direct_reduce_scatter_s(4e6, 4, Link(1e-6, 1e9))
    0.003001
    """
    n, p, a, b, g = _letters(nbytes, ranks, link)
    return plain((p > 1) * a + (p - 1) / p * n * (b + g))


# --- the reduction to all ------------------------------------------------------------------------


def ring_all_reduce_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time of an all-reduce by a ring (Patarasuk & Yuan, JPDC 69(2), 2009).

    T = 2 (p - 1) alpha + 2 (p - 1)/p n beta + (p - 1)/p n gamma

    >>> round(ring_all_reduce_s(1e9, 64, Link(2e-6, 1.25e9)), 6)
    1.575252
    """
    return pairwise_reduce_scatter_s(nbytes, ranks, link) + ring_all_gather_s(nbytes, ranks, link)


def recursive_doubling_all_reduce_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time of an all-reduce by recursive doubling (T05).

    T = lg p (alpha + n (beta + gamma)); where p is no power of two, lg p is rounded down, and two
    messages, one of them added up, come on top

    >>> recursive_doubling_all_reduce_s(1e6, 8, Link(0.0, 1e9))
    0.003
    """
    n, p, a, b, g = _letters(nbytes, ranks, link)
    low = np.floor(np.log2(p))
    return plain(low * (a + n * (b + g)) + (p != 2.0**low) * (2 * (a + n * b) + n * g))


def halving_doubling_all_reduce_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time of Rabenseifner's all-reduce: recursive halving, then doubling (T05).

    T = 2 lg q alpha + 2 (q - 1)/q n beta + (q - 1)/q n gamma among q = p ranks; where p is no
    power of two among the q = 2^floor(lg p) that take part, and on top two messages of n, one of
    them added up. (MPICH's comment on that case writes p for q.)

    >>> halving_doubling_all_reduce_s(4e6, 4, Link(1e-6, 1e9))
    0.006004
    """
    n, p, a, b, g = _letters(nbytes, ranks, link)
    low = np.floor(np.log2(p))
    share = 1 - 0.5**low
    inner = 2 * low * a + share * n * (2 * b + g)
    return plain(inner + (p != 2.0**low) * (2 * (a + n * b) + n * g))


def binomial_all_reduce_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time of a binomial reduction and a binomial broadcast (T05).

    T = lg p (2 alpha + 2 n beta + n gamma), with lg p rounded up

    >>> binomial_all_reduce_s(1e6, 4, Link(0.0, 1e9))
    0.004
    """
    return binomial_reduce_s(nbytes, ranks, link) + binomial_broadcast_s(nbytes, ranks, link)


def direct_all_reduce_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time of a direct reduce-scatter and a direct all-gather.

    T = 2 alpha + 2 (p - 1)/p n beta + (p - 1)/p n gamma

    >>> direct_all_reduce_s(4e6, 4, Link(1e-6, 1e9))
    0.006002
    """
    return direct_reduce_scatter_s(nbytes, ranks, link) + direct_all_gather_s(nbytes, ranks, link)


def in_switch_all_reduce_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time where switches add: each rank sends and receives the buffer at once.

    T = alpha + n beta

    >>> in_switch_all_reduce_s(1e6, 64, Link(1e-6, 1e9))
    0.001001
    """
    n, p, a, b, _ = _letters(nbytes, ranks, link)
    return plain((p > 1) * (a + n * b))


def double_tree_all_reduce_s(
    nbytes: Numbers, ranks: Numbers, link: Link, chunks: Numbers = 1
) -> Result:
    """Return the time of a reduction up and a broadcast down two trees of half the buffer each.

    T = 2 (k + d - 1) alpha + (2 k + 2 d - 3) n/(2 k) (2 beta + gamma) for k chunks and depth
    d = lg p. It holds for a power of two from 4 on; for 2, T = 2 k alpha + n/2 (2 beta + gamma);
    for others, with lg p rounded up, it is a little too long.

    >>> double_tree_all_reduce_s(1e6, 4, Link(0.0, 1e9))
    0.003
    """
    n, p, a, b, g = _letters(nbytes, ranks, link)
    k, depth = numbers("chunks", chunks, low=1), _lg(p)
    halves = np.where(p > 2, 2 * k + 2 * depth - 3, k)
    return plain((p > 1) * (2 * (k + depth - 1) * a + halves * n / (2 * k) * (2 * b + g)))


def hierarchical_all_reduce_s(
    nbytes: Numbers, nodes: Numbers, ranks_per_node: Numbers, inside: Link, between: Link
) -> Result:
    """Return the time of a reduce-scatter in nodes, an all-reduce between, an all-gather in them.

    T = ring over the L ranks of a node with n, and rings over the nodes with n/L, which share
    what `between` says a rank has

    >>> hierarchical_all_reduce_s(4e6, 2, 4, Link(0.0, 1e10), Link(0.0, 1e9))
    0.0016
    """
    local = numbers("ranks_per_node", ranks_per_node, low=1)
    return plain(np.asarray(
        ring_all_reduce_s(nbytes, local, inside)
        + ring_all_reduce_s(np.asarray(nbytes) / local, nodes, between)
    ))  # fmt: skip


# --- one rank's buffer to all, and the reduction to one ------------------------------------------


def binomial_broadcast_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time of a broadcast by a binomial tree (T05).

    T = lg p (alpha + n beta), with lg p rounded up

    >>> binomial_broadcast_s(1e6, 5, Link(0.0, 1e9))
    0.003
    """
    n, p, a, b, _ = _letters(nbytes, ranks, link)
    return plain(_lg(p) * (a + n * b))


def van_de_geijn_broadcast_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time of a broadcast by a binomial scatter and a ring all-gather (T05).

    T = (lg p + p - 1) alpha + 2 (p - 1)/p n beta, with lg p rounded up

    >>> van_de_geijn_broadcast_s(4e6, 4, Link(0.0, 1e9))
    0.006
    """
    n, p, a, b, _ = _letters(nbytes, ranks, link)
    return plain((_lg(p) + p - 1) * a + 2 * (p - 1) / p * n * b)


def chain_broadcast_s(nbytes: Numbers, ranks: Numbers, link: Link, chunks: Numbers = 1) -> Result:
    """Return the time of a broadcast from rank to rank, in chunks.

    T = (k + p - 2) (alpha + n/k beta) for k chunks

    >>> chain_broadcast_s(1e6, 4, Link(0.0, 1e9), 100)
    0.00102
    """
    n, p, a, b, _ = _letters(nbytes, ranks, link)
    k = numbers("chunks", chunks, low=1)
    return plain((p > 1) * (k + p - 2) * (a + n / k * b))


def binomial_reduce_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time of a reduction to one rank by a binomial tree (T05).

    T = lg p (alpha + n (beta + gamma)), with lg p rounded up

    >>> binomial_reduce_s(1e6, 4, Link(0.0, 1e9, 1e-9))
    0.004
    """
    n, p, a, b, g = _letters(nbytes, ranks, link)
    return plain(_lg(p) * (a + n * (b + g)))


def ring_reduce_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time of a ring reduce-scatter after which all send their part to one rank.

    T = p alpha + (p - 1)/p n (2 beta + gamma)

    >>> ring_reduce_s(4e6, 4, Link(0.0, 1e9))
    0.006
    """
    return pairwise_reduce_scatter_s(nbytes, ranks, link) + direct_all_gather_s(nbytes, ranks, link)


def chain_reduce_s(nbytes: Numbers, ranks: Numbers, link: Link, chunks: Numbers = 1) -> Result:
    """Return the time of a reduction from rank to rank, in chunks.

    T = (k + p - 2) (alpha + n/k (beta + gamma)) for k chunks

    >>> chain_reduce_s(1e6, 2, Link(0.0, 1e9))
    0.001
    """
    n, p, a, b, g = _letters(nbytes, ranks, link)
    k = numbers("chunks", chunks, low=1)
    return plain((p > 1) * (k + p - 2) * (a + n / k * (b + g)))


def dissemination_barrier_s(nbytes: Numbers, ranks: Numbers, link: Link) -> Result:
    """Return the time of a barrier by dissemination: T = lg p alpha, with lg p rounded up.

    Hensgen, Finkel & Manber, International Journal of Parallel Programming 17(1), 1988.

    >>> dissemination_barrier_s(0, 8, Link(1e-6, 1e9))
    3e-06
    """
    _, p, a, _, _ = _letters(nbytes, ranks, link)
    return plain(_lg(p) * a)


# --- by name -------------------------------------------------------------------------------------

CLOSED_FORMS: dict[str, dict[str, Form]] = {
    "all_reduce": {
        "ring": ring_all_reduce_s,
        "recursive_doubling": recursive_doubling_all_reduce_s,
        "halving_doubling": halving_doubling_all_reduce_s,
        "binomial": binomial_all_reduce_s,
        "direct": direct_all_reduce_s,
        "in_switch": in_switch_all_reduce_s,
    },
    "all_gather": {
        "ring": ring_all_gather_s,
        "recursive_doubling": recursive_doubling_all_gather_s,
        "pairwise": ring_all_gather_s,
        "direct": direct_all_gather_s,
    },
    "reduce_scatter": {
        "ring": pairwise_reduce_scatter_s,
        "recursive_halving": recursive_halving_reduce_scatter_s,
        "pairwise": pairwise_reduce_scatter_s,
        "direct": direct_reduce_scatter_s,
    },
    "broadcast": {"binomial": binomial_broadcast_s, "van_de_geijn": van_de_geijn_broadcast_s},
    "reduce": {"binomial": binomial_reduce_s, "ring": ring_reduce_s},
    "all_to_all": {"pairwise": ring_all_gather_s, "direct": direct_all_gather_s},
    "barrier": {"dissemination": dissemination_barrier_s},
}
PIPELINED: dict[str, dict[str, PipelinedForm]] = {
    "all_reduce": {"double_tree": double_tree_all_reduce_s},
    "broadcast": {"chain": chain_broadcast_s},
    "reduce": {"chain": chain_reduce_s},
}
"""Formulas that also take the number of chunks."""


def time_s(
    kind: str, algorithm: str, nbytes: Numbers, ranks: Numbers, link: Link, chunks: Numbers = 1
) -> Result:
    """Return the time of a collective by an algorithm of this name.

    Parameters
    ----------
    kind, algorithm : as of `hwmodels.network.collectives.schedule`
    nbytes : as of `Rank.collective`, bytes
    ranks : at least 1
    link : what each rank has
    chunks : of the algorithms that pass on one chunk while the next arrives

    Raises
    ------
    UnknownNameError : no formula of this name
    InputError : a size, a rate or a number of ranks that makes no sense

    >>> time_s("broadcast", "binomial", 1e6, 4, Link(0.0, 1e9))
    0.002
    """
    plain_forms, pipelined = CLOSED_FORMS.get(kind), PIPELINED.get(kind, {})
    if plain_forms is None:
        raise UnknownNameError("collective", kind, list(CLOSED_FORMS))
    if algorithm in pipelined:
        return pipelined[algorithm](nbytes, ranks, link, chunks)
    if algorithm not in plain_forms:
        known = [*plain_forms, *pipelined]
        raise UnknownNameError(f"closed form of {kind}", algorithm, known)
    return plain_forms[algorithm](nbytes, ranks, link)


def best_chunks(nbytes: float, stages: int, link: Link) -> int:
    """Return the number of chunks in which a buffer passes a pipeline soonest.

    T(k) = (k + s - 1) (alpha + n/k beta) falls as long as k (k + 1) < (s - 1) n beta / alpha.
    Beyond a hundred chunks a stage hardly a hundredth of the time is left to gain, so that no more
    are taken.

    Parameters
    ----------
    nbytes : of the buffer
    stages : s, messages from the first to the last rank

    >>> best_chunks(1e6, 5, Link(1e-6, 1e9))
    63
    """
    n, s, a, b, _ = _letters(nbytes, max(stages, 1), link)
    most = 100.0 * s
    first = np.ceil((np.sqrt(1 + 4 * (s - 1) * n * b / a) - 1) / 2) if a > 0 else most
    return int(np.clip(first, 1, most))


# --- messages as LogP has them, and bus bandwidth ------------------------------------------------


def logp_messages_s(
    messages: Numbers, latency_s: Numbers, overhead_s: Numbers, gap_s: Numbers
) -> Result:
    """Return the time of small messages sent one after the other (Culler et al., PPoPP 1993).

    T = (k - 1) g + L + 2 o

    Parameters
    ----------
    messages : k, at least 1
    latency_s : L, on the wire
    overhead_s : o, of the sender and again of the receiver
    gap_s : g, from one send to the next, at least o

    >>> round(logp_messages_s(3, 5e-6, 1e-6, 2e-6), 9)
    1.1e-05
    """
    gap, o = numbers("gap_s", gap_s), numbers("overhead_s", overhead_s)
    if (gap < o).any():
        raise InputError("gap_s: expected at least the overhead in each case")
    count = numbers("messages", messages, low=1)
    return plain((count - 1) * gap + numbers("latency_s", latency_s) + 2 * o)


def loggp_message_s(
    nbytes: Numbers, latency_s: Numbers, overhead_s: Numbers, gap_s_per_byte: Numbers
) -> Result:
    """Return the time of a long message (Alexandrov et al., SPAA 1995).

    T = o + (k - 1) G + L + o for k bytes

    >>> round(loggp_message_s(1001, 5e-6, 1e-6, 1e-9), 9)
    8e-06
    """
    wire = (numbers("nbytes", nbytes, low=1) - 1) * numbers("gap_s_per_byte", gap_s_per_byte)
    return plain(2 * numbers("overhead_s", overhead_s) + wire + numbers("latency_s", latency_s))


_BUS_SHARES: dict[str, Callable[[FloatArray], FloatArray]] = {
    "all_reduce": lambda p: 2 * (p - 1) / p,
    "all_gather": lambda p: (p - 1) / p,
    "reduce_scatter": lambda p: (p - 1) / p,
    "all_to_all": lambda p: (p - 1) / p,
    "broadcast": np.ones_like,
    "reduce": np.ones_like,
}


def bus_bandwidth_bytes_per_s(
    kind: str, nbytes: Numbers, ranks: Numbers, time_s: Numbers
) -> Result:  # fmt: skip
    """Return what a collective asks of each rank's link, by the convention of nccl-tests.

    n/T times 2 (p - 1)/p (all_reduce), (p - 1)/p (all_gather, reduce_scatter, all_to_all), 1
    (broadcast, reduce); see doc/PERFORMANCE.md there. Reductions in the switch are counted in the
    same way, so that they may exceed the link.

    >>> bus_bandwidth_bytes_per_s("all_reduce", 4e9, 4, 0.1)
    60000000000.0
    """
    if kind not in _BUS_SHARES:
        raise UnknownNameError("collective with a bus bandwidth", kind, list(_BUS_SHARES))
    share = _BUS_SHARES[kind](numbers("ranks", ranks, low=1))
    return plain(share * numbers("nbytes", nbytes) / numbers("time_s", time_s, above=True))
