"""Make a workload of a function that records a model's forward pass.

A *model* is a callable: `resnet50(batch=256, training=True)` gives a `Workload`. It is made of a
*recording function*, which calls layers on a `Network`, and of *sizes* with their defaults. A model
also takes `dtype` and, if it can be trained, `training`, `optimizer` and `master` (mixed precision:
`dtype="bfloat16", master="float32"`); one that is known to be compiled, `compiled`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from simulator.errors import InputError, UnknownNameError
from simulator.ops import DTYPES, Graph
from simulator.workload import Workload
from workloads.compiled import fused
from workloads.network import Network, Recorded
from workloads.optimizers import MASTERS, OPTIMIZERS, update

Value: TypeAlias = int | float | bool | str
Record: TypeAlias = Callable[[Network, "Sizes"], Recorded]

SHORTENED = "tfloat32"
"""A model in float32 whose products may be computed with 10 bits of mantissa.

Devices without units for it compute in float32. It is PyTorch's float32 where `allow_tf32` is set,
as it is for convolutions unless told otherwise.
"""
FLOATING: tuple[str, ...] = ("float32", SHORTENED, "float64", "bfloat16", "float16")
"""Data types that a model can have."""
CHOICES: dict[str, Sequence[str]] = {
    "optimizer": tuple(OPTIMIZERS), "master": MASTERS, "dtype": FLOATING,
}  # fmt: skip
"""What the parameters that are words may be."""


class Sizes(SimpleNamespace):
    """Hold the sizes that a recording function asks for, by name."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Model:
    """Be a named way to make workloads; call it with keyword parameters.

    Parameters
    ----------
    name : in the registry
    record : the recording function
    parameters : default value by name, in the order to show
    description : one line
    """

    name: str
    record: Record
    parameters: Mapping[str, Value]
    description: str

    def __call__(self, /, **parameters: Value) -> Workload:
        """Return the workload of one step with these parameters.

        Raises
        ------
        UnknownNameError : the model has no such parameter
        InputError : a value of the wrong type, a word that is no choice, or a size below 1
        """
        chosen = {**self.parameters, **self._checked(parameters)}
        own = dict(chosen)
        training = bool(own.pop("training", False))
        optimizer = str(own.pop("optimizer", "none"))
        master = str(own.pop("master", "none"))
        compiled = bool(own.pop("compiled", False))
        if compiled and training:
            raise InputError(f"{self.name}: only inference can be compiled; got training")
        dtype = str(own.pop("dtype", "float32"))
        net = Network(training, "float32" if dtype == SHORTENED else dtype)
        try:
            result, inputs = self.record(net, Sizes(**own))
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from None
        if training:
            net.backward(result)
            update(net, optimizer, master)
        made = net.workload(self.name, chosen, int(chosen["batch"]), inputs)
        graph = fused(made.graph) if compiled else made.graph
        return replace(made, graph=_shortened(graph) if dtype == SHORTENED else graph)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"{self.name}({given})"

    def preset(self, name: str, description: str, **sizes: Value) -> Model:
        """Return a model of another name with other default sizes."""
        return replace(self, name=name, description=description,
                       parameters={**self.parameters, **self._checked(sizes)})  # fmt: skip

    def _checked(self, given: Mapping[str, Value]) -> dict[str, Value]:
        for key in given:
            if key not in self.parameters:
                raise UnknownNameError(f"parameter of {self.name}", key, self.parameters)
        return {
            key: _checked(f"{self.name}: {key}", key, value, self.parameters[key])
            for key, value in given.items()
        }


def _shortened(graph: Graph) -> Graph:
    """Return a graph in float32 in the shorter mode: the same calls on as many bytes."""
    code, short = DTYPES.index("float32"), DTYPES.index(SHORTENED)
    return replace(graph, dtype=np.where(graph.dtype == code, short, graph.dtype))


def _checked(what: str, key: str, value: Value, default: Value) -> Value:
    """Return a value of the type of the default, or raise."""
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise InputError(f"{what} must be true or false; got {value!r}")
        return value
    if isinstance(default, str):
        if value not in CHOICES[key]:
            raise InputError(f"{what} must be one of {', '.join(CHOICES[key])}; got {value!r}")
        return value
    number = value if isinstance(value, (int, float)) else _number(value)
    if isinstance(value, bool) or number is None or not math.isfinite(number):
        raise InputError(f"{what} must be a number; got {value!r}")
    if isinstance(default, float):
        if number < 0:
            raise InputError(f"{what} must not be negative; got {value!r}")
        return float(number)
    if number != int(number) or number < 1:
        raise InputError(f"{what} must be a whole number of at least 1; got {value!r}")
    return int(number)


def _number(value: Any) -> float | None:
    """Return the number that an object such as numpy's scalars stands for, else None."""
    return value.item() if hasattr(value, "item") and not isinstance(value, str) else None


def model(
    name: str = "", *, training: bool | None = False, **sizes: int
) -> Callable[[Record], Model]:
    """Return a decorator that makes a model of a recording function.

    Parameters
    ----------
    name : in the registry; "" means the function's
    training : the default; None: it cannot be trained
    sizes : with their defaults; the first is "batch", the samples per step
    """

    def make(record: Record) -> Model:
        step: dict[str, Value] = {}
        if training is not None:
            step = {"training": training, "optimizer": "sgd", "master": "none"}
        return Model(
            name=name or record.__name__,
            record=record,
            parameters={**sizes, **step, "dtype": "float32"},
            description=(inspect.getdoc(record) or "").splitlines()[0].rstrip("."),
        )

    return make
