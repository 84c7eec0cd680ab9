"""Join the processes of a measured run by torch.distributed: gloo, and nccl where there is one."""

from __future__ import annotations

import datetime
import os
import platform
import socket
import time
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore

from simulator.actions import Group
from validation.ranks import TIMEOUT_S

MEETING_S = 60.0
"""How long processes may take to meet, on a machine that is busy, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """Say where the processes of a run on one machine meet.

    Parameters
    ----------
    address, port : of rank 0
    interface : network interface of each rank
    host : address of this rank
    listening : file descriptor of rank 0 that listens there already; None: rank 0 opens one
    """

    address: str
    port: int
    interface: str
    host: str
    listening: int | None = None


class Peers:
    """Be a process's place among those of a run.

    Parameters
    ----------
    rank, size : of this process
    device : where the tensors of collectives are
    host : address at which the others reach this process
    timeout_s : how long to wait for the others, seconds
    one_clock : whether all processes see the same clock (they run on one machine)
    """

    def __init__(
        self, *, rank: int, size: int, device: torch.device, host: str, timeout_s: float,
        one_clock: bool,
    ) -> None:  # fmt: skip
        self.rank, self.size, self.device, self.host = rank, size, device, host
        self.timeout_s, self.one_clock = timeout_s, one_clock
        self._groups: dict[Group, dist.ProcessGroup | None] = {}

    @classmethod
    def meet(cls, rank: int, size: int, meeting: Meeting, timeout_s: float = TIMEOUT_S) -> Peers:
        """Return the place of a process that was started on this machine with its peers."""
        os.environ["GLOO_SOCKET_IFNAME"] = meeting.interface
        wait = _longest(timeout_s)
        store = TCPStore(meeting.address, meeting.port, size, is_master=rank == 0, timeout=wait,
                         master_listen_fd=None if rank else meeting.listening)  # fmt: skip
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=wait)
        return cls(rank=rank, size=size, device=torch.device("cpu"), host=meeting.host,
                   timeout_s=timeout_s, one_clock=True)  # fmt: skip

    @classmethod
    def from_environment(cls, timeout_s: float = TIMEOUT_S) -> Peers:
        """Return the place of a process that torchrun started."""
        device = torch.device("cpu")
        if torch.cuda.is_available():
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(device)
        backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
        dist.init_process_group(backend, timeout=_longest(timeout_s))
        hosts: list[str] = [""] * dist.get_world_size()
        dist.all_gather_object(hosts, f"{platform.node()} {socket.gethostname()}")
        return cls(rank=dist.get_rank(), size=dist.get_world_size(), device=device,
                   host=_own_address(), timeout_s=timeout_s,
                   one_clock=len(set(hosts)) == 1)  # fmt: skip

    def group(self, group: Group) -> dist.ProcessGroup | None:
        """Return the process group of some ranks, which they make when they first need it."""
        if group.size == self.size and group is Group.of(range(self.size)):
            return None
        if group not in self._groups:
            self._groups[group] = dist.new_group(
                list(group.ranks), use_local_synchronization=True,
                timeout=_longest(self.timeout_s),
            )  # fmt: skip
        return self._groups[group]

    def gather(self, own: object) -> list[Any]:
        """Return what each process gives, in the order of ranks."""
        gathered: list[Any] = [None] * self.size
        dist.all_gather_object(gathered, own)
        return gathered

    def settle(self) -> None:
        """Wait until all processes, and the device, have done what they were to do."""
        if self.size > 1:
            dist.barrier()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def start_s(self) -> float:
        """Return the common beginning of a run by this process's clock, seconds."""
        self.settle()
        now = torch.tensor([time.monotonic()], dtype=torch.float64)
        if self.one_clock and self.size > 1:
            dist.all_reduce(now, op=dist.ReduceOp.MAX)
        return float(now)

    def close(self) -> None:
        """Leave the others."""
        dist.destroy_process_group()


def _longest(timeout_s: float) -> datetime.timedelta:
    """Return how long torch.distributed waits: longer than a program, which can say for what."""
    return datetime.timedelta(seconds=timeout_s + MEETING_S)


def _own_address() -> str:
    """Return the address by which this machine talks to that of the first rank."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Nothing is sent: this only asks the system for its route.
        probe.connect((os.environ.get("MASTER_ADDR", "127.0.0.1"), 9))
        address: str = probe.getsockname()[0]
        return address
