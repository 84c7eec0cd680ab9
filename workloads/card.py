"""Tell how much a workload computes, moves and keeps, and how that grows with its sizes.

Nothing here depends on hardware or time. The growth in a parameter is the exponent e of a power
law, amount ~ size^e, fitted to three sizes: linear work has 1, attention in its sequence up to 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.memory import peak_memory
from simulator.ops import KINDS
from simulator.units import format_quantity
from simulator.workload import Workload
from workloads.model import Model, Value
from workloads.patterns import PatternModel
from workloads.registry import find_model

AMOUNTS: tuple[str, ...] = ("flops", "bytes_moved", "weight_count", "activation_bytes")
"""What has an exponent for each parameter."""
COLUMNS: tuple[str, ...] = ("parameter", "value", *(f"{amount}_exponent" for amount in AMOUNTS))
"""What `ComplexityCard.rows` gives of each parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindShare:
    """Hold what the ops of one kind do together.

    Parameters
    ----------
    ops : number of ops
    flops, bytes_moved : of a step
    """

    kind: str
    ops: int
    flops: float
    bytes_moved: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Hold the exponents with which a step grows in one parameter.

    Parameters
    ----------
    sizes : at which the step was described
    flops, bytes_moved, weight_count, activation_bytes : exponents; None where an amount is 0
    """

    parameter: str
    sizes: tuple[int, ...]
    flops: float | None
    bytes_moved: float | None
    weight_count: float | None
    activation_bytes: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplexityCard:
    """Hold what a step needs, whatever it runs on.

    Parameters
    ----------
    parameters : of the workload
    samples : per step
    ops : number of ops
    flops : floating-point operations of the multiply-adds, 2 each
    bytes_moved : read and written, if every operand moved once
    weight_count, weight_bytes : trained numbers
    activation_bytes : peak of the results that are alive at one time
    kinds : by kind of op, most flops (then bytes) first
    growth : by numeric parameter
    """

    name: str
    parameters: Mapping[str, Value]
    samples: float
    ops: int
    flops: float
    bytes_moved: float
    weight_count: int
    weight_bytes: float
    activation_bytes: float
    kinds: tuple[KindShare, ...]
    growth: tuple[Growth, ...]

    @property
    def arithmetic_intensity(self) -> float:
        """Return flops for each byte moved."""
        return self.flops / self.bytes_moved

    def document(self) -> dict[str, Any]:
        """Return all as plain values."""
        return {**asdict(self), "arithmetic_intensity": self.arithmetic_intensity}

    def rows(self) -> list[list[Any]]:
        """Return a row for each parameter, with what `COLUMNS` names."""
        grown = {one.parameter: [getattr(one, amount) for amount in AMOUNTS] for one in self.growth}
        without = [None] * len(AMOUNTS)
        return [[name, value, *grown.get(name, without)] for name, value in self.parameters.items()]

    def lines(self) -> list[str]:
        """Return what the step needs, in words and by kind of op."""
        return [*_head(self), "", *_kinds(self)]

    def __str__(self) -> str:
        return "\n".join([*self.lines(), "", *_growth(self)])


def complexity_card(workload: str | Model, **parameters: Value) -> ComplexityCard:
    """Return the complexity card of a workload with these parameters.

    Raises
    ------
    UnknownNameError : no such workload or parameter
    InputError : a value that the workload cannot have

    >>> card = complexity_card("mlp", batch=8, inputs=10, width=10, depth=1, classes=10)
    >>> card.flops, round(card.arithmetic_intensity, 2)
    (3200.0, 1.14)
    >>> next(one.flops for one in card.growth if one.parameter == "batch")
    1.0
    """
    model = find_model(workload) if isinstance(workload, str) else workload
    if isinstance(model, PatternModel):
        raise InputError(f"{model.name} computes nothing: it has no card")
    step = model(**parameters)
    return ComplexityCard(
        name=step.name,
        parameters=step.parameters,
        samples=step.samples,
        ops=len(step.graph),
        weight_bytes=step.weight_bytes,
        weight_count=step.weight_count,
        flops=float(step.graph.flops.sum()),
        bytes_moved=float(step.graph.bytes_moved.sum()),
        activation_bytes=peak_memory(step)["activations"],
        kinds=tuple(sorted(_shares(step), key=lambda one: (-one.flops, -one.bytes_moved))),
        growth=tuple(_growths(model, step)),
    )


def _shares(step: Workload) -> Iterator[KindShare]:
    graph = step.graph
    count = np.bincount(graph.kind, minlength=len(KINDS))
    flops = np.bincount(graph.kind, graph.flops, len(KINDS))
    moved = np.bincount(graph.kind, graph.bytes_moved, len(KINDS))
    for at in np.flatnonzero(count):
        yield KindShare(kind=KINDS[at], ops=int(count[at]), flops=float(flops[at]),
                        bytes_moved=float(moved[at]))  # fmt: skip


def _growths(model: Model, step: Workload) -> Iterator[Growth]:
    for name, value in step.parameters.items():
        if isinstance(value, bool) or not isinstance(value, int):
            continue
        found = _steps_at(model, step, name, value)
        if found is not None:
            yield _fitted(name, *found)


def _steps_at(
    model: Model, step: Workload, name: str, value: int
) -> tuple[tuple[int, ...], list[Workload]] | None:
    """Return three sizes and the steps at them: larger ones, else smaller ones, else None."""
    for sizes in ((value, 2 * value, 4 * value), (value // 4, value // 2, value)):
        try:
            return sizes, [model(**{**step.parameters, name: size}) for size in sizes]
        except InputError:
            continue  # a size that the model cannot have, such as more tokens than positions
    return None


def _fitted(name: str, sizes: tuple[int, ...], steps: Sequence[Workload]) -> Growth:
    amounts = np.array([_amounts(one) for one in steps])
    exponents = [_exponent(sizes, column) for column in amounts.T]
    return Growth(parameter=name, sizes=sizes, **dict(zip(AMOUNTS, exponents, strict=True)))


def _amounts(step: Workload) -> tuple[float, float, float, float]:
    return (
        float(step.graph.flops.sum()),
        float(step.graph.bytes_moved.sum()),
        float(step.weight_count),
        peak_memory(step)["activations"],
    )


def _exponent(sizes: tuple[int, ...], amounts: Any) -> float | None:
    """Return the slope of log amount over log size by least squares."""
    if not all(amount > 0 for amount in amounts):
        return None
    x = np.log(sizes) - np.log(sizes).mean()
    return round(float(x @ np.log(amounts) / (x @ x)), 4) + 0.0


def _head(card: ComplexityCard) -> list[str]:
    given = ", ".join(f"{key}={value}" for key, value in card.parameters.items())
    return [
        f"{card.name} ({given})",
        f"  arithmetic            {format_quantity(card.flops, 'flop')} a step in {card.ops} ops",
        f"  memory traffic        {format_quantity(card.bytes_moved, 'bytes')}",
        f"  arithmetic intensity  {card.arithmetic_intensity:.4g} FLOP/B",
        f"  weights               {card.weight_count:,} "
        f"({format_quantity(card.weight_bytes, 'bytes')})",
        f"  activations           {format_quantity(card.activation_bytes, 'bytes')} at peak",
    ]


def _kinds(card: ComplexityCard) -> list[str]:
    lines = [f"  {'kind':<18}{'ops':>7}{'arithmetic':>14}{'traffic':>12}"]
    for one in card.kinds:
        flops, moved = format_quantity(one.flops, "flop"), format_quantity(one.bytes_moved, "bytes")
        lines.append(f"  {one.kind:<18}{one.ops:>7}{flops:>14}{moved:>12}")
    return lines


def _growth(card: ComplexityCard) -> list[str]:
    lines = [f"  {'grows with':<18}{'arithmetic':>12}{'traffic':>10}{'weights':>10}"
             f"{'activations':>13}"]  # fmt: skip
    for one in card.growth:
        shown = ["-" if (e := getattr(one, amount)) is None else f"^{e:.2f}" for amount in AMOUNTS]
        lines.append(f"  {one.parameter:<18}{shown[0]:>12}{shown[1]:>10}{shown[2]:>10}"
                     f"{shown[3]:>13}")  # fmt: skip
    return lines
