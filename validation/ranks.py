"""Run a function in as many processes as there are ranks, and give back what each returns.

The *launcher* is the process that asks. It starts a *host* (`rank_host.py`), inside a network of
its own where there is one, which forks the ranks and watches them. The host ends when the launcher
does, however that ends, and all ranks with the host: nothing is left behind. Launched by torchrun,
this process is a rank itself and runs the function at once.
"""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, TypeAlias

from hwmodels.this_machine import this_machine
from simulator.errors import DoesNotFitError, InputError, ScalemodelError
from simulator.formula import check_whole
from simulator.units import format_quantity
from validation.shaped_network import Isolation, find_isolation

TIMEOUT_S = 60.0
"""How long a rank waits for the others before it says that they will not come, seconds."""
MOST_RANKS_A_CORE = 32
"""More processes would spend their time waiting for a core."""
ENDING_S = 10.0
"""How long the host may take to end once it has answered, seconds."""

Tell: TypeAlias = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Say what each rank does.

    Parameters
    ----------
    call : "module:function"; it is called with the peers, whom to tell of progress, and `given`
    given : what else it needs; that and the result can be pickled (tensors as arrays)
    """

    call: str
    given: Any = None


@dataclass(frozen=True, slots=True)
class Made:
    """Stand for what each process makes for itself, because it cannot be pickled.

    Parameters
    ----------
    call : "module:function" that makes it
    given : its arguments
    """

    call: str
    given: tuple[Any, ...] = ()

    def make(self) -> Any:
        """Return what it stands for."""
        return named(self.call)(*self.given)


def named(call: str) -> Any:
    """Return the function that "module:function" names.

    >>> named("math:sqrt")(4.0)
    2.0
    """
    module, name = call.split(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Say what a host does.

    Parameters
    ----------
    task : of each rank
    ranks : how many
    rate_bit_per_s : of each link and direction, bit/s; None: not limited
    isolated : whether the ranks have a network of their own
    timeout_s : how long a rank waits for the others, seconds
    """

    task: Task
    ranks: int
    rate_bit_per_s: float | None
    isolated: bool
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Answers:
    """Hold what the ranks returned, and over which network.

    Parameters
    ----------
    of_ranks : what each returned, in order
    network : "user namespace", "namespace", "loopback" or "torchrun"
    rate_bit_per_s : of each link and direction, bit/s; None where it was not limited
    one_clock : whether all ranks saw the same clock: they ran on one machine
    """

    of_ranks: Sequence[Any]
    network: str
    rate_bit_per_s: float | None = None
    one_clock: bool = True


def under_torchrun() -> bool:
    """Say whether torchrun started this process, as one of several."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def first_rank() -> bool:
    """Say whether this process speaks for all: it is no rank, or the first one of torchrun."""
    return not under_torchrun() or os.environ["RANK"] == "0"


def own_cores() -> int:
    """Return how many cores this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return usable or 1


def check_ranks(ranks: int, least: int = 1) -> int:
    """Return a number of ranks that this machine can run.

    Raises
    ------
    InputError : fewer than `least`, or far more than the machine has cores
    """
    check_whole("ranks", ranks, least)
    if under_torchrun():
        if ranks != int(os.environ["WORLD_SIZE"]):
            raise InputError(f"ranks: torchrun started {os.environ['WORLD_SIZE']} processes, but "
                             f"{ranks} are asked for")  # fmt: skip
        return ranks
    cores = own_cores()
    most = MOST_RANKS_A_CORE * cores
    if ranks > most:
        raise InputError(f"ranks: {ranks:,} processes on {cores} cores would only wait for one "
                         f"another; {most} at most ({MOST_RANKS_A_CORE} a core)")  # fmt: skip
    return ranks


def check_fits_here(what: str, nbytes: float, ranks: int = 1) -> None:
    """Raise where what each rank needs is together more than the memory of this machine.

    Parameters
    ----------
    what : it is, for the error
    nbytes : of each rank, bytes
    ranks : of this machine; under torchrun those of all, of which some run here

    Raises
    ------
    DoesNotFitError : it is
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE", ranks)) if under_torchrun() else ranks
    have = this_machine().memory_bytes
    if have is not None and here * nbytes > have:
        need, each, has = (format_quantity(one, "bytes") for one in (here * nbytes, nbytes, have))
        parts = f", {each} on each of {here} ranks" if here > 1 else ""
        raise DoesNotFitError(f"{what} needs {need}{parts}; this machine has {has}",
                              "measure something smaller")  # fmt: skip


def run_ranks(
    task: Task,
    ranks: int,
    *,
    rate_bit_per_s: float | None = None,
    tell: Tell = lambda _: None,
    timeout_s: float = TIMEOUT_S,
    isolation: Isolation | None = None,
) -> Answers:
    """Run a task in so many processes of this machine.

    Parameters
    ----------
    task : what each does
    ranks : how many
    rate_bit_per_s : of each link and direction, bit/s; None: not limited, over loopback
    tell : is told of the progress
    timeout_s : how long a rank waits for the others, seconds
    isolation : how the ranks get a network of their own; None: the best that there is

    Raises
    ------
    RankFailedError : a rank failed; names the first one and the cause
    ScalemodelError : as a rank raised it
    """
    check_ranks(ranks)
    if under_torchrun():
        if rate_bit_per_s is not None:
            raise InputError("rate: under torchrun the network is as it is; a rate is given to "
                             "processes of one machine, without torchrun")  # fmt: skip
        here: Answers = named("validation.torch_here:run_here")(task, tell, timeout_s)
        return here
    if isolation is None:
        isolation = Isolation("loopback") if rate_bit_per_s is None else find_isolation()
    if rate_bit_per_s is not None and not isolation.shaped:
        tell(f"no link has the rate that is asked for: {isolation.why}; over plain loopback, "
             "unlimited")  # fmt: skip
        rate_bit_per_s = None
    order = Order(task=task, ranks=ranks, rate_bit_per_s=rate_bit_per_s,
                  isolated=isolation.shaped, timeout_s=timeout_s)  # fmt: skip
    with _host(isolation.prefix) as host:
        try:
            host.send(order)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise InputError(f"other processes cannot be given this ({error}); what is your own "
                             "must be in a module or a file") from None  # fmt: skip
        return Answers(_answers(host, tell), isolation.name, rate_bit_per_s)


def _answers(host: Connection, tell: Tell) -> Sequence[Any]:
    while True:
        try:
            kind, content = host.recv()
        except EOFError:
            raise ScalemodelError("the process that starts the ranks has ended; its last words "
                                  "are above") from None  # fmt: skip
        if kind == "told":
            tell(content)
        elif kind == "failed":
            raise content
        else:
            results: Sequence[Any] = content
            return results


@contextmanager
def _host(prefix: Sequence[str]) -> Iterator[Connection]:
    """Start a host, and end it whatever happens."""
    ours, theirs = Pipe()
    command = [*prefix, sys.executable, "-m", "validation.rank_host", str(theirs.fileno())]
    # What this process can import, the others can: the modules of its user's plans.
    package_root = str(Path(__file__).resolve().parents[1])
    paths = dict.fromkeys([package_root, *(path or str(Path.cwd()) for path in sys.path)])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
    with tempfile.TemporaryFile() as nothing:
        # A session of its own: Ctrl-C goes to the launcher, which ends the host.
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=nothing,
                                   stdout=2, env=environment,
                                   start_new_session=True)  # fmt: skip
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        try:
            process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
