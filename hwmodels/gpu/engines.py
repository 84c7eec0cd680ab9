"""Say what works take of an accelerator's engines: multiprocessors, memory, the copy engine.

Copies from the host's memory have an engine of their own: beside kernels they only take bandwidth
of the memory, which is far quicker than the link that they come over. Kernels of communication are
kernels: while they run, they keep some multiprocessors and some bandwidth from all others.
"""

from __future__ import annotations

import functools

import numpy as np

from hwmodels.gpu.chip import Chip
from hwmodels.gpu.family import Parts
from hwmodels.open_device import Phases
from hwmodels.profile import Profile
from hwmodels.sharing import fair_rates
from simulator.errors import InputError
from simulator.ops import FROM_HOST, KINDS, BoolArray, Graph
from simulator.protocols import Footprint

_FROM_HOST = KINDS.index(FROM_HOST)


def with_copies(cost: Parts, graph: Graph, chip: Chip) -> Parts:
    """Return what ops (n,) spend time on, copies from the host at the rate of the link.

    Raises
    ------
    InputError : the device has no link to a host
    """
    copied = _copied(graph)
    if not copied.any():
        return cost
    if chip.link_bytes_per_s is None:
        raise InputError(f"device '{chip.name}' does not say link.pcie_bytes_per_s: nothing says "
                         "how long copies from the host take")  # fmt: skip
    rate = min(chip.link_bytes_per_s, chip.bandwidth_bytes_per_s)
    over_link = graph.bytes_written / rate
    return cost._replace(
        overhead_s=np.where(copied, 0.0, cost.overhead_s),
        compute_s=np.where(copied, 0.0, cost.compute_s),
        memory_s=np.where(copied, over_link, cost.memory_s),
    )


def profile_of(parts: Parts, graph: Graph, chip: Chip) -> Profile:
    """Return how a graph runs alone: copies stall for the link, and need the memory for a part.

    Kernels keep ordinary units busy or matrix units; copies keep neither.
    """
    count, copied = len(graph), _copied(graph)
    matrix = parts.matrix_share
    ordinary = np.where(copied, 0.0, 1.0 - matrix)
    written = np.where(copied, graph.bytes_written, 0.0)
    return Profile(
        team=np.ones(count, np.int64),
        overhead_s=parts.overhead_s,
        compute_s=parts.compute_s,
        stall_s=np.where(copied, parts.memory_s, 0.0),
        memory_s=np.where(copied, written / chip.bandwidth_bytes_per_s, parts.memory_s),
        traffic_bytes=np.stack([written, np.where(copied, written, graph.bytes_moved)], axis=1),
        cores=1,
        units=np.stack([ordinary, matrix], axis=1),
    )


def _copied(graph: Graph) -> BoolArray:
    found: BoolArray = graph.kind == _FROM_HOST
    return found


def paces_of(phases: Phases, chip: Chip) -> tuple[float, ...]:
    """Return how fast each of the phases that run at the same time goes, over alone.

    Kernels share multiprocessors and bandwidth max-min fairly, copies the copy engine; what works
    wait for the host, they share with nobody.

    Parameters
    ----------
    phases : profile and phase of each load
    chip : that they run on
    """
    working = [place for place, (_, phase) in enumerate(phases) if phase % 2]
    paces = np.ones(len(phases))
    if len(working) > 1:
        ops = [(phases[place][0], phases[place][1] // 2) for place in working]
        work = np.array([profile.work_s[op] for profile, op in ops])
        use = np.array([(p.compute_s[op], p.memory_s[op], p.traffic_bytes[op, 0]) for p, op in ops])
        capacity = np.array([1.0, 1.0, chip.link_bytes_per_s or np.inf])
        rate = fair_rates(1 / work, use, capacity, np.ones(len(ops)))
        paces[working] = rate * work
    return tuple(paces.tolist())


def communication(chip: Chip, sms: float, bandwidth: float) -> Profile:
    """Return a second of a kernel of communication, for `OpenDevice.hold`.

    Parameters
    ----------
    chip : that it runs on
    sms : share of the multiprocessors that it takes, from 0 to 1
    bandwidth : share of the memory bandwidth that it takes, from 0 to 1

    Raises
    ------
    InputError : a share that is none

    >>> from hwmodels.devices import find_spec
    >>> from hwmodels.gpu.chip import chip_of
    >>> communication(chip_of(find_spec("nvidia-h100-sxm-80gb")), 0.25, 0.5).work_s
    array([1.])
    """
    return _second(sms, bandwidth, chip.bandwidth_bytes_per_s)


def communication_of(chip: Chip, footprint: Footprint) -> Profile:
    """Return a second of the kernel of a collective, which takes at most the whole chip."""
    sms = min(footprint.units / chip.sms, 1.0)
    return communication(chip, sms, min(footprint.bytes_per_s / chip.bandwidth_bytes_per_s, 1.0))


@functools.lru_cache(maxsize=1024)
def _second(sms: float, bandwidth: float, bandwidth_bytes_per_s: float) -> Profile:
    """Return the profile; equal ones are the same object, so that paces are remembered."""
    for name, share in (("sms", sms), ("bandwidth", bandwidth)):
        if not 0 <= share <= 1:
            raise InputError(f"communication: {name} is a share from 0 to 1, got {share}")
    return Profile(
        team=np.ones(1, np.int64),
        overhead_s=np.zeros(1),
        compute_s=np.array([sms]),
        stall_s=np.array([1.0 - sms]),
        memory_s=np.array([bandwidth]),
        traffic_bytes=np.array([[0.0, bandwidth * bandwidth_bytes_per_s]]),
        cores=1,
        units=np.array([[max(sms, bandwidth), 0.0]]),
    )
