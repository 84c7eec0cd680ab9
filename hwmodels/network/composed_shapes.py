"""Make networks of networks: nodes under a fabric, rails, and trees towards a cloud."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwmodels.network.routers import NodesRouter, NumberedRouter, TreeRouter, UpDownRouter
from hwmodels.network.shapes import up_down
from hwmodels.network.topology import Tier, Topology
from hwmodels.network.wires import Links, Wire, cables, check_devices, joined_links
from simulator.errors import InputError
from simulator.formula import check_whole
from simulator.ops import IntArray


def nodes(inside: Topology, fabric: Topology, pcie: Wire, *, nics_per_node: int = 1) -> Topology:
    """Return nodes of several devices each, whose NICs are joined by a fabric.

    A message within a node takes the node's own network; any other one goes over PCIe to the NIC of
    its device, through the fabric, and over PCIe to the destination.

    Parameters
    ----------
    inside : of one node; around an NVSwitch a star
    fabric : its devices become the NICs, node by node
    pcie : between each device and its NIC; "up" is towards the NIC
    nics_per_node : devices share them evenly; must divide the devices of a node

    Raises
    ------
    InputError : counts that do not fit

    >>> from hwmodels.network.shapes import star
    >>> nvswitch = star(8, Wire(450e9, 1e-6), hub="nvswitch")
    >>> network = nodes(nvswitch, star(4, Wire(50e9, 1e-6)), Wire(55e9, 1e-6))
    >>> network.devices, [network.name_of_link(link) for link in network.routes([0], [31])[0]]
    (32, ['device 0 -> nic 0', 'nic 0 -> switch 0', 'switch 0 -> nic 3', 'nic 3 -> device 31'])
    """
    return _nodes("nodes", inside, fabric, pcie, nics_per_node)


def rail_optimised(
    count: int,
    inside: Topology,
    wire: Wire,
    pcie: Wire,
    *,
    spines: int = 0,
    nodes_per_unit: int | None = None,
    uplink: Wire | None = None,
    through_peer: bool = True,
) -> Topology:
    """Return nodes whose devices of equal place share a switch, the rail.

    Device j of every node of a unit has a NIC of its own on rail switch j. Traffic between rails
    first goes through the node, to the device on the destination's rail (as NCCL's PXN does), or
    else over the spine.

    Parameters
    ----------
    count : nodes
    inside : the network of one node
    wire : between each NIC and its rail switch
    pcie : between each device and its NIC
    spines : switches over all rails; needed between units, and where `through_peer` is false
    nodes_per_unit : nodes on one set of rail switches; None: all
    uplink : from each rail switch to each spine; None: as the NICs'
    through_peer : whether traffic between rails changes rails inside of the node that sends it

    Raises
    ------
    InputError : counts that do not fit, or no spine where one is needed

    >>> from hwmodels.network.shapes import star
    >>> nvswitch = star(8, Wire(450e9, 1e-6), hub="nvswitch")
    >>> network = rail_optimised(4, nvswitch, Wire(50e9, 1e-6), Wire(55e9, 1e-6))
    >>> [network.name_of_link(link) for link in network.routes([0], [9])[0]][:3]
    ['device 0 -> nvswitch 0', 'nvswitch 0 -> device 1', 'device 1 -> nic 1']
    """
    check_whole("nodes", count, 1)
    unit = count if nodes_per_unit is None else nodes_per_unit
    check_whole("nodes_per_unit", unit, 1)
    check_whole("spines", spines, 0)
    if count % unit:
        raise InputError(f"rail_optimised: {count} nodes do not fill units of {unit}")
    if not spines and (unit < count or not through_peer):
        raise InputError("rail_optimised: traffic between units, and between rails where it does "
                         "not go through a peer, needs at least one spine")  # fmt: skip
    rails, units = inside.devices, count // unit
    below, above, wires = (unit, rails * units), (1, spines), [wire, uplink or wire]
    levels = 2 if spines else 1
    router = UpDownRouter(count * rails, below[:levels], above[:levels])
    tree = up_down("rails", router, wires[:levels], ["rail", "spine"][:levels])
    node, rail = np.divmod(np.arange(count * rails), rails)
    place = (node // unit * rails + rail) * unit + node % unit
    fabric = numbered(tree, place)
    return _nodes("rail_optimised", inside, fabric, pcie, rails, through_peer)


def edge_cloud(edges: int, clients_per_edge: int, access: Wire, backhaul: Wire) -> Topology:
    """Return clients under edge servers under one cloud; all of them are devices, in this order.

    Parameters
    ----------
    edges, clients_per_edge : at least 1
    access : between each client and its edge server; "up" is towards the cloud
    backhaul : between each edge server and the cloud

    >>> wireless = Wire(2.5e6, 20e-3, down_bandwidth_bytes_per_s=12.5e6)
    >>> network = edge_cloud(2, 3, wireless, Wire(125e6, 5e-3))
    >>> [network.name_of_link(link) for link in network.routes([0], [8])[0]]
    ['client 0 -> edge 0', 'edge 0 -> cloud 0']
    """
    check_whole("edges", edges, 1)
    check_whole("clients_per_edge", clients_per_edge, 1)
    clients = edges * clients_per_edge
    check_devices("edge_cloud", clients)
    client, edge = np.arange(clients), clients + np.arange(edges)
    above = clients + client // clients_per_edge
    cloud = np.full(edges, clients + edges)
    links = joined_links([cables(client, above, access), cables(edge, cloud, backhaul)])
    up = np.concatenate([client, 2 * clients + np.arange(edges)])
    down = np.concatenate([clients + client, 2 * clients + edges + np.arange(edges)])
    router = TreeRouter(np.concatenate([above, cloud]), up, down)
    tiers = (Tier("client", clients, 0), Tier("edge", edges, 1), Tier("cloud", 1, 2))
    return Topology(shape="edge_cloud", devices=clients + edges + 1, tiers=tiers, router=router,
                    **links._asdict())  # fmt: skip


def _nodes(
    shape: str, inside: Topology, fabric: Topology, pcie: Wire, nics: int,
    through_peer: bool = False,
) -> Topology:  # fmt: skip
    """Return nodes under a fabric."""
    size = inside.devices
    check_whole("nics_per_node", nics, 1)
    if size % nics:
        raise InputError(f"{shape}: {size} devices of a node do not share {nics} NICs evenly; "
                         f"describe several NICs of one device as one of their sum")  # fmt: skip
    if fabric.devices % nics:
        raise InputError(f"{shape}: a fabric of {fabric.devices} NICs does not fill nodes "
                         f"of {nics}")  # fmt: skip
    count = fabric.devices // nics
    devices, switches = count * size, count * (inside.nodes - size)
    check_devices(shape, devices)
    router = NodesRouter(
        inside=inside.router,
        fabric=fabric.router,
        size=size,
        nics=nics,
        count=count,
        inside_links=inside.links,
        through_peer=through_peer,
    )
    device, start = np.arange(devices), devices + switches
    upper = Links(fabric.tail + start, fabric.head + start, fabric.bandwidth_bytes_per_s,
                  fabric.latency_s)  # fmt: skip
    parts = [_copied(inside, count), cables(device, start + router.nic(device), pcie), upper]
    usable = [np.tile(inside.usable, count), np.ones(2 * devices, bool), fabric.usable]
    return Topology(
        shape=shape,
        devices=devices,
        tiers=_tiers(inside, fabric, count),
        router=router,
        ecmp=fabric.ecmp,
        seed=fabric.seed,
        is_failed=~np.concatenate(usable),
        **joined_links(parts)._asdict(),
    )


def _tiers(inside: Topology, fabric: Topology, count: int) -> tuple[Tier, ...]:
    """Return devices, switches in nodes (below them), NICs, switches of the fabric."""
    above = [Tier(tier.name, tier.count, tier.level + 1) for tier in _switches(fabric)]
    taken = {"nic", *(tier.name for tier in above)}
    below = [
        Tier(f"node {tier.name}" if tier.name in taken else tier.name, tier.count * count,
             -tier.level)
        for tier in _switches(inside)
    ]  # fmt: skip
    device = Tier("device", inside.devices * count, 0)
    return (device, *below, Tier("nic", fabric.devices, 1), *above)


def _switches(topology: Topology) -> tuple[Tier, ...]:
    ends = np.cumsum([tier.count for tier in topology.tiers])
    return tuple(tier for tier, end in zip(topology.tiers, ends, strict=True)
                 if end > topology.devices)  # fmt: skip


def _copied(inside: Topology, count: int) -> Links:
    """Return the links of so many equal nodes, whose switches are numbered tier by tier."""
    counts = [inside.devices, *(tier.count for tier in _switches(inside))]
    first = np.repeat(np.cumsum(counts) - counts, counts)
    stride = np.repeat(counts, counts)
    node = np.arange(count)[:, None]
    tail, head = (
        (count * first[end] + node * stride[end] + end - first[end]).ravel()
        for end in (inside.tail, inside.head)
    )
    values = (inside.bandwidth_bytes_per_s, inside.latency_s)
    return Links(tail, head, *(np.tile(value, count) for value in values))


def numbered(topology: Topology, place: IntArray) -> Topology:
    """Return the network where device i is the one that had number place[i].

    >>> from hwmodels.network.shapes import star
    >>> numbered(star(3, Wire([1e9, 2e9, 3e9])), np.array([2, 0, 1])).routes([0], [1]).tolist()
    [[2, 3]]
    """
    node = np.arange(topology.nodes)
    node[place] = np.arange(topology.devices)
    return replace(topology, tail=node[topology.tail], head=node[topology.head],
                   router=NumberedRouter(topology.router, place))  # fmt: skip
