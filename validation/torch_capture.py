"""Capture the user's own module as a workload, and remember it as the workload's twin."""

from __future__ import annotations

import itertools

from torch import nn

from simulator.workload import Workload
from validation.torch_twins import TWINS, Twin, register_twin
from workloads.capture import Input, Loss, OptimizerLike, capture, step_of


def capture_and_register(
    module: nn.Module,
    inputs: Input,
    *,
    loss: Loss | None = None,
    target: Input = None,
    optimizer: OptimizerLike = None,
    training: bool | None = None,
    name: str = "",
) -> Workload:
    """Return the workload of one step of a module, which then can be measured too.

    The arguments are those of `workloads.capture.capture`. Measuring uses the module itself, so
    that training changes its weights; where an input is given as a shape, it draws numbers.

    Parameters
    ----------
    name : of workload and twin; a twin of that name is replaced; "": the module's class in small
        letters, with a number where that name is taken

    Raises
    ------
    InputError : the step cannot be captured

    >>> workload = capture_and_register(nn.Linear(4, 3), (2, 4), name="mine")
    >>> TWINS["mine"](workload).step().shape
    torch.Size([2, 3])
    """
    workload = capture(module, inputs, loss=loss, target=target, optimizer=optimizer,
                       training=training, name=name or _free_name(module))  # fmt: skip

    def factory(workload: Workload) -> Twin:
        return step_of(module, inputs, loss=loss, target=target, optimizer=optimizer,
                       training=workload.training)  # fmt: skip

    register_twin(workload, factory)
    return workload


def _free_name(module: nn.Module) -> str:
    name = type(module).__name__.lower()
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(one for one in itertools.chain([name], numbered) if one not in TWINS)
