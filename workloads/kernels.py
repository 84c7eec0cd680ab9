"""Say what one call of a framework's kernel costs: a table from kernel names to pure functions.

An *operand* is what a kernel reads or writes: shape, dtype and distinct bytes. A *call* is a kernel
name with its operands and the options that matter. A *cost* is the kind, sizes, arithmetic and
traffic of a call; `FORMULAS` maps kernel names (as torch's ATen has them) to functions from a call
to its cost. The formulas stand in `kernel_flops` and `kernel_traffic`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple, TypeAlias

from simulator.errors import InputError


class Operand(NamedTuple):
    """Hold one tensor as a kernel sees it.

    Parameters
    ----------
    shape : sizes
    dtype : one of `simulator.ops.DTYPES`
    nbytes : bytes of its distinct elements (an expanded axis counts once)
    """

    shape: tuple[int, ...]
    dtype: str
    nbytes: float

    @property
    def elements(self) -> int:
        """Return the number of elements, expanded axes included."""
        return prod(self.shape)


class Call(NamedTuple):
    """Hold one call of a kernel.

    Parameters
    ----------
    name : of the kernel, as torch's ATen has it ("addmm", "add_")
    inputs : the tensors among its arguments, in their order
    outputs : fresh results, then the operands written in place
    options : the other arguments that decide what is done ("groups", "output_mask", "dim" ...)
    """

    name: str
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cost:
    """Hold what a call costs.

    Parameters
    ----------
    kind, dims : as `simulator.ops.Op` has them
    flops : of multiply-adds, 2 each; other arithmetic counts 0, as in published operation counts
    reads : bytes read of each input; None: all of it
    written : bytes written; None: all outputs
    """

    kind: str
    dims: tuple[int, ...]
    flops: float = 0.0
    reads: tuple[float, ...] | None = None
    written: float | None = None


Formula: TypeAlias = Callable[[Call], Cost]

FORMULAS: dict[str, Formula] = {}
"""What a kernel costs, by its name."""


def formula(*names: str) -> Callable[[Formula], Formula]:
    """Return a decorator that registers a function as the formula of these kernels.

    Raises
    ------
    InputError : one of the kernels has a formula already
    """

    def register(function: Formula) -> Formula:
        for name in names:
            if name in FORMULAS:
                raise InputError(f"kernel '{name}' has a formula already: "
                                 f"{FORMULAS[name].__name__}")  # fmt: skip
            FORMULAS[name] = function
        return function

    return register


def cost_of(call: Call) -> tuple[Cost, bool]:
    """Return the cost of a call, and whether the table knows its kernel.

    An in-place kernel ("add_") costs as its plain one, unless it has a formula of its own. A kernel
    that is not in the table counts as an elementwise op without arithmetic.
    """
    found = FORMULAS.get(call.name) or FORMULAS.get(call.name.removesuffix("_"))
    if found is not None:
        return found(call), True
    touched = call.outputs or call.inputs
    kind = "elementwise" if any("float" in one.dtype for one in touched) else "copy"
    return Cost(kind, (max((one.elements for one in touched), default=0),)), False
