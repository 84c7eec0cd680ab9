"""Do in torch the very step that a workload describes.

A *twin* holds a module with its inputs, loss and optimizer; `twin.step()` does one step for real.
A *factory* makes the twin of a workload; `TWINS` maps workload names to factories.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

from simulator.errors import UnknownNameError
from simulator.workload import Workload
from validation import torch_models
from workloads.capture import OPTIMIZERS


@dataclass(frozen=True, kw_only=True)
class Twin:
    """Do a workload's step in torch.

    Parameters
    ----------
    module : what is computed
    args : the arguments of the module
    loss : from output (and target) to a scalar; None: the step is forward only
    target : second argument of the loss, or None
    optimizer : None: gradients are computed and not used
    """

    module: nn.Module
    args: tuple[Any, ...]
    loss: Callable[..., torch.Tensor] | None = None
    target: Any = None
    optimizer: torch.optim.Optimizer | None = None

    @property
    def training(self) -> bool:
        """Say whether the step has a backward pass."""
        return self.loss is not None

    def step(self) -> Any:
        """Do one step; return the loss when training, else the output."""
        if not self.training:
            return self.forward()
        loss = self.forward()
        self.backward(loss)
        self.update()
        return loss

    def forward(self) -> Any:
        """Return the loss when training, else the output (computed without gradients)."""
        with torch.set_grad_enabled(self.training):
            output = self.module(*self.args)
            if self.loss is None:
                return output
            return self.loss(output) if self.target is None else self.loss(output, self.target)

    def backward(self, loss: torch.Tensor) -> None:
        """Replace the gradients of the last step by those of this loss."""
        self.module.zero_grad()
        loss.backward()

    def update(self) -> None:
        """Let the optimizer use the gradients."""
        if self.optimizer is not None:
            self.optimizer.step()


Factory: TypeAlias = Callable[[Workload], Twin]
TWINS: dict[str, Factory] = {}
"""Factories by the name of the workload."""


def register_twin(workload: Workload | str, factory: Factory) -> None:
    """Say what does the step of this workload in torch; a later call replaces an earlier one."""
    TWINS[workload if isinstance(workload, str) else workload.name] = factory


def twin(workload: Workload, seed: int = 0) -> Twin:
    """Return the twin of a workload, with weights and inputs drawn from a seed.

    Raises
    ------
    UnknownNameError : no twin is registered for this workload

    >>> from workloads.registry import find_workload
    >>> tuple(twin(find_workload("mlp", batch=2, classes=3)).step().shape)
    (2, 3)
    """
    if workload.name not in TWINS:
        raise UnknownNameError("twin of a workload", workload.name, TWINS)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return TWINS[workload.name](workload)


def _made(workload: Workload, module: nn.Module, *args: Any, classes: int = 0) -> Twin:
    """Return the twin that classifies its arguments with a module."""
    chosen = workload.parameters
    dtype = getattr(torch, chosen.get("dtype", "float32"))
    module = module.to(dtype).train(bool(chosen.get("training")))
    given = tuple(one.to(dtype) if one.is_floating_point() else one for one in args)
    if not chosen.get("training"):
        return Twin(module=module, args=given)
    make = OPTIMIZERS.get(chosen["optimizer"])
    return Twin(
        module=module,
        args=given,
        loss=nn.functional.cross_entropy,
        target=torch.randint(0, classes, (int(chosen["batch"]),)),
        optimizer=None if make is None else make(module.parameters()),
    )


def _sizes(workload: Workload, *names: str) -> Mapping[str, int]:
    return {name: workload.parameters[name] for name in names}


def _mlp(workload: Workload) -> Twin:
    sizes = _sizes(workload, "inputs", "width", "depth", "classes")
    given = torch.randn(workload.parameters["batch"], sizes["inputs"])
    return _made(workload, torch_models.mlp(**sizes), given, classes=sizes["classes"])


register_twin("mlp", _mlp)
