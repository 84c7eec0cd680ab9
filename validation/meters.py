"""Measure energy where the machine can: RAPL through powercap, NVIDIA GPUs through NVML.

A *meter* reads a counter of joules. Where there is no counter, or it may not be read, there is no
meter and the energy is None: unknown is never 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

POWERCAP = Path("/sys/class/powercap")
MICRO = 1e-6
MILLI = 1e-3


class Meter(Protocol):
    """Be a counter of energy that only goes up."""

    @property
    def name(self) -> str:
        """Return what is measured, such as "package-0"."""

    def read_j(self) -> float:
        """Return the counter, joules."""

    def between_j(self, start_j: float, end_j: float) -> float:
        """Return the energy between two readings, joules, with at most one overflow."""


@dataclass(frozen=True, slots=True)
class RaplMeter:
    """Read one RAPL package of the kernel's powercap interface.

    Parameters
    ----------
    folder : such as /sys/class/powercap/intel-rapl:0
    """

    folder: Path

    @property
    def name(self) -> str:
        """Return the package's name."""
        return (self.folder / "name").read_text().strip()

    def read_j(self) -> float:
        """Return the counter, joules."""
        return int((self.folder / "energy_uj").read_text()) * MICRO

    def between_j(self, start_j: float, end_j: float) -> float:
        """Return the energy between two readings; the counter begins anew at its range."""
        if end_j >= start_j:
            return end_j - start_j
        return end_j - start_j + int((self.folder / "max_energy_range_uj").read_text()) * MICRO


@dataclass(frozen=True, slots=True)
class NvmlMeter:
    """Read one NVIDIA GPU.

    Parameters
    ----------
    nvml : the module pynvml, initialised
    index : of the GPU
    """

    nvml: Any
    index: int

    @property
    def name(self) -> str:
        """Return "gpu-0"."""
        return f"gpu-{self.index}"

    def read_j(self) -> float:
        """Return the counter, joules."""
        handle = self.nvml.nvmlDeviceGetHandleByIndex(self.index)
        return float(self.nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) * MILLI

    def between_j(self, start_j: float, end_j: float) -> float:
        """Return the energy between two readings."""
        return end_j - start_j


@dataclass(slots=True)
class Reading:
    """Hold what a stretch of time used; empty until it has ended.

    Parameters
    ----------
    joules : by meter
    """

    joules: Mapping[str, float] = field(default_factory=dict)

    @property
    def total_j(self) -> float | None:
        """Return the sum over all meters, joules; None where there is no meter."""
        return sum(self.joules.values()) if self.joules else None


def find_meters(powercap: Path = POWERCAP) -> tuple[Meter, ...]:
    """Return the meters of this machine that can be read; none where there are none."""
    return (*_rapl(powercap), *_nvml())


def _rapl(powercap: Path) -> Iterator[Meter]:
    for folder in sorted(powercap.glob("intel-rapl:[0-9]*")):
        # Sub-domains (intel-rapl:0:0) are parts of their package: adding them would count twice.
        if folder.name.count(":") == 1 and _readable(RaplMeter(folder)):
            yield RaplMeter(folder)


def _nvml() -> Iterator[Meter]:
    try:
        import pynvml
    except ImportError:
        return
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError:
        return
    for index in range(count):
        meter = NvmlMeter(pynvml, index)
        try:
            meter.read_j()
        except pynvml.NVMLError:
            # GPUs before Volta have no counter of energy.
            continue
        yield meter


def _readable(meter: Meter) -> bool:
    try:
        meter.read_j()
    except (OSError, ValueError):
        return False
    return True


@contextmanager
def metered(meters: Sequence[Meter]) -> Iterator[Reading]:
    """Measure the energy of what is done inside.

    >>> with metered(()) as reading:
    ...     pass
    >>> reading.total_j is None
    True
    """
    reading = Reading()
    start = [meter.read_j() for meter in meters]
    yield reading
    end = [meter.read_j() for meter in meters]
    reading.joules = {
        meter.name: meter.between_j(a, b) for meter, a, b in zip(meters, start, end, strict=True)
    }
