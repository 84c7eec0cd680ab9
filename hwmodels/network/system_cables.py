"""Find the cables of a system: what they carry, what they cost, where their numbers come from."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.network.wires import Wire
from hwmodels.spec import Spec
from hwmodels.system_files import System, find_link
from simulator.errors import InputError
from simulator.protocols import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """Be a cable of a system.

    Parameters
    ----------
    name : of its link, else of what it belongs to
    wire : bandwidth and latency of each direction
    joules_per_byte : energy of moving a byte over it, J/B; None: unknown
    port_w : what each of its ends draws at all times, watts; None: unknown
    link : that its numbers are taken of; None: of none
    """

    name: str
    wire: Wire
    joules_per_byte: float | None = None
    port_w: float | None = None
    link: Spec | None = None

    @property
    def rate(self) -> float:
        """Return the bandwidth up, B/s."""
        return float(self.wire.bandwidth_bytes_per_s)  # type: ignore[arg-type]

    @property
    def fabric(self) -> str | None:
        """Return the measured network whose numbers NCCL takes, None where nothing says."""
        found = None if self.link is None else self.link.values.get("fabric")
        return None if found is None else str(found)

    @property
    def is_dark(self) -> bool:
        """Say whether nothing is known of its energy."""
        return self.joules_per_byte is None and self.port_w is None


def cable_of(system: System, part: str, times: float = 1.0) -> Cable:
    """Return the cable of a part of a system.

    Parameters
    ----------
    system : its fields go over those of its link
    part : "node" or "network"
    times : so many cables are taken for one

    Raises
    ------
    InputError : nothing says how fast it is
    """
    named = system.text(f"{part}.link")
    link = None if named is None else find_link(named)

    def number(key: str) -> float | None:
        own = system.spec.number(f"{part}.{key}")
        return link.number(key) if own is None and link is not None else own

    rate, down = number("bandwidth_bytes_per_s"), number("down_bandwidth_bytes_per_s")
    if rate is None:
        raise InputError(f"{system.spec.called} needs {part}.link or {part}.bandwidth_bytes_per_s")
    port_w = None if link is None else link.number("port_w")
    return Cable(
        name=named or f"{part} links",
        wire=Wire(rate * times, number("latency_s") or 0.0, None if down is None else down * times),
        joules_per_byte=number("energy_j_per_byte"),
        port_w=None if port_w is None else port_w * times,
        link=link,
    )


def host_cable(system: System, device: Device, nic: Cable) -> Cable:
    """Return the cable between a device and its NIC; where nothing is known, as fast as the NIC."""
    named = system.text("node.host_link")
    if named is not None:
        link = find_link(named)
        wire = Wire(link.known("bandwidth_bytes_per_s"), link.known("latency_s"))
        return Cable(name=named, wire=wire, joules_per_byte=link.number("energy_j_per_byte"),
                     port_w=link.number("port_w"), link=link)  # fmt: skip
    spec = getattr(device, "spec", None)
    pcie = spec.number("link.pcie_bytes_per_s") if isinstance(spec, Spec) else None
    return Cable(name="host links", wire=Wire(pcie or nic.rate))
