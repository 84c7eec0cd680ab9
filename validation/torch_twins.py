"""Do in torch the very step that a workload describes.

A *twin* holds a module with its arguments, loss and optimizer; `twin.step()` does one real step.
A *factory* makes the twin of a workload; `TWINS` maps workload names to factories.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from simulator.errors import UnknownNameError
from simulator.workload import Workload
from validation import torch_models
from workloads.capture import OPTIMIZERS, Step
from workloads.models.images import MOBILENET_V2_STAGES, RESNET_STAGES, VGG16_STAGES

Twin: TypeAlias = Step
"""A real step: `step()`, or `forward()`, `backward(loss)` and `update()` one after another."""
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


def _twin(workload: Workload, module: nn.Module, *args: Any, loss: Any, target: Any) -> Twin:
    """Return the twin of a workload in its dtype and mode, with its optimizer."""
    chosen = workload.parameters
    dtype = getattr(torch, chosen["dtype"])
    training = bool(chosen.get("training"))
    make = OPTIMIZERS.get(chosen["optimizer"]) if training else None
    module = module.to(dtype).train(training)
    return Twin(
        module=module,
        args=tuple(one.to(dtype) if one.is_floating_point() else one for one in args),
        training=training,
        loss=loss,
        target=target if training else None,
        optimizer=None if make is None else make(module.parameters()),
    )


def _classifies(workload: Workload, module: nn.Module, *args: Any, rows: int, classes: int) -> Twin:
    """Return the twin that classifies its arguments; each gives so many rows of scores."""
    target = torch.randint(0, classes, (rows,))
    return _twin(workload, module, *args, loss=functional.cross_entropy, target=target)


def _register(*names: str) -> Callable[[Callable[..., Twin]], Callable[..., Twin]]:
    """Register a function from a workload and its sizes; it takes of them what it names."""

    def register(make: Callable[..., Twin]) -> Callable[..., Twin]:
        wanted = list(inspect.signature(make).parameters)[1:]

        def factory(workload: Workload) -> Twin:
            return make(workload, *[workload.parameters[name] for name in wanted])

        for name in names:
            register_twin(name, factory)
        return make

    return register


@_register("mlp")
def _mlp(workload: Workload, batch: int, inputs: int, width: int, depth: int, classes: int) -> Twin:
    module = torch_models.mlp(inputs, width, depth, classes)
    return _classifies(workload, module, torch.randn(batch, inputs), rows=batch, classes=classes)


@_register("logistic-regression")
def _logistic_regression(workload: Workload, batch: int, features: int, classes: int) -> Twin:
    module = nn.Linear(features, classes)
    return _classifies(workload, module, torch.randn(batch, features), rows=batch, classes=classes)


@_register("linear-svm")
def _linear_svm(workload: Workload, batch: int, features: int) -> Twin:
    module = torch_models.LinearSvm(features, penalty=1e-3)
    args = [torch.randn(batch, features)]
    if workload.parameters["training"]:
        args.append(torch.randint(0, 2, (batch,)) * 2.0 - 1.0)
    return _twin(workload, module, *args, loss=_itself, target=None)


def _itself(output: torch.Tensor) -> torch.Tensor:
    return output


@_register("kmeans")
def _kmeans(workload: Workload, batch: int, features: int, clusters: int) -> Twin:
    module = torch_models.KMeans(clusters, features)
    return _twin(workload, module, torch.randn(batch, features), loss=None, target=None)


@_register("knn")
def _knn(
    workload: Workload, batch: int, points: int, features: int, neighbours: int, classes: int
) -> Twin:
    module = torch_models.NearestNeighbours(points, features, min(neighbours, points), classes)
    return _twin(workload, module, torch.randn(batch, features), loss=None, target=None)


@_register("lenet5")
def _lenet5(workload: Workload, batch: int, classes: int) -> Twin:
    images = torch.randn(batch, 1, 28, 28)
    return _classifies(workload, torch_models.lenet5(classes), images, rows=batch, classes=classes)


@_register("alexnet", "vgg16", "mobilenet-v2")
def _images(workload: Workload, batch: int, image: int, classes: int) -> Twin:
    if workload.name == "alexnet":
        module = torch_models.alexnet(classes)
    elif workload.name == "vgg16":
        module = torch_models.vgg16(VGG16_STAGES, classes)
    else:
        module = torch_models.mobilenet_v2(MOBILENET_V2_STAGES, classes)
    images = torch.randn(batch, 3, image, image)
    return _classifies(workload, module, images, rows=batch, classes=classes)


@_register("resnet18", "resnet34", "resnet50")
def _resnet(workload: Workload, batch: int, image: int, classes: int, width: int) -> Twin:
    blocks, expansion = RESNET_STAGES[int(workload.name.removeprefix("resnet"))]
    module = torch_models.resnet(blocks, expansion, width, classes)
    images = torch.randn(batch, 3, image, image)
    return _classifies(workload, module, images, rows=batch, classes=classes)


@_register("lstm")
def _lstm(
    workload: Workload, batch: int, sequence: int, vocabulary: int, width: int, hidden: int,
    layers: int,
) -> Twin:  # fmt: skip
    module = torch_models.LstmLanguage(vocabulary, width, hidden, layers)
    tokens = torch.randint(0, vocabulary, (batch, sequence))
    return _classifies(workload, module, tokens, rows=batch * sequence, classes=vocabulary)


@_register("bert-base")
def _bert(workload: Workload, batch: int, sequence: int, width: int, vocabulary: int) -> Twin:
    module = torch_models.Bert(**_transformer(workload))
    tokens = torch.randint(0, vocabulary, (batch, sequence))
    segments = torch.randint(0, 2, (batch, sequence))
    return _classifies(workload, module, tokens, segments, rows=batch, classes=width)


@_register("gpt", "gpt2-small", "gpt-1.3b", "gpt-6.7b", "gpt-175b")
def _gpt(workload: Workload, batch: int, sequence: int, vocabulary: int) -> Twin:
    module = torch_models.Gpt(**_transformer(workload))
    tokens = torch.randint(0, vocabulary, (batch, sequence))
    return _classifies(workload, module, tokens, rows=batch * sequence, classes=vocabulary)


def _transformer(workload: Workload) -> dict[str, int]:
    names = ("layers", "width", "heads", "vocabulary", "positions")
    return {name: int(workload.parameters[name]) for name in names}
