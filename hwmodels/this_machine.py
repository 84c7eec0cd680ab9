"""Be the machine at hand: its calibrated device file, else what the system says about it."""

from __future__ import annotations

from pathlib import Path

from hwmodels.architectures import recognise
from hwmodels.devices import THIS_MACHINE, device_from, devices_folder, find_spec
from hwmodels.machine_files import Reading, read_machine
from hwmodels.schema import Value
from hwmodels.spec import Spec
from simulator.protocols import Device
from simulator.source import Source

NAME = THIS_MACHINE
"""Name of the machine at hand."""

_READ = Source("read from the operating system", licence="own", kind="measured")


def this_machine(root: Path = Path("/")) -> Device:
    """Return the machine at hand.

    If there is a device file of the name `this-machine` among the user's, it is that; else a device
    of what `read_machine` says, with the rest taken from the catalog's nearest.

    >>> this_machine().max_threads >= 1
    True
    """
    return device_from(this_spec(root))


def this_spec(root: Path = Path("/")) -> Spec:
    """Return what is known of the machine at hand: its file's word, else the system's."""
    if (devices_folder() / f"{NAME}.toml").is_file():
        return find_spec(NAME)
    return uncalibrated_spec(read_machine(root))


def uncalibrated_spec(reading: Reading) -> Spec:
    """Return the spec of a machine that says this of itself.

    What it does not say is that of the device of the catalog with the same or the nearest core;
    power is unknown, for a virtual machine is only a part of a socket.
    """
    core = recognise(reading.isa or "", reading.model or "", reading.flags or (),
                     reading.designer or "")  # fmt: skip
    like = find_spec(core.device)
    assumed = Source(f"assumed to be as {like.title}, which has the nearest core",
                     kind="estimate")  # fmt: skip
    kept = {key: value for key, value in like.values.items() if key not in _OWN}
    read = _read_fields(reading, like)
    values = {**kept, **read}
    return Spec(
        kind=like.kind,
        name=NAME,
        title=reading.title or "this machine",
        architecture=core.name,
        values=_consistent(values),
        sources={**dict.fromkeys(kept, assumed), **dict.fromkeys(read, _READ)},
    )


_OWN = (
    "sockets", "cores", "cache.l2_cores", "cache.l3_cores", "memory.size_bytes",
    "power.tdp_w", "power.idle_w", "power.full_w", "power.core_active_w",
)  # fmt: skip
"""Fields that another machine's values say nothing about."""


def _read_fields(reading: Reading, like: Spec) -> dict[str, Value]:
    clock = reading.max_clock_hz or max(reading.clock_hz or 0.0, like.known("clock.boost_hz"))
    fields: dict[str, Value | None] = {
        "cores": reading.cores or 1,
        "sockets": reading.sockets,
        "threads_per_core": reading.threads_per_core,
        "clock.boost_hz": clock,
        "cache.l1d_bytes": reading.l1d_bytes,
        "cache.l2_bytes": reading.l2_bytes,
        "cache.l2_cores": reading.l2_cores,
        "cache.l3_bytes": reading.l3_bytes,
        "cache.l3_cores": reading.l3_cores,
        "memory.size_bytes": reading.memory_bytes,
        "memory.nodes": reading.nodes,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _consistent(values: dict[str, Value]) -> dict[str, Value]:
    """Leave out clocks of the nearest device that the machine's own clock rules out."""
    boost = float(values["clock.boost_hz"])
    return {
        key: value
        for key, value in values.items()
        if not key.startswith("clock.") or float(value) <= boost
    }
