"""State the laws of parallel speed: how time, speedup and rate follow from the number of cores.

`p` is a number of processors (cores, threads, devices, machines), at least 1. A *serial
fraction* is the share of the time on one processor that more processors do not shorten. Every
formula takes scalars or arrays; arrays broadcast.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulator.errors import InputError
from simulator.formula import Numbers, Result, numbers, plain
from simulator.ops import FloatArray


def _processors(p: Numbers) -> FloatArray:
    return numbers("p", p, low=1)


def _times(name: str, time_s: Numbers) -> FloatArray:
    return numbers(name, time_s, above=True)


def speedup(time_1_s: Numbers, time_p_s: Numbers) -> Result:
    """Return how many times faster p processors are than one: S = T(1) / T(p).

    Parameters
    ----------
    time_1_s, time_p_s : times of the same work on one and on p processors, seconds

    >>> speedup(10.0, 2.5)
    4.0
    """
    return plain(_times("time_1_s", time_1_s) / _times("time_p_s", time_p_s))


def strong_efficiency(p: Numbers, time_1_s: Numbers, time_p_s: Numbers) -> Result:
    """Return the efficiency at a fixed total size: E = T(1) / (p T(p)).

    Parameters
    ----------
    p : number of processors, at least 1
    time_1_s, time_p_s : times of the same work on one and on p processors, seconds

    >>> strong_efficiency(8, 10.0, 2.5)
    0.5
    """
    return plain(speedup(time_1_s, time_p_s) / _processors(p))


def weak_efficiency(time_1_s: Numbers, time_p_s: Numbers) -> Result:
    """Return the efficiency at a fixed size per processor: E = T(1) / T(p).

    Parameters
    ----------
    time_1_s : time of one share of work on one processor, seconds
    time_p_s : time of p shares of work on p processors, seconds

    >>> weak_efficiency(10.0, 12.5)
    0.8
    """
    return speedup(time_1_s, time_p_s)


def amdahl_speedup(p: Numbers, serial_fraction: Numbers) -> Result:
    """Return the speedup of a fixed amount of work: S = 1 / (f + (1 - f)/p).

    Amdahl, AFIPS 1967.

    Parameters
    ----------
    p : number of processors, at least 1
    serial_fraction : share f of the time on one processor that stays serial, from 0 to 1

    >>> amdahl_speedup(16, 0.2)
    4.0
    """
    serial = numbers("serial_fraction", serial_fraction, 0, 1)
    return plain(1 / (serial + (1 - serial) / _processors(p)))


def amdahl_limit(serial_fraction: Numbers) -> Result:
    """Return the speedup that no number of processors exceeds: 1/f (infinite at f = 0).

    Parameters
    ----------
    serial_fraction : share f of the time on one processor that stays serial, from 0 to 1

    >>> amdahl_limit(0.05)
    20.0
    """
    serial = numbers("serial_fraction", serial_fraction, 0, 1)
    with np.errstate(divide="ignore", over="ignore"):
        return plain(1 / serial)


def amdahl_time_s(p: Numbers, time_1_s: Numbers, serial_fraction: Numbers) -> Result:
    """Return the time of a fixed amount of work: T(p) = T(1) (f + (1 - f)/p).

    Parameters
    ----------
    p : number of processors, at least 1
    time_1_s : time on one processor, seconds
    serial_fraction : share f of `time_1_s` that stays serial, from 0 to 1

    >>> amdahl_time_s(16, 10.0, 0.2)
    2.5
    """
    return plain(_times("time_1_s", time_1_s) / amdahl_speedup(p, serial_fraction))


def gustafson_speedup(p: Numbers, serial_fraction: Numbers) -> Result:
    """Return the scaled speedup of work that grows with p: S = p - s (p - 1).

    Gustafson, CACM 31(5), 1988. Here the serial part is a share of the *parallel* run.

    Parameters
    ----------
    p : number of processors, at least 1
    serial_fraction : share s of the time on p processors that is serial, from 0 to 1

    >>> gustafson_speedup(64, 0.25)
    48.25
    """
    serial, p = numbers("serial_fraction", serial_fraction, 0, 1), _processors(p)
    return plain(p - serial * (p - 1))


def karp_flatt_serial_fraction(p: Numbers, speedup: Numbers) -> Result:
    """Return the serial fraction that a measured speedup implies: e = (1/S - 1/p) / (1 - 1/p).

    Karp & Flatt, CACM 33(5), 1990. Growing with p it tells of overhead that Amdahl's law leaves
    out; negative it tells of a speedup above p.

    Parameters
    ----------
    p : number of processors, above 1 (one processor tells nothing)
    speedup : measured speedup S on p processors, above 0

    >>> round(karp_flatt_serial_fraction(16, 4.0), 12)
    0.2
    """
    p = numbers("p", p, low=1, above=True)
    measured = numbers("speedup", speedup, above=True)
    return plain((1 / measured - 1 / p) / (1 - 1 / p))


def usl_throughput(
    p: Numbers, contention: Numbers, coherency: Numbers, throughput_1: Numbers = 1.0
) -> Result:
    """Return the throughput by the Universal Scalability Law.

    X(p) = X(1) p / (1 + sigma (p - 1) + kappa p (p - 1))   (Gunther, Guerrilla Capacity
    Planning, 2007, eq. 4.31). With X(1) = 1 it is the speedup; with kappa = 0 it is Amdahl's law.

    Parameters
    ----------
    p : number of processors, at least 1
    contention : sigma, the share of the work that queues for something shared, from 0 to 1
    coherency : kappa, the cost of keeping one pair of processors consistent, at least 0
    throughput_1 : throughput of one processor, work per second

    >>> usl_throughput(10, 0.1, 0.01)
    3.5714285714285716
    """
    sigma = numbers("contention", contention, 0, 1)
    kappa, p = numbers("coherency", coherency), _processors(p)
    rate = numbers("throughput_1", throughput_1, above=True)
    return plain(rate * p / (1 + sigma * (p - 1) + kappa * p * (p - 1)))


def usl_time_s(p: Numbers, time_1_s: Numbers, contention: Numbers, coherency: Numbers) -> Result:
    """Return the time of a fixed amount of work by the Universal Scalability Law.

    T(p) = T(1) ((1 - sigma)/p + sigma + kappa (p - 1)), the reciprocal of `usl_throughput`.

    Parameters
    ----------
    p : number of processors, at least 1
    time_1_s : time on one processor, seconds
    contention, coherency : sigma and kappa, as in `usl_throughput`

    >>> round(usl_time_s(10, 5.0, 0.1, 0.01), 12)
    1.4
    """
    return plain(_times("time_1_s", time_1_s) / usl_throughput(p, contention, coherency))


def usl_peak_p(contention: Numbers, coherency: Numbers) -> Result:
    """Return the number of processors with the highest throughput: sqrt((1 - sigma)/kappa).

    At least 1; infinite without coherency cost. (Gunther 2007, eq. 4.33.)

    Parameters
    ----------
    contention, coherency : sigma and kappa, as in `usl_throughput`

    >>> usl_peak_p(0.19, 0.01)
    9.0
    """
    sigma, kappa = numbers("contention", contention, 0, 1), numbers("coherency", coherency)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        peak = np.where(kappa > 0, np.sqrt((1 - sigma) / kappa), np.inf)
    return plain(np.maximum(peak, 1.0))


def isoefficiency_work_s(
    p: Numbers, efficiency: float, overhead_s: Callable[[float, float], float]
) -> Result:
    """Return how much work keeps the efficiency at p processors: W = E/(1 - E) T_o(W, p).

    Grama, Gupta & Kumar, IEEE Parallel & Distributed Technology 1(3), 1993. The overhead T_o is
    all the processors' time that is not work: p T(p) - W.

    Parameters
    ----------
    p : number of processors, at least 1
    efficiency : the efficiency E to keep, above 0 and below 1
    overhead_s : total overhead T_o(work_s, p) in seconds; it must grow slower than work_s

    Raises
    ------
    InputError : no amount of work reaches the efficiency

    >>> round(isoefficiency_work_s(16, 0.8, lambda work_s, p: 2 * p * np.log2(p)), 6)
    512.0
    """
    ratio = _odds(efficiency)
    counts = _processors(p)
    needed = [_isoefficient_s(float(count), ratio, overhead_s) for count in counts.ravel()]
    return plain(np.reshape(needed, counts.shape))


def _odds(efficiency: float) -> float:
    share = float(numbers("efficiency", efficiency, 0, 1, above=True))
    if share >= 1:
        raise InputError("efficiency: expected a number above 0 and below 1, got 1")
    return share / (1 - share)


_MOST_WORK_S = 1e30


def _isoefficient_s(p: float, ratio: float, overhead_s: Callable[[float, float], float]) -> float:
    from scipy.optimize import brentq

    def surplus_s(work_s: float) -> float:
        return work_s - ratio * overhead_s(work_s, p)

    enough_s = 1e-12
    while surplus_s(enough_s) < 0:
        enough_s *= 2
        if enough_s > _MOST_WORK_S:
            raise InputError(
                f"overhead_s: expected an overhead that grows slower than the work, but no work "
                f"up to {_MOST_WORK_S:g} s reaches the efficiency at p = {p:g}"
            )
    if enough_s <= 1e-12:
        return 0.0
    return float(brentq(surplus_s, enough_s / 2, enough_s, xtol=1e-15, rtol=1e-14))


def roofline_flop_per_s(
    intensity: Numbers, peak_flop_per_s: Numbers, bandwidth_bytes_per_s: Numbers
) -> Result:
    """Return the attainable rate: P = min(P_peak, B x I).

    Williams, Waterman & Patterson, CACM 52(4), 2009.

    Parameters
    ----------
    intensity : arithmetic intensity I, floating-point operations per byte moved
    peak_flop_per_s : highest rate of arithmetic, FLOP/s
    bandwidth_bytes_per_s : memory bandwidth B, bytes per second

    >>> roofline_flop_per_s([1.0, 100.0], 1e12, 1e11)
    array([1.e+11, 1.e+12])
    """
    peak = numbers("peak_flop_per_s", peak_flop_per_s, above=True)
    bandwidth = numbers("bandwidth_bytes_per_s", bandwidth_bytes_per_s, above=True)
    return plain(np.minimum(peak, bandwidth * numbers("intensity", intensity)))


def ridge_intensity(peak_flop_per_s: Numbers, bandwidth_bytes_per_s: Numbers) -> Result:
    """Return the intensity from which arithmetic binds and no longer memory: P_peak / B.

    Parameters
    ----------
    peak_flop_per_s : highest rate of arithmetic, FLOP/s
    bandwidth_bytes_per_s : memory bandwidth, bytes per second

    >>> ridge_intensity(1e12, 1e11)
    10.0
    """
    peak = numbers("peak_flop_per_s", peak_flop_per_s, above=True)
    return plain(peak / numbers("bandwidth_bytes_per_s", bandwidth_bytes_per_s, above=True))


def work_span_bound_s(work_s: Numbers, span_s: Numbers, p: Numbers) -> Result:
    """Return the time that no schedule beats: T(p) >= max(span, work/p).

    Parameters
    ----------
    work_s : time of all tasks on one processor, seconds
    span_s : time of the critical path, seconds; at most `work_s`
    p : number of processors, at least 1

    >>> work_span_bound_s(100.0, 20.0, 8)
    20.0
    """
    work, span = _work_and_span(work_s, span_s)
    return plain(np.maximum(span, work / _processors(p)))


def graham_bound_s(work_s: Numbers, span_s: Numbers, p: Numbers) -> Result:
    """Return the time that no list schedule exceeds: T(p) <= work/p + (1 - 1/p) span.

    Graham, SIAM J. Appl. Math. 17(2), 1969. It is at most (2 - 1/p) times the optimum.

    Parameters
    ----------
    work_s : time of all tasks on one processor, seconds
    span_s : time of the critical path, seconds; at most `work_s`
    p : number of processors, at least 1

    >>> graham_bound_s(100.0, 20.0, 8)
    30.0
    """
    work, span = _work_and_span(work_s, span_s)
    p = _processors(p)
    return plain(work / p + (1 - 1 / p) * span)


def brent_bound_s(work_s: Numbers, span_s: Numbers, p: Numbers) -> Result:
    """Return the time that no level-by-level schedule exceeds: T(p) <= work/p + span.

    Brent, JACM 21(2), 1974.

    Parameters
    ----------
    work_s : time of all tasks on one processor, seconds
    span_s : time of the critical path, seconds; at most `work_s`
    p : number of processors, at least 1

    >>> brent_bound_s(100.0, 20.0, 8)
    32.5
    """
    work, span = _work_and_span(work_s, span_s)
    return plain(work / _processors(p) + span)


def _work_and_span(work_s: Numbers, span_s: Numbers) -> tuple[FloatArray, FloatArray]:
    work, span = numbers("work_s", work_s), numbers("span_s", span_s)
    if np.any(span > work):
        raise InputError(
            f"span_s: expected at most work_s (the critical path is part of the work), "
            f"got a span of {np.max(span):g} s and work of {np.min(work):g} s"
        )
    return work, span
