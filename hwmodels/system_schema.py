"""Say which keys a file of a link or of a system may have; as `hwmodels.schema` does for devices.

A *link* is what a cable, a card or a radio can do in one direction. A *system* says which devices
it is made of, how those of a node are joined, and how nodes are.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hwmodels.schema import Field, Schema, Value
from simulator.errors import InputError, UnknownNameError

LIBRARIES = ("nccl", "gloo", "textbook")
"""Software that communicates."""
NODE_SHAPES = ("switch", "mesh", "ring", "graph", "host")
"""How devices of a node are joined: by a switch (NVSwitch); each to each; in a ring; as the field
`node.edges` says; over the host (PCIe)."""
NETWORK_SHAPES = ("star", "fat_tree", "rail_optimised", "torus", "ring")
"""How nodes are joined: by one switch; by a fat tree of switches, of as many levels as it takes; by
rails, a leaf switch for all NICs of one place; in a grid of rings (TPUs); in a ring."""
MOST_RATE = 1e14

_LINK_FIELDS = (
    Field(key="bandwidth_bytes_per_s", low=1, high=MOST_RATE, required=True,
          doc="of one port, in one direction (wireless: up, from the device)"),
    Field(key="down_bandwidth_bytes_per_s", low=1, high=MOST_RATE,
          doc="towards the device, where it differs"),
    Field(key="latency_s", high=1e3, required=True, doc="of a few bytes over it"),
    Field(key="energy_j_per_byte", high=1.0, doc="energy of moving a byte over it"),
    Field(key="port_w", high=1e4, doc="power that each of its ends draws at all times"),
    Field(key="fabric", text=True,
          doc="measured network whose steps and shares NCCL is timed by (fabrics.toml)"),
)  # fmt: skip

_OVER_LINK = (
    ("bandwidth_bytes_per_s", 1.0, "instead of the link's bandwidth in one direction"),
    ("down_bandwidth_bytes_per_s", 1.0, "instead of the link's bandwidth towards the device"),
    ("latency_s", 0.0, "instead of the link's latency"),
    ("energy_j_per_byte", 0.0, "instead of the link's energy of moving a byte"),
)
"""What a system may say instead of its link: key, least value, meaning."""

_SYSTEM_FIELDS = (
    Field(key="device", text=True, required=True, doc="name of its devices, which are equal"),
    Field(key="devices", low=1, high=1 << 22, whole=True,
          doc="how many are taken where nobody says; else one node's"),
    Field(key="most_devices", low=1, high=1 << 22, whole=True, doc="how many there can be"),
    Field(key="library", text=True, doc="software that communicates: " + ", ".join(LIBRARIES)),
    Field(key="sharing", text=True, doc="how flows share a link: plain, evenly, or rtt, by the "
          "inverse of their round trip times, as TCP does; else plain"),
    Field(key="node.devices", low=1, high=4096, whole=True, doc="devices of a node; else 1"),
    Field(key="node.shape", text=True, doc="how these are joined: " + ", ".join(NODE_SHAPES)),
    Field(key="node.link", text=True, doc="link of each device, or of each edge"),
    Field(key="node.edges", text=True,
          doc="which devices of a node are joined by how many links: 0-1 0-3x2 ..."),
    Field(key="node.host_link", text=True, doc="link between a device and its NIC"),
    Field(key="network.shape", text=True,
          doc="how nodes are joined: " + ", ".join(NETWORK_SHAPES)),
    Field(key="network.link", text=True, doc="link of each NIC"),
    Field(key="network.nics", low=1, high=4096, whole=True, doc="NICs of a node; else 1"),
    Field(key="network.radix", low=4, high=4096, whole=True, doc="ports of a switch; even"),
    Field(key="network.oversubscription", low=0.01, high=1000,
          doc="how far what goes up into a leaf switch exceeds what goes on; else 1"),
    Field(key="network.dimensions", low=2, high=3, whole=True, doc="of a torus"),
    Field(key="network.unit", low=1, high=1 << 20, whole=True,
          doc="nodes on one set of rail switches"),
    *(Field(key=f"{part}.{key}", low=low, high=MOST_RATE if low else 1e3, doc=doc)
      for part in ("node", "network") for key, low, doc in _OVER_LINK),
)  # fmt: skip

_CHOICES = {
    "library": LIBRARIES,
    "node.shape": NODE_SHAPES,
    "network.shape": NETWORK_SHAPES,
}


def _check(values: Mapping[str, Value]) -> None:
    for key, known in _CHOICES.items():
        if key in values and values[key] not in known:
            raise UnknownNameError(key, str(values[key]), known)
    if float(values.get("network.radix", 4)) % 2:
        raise InputError(f"network.radix must be even, got {values['network.radix']}")
    for part in ("node", "network"):
        several = part == "network" or float(values.get("node.devices", 1)) > 1
        has = any(f"{part}.{key}" in values for key in ("link", "bandwidth_bytes_per_s"))
        if several and f"{part}.shape" in values and not has:
            raise InputError(f"{part}.shape needs {part}.link or {part}.bandwidth_bytes_per_s")
    if float(values.get("node.devices", 1)) > 1 and "node.shape" not in values:
        raise InputError("node.devices needs node.shape: how the devices of a node are joined")


def _link_headline(values: Mapping[str, Value]) -> str:
    shown = [LINK.field(key).show(values[key])
             for key in ("bandwidth_bytes_per_s", "latency_s")]  # fmt: skip
    return " a direction, ".join(shown)


def _system_headline(values: Mapping[str, Value]) -> str:
    inside = int(values.get("node.devices", 1))
    parts = [f"{inside} x {values['device']} a node" if inside > 1 else str(values["device"])]
    if "node.link" in values:
        parts.append(f"{values['node.link']} ({values['node.shape']})")
    if "network.link" in values:
        nics = int(values.get("network.nics", 1))
        parts.append(f"{nics} x " * (nics > 1) + str(values["network.link"]))
    return ", ".join(parts)


LINK = Schema(
    "link",
    MappingProxyType({field.key: field for field in _LINK_FIELDS}),
    check=lambda values: None,
    headline=_link_headline,
)
SYSTEM = Schema(
    "system",
    MappingProxyType({field.key: field for field in _SYSTEM_FIELDS}),
    check=_check,
    headline=_system_headline,
)
PART_SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {schema.kind: schema for schema in (LINK, SYSTEM)}
)
"""Schemas of what is not a device, by kind."""
