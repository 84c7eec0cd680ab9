"""State the queueing formulas that simulations are held to.

A *queue* is one waiting line before one or more equal servers, first come first served, with
Poisson arrivals. Rates are per second; the *utilization* is the share of the servers' capacity
that arrivals ask for. From a utilization of 1 on the line grows without end: waits are infinite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.errors import InputError
from simulator.formula import Numbers, Result, numbers, plain
from simulator.ops import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Hold the steady-state means of a queue.

    Attributes
    ----------
    utilization : arrival rate over the servers' total service rate
    wait_s : mean time in line before service, seconds
    time_s : mean time in the system, waiting and service, seconds
    waiting : mean number in line
    number : mean number in the system
    """

    utilization: Result
    wait_s: Result
    time_s: Result
    waiting: Result
    number: Result


def little_number(arrival_per_s: Numbers, time_s: Numbers) -> Result:
    """Return the mean number in a system: L = lambda W (Little, Oper. Res. 9(3), 1961).

    Parameters
    ----------
    arrival_per_s : arrival rate lambda, per second
    time_s : mean time in the system W, seconds

    >>> little_number(0.8, 5.0)
    4.0
    """
    return plain(numbers("arrival_per_s", arrival_per_s) * numbers("time_s", time_s))


def mm1(arrival_per_s: Numbers, service_per_s: Numbers) -> Queue:
    """Return the means of M/M/1: one server, exponential service. Wq = rho / (mu - lambda).

    Kleinrock, Queueing Systems I, 1975.

    Parameters
    ----------
    arrival_per_s : arrival rate lambda, per second
    service_per_s : service rate mu of the server, per second

    >>> queue = mm1(0.8, 1.0)
    >>> round(queue.wait_s, 9), round(queue.time_s, 9), round(queue.number, 9)
    (4.0, 5.0, 4.0)
    """
    service = numbers("service_per_s", service_per_s, above=True)
    return mg1(arrival_per_s, 1 / service, 1.0)


def mg1(arrival_per_s: Numbers, service_s: Numbers, service_cv2: Numbers) -> Queue:
    """Return the means of M/G/1 by Pollaczek-Khinchine: Wq = lambda E[S^2] / (2 (1 - rho)).

    Pollaczek 1930, Khinchine 1932; Kleinrock, Queueing Systems I, 1975.

    Parameters
    ----------
    arrival_per_s : arrival rate lambda, per second
    service_s : mean service time E[S], seconds
    service_cv2 : squared coefficient of variation of the service time (0 constant,
        1 exponential); E[S^2] = (1 + cv2) E[S]^2

    >>> round(mg1(0.8, 1.0, 0.0).wait_s, 9)
    2.0
    """
    arrival = numbers("arrival_per_s", arrival_per_s)
    service = numbers("service_s", service_s, above=True)
    second_moment = (1 + numbers("service_cv2", service_cv2)) * service**2
    rho = arrival * service
    with np.errstate(divide="ignore"):
        wait = np.where(rho < 1, arrival * second_moment / (2 * np.maximum(1 - rho, 0)), np.inf)
    return _queue(arrival, rho, wait, service)


def mmc(arrival_per_s: Numbers, service_per_s: Numbers, servers: int) -> Queue:
    """Return the means of M/M/c: Wq = C(c, a) / (c mu - lambda), C by Erlang.

    Kleinrock, Queueing Systems I, 1975.

    Parameters
    ----------
    arrival_per_s : arrival rate lambda, per second
    service_per_s : service rate mu of each server, per second
    servers : number of servers c, at least 1

    >>> round(mmc(3.2, 1.0, 4).wait_s, 6)
    0.745541
    """
    arrival = numbers("arrival_per_s", arrival_per_s)
    service = numbers("service_per_s", service_per_s, above=True)
    waits = np.asarray(erlang_c(servers, arrival / service))
    spare = np.maximum(servers * service - arrival, 0)
    with np.errstate(divide="ignore"):
        wait = np.where(spare > 0, waits / spare, np.inf)
    return _queue(arrival, arrival / (servers * service), wait, 1 / service)


def _queue(arrival: FloatArray, rho: FloatArray, wait: FloatArray, service: FloatArray) -> Queue:
    """Complete a queue by Little's law; an empty system stays empty whatever the service."""
    return Queue(
        utilization=plain(rho),
        wait_s=plain(wait),
        time_s=plain(wait + service),
        waiting=plain(arrival * wait),
        number=plain(arrival * (wait + service)),
    )


def erlang_b(servers: int, offered_load: Numbers) -> Result:
    """Return the share of arrivals that a system without a waiting line turns away.

    B(0) = 1, B(k) = a B(k-1) / (k + a B(k-1))   (Erlang 1917; Kleinrock 1975).

    Parameters
    ----------
    servers : number of servers c, at least 0
    offered_load : arrival rate over one server's service rate, a = lambda / mu

    >>> erlang_b(1, 1.0)
    0.5
    """
    load = numbers("offered_load", offered_load)
    blocked = np.ones_like(load)
    for k in range(1, _servers(servers, least=0) + 1):
        blocked = load * blocked / (k + load * blocked)
    return plain(blocked)


def erlang_c(servers: int, offered_load: Numbers) -> Result:
    """Return the share of arrivals that must wait: C = B / (1 - rho (1 - B)), rho = a/c.

    It is 1 where the offered load is c or more.

    Parameters
    ----------
    servers : number of servers c, at least 1
    offered_load : arrival rate over one server's service rate, a = lambda / mu

    >>> round(erlang_c(4, 3.2), 5)
    0.59643
    """
    blocked = np.asarray(erlang_b(_servers(servers, least=1), offered_load))
    rho = np.minimum(numbers("offered_load", offered_load) / servers, 1)
    return plain(blocked / (1 - rho * (1 - blocked)))


def _servers(servers: int, least: int) -> int:
    count = numbers("servers", servers, low=least)
    if count.ndim or count % 1:
        raise InputError(f"servers: expected one whole number, got {servers!r}")
    return int(count)
