"""What ranks of measured runs are asked to do in tests; each process imports it by name."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Any

import torch
import torch.distributed as dist

from validation.ranks import Task, Tell
from validation.torch_peers import Peers


def task(name: str, given: Any = None) -> Task:
    return Task(call=f"tests.validation.rank_tasks:{name}", given=given)


def who(peers: Peers, tell: Tell, _: None) -> tuple[int, int, int]:
    tell(f"rank {peers.rank} is here")
    total = torch.tensor([float(peers.rank)])
    dist.all_reduce(total)
    return peers.rank, int(total), os.getpid()


def interfaces(peers: Peers, tell: Tell, _: None) -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def fail(peers: Peers, tell: Tell, how: str) -> None:
    """Let rank 1 fail; the others wait for it in a collective."""
    if peers.rank == 1:
        if how == "raises":
            raise ValueError("boom")
        if how == "exits":
            os._exit(7)
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


def hang(peers: Peers, tell: Tell, _: None) -> None:
    tell(f"pid {os.getpid()}")
    time.sleep(3600)
