"""Say what a CPU draws: while idle, for each busy core, for each byte of memory traffic."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.spec import Spec


@dataclass(frozen=True, slots=True)
class CpuPower:
    """Hold the power of a machine's sockets; None where unknown.

    Parameters
    ----------
    idle_w : while nothing runs, watts
    core_w : further power of a busy core, watts
    memory_j_per_byte : energy of a byte to or from memory
    """

    idle_w: float | None
    core_w: float | None
    memory_j_per_byte: float | None


def power_of(spec: Spec) -> CpuPower:
    """Return the power of a CPU.

    Where the file does not say what a busy core draws, it is the difference between a full and an
    idle socket dealt to the cores; for a full socket that is not known either, the thermal design
    power stands (an estimate).

    >>> from hwmodels.devices import find_spec
    >>> power_of(find_spec("rpi4-bcm2711")).core_w is None
    True
    """
    idle, full = spec.number("power.idle_w"), spec.number("power.full_w")
    full = spec.number("power.tdp_w") if full is None else full
    core = spec.number("power.core_active_w")
    if core is None and idle is not None and full is not None:
        core = (full - idle) / spec.known("cores")
    return CpuPower(
        idle_w=None if idle is None else idle * (spec.number("sockets") or 1),
        core_w=core,
        memory_j_per_byte=spec.number("power.memory_j_per_byte"),
    )
