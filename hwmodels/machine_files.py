"""Read what Linux says about the machine: /proc and /sys, below a root that tests can fake.

Nothing here fails: what cannot be read is None, and `Reading.unknown` names it. On other systems
Python's own `os` and `platform` give the little they know.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

_ISA = {"x86_64": "x86-64", "amd64": "x86-64", "aarch64": "aarch64", "arm64": "aarch64"}
_DESIGNERS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD", "0x41": "ARM", "0x61": "Apple"}
_UNLIMITED_BYTES = 2.0**60


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Hold what could be read of a machine; None where it could not.

    Parameters
    ----------
    title : the processor's name
    isa : "x86-64", "aarch64" or what the system calls it
    designer : "Intel", "AMD", "ARM", "Apple"
    model : "family/model" (x86) or "implementer/part" (ARM)
    flags : features
    sockets, cores, threads_per_core : that this process may use; cores are of one socket
    clock_hz : present clock of the first core
    max_clock_hz : highest clock of the first core
    l1d_bytes, l2_bytes, l3_bytes : size of one cache
    l2_cores, l3_cores : cores that share one
    memory_bytes : that this process may use
    nodes : NUMA nodes of one socket
    """

    title: str | None = None
    isa: str | None = None
    designer: str | None = None
    model: str | None = None
    flags: tuple[str, ...] | None = None
    sockets: int | None = None
    cores: int | None = None
    threads_per_core: int | None = None
    clock_hz: float | None = None
    max_clock_hz: float | None = None
    l1d_bytes: float | None = None
    l2_bytes: float | None = None
    l2_cores: int | None = None
    l3_bytes: float | None = None
    l3_cores: int | None = None
    memory_bytes: float | None = None
    nodes: int | None = None

    @property
    def unknown(self) -> tuple[str, ...]:
        """Return the names of what could not be read."""
        return tuple(one.name for one in fields(self) if getattr(self, one.name) is None)


def read_machine(root: Path = Path("/")) -> Reading:
    """Return what the system says about the machine.

    Parameters
    ----------
    root : where /proc and /sys are
    """
    info = _cpuinfo(root)
    allowed = _allowed(root)
    cpus = _topology(root, allowed)
    return Reading(
        title=info.get("model name") or info.get("Model") or platform.processor() or None,
        isa=_ISA.get(platform.machine().lower(), platform.machine()) if root == Path("/")
        else _isa_of(info),
        designer=_DESIGNERS.get(info.get("vendor_id") or info.get("CPU implementer") or ""),
        model=_model(info),
        flags=tuple((info.get("flags") or info.get("Features") or "").split()) or None,
        **_counts(root, cpus, allowed),
        clock_hz=_scaled(info.get("cpu MHz"), 1e6),
        max_clock_hz=_scaled(_text(_cpu(root, cpus, "cpufreq/cpuinfo_max_freq")), 1e3),
        **_caches(root, cpus),
        memory_bytes=_memory(root),
        nodes=_nodes(root, cpus),
    )  # fmt: skip


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _scaled(text: str | None, factor: float) -> float | None:
    try:
        return float(text) * factor if text else None
    except ValueError:
        return None


def _cpuinfo(root: Path) -> dict[str, str]:
    """Return the first processor's lines of /proc/cpuinfo, and those that stand alone."""
    found: dict[str, str] = {}
    for line in (_text(root / "proc/cpuinfo") or "").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def _isa_of(info: dict[str, str]) -> str | None:
    if "CPU implementer" in info:
        return "aarch64"
    return "x86-64" if "vendor_id" in info else None


def _model(info: dict[str, str]) -> str | None:
    for first, second in (("cpu family", "model"), ("CPU implementer", "CPU part")):
        if first in info and second in info:
            return f"{info[first]}/{info[second]}"
    return None


def _cpu(root: Path, cpus: dict[int, tuple[int, int]], name: str) -> Path:
    first = min(cpus, default=0)
    return root / f"sys/devices/system/cpu/cpu{first}" / name


def _numbers(text: str | None) -> list[int]:
    """Return the numbers of a list as the kernel writes it.

    >>> _numbers("0-3,8,10-11")
    [0, 1, 2, 3, 8, 10, 11]
    """
    found: list[int] = []
    for part in (text or "").split(","):
        ends = [int(end) for end in re.findall(r"\d+", part)]
        if ends:
            found += range(ends[0], ends[-1] + 1)
    return found


def _allowed(root: Path) -> set[int]:
    """Return the processors that this process may use; empty where unknown."""
    status = _text(root / "proc/self/status") or ""
    match = re.search(r"^Cpus_allowed_list:\s*(\S+)", status, re.MULTILINE)
    return set(_numbers(match[1] if match else None))


def _topology(root: Path, allowed: set[int]) -> dict[int, tuple[int, int]]:
    """Return (socket, core) of each processor that may be used."""
    found: dict[int, tuple[int, int]] = {}
    for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/topology"):
        number = int(path.parent.name[3:])
        socket, core = (_text(path / name) for name in ("physical_package_id", "core_id"))
        if socket is not None and core is not None and (not allowed or number in allowed):
            found[number] = (int(socket), int(core))
    return found


def _counts(
    root: Path, cpus: dict[int, tuple[int, int]], allowed: set[int]
) -> dict[str, int | None]:
    quota = _quota(root)
    if not cpus:
        count = len(allowed) or (os.cpu_count() if root == Path("/") else None)
        usable = count if count is None or quota is None else max(1, min(count, int(quota)))
        known = None if usable is None else 1
        return {"sockets": known, "cores": usable, "threads_per_core": None}
    cores = set(cpus.values())
    if quota is not None and quota < len(cpus):
        return {"sockets": 1, "cores": max(1, min(len(cores), int(quota))), "threads_per_core": 1}
    sockets = {socket for socket, _ in cores}
    return {
        "sockets": len(sockets),
        "cores": max(sum(one == socket for one, _ in cores) for socket in sockets),
        "threads_per_core": max(list(cpus.values()).count(core) for core in cores),
    }


def _limits(root: Path, name: str) -> Iterator[str]:
    """Give what the control groups of this process, from its own up to the root's, say."""
    groups = _text(root / "proc/self/cgroup") or ""
    match = re.search(r"^0::/(.*)$", groups, re.MULTILINE)
    inside = Path(match[1] if match else "")
    for folder in (inside, *inside.parents):
        text = _text(root / "sys/fs/cgroup" / folder / name)
        if text:
            yield text


def _quota(root: Path) -> float | None:
    """Return how many processors' time the control groups grant; None without a limit."""
    grants = [text.split() for text in _limits(root, "cpu.max")]
    found = [int(grant[0]) / int(grant[1]) for grant in grants if grant[0] != "max"]
    old = [_scaled(_text(root / f"sys/fs/cgroup/cpu/cpu.cfs_{name}_us"), 1.0)
           for name in ("quota", "period")]  # fmt: skip
    if old[0] and old[1] and old[0] > 0:
        found.append(old[0] / old[1])
    return min(found, default=None)


def _memory(root: Path) -> float | None:
    match = re.search(r"^MemTotal:\s*(\d+) kB", _text(root / "proc/meminfo") or "", re.MULTILINE)
    found = [float(match[1]) * 1024] if match else []
    found += [float(text) for text in _limits(root, "memory.max") if text.isdigit()]
    old = _scaled(_text(root / "sys/fs/cgroup/memory/memory.limit_in_bytes"), 1.0)
    found += [old] if old and old < _UNLIMITED_BYTES else []
    return min(found, default=None)


def _nodes(root: Path, cpus: dict[int, tuple[int, int]]) -> int | None:
    """Return the number of NUMA nodes with processors that may be used, of one socket."""
    nodes = [set(_numbers(_text(path / "cpulist")))
             for path in (root / "sys/devices/system/node").glob("node[0-9]*")]  # fmt: skip
    used = [node for node in nodes if node & set(cpus)]
    sockets = {socket for socket, _ in cpus.values()}
    return max(1, len(used) // len(sockets)) if used and sockets else None


_KINDS = {("1", "Data"): "l1d", ("2", "Unified"): "l2", ("3", "Unified"): "l3"}
_SIZES = {"K": 2.0**10, "M": 2.0**20, "G": 2.0**30}


def _caches(root: Path, cpus: dict[int, tuple[int, int]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for index in sorted(_cpu(root, cpus, "cache").glob("index[0-9]*")):
        level, kind, size, shared = (
            _text(index / name) or "" for name in ("level", "type", "size", "shared_cpu_list")
        )
        name = _KINDS.get((level, kind))
        if name is None or not re.fullmatch(r"\d+[KMG]?", size):
            continue
        found[f"{name}_bytes"] = float(size.rstrip("KMG")) * _SIZES.get(size[-1], 1.0)
        cores = {cpus[cpu] for cpu in _numbers(shared) if cpu in cpus}
        if name != "l1d" and cores:
            found[f"{name}_cores"] = len(cores)
    return found
