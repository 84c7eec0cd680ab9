"""Say on what a measurement was made: machine, software, how busy, when."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwmodels.machine_files import Reading, read_machine


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRecord:
    """Hold the conditions of a measurement; None is what could not be found out.

    Parameters
    ----------
    processor : its name
    cores, hardware_threads : that this process may use
    memory_bytes : that this process may use
    system : kernel and C library
    software : version by name of the package
    load : mean number of runnable threads of the last minute, at the start
    date : day, "2026-11-23"
    """

    processor: str
    cores: int | None
    hardware_threads: int | None
    memory_bytes: float | None
    system: str
    software: Mapping[str, str]
    load: float | None
    date: str

    def as_dict(self) -> dict[str, Any]:
        """Return the record ready for JSON."""
        return asdict(self)

    @property
    def machine(self) -> str:
        """Return processor and cores in one line."""
        return f"{self.processor}, {self.cores or 'unknown number of'} cores"

    @property
    def build(self) -> str:
        """Return the software in one line."""
        return ", ".join(f"{name} {version}" for name, version in self.software.items())


PACKAGES = ("torch", "numpy")


def machine_record(root: Path = Path("/")) -> MachineRecord:
    """Return the conditions right now.

    Parameters
    ----------
    root : where /proc and /sys are

    >>> machine_record().date.count("-")
    2
    """
    reading = read_machine(root)
    return MachineRecord(
        processor=reading.title or platform.machine() or "unknown processor",
        cores=_times(reading.cores, reading.sockets),
        hardware_threads=_hardware_threads(reading),
        memory_bytes=reading.memory_bytes,
        system=" ".join(part for part in (platform.platform(), *platform.libc_ver()) if part),
        software={name: version for name in PACKAGES if (version := _version(name))},
        load=_load(),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


def _times(first: int | None, second: int | None) -> int | None:
    return None if first is None else first * (second or 1)


def _hardware_threads(reading: Reading) -> int | None:
    return _times(_times(reading.cores, reading.sockets), reading.threads_per_core)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _load() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
