"""Do in torch the very step that a workload describes.

A *twin* holds a module with its arguments, loss and optimizer; `twin.step()` does one real step.
A *factory* makes the twin of a workload; `TWINS` maps workload names to factories.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from simulator.errors import InputError, UnknownNameError
from simulator.workload import Workload
from validation import torch_huggingface, torch_models
from workloads.capture import OPTIMIZERS, Step
from workloads.model import Sizes
from workloads.models.images import MOBILENET_V2_STAGES, RESNETS, VGG16_STAGES
from workloads.models.inception import INCEPTION_V3_BLOCKS, INCEPTION_V3_STEM

Twin: TypeAlias = Step
"""A real step: `step()`, or `forward()`, `backward(loss)` and `update()` one after another."""
Args: TypeAlias = tuple[torch.Tensor, ...]
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
    InputError : mixed precision with master weights

    >>> from workloads.registry import find_workload
    >>> tuple(twin(find_workload("mlp", batch=2, classes=3)).step().shape)
    (2, 3)
    """
    if workload.name not in TWINS:
        raise UnknownNameError("twin of a workload", workload.name, TWINS)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed % 2**63)  # of more bits torch takes none
        return TWINS[workload.name](workload)


def _twin(workload: Workload, module: nn.Module, args: Args, **step: Any) -> Twin:
    """Return the twin of a workload in its dtype and mode, with its optimizer."""
    chosen = workload.parameters
    dtype = getattr(torch, chosen["dtype"].replace("tfloat32", "float32"))
    training = bool(chosen.get("training"))
    if training and chosen["master"] != "none":
        raise InputError(f"{workload.name}: steps with master weights are not measured; "
                         "predict them, or measure with workload.master=none")  # fmt: skip
    make = OPTIMIZERS.get(chosen["optimizer"]) if training else None
    module = module.to(dtype).train(training)
    return Twin(
        module=module,
        args=tuple(one.to(dtype) if one.is_floating_point() else one for one in args),
        training=training,
        optimizer=None if make is None else make(module.parameters()),
        **step if training else {},
    )


Classifier: TypeAlias = Callable[[Sizes], tuple[nn.Module, Args, tuple[int, int]]]
"""From sizes to a module, its arguments, and the shape [rows, classes] of its scores."""


def _classifies(*names: str) -> Callable[[Classifier], Classifier]:
    """Return a decorator that registers twins which are trained by cross-entropy."""

    def register(make: Classifier) -> Classifier:
        def factory(workload: Workload) -> Twin:
            module, args, (rows, classes) = make(Sizes(**workload.parameters, name=workload.name))
            target = torch.randint(0, classes, (rows,))
            return _twin(workload, module, args, loss=functional.cross_entropy, target=target)

        for name in names:
            register_twin(name, factory)
        return make

    return register


@_classifies("mlp")
def _mlp(s: Sizes) -> tuple[nn.Module, Args, tuple[int, int]]:
    module = torch_models.mlp([s.inputs, *[s.width] * s.depth, s.classes])
    return module, (torch.randn(s.batch, s.inputs),), (s.batch, s.classes)


@_classifies("logistic-regression")
def _logistic_regression(s: Sizes) -> tuple[nn.Module, Args, tuple[int, int]]:
    return nn.Linear(s.features, s.classes), _rows(s), (s.batch, s.classes)


def _rows(s: Sizes) -> Args:
    return (torch.randn(s.batch, s.features),)


@_classifies("lenet5")
def _lenet5(s: Sizes) -> tuple[nn.Module, Args, tuple[int, int]]:
    images = torch.randn(s.batch, 1, 28, 28)
    return torch_models.lenet5(s.classes), (images,), (s.batch, s.classes)


@_classifies("small-cnn")
def _small_cnn(s: Sizes) -> tuple[nn.Module, Args, tuple[int, int]]:
    images = torch.randn(s.batch, s.channels, s.image, s.image)
    module = torch_models.small_cnn(s.channels, s.width, s.image, s.classes)
    return module, (images,), (s.batch, s.classes)


@_classifies("femnist-cnn")
def _femnist_cnn(s: Sizes) -> tuple[nn.Module, Args, tuple[int, int]]:
    images = torch.randn(s.batch, 1, 28, 28)
    return torch_models.femnist_cnn(s.classes), (images,), (s.batch, s.classes)


@_classifies("celeba-cnn")
def _celeba_cnn(s: Sizes) -> tuple[nn.Module, Args, tuple[int, int]]:
    images = torch.randn(s.batch, 3, s.image, s.image)
    return torch_models.celeba_cnn(s.image, s.classes), (images,), (s.batch, s.classes)


@_classifies("alexnet", "vgg16", "mobilenet-v2", "inception-v3", *RESNETS)
def _images(s: Sizes) -> tuple[nn.Module, Args, tuple[int, int]]:
    name = str(s.name)
    if name == "alexnet":
        module = torch_models.alexnet(s.classes)
    elif name == "vgg16":
        module = torch_models.vgg16(VGG16_STAGES, s.classes)
    elif name == "mobilenet-v2":
        module = torch_models.mobilenet_v2(MOBILENET_V2_STAGES, s.classes)
    elif name == "inception-v3":
        module = torch_models.inception((*INCEPTION_V3_STEM, *INCEPTION_V3_BLOCKS), s.classes)
    else:
        module = torch_models.resnet(RESNETS[name], s.width, s.classes)
    images = torch.randn(s.batch, 3, s.image, s.image)
    return module, (images,), (s.batch, s.classes)


def _tokens(s: Sizes, below: int) -> torch.Tensor:
    return torch.randint(0, below, (s.batch, s.sequence))


@_classifies("lstm")
def _lstm(s: Sizes) -> tuple[nn.Module, Args, tuple[int, int]]:
    module = torch_models.LstmLanguage(s.vocabulary, s.width, s.hidden, s.layers)
    return module, (_tokens(s, s.vocabulary),), (s.batch * s.sequence, s.vocabulary)


@_classifies("bert-base")
def _bert(s: Sizes) -> tuple[nn.Module, Args, tuple[int, int]]:
    module = torch_models.Bert(_transformer(s))
    return module, (_tokens(s, s.vocabulary), _tokens(s, 2)), (s.batch, s.width)


@_classifies("gpt", "gpt2-small", "gpt-1.3b", "gpt-6.7b", "gpt-175b")
def _gpt(s: Sizes) -> tuple[nn.Module, Args, tuple[int, int]]:
    module = torch_models.Gpt(_transformer(s))
    return module, (_tokens(s, s.vocabulary),), (s.batch * s.sequence, s.vocabulary)


def _transformer(s: Sizes) -> torch_models.Transformer:
    return torch_models.Transformer(
        layers=s.layers, width=s.width, heads=s.heads, vocabulary=s.vocabulary,
        positions=s.positions,
    )  # fmt: skip


@_classifies("hf-gpt2", "gpt2-large", "gpt-2.7b")
def _hf_gpt2(s: Sizes) -> tuple[nn.Module, Args, tuple[int, int]]:
    return _decoder(s, "gpt2")


@_classifies("hf-opt", "opt-1.3b")
def _hf_opt(s: Sizes) -> tuple[nn.Module, Args, tuple[int, int]]:
    return _decoder(s, "opt")


def _decoder(s: Sizes, style: str) -> tuple[nn.Module, Args, tuple[int, int]]:
    module = torch_huggingface.Decoder(_eager(s, style))
    return module, (_tokens(s, s.vocabulary),), (s.batch * s.sequence, s.vocabulary)


@_classifies("hf-bert", "bert-large")
def _hf_bert(s: Sizes) -> tuple[nn.Module, Args, tuple[int, int]]:
    module = torch_huggingface.Encoder(_eager(s, "bert"))
    shape = (s.batch * s.sequence, s.vocabulary)
    return module, (_tokens(s, s.vocabulary), _tokens(s, 2)), shape


def _eager(s: Sizes, style: str) -> torch_huggingface.EagerSizes:
    return torch_huggingface.EagerSizes(
        style=style, layers=s.layers, width=s.width, heads=s.heads, vocabulary=s.vocabulary,
        sequence=s.sequence, positions=s.positions, training=bool(s.training),
    )  # fmt: skip


def _linear_svm(workload: Workload) -> Twin:
    s = Sizes(**workload.parameters)
    labels = (torch.randint(0, 2, (s.batch,)) * 2.0 - 1.0,) if s.training else ()
    module = torch_models.LinearSvm(s.features, penalty=1e-3)
    return _twin(workload, module, (*_rows(s), *labels))


def _kmeans(workload: Workload) -> Twin:
    s = Sizes(**workload.parameters)
    return _twin(workload, torch_models.KMeans(s.clusters, s.features), _rows(s))


def _knn(workload: Workload) -> Twin:
    s = Sizes(**workload.parameters)
    neighbours = min(s.neighbours, s.points)
    module = torch_models.NearestNeighbours(s.points, s.features, neighbours, s.classes)
    return _twin(workload, module, _rows(s))


register_twin("linear-svm", _linear_svm)
register_twin("kmeans", _kmeans)
register_twin("knn", _knn)
