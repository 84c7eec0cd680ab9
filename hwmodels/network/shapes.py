"""Make networks of well-known shapes: trees of switches, rings and tori."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from hwmodels.network.routers import TorusRouter, UpDownRouter
from hwmodels.network.topology import Tier, Topology
from hwmodels.network.wires import Links, Wire, cables, check_devices, check_numbers, joined_links
from simulator.errors import InputError
from simulator.formula import check_whole

# --- trees with equal ways up --------------------------------------------------------------------


def star(devices: int, wire: Wire, *, hub: str = "switch") -> Topology:
    """Return devices around one switch, which is never the bottleneck.

    Parameters
    ----------
    devices : at least 1
    wire : of each device
    hub : what the switch is called

    >>> star(4, Wire(1.25e9, 1e-6)).routes([0], [3]).tolist()
    [[0, 7]]
    """
    check_whole("devices", devices, 1)
    return up_down("star", UpDownRouter(devices, (devices,), (1,)), [wire], [hub])


def leaf_spine(
    leaves: int,
    hosts_per_leaf: int,
    spines: int,
    wire: Wire,
    *,
    uplink: Wire | None = None,
    oversubscription: float | None = None,
) -> Topology:
    """Return leaf switches that are all joined to all spine switches.

    Parameters
    ----------
    leaves, hosts_per_leaf, spines : at least 1
    wire : of each device
    uplink : of each leaf to each spine; None: as the devices'
    oversubscription : instead of an uplink: by how much what devices send exceeds what goes up
        from their leaf at once

    >>> network = leaf_spine(2, 8, 2, Wire(1e9, 1e-6), oversubscription=2)
    >>> network.bandwidth_bytes_per_s[network.between("leaf 0", "spine 1")].tolist()
    [2000000000.0, 2000000000.0]
    """
    for name, value in (("leaves", leaves), ("hosts_per_leaf", hosts_per_leaf), ("spines", spines)):
        check_whole(name, value, 1)
    if oversubscription is not None:
        if uplink is not None:
            raise InputError("leaf_spine: give either an uplink or an oversubscription, not both")
        check_numbers("oversubscription", oversubscription, "above 0")
        uplink = _scaled(wire, hosts_per_leaf / (spines * oversubscription))
    router = UpDownRouter(leaves * hosts_per_leaf, (hosts_per_leaf, leaves), (1, spines))
    return up_down("leaf_spine", router, [wire, uplink or wire], ["leaf", "spine"])


def fat_tree(
    k: int, wire: Wire, *, uplink: Wire | None = None, core: Wire | None = None
) -> Topology:
    """Return the k-ary fat tree of switches with k ports: k^3/4 devices, no oversubscription.

    Al-Fares, Loukissas & Vahdat, "A scalable, commodity data center network architecture",
    SIGCOMM 2008. A route crosses 2 links under one leaf, 4 in one pod, else 6.

    Parameters
    ----------
    k : ports of a switch, even, at least 2
    wire : of each device
    uplink : from leaf to aggregation switches; None: as the devices'
    core : from aggregation to core switches; None: as the uplinks

    >>> fat_tree(4, Wire(1.25e9, 1e-6)).devices
    16
    """
    check_whole("k", k, 2)
    if k % 2:
        raise InputError(f"fat_tree: expected an even number of ports k, got {k}")
    half = k // 2
    router = UpDownRouter(k * half**2, (half, half, k), (1, half, half))
    return _three_levels("fat_tree", router, (wire, uplink, core))


def tapered_fat_tree(
    pods: int,
    leaves_per_pod: int,
    hosts_per_leaf: int,
    wire: Wire,
    *,
    taper: float = 1.0,
    core_taper: float = 1.0,
    uplink: Wire | None = None,
    core: Wire | None = None,
) -> Topology:
    """Return a three-level fat tree whose switches may have fewer ports up than down.

    Parameters
    ----------
    pods, leaves_per_pod, hosts_per_leaf : at least 1
    wire : of each device
    taper : ports down over ports up of a leaf; the ports up must come out whole
    core_taper : the same of an aggregation switch
    uplink : from leaf to aggregation switches; None: as the devices'
    core : from aggregation to core switches; None: as the uplinks

    >>> network = tapered_fat_tree(4, 2, 4, Wire(1.25e9, 1e-6), taper=2)
    >>> [(tier.name, tier.count) for tier in network.tiers]
    [('device', 32), ('leaf', 8), ('aggregation', 8), ('core', 4)]
    """
    counts = {"pods": pods, "leaves_per_pod": leaves_per_pod, "hosts_per_leaf": hosts_per_leaf}
    for name, value in counts.items():
        check_whole(name, value, 1)
    up = _ports_up("taper", hosts_per_leaf, taper)
    top = _ports_up("core_taper", leaves_per_pod, core_taper)
    below = (hosts_per_leaf, leaves_per_pod, pods)
    router = UpDownRouter(prod(below), below, (1, up, top))
    return _three_levels("tapered_fat_tree", router, (wire, uplink, core))


def _three_levels(
    shape: str, router: UpDownRouter, wires: tuple[Wire, Wire | None, Wire | None]
) -> Topology:
    wire, uplink, core = wires
    uplink = uplink or wire
    return up_down(shape, router, [wire, uplink, core or uplink], ["leaf", "aggregation", "core"])


def _ports_up(name: str, down: int, taper: float) -> int:
    check_numbers(name, taper, "above 0")
    up = round(down / taper)
    if up < 1 or abs(up * taper - down) > 1e-9 * down:
        raise InputError(f"tapered_fat_tree: {name} {taper:g} of {down} ports down leaves "
                         f"{down / taper:g} ports up; expected a whole number")  # fmt: skip
    return up


def up_down(
    shape: str, router: UpDownRouter, wires: Sequence[Wire], switches: Sequence[str]
) -> Topology:
    """Return the tree of a router, with the wires above each level and the names of switches."""
    check_devices(shape, router.devices)
    counts = router.devices // router.spans * router.equals
    first = np.cumsum(counts) - counts
    parts = []
    for level, wire in enumerate(wires):
        low, high = router.ends(level)
        parts.append(cables(first[level] + low, first[level + 1] + high, wire))
    tiers = tuple(
        Tier(name, int(count), level)
        for level, (name, count) in enumerate(zip(["device", *switches], counts, strict=True))
    )
    return Topology(shape=shape, devices=router.devices, tiers=tiers, router=router,
                    **joined_links(parts)._asdict())  # fmt: skip


# --- rings and tori ------------------------------------------------------------------------------


def ring(devices: int, wire: Wire) -> Topology:
    """Return devices in a ring, each joined to the next one; the shortest way round is taken.

    Parameters
    ----------
    devices : at least 2
    wire : from each device to the next; "up" is forward

    >>> ring(8, Wire(1e9, 1e-6)).latency_s_of([0, 0, 0], [1, 4, 7]).round(9).tolist()
    [1e-06, 4e-06, 1e-06]
    """
    check_whole("devices", devices, 2)
    return _torus("ring", (devices,), wire)


def torus(sizes: Sequence[int], wire: Wire | Sequence[Wire]) -> Topology:
    """Return devices in a grid whose rows and columns are rings.

    Routes go along one dimension after the other, the shortest way round (where equal: forward).

    Parameters
    ----------
    sizes : devices along each dimension, 2 or 3 of them, each at least 2; device numbers grow
        quickest along the last
    wire : from each device to the next, for all dimensions or one for each; "up" is forward

    >>> torus((4, 4), Wire(1e9, 1e-6)).routes([0], [5]).shape
    (1, 2)
    """
    if np.shape(sizes) not in ((2,), (3,)):
        raise InputError(f"torus: expected 2 or 3 sizes, got {sizes!r}; for one use a ring")
    for size in sizes:
        check_whole("torus: a size", size, 2)
    return _torus("torus", tuple(sizes), wire)


def _torus(shape: str, sizes: tuple[int, ...], wire: Wire | Sequence[Wire]) -> Topology:
    wires = [wire] * len(sizes) if isinstance(wire, Wire) else wire
    if len(wires) != len(sizes):
        raise InputError(f"torus: expected one wire, or one for each of {len(sizes)} dimensions, "
                         f"got {len(wires)}")  # fmt: skip
    stride = devices = prod(sizes)
    check_devices(shape, devices)
    parts = []
    for size, along in zip(sizes, wires, strict=True):
        stride //= size
        parts.append(_rings(devices, size, stride, along))
    return Topology(shape=shape, devices=devices, tiers=(Tier("device", devices, 0),),
                    router=TorusRouter(sizes), **joined_links(parts)._asdict())  # fmt: skip


def _rings(devices: int, size: int, stride: int, wire: Wire) -> Links:
    """Return the links along one dimension, as `TorusRouter` numbers them."""
    device = np.arange(devices)
    place = device // stride % size
    after = device + ((place + 1) % size - place) * stride
    if size == 2:  # one cable between the two
        device, after = device[place == 0], after[place == 0]
    links = cables(device, after, wire)
    order = np.lexsort((links.tail, np.arange(len(links.tail)) // devices))
    tail, head, bandwidth, latency = links
    return Links(tail[order], head[order], bandwidth[order], latency[order])


# --- checks --------------------------------------------------------------------------------------


def _scaled(wire: Wire, factor: float) -> Wire:
    if np.ndim(wire.bandwidth_bytes_per_s):
        raise InputError("an oversubscription needs one bandwidth for all devices; "
                         "give the uplink itself")  # fmt: skip
    down = wire.down_bandwidth_bytes_per_s
    up = np.asarray(wire.bandwidth_bytes_per_s, float) * factor
    return Wire(up, wire.latency_s, None if down is None else np.asarray(down, float) * factor)
