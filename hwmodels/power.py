"""Say what a CPU draws: while idle, for each busy core, for each byte of memory traffic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from hwmodels.spec import Spec
from simulator.ops import FloatArray
from simulator.source import Source

Amount = TypeVar("Amount", float, FloatArray)
"""One number, or one for each op."""


@dataclass(frozen=True, slots=True)
class CpuPower:
    """Hold the power of a machine's sockets; None where unknown.

    Parameters
    ----------
    idle_w : while nothing runs, watts
    core_w : further power of a busy core, watts
    memory_j_per_byte : energy of a byte to or from memory
    core_source : how `core_w` was derived; None where the device's file states it
    """

    idle_w: float | None
    core_w: float | None
    memory_j_per_byte: float | None
    core_source: Source | None = None

    def energy_j(
        self, time_s: Amount, core_s: Amount, moved_bytes: Amount
    ) -> dict[str, Amount | None]:
        """Return what is used in some time, joules by component; None where unknown.

        Parameters
        ----------
        time_s : idle power is drawn all the time, seconds
        core_s : summed time of busy cores, seconds
        moved_bytes : to and from memory, bytes
        """
        return {
            "idle": None if self.idle_w is None else self.idle_w * time_s,
            "compute": None if self.core_w is None else self.core_w * core_s,
            "memory": None if self.memory_j_per_byte is None
            else self.memory_j_per_byte * moved_bytes,
        }  # fmt: skip


def power_of(spec: Spec) -> CpuPower:
    """Return the power of a CPU.

    Where the file does not say what a busy core draws, it is the difference between a full and an
    idle socket dealt to the cores; for a full socket that is not known either, the thermal design
    power stands (an estimate).

    >>> from hwmodels.devices import find_spec
    >>> power_of(find_spec("rpi4-bcm2711")).core_w is None
    True
    """
    idle = spec.number("power.idle_w")
    core, source = spec.number("power.core_active_w"), None
    full = next((key for key in _FULL if spec.number(key) is not None), None)
    if core is None and idle is not None and full is not None:
        core = (spec.known(full) - idle) / spec.known("cores")
        source = Source(f"power of a busy core: ({full} - power.idle_w) / cores", kind="estimate")
    return CpuPower(
        idle_w=None if idle is None else idle * (spec.number("sockets") or 1),
        core_w=core,
        memory_j_per_byte=spec.number("power.memory_j_per_byte"),
        core_source=source,
    )


_FULL = ("power.full_w", "power.tdp_w")
"""What says the power of a socket whose cores are all busy, the better first."""
