"""Capture the user's own module as a workload, and remember it as the workload's twin."""

from __future__ import annotations

import itertools
from typing import Any

from torch import nn

from simulator.workload import Workload
from validation.torch_twins import TWINS, Twin, register_twin
from workloads.capture import Input, capture, step_of


def capture_and_register(
    module: nn.Module, inputs: Input, *, name: str = "", **options: Any
) -> Workload:
    """Return the workload of one step of a module, which then can be measured too.

    Measuring uses the module itself, so that training changes its weights; where an input is given
    as a shape, it draws numbers.

    Parameters
    ----------
    inputs : what the module is called with, as `workloads.capture.capture` has it
    name : of workload and twin; a twin of that name is replaced; "": the module's class in small
        letters, with a number where that name is taken
    options : loss, target, optimizer and training, as `workloads.capture.capture` has them

    Raises
    ------
    InputError : the step cannot be captured

    >>> workload = capture_and_register(nn.Linear(4, 3), (2, 4), name="my-layer")
    >>> TWINS["my-layer"](workload).step().shape
    torch.Size([2, 3])
    """
    workload = capture(module, inputs, name=name or _free_name(module), **options)
    training = {"training": workload.training}

    def factory(workload: Workload) -> Twin:
        return step_of(module, inputs, **{**options, **training})

    register_twin(workload, factory)
    return workload


def _free_name(module: nn.Module) -> str:
    name = type(module).__name__.lower()
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(one for one in itertools.chain([name], numbered) if one not in TWINS)
