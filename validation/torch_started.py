"""Begin the actions of a rank on the wall clock: those that go on while its program does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import torch

from simulator.actions import Collective, Compute, Group, Recv, Send, Sleep
from simulator.errors import ProgramError
from simulator.workload import Buffer
from validation.torch_calls import Call, Part, begin
from validation.torch_peers import Peers
from validation.torch_values import Reached, TorchValues, tell_nobody
from validation.wall_mailbox import Mailbox, Post
from validation.wall_messages import Memory, Messages, listen
from validation.wall_record import Key, RankRecord
from validation.wall_waiting import Pending, Waiting


class Starter:
    """Begin actions of one rank.

    Parameters
    ----------
    peers : this process among the others
    values : the tensors and what does the works
    now : tells the time, seconds

    A started compute runs in a thread; what is done is told to `waiting`. `record` notes what is
    sent and called.
    """

    def __init__(self, peers: Peers, values: TorchValues, now: Callable[[], float]) -> None:
        self.peers, self.values, self.now = peers, values, now
        self.record = RankRecord(peers.rank)
        self.mailbox = Mailbox(peers.rank, self._write, now)
        listening = listen(peers.host)
        addresses = peers.gather((peers.host, listening.getsockname()[1]))
        self.messages = Messages(peers.rank, listening, addresses, self.mailbox, self._memory_of)
        self.waiting = Waiting(peers.rank, self.mailbox, now, peers.timeout_s)
        self.waiting.failed = lambda: self.messages.failed
        self._calls: dict[Group, int] = {}
        self._threads: list[threading.Thread] = []

    def start(self, action: Any) -> Pending:
        """Begin an action."""
        handle = Pending(action, self.now())
        if isinstance(action, Recv):
            self.values.tensor(action.buffer)
            handle.post = self.mailbox.post(action)
        elif isinstance(action, Send):
            self.send(action, lambda: self.waiting.finish(handle))
        elif isinstance(action, Collective):
            self._call(handle, action)
        elif isinstance(action, Compute):
            self._in_thread(handle, lambda: self._work(handle, action))
        elif isinstance(action, Sleep):
            self._in_thread(handle, lambda: time.sleep(action.seconds))
        else:
            raise ProgramError(f"rank {self.peers.rank} starts {action!r}; only an action that "
                               "takes time can be started")  # fmt: skip
        return handle

    def send(self, action: Send, delivered: Callable[[], None] | None = None) -> None:
        """Send a copy of a buffer and go on."""
        start_s, buffer = self.now(), action.buffer
        contents = self.values.tensor(buffer).view(torch.uint8).cpu().numpy()
        number = self.messages.send(buffer, contents, action.to, delivered)
        key = (self.peers.rank, action.to, number)
        self.record.sent[key] = (start_s, buffer.name, buffer.nbytes)

    def call(self, action: Collective) -> tuple[Key, Call | None]:
        """Begin a collective, and note it if this rank is the first of its group."""
        group = action.group
        place = group.index(self.peers.rank)
        if place == 0:
            self.record.collectives.append((action.kind, action.buffer.nbytes))
        if group.size == 1:
            return (), None
        number = self._calls.get(group, 0)
        self._calls[group] = number + 1
        tensor = self.values.tensor(action.buffer)
        key = ("collective", tuple(group.ranks), number)
        return key, begin(Part(action, tensor, place, self.peers.group(group)))

    def compute(self, action: Compute, reached: Reached = tell_nobody) -> None:
        """Do a work; with a slowdown, sleep until it and its marks took so many times as long."""
        begin_s, longer = self.now(), action.slowdown - 1.0

        def reached_later(mark: str) -> None:
            later = threading.Timer(longer * (self.now() - begin_s), reached, [mark])
            later.daemon = True
            later.start()

        self.values.compute(action.work, reached_later if longer > 0 else reached)
        self.settle_device()
        if longer > 0:
            time.sleep(longer * (self.now() - begin_s))

    def settle_device(self) -> None:
        """Wait until an accelerator has done what was asked of it."""
        if self.peers.device.type == "cuda":
            torch.cuda.synchronize(self.peers.device)

    def join(self) -> None:
        """Wait for the threads of works."""
        while self._threads:
            self._threads.pop().join()

    def _call(self, handle: Pending, action: Collective) -> None:
        handle.key, call = self.call(action)
        if call is None:
            self.waiting.finish(handle)
            return
        work, handle.then = call
        future = _future_of(work, self.peers.device)
        if future is None:
            self._in_thread(handle, lambda: self._wait_for(work))
        else:
            future.then(lambda done: self.waiting.finish(handle, _error_of(done)))

    def _wait_for(self, work: Any) -> None:
        work.wait()
        self.settle_device()

    def _work(self, handle: Pending, action: Compute) -> None:
        self.compute(action, lambda mark: self.waiting.reach(handle, mark))

    def _in_thread(self, handle: Pending, run: Callable[[], object]) -> None:
        def guarded() -> None:
            try:
                run()
            except BaseException as error:
                self.waiting.finish(handle, error)
            else:
                self.waiting.finish(handle)

        thread = threading.Thread(target=guarded, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _write(self, post: Post, contents: Memory) -> None:
        self.values.receive(post.buffer, torch.from_numpy(contents), post.op)
        self.messages.done_with(contents)

    def _memory_of(self, buffer: Buffer) -> Memory | None:
        tensor = self.values.tensor(buffer)
        return tensor.view(torch.uint8).numpy() if tensor.device.type == "cpu" else None


def _future_of(work: Any, device: torch.device) -> Any:
    """Return what says when a collective is done, None where a thread must wait for it."""
    if device.type == "cuda":
        # The future of a kernel is done when it is queued, not when it has run.
        return None
    try:
        return work.get_future()
    except RuntimeError:  # gloo has none for some of its collectives
        return None


def _error_of(future: Any) -> BaseException | None:
    try:
        future.value()
    except RuntimeError as error:
        return error
    return None
