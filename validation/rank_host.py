"""Host the ranks of a measured run: fork them, wire their network, watch them, report.

This module is a program that `ranks.py` starts. It is the first process of its namespaces, so that
all that was started in them ends with it; without namespaces each rank asks the kernel to be ended
with its host. The host ends when its connection to the launcher closes.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import TYPE_CHECKING, Any, NoReturn

from simulator.errors import RankFailedError, ScalemodelError
from validation import shaped_network
from validation.ranks import Order, Tell, named

if TYPE_CHECKING:
    from validation.torch_peers import Meeting

CLONE_NEWNET = 0x40000000
"""Flag of unshare(2): a network namespace."""
PR_SET_PDEATHSIG = 1
"""Option of prctl(2): the signal that this process gets when its parent ends."""
GRACE_S = 1.0
"""How long to listen for the errors of other ranks after the first: the cause may come second."""
PORT = 29500
"""Where rank 0 listens in a network of its own, in which all ports are free."""
CAUSE, STUCK, LOST = range(3)
"""How far a failure is from the cause: it is the cause; the rank waited for another one in vain;
what joined it to the others broke."""
_OF_OTHERS = ("Connection closed by peer", "Connection reset", "Timed out waiting")
"""What gloo says when another rank has ended or does not come."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Say how a rank failed.

    Parameters
    ----------
    rank : which
    at_s : when, by the clock that all processes share, seconds
    error : what to raise for it
    indirect : how far it may be from the cause
    """

    rank: int
    at_s: float
    error: ScalemodelError
    indirect: int


@dataclass(slots=True)
class Child:
    """Be a rank that the host has forked."""

    rank: int
    process: int
    connection: Connection
    result: Any = None
    done: bool = False


def main(launcher: Connection) -> int:
    """Do what the launcher orders."""
    # The warnings of torch's C++ side are of no use to whoever measures.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    children: list[Child] = []
    try:
        order: Order = launcher.recv()
        function = _function(order)
        meetings, listener = _meetings(order)
        roles = [Role(rank, order, function, one) for rank, one in enumerate(meetings)]
        children += map(_fork, roles)
        if listener is not None:
            listener.close()
        if order.isolated:
            _wire(order, children)
        answer = _watch(launcher, children)
    except ScalemodelError as error:
        answer = ("failed", error)
    except EOFError:
        return 1
    except Exception as error:
        answer = ("failed", ScalemodelError(f"no rank could be started: {_text(error)}"))
    finally:
        for child in children:
            os.kill(child.process, signal.SIGKILL)
            os.waitpid(child.process, 0)
    launcher.send(answer)
    return 0


def _function(order: Order) -> Any:
    # torch is loaded once, before the ranks are forked.
    importlib.import_module("validation.torch_peers")
    return named(order.task.call)


def _meetings(order: Order) -> tuple[list[Meeting], socket.socket | None]:
    """Return where each rank meets the others, and the socket that listens there already."""
    from validation.torch_peers import Meeting

    if order.isolated:
        shaped_network.build_bridge()
        addresses = [shaped_network.address_of(rank) for rank in range(order.ranks)]
        return [Meeting(address=addresses[0], port=PORT, interface=shaped_network.INTERFACE,
                        host=own) for own in addresses], None  # fmt: skip
    listener = socket.create_server(("127.0.0.1", 0))
    meeting = Meeting(address="127.0.0.1", port=listener.getsockname()[1], interface="lo",
                      host="127.0.0.1", listening=listener.fileno())  # fmt: skip
    return [meeting] * order.ranks, listener


@dataclass(frozen=True, slots=True)
class Role:
    """Say which rank a process is to be, what it does and where it meets the others."""

    rank: int
    order: Order
    function: Any
    meeting: Meeting

    def do(self, tell: Tell) -> Any:
        """Meet the others, do the task, and return what came out."""
        from validation.torch_peers import Peers

        peers = Peers.meet(self.rank, self.order.ranks, self.meeting, self.order.timeout_s)
        result = self.function(peers, tell, self.order.task.given)
        peers.close()
        return result


def _fork(role: Role) -> Child:
    ours, theirs = Pipe()
    host = os.getpid()
    process = os.fork()
    if not process:
        ours.close()
        _be(role, theirs, host)
    theirs.close()
    return Child(role.rank, process, ours)


def _be(role: Role, connection: Connection, host: int) -> NoReturn:
    """Be a rank: do the task, say what came out, end."""
    try:
        _end_with(host)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if role.order.isolated:
            _own_network(connection, role)
        connection.send(("done", role.do(lambda text: connection.send(("told", text)))))
    except BaseException as error:
        connection.send(("failed", _failure(role.rank, error)))
    finally:
        # Threads that still wait for other ranks must not hold this one.
        os._exit(0)


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _end_with(host: int) -> None:
    """Let the kernel end this process when the host ends."""
    if sys.platform == "linux":
        _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != host:
        os._exit(1)


def _own_network(connection: Connection, role: Role) -> None:
    """Enter a network namespace of one's own, and have the host join it to the bridge."""
    if _libc().unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare: no network namespace for this rank")
    connection.send(("apart", None))
    connection.recv()
    shaped_network.set_up_own_end(role.rank, role.order.rate_bit_per_s)
    connection.send(("joined", None))
    connection.recv()


def _wire(order: Order, children: list[Child]) -> None:
    for child in children:
        _expect(child, "apart")
        shaped_network.join(child.rank, child.process, order.rate_bit_per_s)
        child.connection.send("set up your end")
    for child in children:
        _expect(child, "joined")
    for child in children:
        child.connection.send("meet")


def _expect(child: Child, word: str) -> None:
    kind, content = child.connection.recv()
    if kind != word:
        raise content.error


def _watch(launcher: Connection, children: list[Child]) -> tuple[str, Any]:
    """Return the results of all ranks, or the error of the first that failed."""
    open_ = {child.connection: child for child in children}
    failures: list[Failure] = []
    until_s: float | None = None
    while open_ and (until_s is None or time.monotonic() < until_s):
        left_s = None if until_s is None else max(0.0, until_s - time.monotonic())
        for ready in wait([launcher, *open_], left_s):
            if ready is launcher:
                raise EOFError
            child = open_[ready]  # type: ignore[index]
            failure = _hear(child, launcher)
            if failure is not None:
                failures.append(failure)
                until_s = until_s or time.monotonic() + GRACE_S
            if child.done or failure is not None:
                del open_[child.connection]
    if failures:
        return "failed", _first(failures).error
    return "done", [child.result for child in children]


def _hear(child: Child, launcher: Connection) -> Failure | None:
    """Take a word of a rank; return its failure where it failed."""
    try:
        kind, content = child.connection.recv()
    except EOFError:
        return _died(child)
    if kind == "told":
        launcher.send((kind, content))
    elif kind == "done":
        child.result, child.done = content, True
    else:
        failure: Failure = content
        return failure
    return None


def _died(child: Child) -> Failure:
    """Return the failure of a rank that ended without a word."""
    info = os.waitid(os.P_PID, child.process, os.WEXITED | os.WNOWAIT)
    code = 0 if info is None else info.si_status
    if info is not None and info.si_code != os.CLD_EXITED:
        how = f"was killed by {signal.Signals(code).name}"
    else:
        how = f"ended with exit code {code} before its work was done"
    # Its end came before whatever the others say of it.
    return Failure(child.rank, 0.0, RankFailedError(child.rank, how), CAUSE)


def _first(failures: list[Failure]) -> Failure:
    """Return the failure that was the cause of the others."""
    return min(failures, key=lambda one: (one.indirect, one.at_s))


def _failure(rank: int, error: BaseException) -> Failure:
    at_s, text = time.monotonic(), _text(error)
    if isinstance(error, ScalemodelError):
        return Failure(rank, at_s, error, STUCK if isinstance(error, RankFailedError) else CAUSE)
    indirect = CAUSE
    if isinstance(error, ConnectionError) or any(one in str(error) for one in _OF_OTHERS):
        indirect = LOST
    return Failure(rank, at_s, RankFailedError(rank, f"failed: {text}{_place(error)}"), indirect)


def _text(error: BaseException) -> str:
    # What follows the first line is the stack of torch's C++ side.
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _place(error: BaseException) -> str:
    """Return where an error arose, the insides of installed packages left out."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if "site-packages" not in frame.filename]  # fmt: skip
    return "".join(f" ({frame.filename}, line {frame.lineno})" for frame in frames[-1:])


if __name__ == "__main__":
    sys.exit(main(Connection(int(sys.argv[1]))))
