"""Make machines of many devices: of a system of the catalog, or of a shape of one's own.

A *node* is devices that are joined inside of one machine or rack; a *NIC* joins it to the fabric
between nodes. Nodes are made whole: 12 devices of a system with 8 in a node are on two nodes, of
which the second has 4 that do nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels.devices import find_device, find_spec
from hwmodels.gpu.device import on_full_board
from hwmodels.network.cluster import Cluster, Library
from hwmodels.network.graph_router import DetourRouter
from hwmodels.network.libraries import Gloo, Textbook
from hwmodels.network.named_shapes import COMMON, topology, with_common
from hwmodels.network.nccl_fits import Nccl
from hwmodels.network.nccl_library import NcclLibrary
from hwmodels.network.nccl_nodes import find_fabric
from hwmodels.network.routers import NodesRouter
from hwmodels.network.system_topology import Builder, Built
from hwmodels.network.topology import Topology
from hwmodels.network.traffic import PLAIN
from hwmodels.spec import Spec, spec_of
from hwmodels.system_files import System, find_system
from hwmodels.system_schema import LIBRARIES
from simulator.errors import InputError, UnknownNameError
from simulator.formula import check_whole
from simulator.protocols import Device, Machine

USUAL_FABRIC = "infiniband"
"""Measured network that NCCL's numbers are taken of where a link does not say which."""


def cluster(
    name: str | Path = "",
    *,
    devices: int | None = None,
    device: str | Path | Device = "",
    shape: str = "",
    library: str = "",
    parameters: Mapping[str, Any] | None = None,
) -> Machine:
    """Return a machine of equal devices and the network between them.

    Costs in proportion to the devices, a second for 100,000 of them.

    Parameters
    ----------
    name : of a system in the catalog or of the user, or the path of a system file; "": one of
        `device` and `shape`
    devices : how many; None: as many as the system says, one node's, or all that the shape has
    device : that it is made of, by name or itself; "": the system's
    shape : of a network of one's own, one of `hwmodels.network.named_shapes.SHAPES`
    library : software that communicates: "nccl", "gloo" or "textbook"; "": the system's, else the
        usual one of the device
    parameters : by dotted name: of a system such as `network.bandwidth_bytes_per_s`, or of its
        devices such as `memory.bandwidth_bytes_per_s`; of a shape its own, such as `k`; of both
        `sharing`: "plain", flows share a link evenly, or "rtt", as TCP does

    Raises
    ------
    UnknownNameError : no system, device, shape, library or parameter is called so
    InputError : a number that makes no sense, or more devices than there can be
    FileError : a file that cannot be used

    >>> machine = cluster("dgx-a100-80gb", devices=64)
    >>> machine.devices[0].name, len(machine.devices)
    ('nvidia-a100-sxm-80gb', 64)
    >>> wire = {"bandwidth_bytes_per_s": "100 Gbit/s", "latency_s": "1 us"}
    >>> own = cluster(device="nvidia-t4", shape="fat_tree", parameters={"k": 4, "wire": wire})
    >>> len(own.devices)
    16
    """
    if bool(name) == bool(shape):
        raise InputError("cluster: give either the name of a system, or device and shape")
    changes = dict(parameters or {})
    if library:
        changes["library"] = library
    if not shape:
        if device:
            changes["device"] = device
        return machine_of(find_system(name), devices, changes)
    if not device:
        raise InputError(f"cluster: of which devices is the {shape}? give device")
    named, sharing = changes.pop("library", ""), changes.pop("sharing", PLAIN)
    found = device if isinstance(device, Device) else find_device(device)
    made = topology(shape, changes)
    return _Own(shape, made, str(named), str(sharing)).machine(found, devices)


def machine_of(
    system: System, devices: int | None = None, changes: Mapping[str, Any] | None = None
) -> Machine:
    """Return a machine that is made as a system says.

    Parameters
    ----------
    system : as found
    devices : how many; None: as many as the system says, or one node's
    changes : other values of fields: of the system, of its devices (also after "device."), of its
        own topology (after "topology.")

    Raises
    ------
    UnknownNameError, InputError : as of `cluster`

    >>> from hwmodels.system_files import find_system
    >>> len(machine_of(find_system("gigabit-ethernet"), 16).devices)
    16
    """
    parts = _sorted_changes(system, changes or {})
    system = system.with_fields(parts.system)
    device = _device(system, parts)
    if system.topology or parts.topology:
        made = _inner(system, parts)
        wanted = devices if devices is not None else system.count("devices", made.devices)
        own = _Own(system.name, made, system.text("library") or "",
                   system.text("sharing") or PLAIN)  # fmt: skip
        return own.machine(device, wanted)
    count = devices if devices is not None else system.count(
        "devices", system.count("node.devices", 1))  # fmt: skip
    _check_count(system, count)
    if count == 1:
        return Machine(system.name, (device,))
    library = system.text("library") or usual_library(device)
    built = Builder(system, device, library).built(count)
    network = Cluster(
        topology=with_common(built.topology, parts.common),
        library=_library(system, device, built),
        sharing=system.text("sharing") or PLAIN,
        joules_per_byte=built.joules_per_byte,
        idle_w=built.idle_w,
        link_sources=tuple(dict.fromkeys([*system.spec.sources.values(), *built.sources])),
        notes=built.notes,
    )
    return Machine(system.name, (on_full_board(device),) * count, network)


# --- what is changed -----------------------------------------------------------------------------


@dataclass(slots=True)
class _Changes:
    """Hold changes by what they belong to."""

    system: dict[str, Any]
    device: dict[str, Any]
    topology: dict[str, Any]
    common: dict[str, Any]
    given: Device | None = None


def _sorted_changes(system: System, changes: Mapping[str, Any]) -> _Changes:
    found = _Changes({}, {}, {}, {})
    for key, value in changes.items():
        first, _, rest = key.partition(".")
        if key == "device" and isinstance(value, Device):
            found.given = value
        elif key in system.spec.schema.fields:
            found.system[key] = value
        elif first == "network" and rest in COMMON:
            found.common[rest] = value
        elif first == "topology":
            found.topology[rest] = value
        elif first in ("network", "node"):
            known = [*system.spec.schema.fields, *(f"network.{name}" for name in COMMON)]
            raise UnknownNameError("field of a system", key, known, system.spec.called)
        else:
            found.device[rest if first == "device" else key] = value
    return found


def _device(system: System, parts: _Changes) -> Device:
    from hwmodels.devices import with_fields

    device = parts.given or find_device(str(system.text("device")))
    if not parts.device:
        return device
    known = spec_of(device).schema.fields
    for key in parts.device:
        if key not in known:
            raise UnknownNameError("field of a system or its devices", key,
                                   [*known, *system.spec.schema.fields],
                                   system.spec.called)  # fmt: skip
    return with_fields(device, parts.device)


def _check_count(system: System, count: int) -> None:
    check_whole("devices", count, 1)
    most = system.spec.number("most_devices")
    if most is None and not _has_network(system):
        most = system.count("node.devices", 1)
    if most is not None and count > most:
        why = "" if _has_network(system) else ", as no network joins its nodes"
        raise InputError(f"{system.spec.called} has at most {most:,.0f} devices{why}; "
                         f"got {count:,}")  # fmt: skip


def _has_network(system: System) -> bool:
    return any(key.startswith("network.") for key in system.spec.values)


# --- software ------------------------------------------------------------------------------------

DIRECT = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
"""What goes to each other device directly where each is joined to each: a ring would use a few of
the links."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Say how devices are spread over nodes.

    Parameters
    ----------
    node : devices of a node
    nic_bytes_per_s : of all network cards of a node; None: there is one node
    fabric : measured network whose numbers NCCL takes
    switched : whether devices of a node are joined by switches, which not all of NVLink are
    """

    node: int = 1
    nic_bytes_per_s: float | None = None
    fabric: str = USUAL_FABRIC
    switched: bool = False


def library_of(name: str, device: Device, spread: Spread) -> Library:
    """Return the software of this name, for equal devices.

    Parameters
    ----------
    name : one of `hwmodels.system_schema.LIBRARIES`
    device : one of the devices
    spread : over nodes

    Raises
    ------
    UnknownNameError : no such library or fabric
    InputError : NCCL between what are no GPUs, or devices whose links are not known
    """
    if name not in LIBRARIES:
        raise UnknownNameError("library", name, LIBRARIES)
    if name == "gloo":
        return Gloo()
    if name == "textbook":
        return Textbook()
    spec = spec_of(device)
    if spec.kind != "gpu":
        raise InputError(f"nccl communicates between GPUs; device '{device.name}' is none: "
                         "take gloo")  # fmt: skip
    return NcclLibrary(
        nccl=Nccl(spec=spec, find=find_spec, switched=spread.switched),
        devices_per_node=spread.node,
        nic_bytes_per_s=spread.nic_bytes_per_s,
        fabric=find_fabric(spread.fabric),
    )


def usual_library(device: Device) -> str:
    """Return the library that is usual on a device: of a GPU of NVIDIA's NCCL, else gloo.

    >>> usual_library(find_device("nvidia-t4")), usual_library(find_device("raspberry-pi-4"))
    ('nccl', 'gloo')
    """
    spec = getattr(device, "spec", None)
    gpu = isinstance(spec, Spec) and spec.kind == "gpu"
    return "nccl" if gpu and device.name.startswith("nvidia") else "gloo"


def _library(system: System, device: Device, built: Built) -> Library:
    name = system.text("library") or usual_library(device)
    if name == "textbook" and system.text("node.shape") in ("mesh", "graph"):
        return Textbook(algorithms=dict.fromkeys(DIRECT, "direct"))
    spread = Spread(
        node=system.count("node.devices", 1),
        nic_bytes_per_s=built.nic_bytes_per_s,
        fabric=built.fabric or USUAL_FABRIC,
        switched=system.text("node.shape") == "switch",
    )
    return library_of(name, device, spread)


# --- networks of one's own -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Own:
    """Hold a network of one's own: its name, topology, software ("": the usual), sharing rule."""

    name: str
    topology: Topology
    library: str
    sharing: str

    def machine(self, device: Device, devices: int | None) -> Machine:
        """Return the machine of so many devices; None: of all that the topology has."""
        most = self.topology.devices
        count = most if devices is None else devices
        check_whole("devices", count, 1)
        if count > most:
            raise InputError(f"{self.name}: {count:,} devices on a {self.topology.shape} of "
                             f"{most:,}")  # fmt: skip
        used = library_of(self.library or usual_library(device), device, _spread(self.topology))
        note = "energy leaves out the network, of whose links no figure is known"
        network = Cluster(topology=self.topology, library=used, sharing=self.sharing,
                          notes=(note,))  # fmt: skip
        used_device = on_full_board(device) if count > 1 else device
        return Machine(self.name, (used_device,) * count, network if count > 1 else None)


def _inner(system: System, parts: _Changes) -> Topology:
    table = {**system.topology, **parts.topology}
    if "shape" not in table:
        raise InputError(f"{system.spec.called} has no topology of its own to change; "
                         "its parameters are network.* and node.*")  # fmt: skip
    try:
        made = topology(table["shape"], {n: v for n, v in table.items() if n != "shape"})
    except InputError as error:
        raise InputError(f"{system.spec.called}: {error}") from None
    return with_common(made, parts.common)


def _spread(made: Topology) -> Spread:
    """Return the nodes that a topology has."""
    router = made.router.router if isinstance(made.router, DetourRouter) else made.router
    if not isinstance(router, NodesRouter):
        return Spread(1, float(made.bandwidth_bytes_per_s[made.tail == 0].max()))
    hosts = router.count * router.inside_links
    fabric = hosts + 2 * made.devices
    above = np.flatnonzero(made.tail[fabric:] == made.head[hosts]) + fabric
    return Spread(router.size, float(made.bandwidth_bytes_per_s[above].sum()) * router.nics)
