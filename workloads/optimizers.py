"""The kernels that torch's optimizers call for each weight (the plain loops, which a CPU takes)."""

from __future__ import annotations

from collections.abc import Callable

from simulator.errors import UnknownNameError
from simulator.ops import DTYPE_BYTES
from workloads.network import Network
from workloads.tape import Piece, Storage, Tensor

Update = Callable[[Network, Tensor, Tensor], None]


def sgd(net: Network, weight: Tensor, grad: Tensor) -> None:
    """Step along the gradient."""
    net.write("add_", weight, grad)


def momentum(net: Network, weight: Tensor, grad: Tensor) -> None:
    """Step along the running sum of gradients."""
    (velocity,) = _state(net, (weight.shape, weight.dtype))
    net.write("mul_", velocity)
    net.write("add_", velocity, grad)
    net.write("add_", weight, velocity)


def adam(net: Network, weight: Tensor, grad: Tensor) -> None:
    """Step along the mean gradient over the root of its mean square."""
    _adam(net, weight, grad, decay=False)


def adamw(net: Network, weight: Tensor, grad: Tensor) -> None:
    """Shrink the weight, then step as Adam does."""
    _adam(net, weight, grad, decay=True)


def _adam(net: Network, weight: Tensor, grad: Tensor, decay: bool) -> None:
    like = (weight.shape, weight.dtype)
    mean, square, count = _state(net, like, like, ((), "float32"))
    net.write("add_", count)
    if decay:
        net.write("mul_", weight)
    net.write("lerp_", mean, grad)
    net.write("mul_", square)
    net.write("addcmul_", square, grad, grad)
    net.tape.call("_local_scalar_dense", (count,))
    root = net.call("sqrt", [square], *like)
    scaled = net.call("div", [root], *like)
    net.write("add_", scaled)
    net.write("addcdiv_", weight, mean, scaled)


def _state(net: Network, *tensors: tuple[tuple[int, ...], str]) -> list[Tensor]:
    """Return tensors of shapes and types that an optimizer keeps from step to step."""
    kept = [net.given(*one) for one in tensors]
    net.state_bytes += sum(one.operand.nbytes for one in kept)
    return kept


def _on_master(step: Update, dtype: str) -> Update:
    """Return the step on a wider copy of each weight, which is then rounded to the weight.

    Micikevicius et al., "Mixed Precision Training", arXiv:1710.03740, section 3.1. With Adam, a
    weight, its gradient and state take 16 bytes (Rajbhandari et al., "ZeRO", arXiv:1910.02054,
    section 3.1).
    """

    def mixed(net: Network, weight: Tensor, grad: Tensor) -> None:
        (master,) = _state(net, (weight.shape, dtype))
        step(net, master, net.call("_to_copy", [grad], grad.shape, dtype))
        net.write("copy_", weight, master)

    return mixed


OPTIMIZERS: dict[str, Update | None] = {
    "none": None, "sgd": sgd, "momentum": momentum, "adam": adam, "adamw": adamw,
}  # fmt: skip
"""Optimizers by name; "none" leaves the gradients unused."""
MASTERS = ("none", "float32")
"""Types of the copies of narrower weights that optimizers step on; "none": on the weights."""


def update(net: Network, optimizer: str, master: str = "none") -> None:
    """Call the kernels of an optimizer's step, weight by weight.

    Parameters
    ----------
    net : with gradients
    optimizer : of `OPTIMIZERS`
    master : of `MASTERS`; weights that are as wide need no copy
    """
    if optimizer not in OPTIMIZERS:
        raise UnknownNameError("optimizer", optimizer, OPTIMIZERS)
    step = OPTIMIZERS[optimizer]
    if step is None:
        return
    if master != "none" and DTYPE_BYTES[net.dtype] < DTYPE_BYTES[master]:
        step = _on_master(step, master)
    tape = net.tape
    tape.phase = "update"
    pieces: dict[tuple[int, ...], tuple[Piece, float]] = {}
    for place, weight in enumerate(net.weights):
        grad = net.grads.get(place)
        if grad is None:
            continue
        before = [*weight.storage.readers, grad.storage.writer]
        key = (weight.code, grad.code, len(before), before.index(before[-1]))
        if key not in pieces:
            pieces[key] = _piece(net, step, weight, grad, before)
        piece, state_bytes = pieces[key]
        tape.play(piece, before)
        net.state_bytes += state_bytes


def _piece(
    net: Network, step: Update, weight: Tensor, grad: Tensor, before: list[int]
) -> tuple[Piece, float]:
    """Return the calls for one weight, and the bytes of its state.

    Weights that are alike take the same calls, but for what they wait for: those numbered in
    `before`, which stand in the piece as -2, -3 ...
    """
    start, state_bytes = len(net.tape), net.state_bytes
    stand_ins = [-2 - before.index(one) for one in before]
    own, other = Storage(weight=True), Storage()
    own.readers, other.writer = stand_ins[:-1], stand_ins[-1]
    step(
        net,
        net.tape.tensor(weight.shape, weight.dtype, own),
        net.tape.tensor(grad.shape, grad.dtype, other),
    )
    kept = net.state_bytes - state_bytes
    net.state_bytes = state_bytes
    return net.tape.cut(start), kept
