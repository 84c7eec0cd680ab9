"""Give the processes of this machine a network of their own, with links of a chosen rate.

Each rank lives in a network namespace; a pair of virtual interfaces (veth) joins it to a bridge,
and a token bucket (tc tbf) at both ends limits both directions. All this is inside one namespace,
and ends with the last process in it: nothing outside is touched. An ordinary user gets there by a
user namespace, root also without.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import InputError, UnitError
from simulator.units import parse_quantity

BUCKET = "burst 256kb limit 2mb"
"""Of the token bucket: a burst that the clock's grain needs, and a queue that holds what several
senders to one receiver have under way (with 512 kB, steps with a server take a third longer, as
packets are lost), but no longer one (with 4 MB, an all-reduce of four takes a quarter longer)."""
CONGESTION_CONTROL = "cubic"
"""Of TCP in the namespaces: what most systems use, whatever this one is set to (with bbr, seven
senders to one receiver lose four times as many packets)."""
CONGESTION_FILE = Path("/proc/sys/net/ipv4/tcp_congestion_control")
BRIDGE, INTERFACE = "bridge0", "eth0"
SBIN = "/usr/sbin:/sbin"
"""Where ip and tc are; ordinary users of some distributions do not have it on their path."""
_TC_RATE = re.compile(r"([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)\s*([kmgt]?)bit(?:/s)?", re.IGNORECASE)
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
LEAST_BIT_PER_S, MOST_BIT_PER_S = 8.0, 1e15
"""Of a link: tc counts whole bytes, and no machine moves more between its own processes."""
_NAMESPACES = ("--net", "--pid", "--fork", "--kill-child")
PROBE_S = 20.0
"""Longest that asking for a namespace may take, seconds."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """Say how processes get a network of their own.

    Parameters
    ----------
    name : "user namespace", "namespace" (as root) or "loopback" (none: this machine's own)
    prefix : the command under which the processes run
    why : why it is no better one, "" for the best
    """

    name: str
    prefix: tuple[str, ...] = ()
    why: str = ""

    @property
    def shaped(self) -> bool:
        """Say whether links can have a rate."""
        return bool(self.prefix)


def parse_rate(text: str) -> float:
    """Return a rate of a link, bit/s, as tc writes it or as a quantity.

    Raises
    ------
    UnitError : no rate, or one that no link has

    >>> parse_rate("1gbit"), parse_rate("2.5 Gbit/s"), parse_rate("100 MB/s")
    (1000000000.0, 2500000000.0, 800000000.0)
    """
    found = _TC_RATE.fullmatch(text.strip())
    if found:
        rate = float(found[1]) * _SCALES[found[2].lower()]
    elif re.search(r"[A-Za-z]", text):
        rate = 8 * parse_quantity(text, "bytes_per_s", "rate")
    else:
        raise UnitError(f"rate: expected one such as 1gbit or '100 MB/s'; got '{text}'")
    if not LEAST_BIT_PER_S <= rate <= MOST_BIT_PER_S:
        raise UnitError(f"rate: must be from {LEAST_BIT_PER_S:g} bit to {MOST_BIT_PER_S / 1e12:g} "
                        f"tbit a second; got '{text}'")  # fmt: skip
    return rate


def find_isolation() -> Isolation:
    """Return the best way to a network of one's own that this machine allows."""
    missing = [tool for tool in ("unshare", "ip", "tc") if shutil.which(tool, path=_path()) is None]
    if missing:
        return Isolation("loopback", why=_how_to_get(missing))
    user = ("unshare", "--user", "--map-root-user", *_NAMESPACES)
    refused = _refusal(user)
    if not refused:
        return Isolation("user namespace", user)
    if os.geteuid() == 0:
        refused = _refusal(("unshare", *_NAMESPACES)) or ""
        if not refused:
            return Isolation("namespace", ("unshare", *_NAMESPACES))
    return Isolation("loopback", why=f"this system refuses a network of one's own ({refused}); "
                     "an administrator can allow user namespaces (sysctl "
                     "kernel.unprivileged_userns_clone=1, user.max_user_namespaces above 0, "
                     "kernel.apparmor_restrict_unprivileged_userns=0), or run as root")  # fmt: skip


def _how_to_get(missing: Sequence[str]) -> str:
    packages = dict.fromkeys("util-linux" if tool == "unshare" else "iproute2" for tool in missing)
    return (f"{' and '.join(missing)} not found; install {' and '.join(packages)} "
            f"(Debian and kin: apt install {' '.join(packages)}, or make system)")  # fmt: skip


def _refusal(prefix: Sequence[str]) -> str:
    """Return why what a shaped network needs is refused, "" where it is not."""
    trial = " && ".join([
        f"ip link add {BRIDGE} type bridge",
        f"ip link add trial type veth peer name {INTERFACE}",
        f"tc qdisc add dev trial root tbf rate 1gbit {BUCKET}",
        "unshare --net true",
    ])  # fmt: skip
    try:
        done = subprocess.run([*prefix, "sh", "-c", trial], capture_output=True, text=True,
                              check=False, timeout=PROBE_S, env=tool_environment(),
                              stdin=subprocess.DEVNULL)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    return last[0] if done.returncode else ""


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:{SBIN}"


def tool_environment() -> dict[str, str]:
    """Return the environment in which ip and tc are found."""
    return {**os.environ, "PATH": _path(), "LC_ALL": "C"}


def address_of(rank: int) -> str:
    """Return the address of a rank in its network.

    >>> address_of(0), address_of(300)
    ('10.77.0.1', '10.77.1.46')
    """
    number = rank + 1
    return f"10.77.{number // 255}.{number % 255}"


def build_bridge() -> None:
    """Make the bridge of this namespace, to which ranks are joined."""
    _batch("ip", ["link set lo up", f"link add {BRIDGE} type bridge", f"link set {BRIDGE} up"])


def join(rank: int, process: int, rate_bit_per_s: float | None) -> None:
    """Join the namespace of a rank's process to the bridge, and limit what is sent there."""
    port = f"rank{rank}"
    _batch("ip", [
        f"link add {port} type veth peer name {INTERFACE} netns {process}",
        f"link set {port} master {BRIDGE}",
        f"link set {port} up",
    ])  # fmt: skip
    _limit(port, rate_bit_per_s)


def set_up_own_end(rank: int, rate_bit_per_s: float | None) -> None:
    """Give the end of the link in this namespace its address, and limit what this rank sends."""
    _batch("ip", [
        "link set lo up",
        f"address add {address_of(rank)}/16 dev {INTERFACE}",
        f"link set {INTERFACE} up",
    ])  # fmt: skip
    # A kernel without it, or one that keeps the setting to itself, measures with its own.
    with contextlib.suppress(OSError):
        CONGESTION_FILE.write_text(CONGESTION_CONTROL)
    _limit(INTERFACE, rate_bit_per_s)


def _limit(interface: str, rate_bit_per_s: float | None) -> None:
    if rate_bit_per_s is not None:
        _batch("tc", [f"qdisc add dev {interface} root tbf rate {rate_bit_per_s:.0f}bit {BUCKET}"])


def _batch(tool: str, lines: Sequence[str]) -> None:
    """Let ip or tc carry out some lines.

    Raises
    ------
    InputError : it refuses
    """
    done = subprocess.run([tool, "-batch", "-"], input="\n".join(lines) + "\n", text=True,
                          capture_output=True, check=False, env=tool_environment())  # fmt: skip
    if done.returncode:
        raise InputError(f"{tool} refuses: {done.stderr.strip() or f'exit code {done.returncode}'}")
