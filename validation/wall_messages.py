"""Carry messages between the processes of a measured run.

A message is a header and its contents. A send copies the contents and returns; one thread of each
process sends what the system would not take at once, receives from any source, and feeds the
mailbox, so that a receive can be given up. Contents go straight into the buffer of a receive that
waits for them. Where a program waits for a send, the receiver answers. A process connects to
another one when it first sends there; a connection carries messages one way.

Sockets and not torch.distributed: a receive of gloo that times out breaks its group, and a message
starts only at its receiver's word, which takes three times as long where cores are shared.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simulator.errors import ProgramError, RankFailedError
from simulator.workload import Buffer
from validation.wall_mailbox import Mailbox, Parcel, Post

Memory: TypeAlias = NDArray[np.uint8]
Address: TypeAlias = tuple[str, int]

DATA, WANTS_ANSWER, ANSWER = range(3)
"""Kinds of headers."""
LONGEST_NAME = 220
"""Of a buffer, bytes."""
HEADER = struct.Struct(f"<iiqqdi{LONGEST_NAME}s")
"""Source, kind, number of the message, bytes of its contents, size of the buffer (which need not be
whole), bytes of its name, its name."""
NUMBER_BYTES = 4
"""Buffers are made of float32, as gradients are."""
TURN_BYTES = 1 << 18
"""Read from one source before the others have their turn."""
BACKLOG = 4096
"""Processes that may connect at the same time."""


def numbers_in(buffer: Buffer) -> int:
    """Return of how many float32 the memory of a buffer is made: what fits, at least one.

    >>> numbers_in(Buffer("part", 10.5)), numbers_in(Buffer("part", 1.0)), numbers_in(_NOTHING)
    (2, 1, 0)
    """
    return max(1, int(buffer.nbytes) // NUMBER_BYTES) if buffer.nbytes else 0


def listen(host: str) -> socket.socket:
    """Return a socket on which the other processes may reach this one."""
    return socket.create_server((host, 0), backlog=BACKLOG)


class Messages:
    """Send to and receive from the other processes.

    Parameters
    ----------
    rank : of this process
    listening : where others connect
    addresses : where each process listens, by rank
    mailbox : what comes is put there
    memory_of : the memory of a buffer, None where others cannot write there
    """

    def __init__(
        self,
        rank: int,
        listening: socket.socket,
        addresses: Sequence[Address],
        mailbox: Mailbox,
        memory_of: Callable[[Buffer], Memory | None],
    ) -> None:
        self.failed: Exception | None = None
        self._rank, self._addresses, self._listening = rank, addresses, listening
        self._mailbox, self._memory_of, self._spare = mailbox, memory_of, _Spare()
        self._numbers = [0] * len(addresses)
        self._answers: dict[tuple[int, int], Callable[[], None]] = {}
        self._ways_out: dict[int, _WayOut] = {}
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._bell, self._ear = socket.socketpair()
        self._incoming = 0
        self._closing = self._abandoned = False
        listening.setblocking(False)
        self._selector.register(listening, selectors.EVENT_READ, self._accept)
        self._selector.register(self._ear, selectors.EVENT_READ, self._hear)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(
        self, buffer: Buffer, contents: Memory, to: int, delivered: Callable[[], None] | None
    ) -> int:
        """Send a copy of a buffer; return how many messages were sent there before.

        Parameters
        ----------
        buffer : what is sent
        contents : of the buffer
        to : the rank
        delivered : called when the message has come; None: nobody waits for it
        """
        number = self._numbers[to]
        self._numbers[to] += 1
        if to == self._rank:
            self._mailbox.deliver(Parcel(to, number, buffer, self._spare.copy(contents)))
            if delivered is not None:
                delivered()
            return number
        if delivered is not None:
            self._answers[to, number] = delivered
        kind = DATA if delivered is None else WANTS_ANSWER
        header = _header(self._rank, kind, number, buffer, len(contents))
        self._post(to, header, contents)
        return number

    def done_with(self, contents: Memory) -> None:
        """Take back the memory of contents that were copied out of a parcel."""
        self._spare.give(contents)

    def close(self, abandon: bool = False) -> None:
        """End: take what is still on its way, as all processes have ended their programs.

        With `abandon` leave it, as this one or another has failed.
        """
        self._closing, self._abandoned = True, abandon
        self._bell.send(b"!")
        self._thread.join()
        connections: list[Any] = [key.fileobj for key in self._selector.get_map().values()]
        connections += [way.socket for way in self._ways_out.values()]
        for one in (*connections, self._bell, self._selector):
            one.close()

    # --- sending -----------------------------------------------------------------------------

    def _post(self, to: int, header: bytes, contents: Memory | None = None) -> None:
        with self._lock:
            way = self._ways_out.get(to)
            if way is None:
                way = self._ways_out[to] = _WayOut(self._addresses[to])
            if not way.put(header, contents, self._spare):
                self._bell.send(b"!")

    def _hear(self) -> None:
        """Take over what the system would not take at once."""
        self._ear.recv(TURN_BYTES)
        with self._lock:
            for way in self._ways_out.values():
                if way.queue and not way.watched:
                    way.watched = True
                    self._selector.register(way.socket, selectors.EVENT_WRITE,
                                            lambda way=way: self._write(way))  # fmt: skip

    def _write(self, way: _WayOut) -> None:
        with self._lock:
            if way.push(self._spare):
                way.watched = False
                self._selector.unregister(way.socket)

    # --- receiving ---------------------------------------------------------------------------

    def _run(self) -> None:
        """Be the thread; who waits for messages hears of its failure."""
        try:
            while not (self._closing and self._at_end()):
                for key, _ in self._selector.select():
                    key.data()
        except Exception as error:
            with self._mailbox.news:
                self.failed = error
                self._mailbox.news.notify_all()

    def _at_end(self) -> bool:
        """Say whether all is sent and all has come; say the end to the others once all is sent."""
        if self._abandoned:
            return True
        with self._lock:
            sent = all(way.end() for way in self._ways_out.values())
        # Who sent here had connected before its program ended.
        self._accept()
        return sent and not self._incoming

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except BlockingIOError:
                return
            connection.setblocking(False)
            self._incoming += 1
            self._selector.register(connection, selectors.EVENT_READ, _WayIn(self, connection).read)

    def leave(self, connection: socket.socket) -> None:
        """Forget a source that has said that nothing more comes."""
        self._selector.unregister(connection)
        connection.close()
        self._incoming -= 1

    def begin(self, source: int, nbytes: int) -> tuple[Post | None, Memory, bool]:
        """Return the receive that waits for a message, where its contents go, and if for good."""
        post = self._mailbox.claim(source)
        memory = None if post is None or post.op else self._memory_of(post.buffer)
        if memory is not None and nbytes <= len(memory):
            return post, memory[:nbytes], True
        return post, self._spare.take(nbytes), False

    def take(self, kind: int, parcel: Parcel, post: Post | None) -> None:
        """Take a message that has come whole."""
        if kind == ANSWER:
            self._answers.pop((parcel.source, parcel.number))()
            return
        self._mailbox.deliver(parcel, post)
        if kind == WANTS_ANSWER:
            self._post(parcel.source, _header(self._rank, ANSWER, parcel.number, _NOTHING))


class _WayOut:
    """Be a connection to another process; `queue` holds what the system did not take yet."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.queue: deque[tuple[memoryview, Memory | None]] = deque()
        self.watched = self._ended = False

    def put(self, header: bytes, contents: Memory | None, spare: _Spare) -> bool:
        """Send after what is queued, and copy what is not sent at once; say whether all is."""
        self.queue.append((memoryview(header), None))
        if contents is not None:
            self.queue.append((contents.data, None))
        if not self.watched and self.push(spare):
            return True
        if contents is not None:
            view, _ = self.queue.pop()
            copy = spare.copy(np.frombuffer(view, np.uint8))
            self.queue.append((copy.data, copy))
        return False

    def push(self, spare: _Spare) -> bool:
        """Send what the system takes; say whether that is all."""
        while self.queue:
            try:
                sent = self.socket.sendmsg([view for view, _ in self.queue])
            except BlockingIOError:
                return False
            while self.queue and sent >= len(self.queue[0][0]):
                view, memory = self.queue.popleft()
                sent -= len(view)
                if memory is not None:
                    spare.give(memory)
            if sent:
                view, memory = self.queue[0]
                self.queue[0] = (view[sent:], memory)
        return True

    def end(self) -> bool:
        """Say that nothing more comes, where all is sent; say whether it is."""
        if not self.queue and not self._ended:
            self._ended = True
            self.socket.close()
        return self._ended


class _WayIn:
    """Be a connection from another process: read headers and contents by turns."""

    def __init__(self, messages: Messages, connection: socket.socket) -> None:
        self._messages, self._connection = messages, connection
        self._header = memoryview(bytearray(HEADER.size))
        self._into, self._filled = self._header, 0
        self._message: Any = None
        self._wanted = 1

    def read(self) -> None:
        """Read what has come, up to the turn of the others."""
        left = TURN_BYTES
        while left > 0:
            try:
                got = self._connection.recv_into(self._into[self._filled :])
            except BlockingIOError:
                break
            if not got:
                self._end()
                return
            left -= got
            self._filled += got
            while self._filled == len(self._into):
                self._next()
        self._wake_when_worth_it()

    def _wake_when_worth_it(self) -> None:
        """Have the system wait for more of a message than the next few packets."""
        wanted = min(len(self._into) - self._filled, TURN_BYTES)
        if wanted != self._wanted:
            self._wanted = wanted
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)

    def _next(self) -> None:
        """Begin with the contents after a header, with a header after contents."""
        if self._message is None:
            fields = HEADER.unpack(self._header)
            source, kind, number, nbytes, size, length, name = fields
            buffer = Buffer(name[:length].decode(), size)
            if kind == ANSWER:
                self._messages.take(kind, Parcel(source, number, buffer), None)
                self._filled = 0
                return
            post, memory, direct = self._messages.begin(source, nbytes)
            parcel = Parcel(source, number, buffer, None if direct else memory)
            self._message, self._into, self._filled = (kind, parcel, post), memory.data, 0
        else:
            message, self._message = self._message, None
            self._into, self._filled = self._header, 0
            self._messages.take(*message)

    def _end(self) -> None:
        if self._message is not None:
            source = self._message[1].source
            raise RankFailedError(source, "ended in the middle of a message")
        self._messages.leave(self._connection)


class _Spare:
    """Keep memory for reuse: mapping pages anew costs more than copying into them."""

    def __init__(self) -> None:
        self._by_size: dict[int, list[Memory]] = defaultdict(list)
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> Memory:
        """Return so many bytes that nobody else uses: the beginning of a block of 2^n."""
        size = 1 << max(0, nbytes - 1).bit_length()
        with self._lock:
            kept = self._by_size[size]
            return (kept.pop() if kept else np.empty(size, np.uint8))[:nbytes]

    def copy(self, contents: Memory) -> Memory:
        """Return a copy in memory that nobody else uses."""
        memory = self.take(len(contents))
        np.copyto(memory, contents)
        return memory

    def give(self, memory: Memory) -> None:
        """Take memory back."""
        block = memory if memory.base is None else memory.base
        with self._lock:
            self._by_size[len(block)].append(block)


def _header(source: int, kind: int, number: int, buffer: Buffer, nbytes: int = 0) -> bytes:
    text = buffer.name.encode()
    if len(text) > LONGEST_NAME:
        raise ProgramError(f"the name of a buffer that is sent may have {LONGEST_NAME} bytes; "
                           f"got '{buffer.name}'")  # fmt: skip
    return HEADER.pack(source, kind, number, nbytes, buffer.nbytes, len(text), text)


_NOTHING = Buffer("", 0.0)
