"""Exchange real tensors in a collective of a co-simulated run.

Payloads are opaque, but for `all_gather`, `reduce_scatter`, `all_to_all` and parts of buffers:
there they are flat arrays that can be measured with `len` and sliced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from simulator.actions import Collective
from simulator.engine.scene import ValuesByRank
from simulator.protocols import Values
from simulator.workload import Buffer


def part(length: int, index: int, parts: int) -> slice:
    """Return one of the nearly equal parts into which a flat array is dealt.

    >>> [part(10, i, 3) for i in range(3)]
    [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    return slice(index * length // parts, (index + 1) * length // parts)


def read(values: Values, buffer: Buffer) -> Any:
    """Return a copy of a buffer's contents, or of a part's."""
    if buffer.whole is None:
        return values.read(buffer.name)
    whole: Any = values.read(buffer.whole.name)
    return whole[part(len(whole), *buffer.place)]


def write(values: Values, buffer: Buffer, payload: Any, op: str | None = None) -> None:
    """Replace the contents of a buffer, or of a part; with `op` reduce the payload into them."""
    if op is not None:
        payload = values.reduce([read(values, buffer), payload], op)
    if buffer.whole is None:
        values.write(buffer.name, payload)
        return
    whole: Any = values.read(buffer.whole.name)
    whole[part(len(whole), *buffer.place)] = payload
    values.write(buffer.whole.name, whole)


class Exchange:
    """Read the buffers of a group when a collective begins and write them when it ends.

    Parameters
    ----------
    action : the collective
    values : tensors by rank
    """

    __slots__ = ("_action", "_payloads", "_targets", "_values")

    def __init__(self, action: Collective, values: ValuesByRank) -> None:
        self._action, self._values = action, values
        self._payloads = self._read() if action.kind != "barrier" else []
        self._targets = self._read() if action.kind == "all_to_all" else self._payloads

    def _read(self) -> list[Any]:
        buffer = self._action.buffer
        return [read(self._values[rank], buffer) for rank in self._action.group.ranks]

    def end(self) -> None:
        """Write what the collective leaves in the buffers."""
        if self._payloads:
            for rank, result in zip(self._action.group.ranks, self._results(), strict=True):
                write(self._values[rank], self._action.buffer, result)

    def _results(self) -> list[Any]:
        if self._action.kind == "all_to_all":
            return _all_to_all(self._payloads, self._targets)
        reduce = self._values[self._action.group.ranks[0]].reduce
        return _EXCHANGES[self._action.kind](self._action, self._payloads, reduce)


Reduce = Callable[[Sequence[Any], str], Any]


def _all_reduce(action: Collective, payloads: list[Any], reduce: Reduce) -> list[Any]:
    return [reduce(payloads, action.op)] * len(payloads)


def _reduce(action: Collective, payloads: list[Any], reduce: Reduce) -> list[Any]:
    root = action.group.index(action.root)
    return [*payloads[:root], reduce(payloads, action.op), *payloads[root + 1 :]]


def _broadcast(action: Collective, payloads: list[Any], _: Reduce) -> list[Any]:
    return [payloads[action.group.index(action.root)]] * len(payloads)


def _all_gather(_: Collective, payloads: list[Any], __: Reduce) -> list[Any]:
    whole = payloads[0]
    for index, payload in enumerate(payloads):
        own = part(len(payload), index, len(payloads))
        whole[own] = payload[own]
    return [whole] * len(payloads)


def _reduce_scatter(action: Collective, payloads: list[Any], reduce: Reduce) -> list[Any]:
    whole = reduce(payloads, action.op)
    for index, payload in enumerate(payloads):
        own = part(len(payload), index, len(payloads))
        payload[own] = whole[own]
    return payloads


def _all_to_all(payloads: list[Any], targets: list[Any]) -> list[Any]:
    parts = len(payloads)
    for receiver, target in enumerate(targets):
        for sender, payload in enumerate(payloads):
            given = payload[part(len(payload), receiver, parts)]
            begin = part(len(target), sender, parts)
            room = target[begin]
            # Parts of a buffer that cannot be dealt evenly differ by one.
            both = min(len(given), len(room))
            target[begin.start : begin.start + both] = given[:both]
    return targets


_EXCHANGES: dict[str, Callable[[Collective, list[Any], Reduce], list[Any]]] = {
    "all_reduce": _all_reduce,
    "reduce": _reduce,
    "broadcast": _broadcast,
    "all_gather": _all_gather,
    "reduce_scatter": _reduce_scatter,
}
